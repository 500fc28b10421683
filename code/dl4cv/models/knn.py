"""Nearest neighbours: distances three ways, voting, and an exact search that skips most pairs."""

from typing import Self

import torch

Neighbors = tuple[torch.Tensor, torch.Tensor]


def distances_two_loops(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return the Euclidean distance of each row of ``a`` to each row of ``b``, pair by pair.

    Shape: a (N, D), b (M, D) → (N, M).
    """
    out = a.new_empty(len(a), len(b))
    for i in range(len(a)):
        for j in range(len(b)):
            out[i, j] = (a[i] - b[j]).square().sum().sqrt()
    return out


def distances_one_loop(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return the same as ``distances_two_loops``, one row of ``a`` against all of ``b`` at a time.

    Shape: a (N, D), b (M, D) → (N, M).
    """
    out = a.new_empty(len(a), len(b))
    for i in range(len(a)):
        out[i] = (a[i] - b).square().sum(1).sqrt()  # (M, D) → (M,)
    return out


def distances_no_loops(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return the same as ``distances_two_loops`` by one matrix product.

    Rounding can leave nearly equal rows of length r at a distance of about r / 1000 in float32.

    Shape: a (N, D), b (M, D) → (N, M).
    Source: ‖a − b‖² = ‖a‖² − 2 a·b + ‖b‖².
    """
    a_squared = a.square().sum(1, keepdim=True)  # (N, 1)
    b_squared = b.square().sum(1)  # (M,)
    squared = a_squared - 2 * a @ b.T + b_squared  # (N, M)
    return squared.clamp(min=0).sqrt()  # rounding may leave −1e-6


def smallest(rows: torch.Tensor, k: int, *, block: int = 100) -> Neighbors:
    """Return the ``k`` smallest values of each row and where they stand, in ascending order.

    Equal to ``rows.topk(k, largest=False)`` up to the order of ties, and faster on long rows: one
    pass finds the minimum of each block, and only the ``k`` blocks of least minimum are sorted.
    No other block can hold one of the ``k`` smallest, since ``k`` minima lie below all it has.

    Shape: rows (N, M) → values (N, k), indices (N, k) int64.

    Raises:
        ValueError: if ``k`` is not in 1 to M.
    """
    count = rows.shape[1]
    if not 1 <= k <= count:
        raise ValueError(f"k is {k}; expected 1 to {count}, the length of a row")
    blocks = count // block
    if blocks <= k:
        return rows.topk(k, dim=1, largest=False)
    whole = rows[:, : blocks * block].unflatten(1, (blocks, block))  # (N, blocks, block)
    chosen = whole.amin(2).topk(k, dim=1, largest=False).indices  # (N, k)
    columns = (chosen[:, :, None] * block + torch.arange(block, device=rows.device)).flatten(1)
    rest = torch.arange(blocks * block, count, device=rows.device).expand(len(rows), -1)
    columns = torch.cat([columns, rest], dim=1)  # (N, k · block + rest)
    values, place = rows.gather(1, columns).topk(k, dim=1, largest=False)
    return values, columns.gather(1, place)


def at_most(
    rows: torch.Tensor, limits: torch.Tensor, *, block: int = 100
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return where a row's values do not exceed its limit: the rows' and the columns' numbers.

    Equal to ``(rows <= limits[:, None]).nonzero(as_tuple=True)`` up to the order, and faster where
    few values are so small: only the blocks whose minimum is small enough are searched.

    Shape: rows (N, M), limits (N,) → two of (P,) int64, for P values.
    """
    blocks = rows.shape[1] // block
    whole = rows[:, : blocks * block].unflatten(1, (blocks, block))  # (N, blocks, block)
    row, chosen = (whole.amin(2) <= limits[:, None]).nonzero(as_tuple=True)
    pair, place = (whole[row, chosen] <= limits[row, None]).nonzero(as_tuple=True)
    last_row, last = (rows[:, blocks * block :] <= limits[:, None]).nonzero(as_tuple=True)
    columns = torch.cat([chosen[pair] * block + place, blocks * block + last])
    return torch.cat([row[pair], last_row]), columns


def vote(labels: torch.Tensor, classes: int) -> torch.Tensor:
    """Return the most frequent class of each row; of tied classes, the one with the nearest vote.

    Shape: labels (N, k) int64 in 0 to classes - 1, nearest first → (N,) int64.

    Units: the vote of rank j = 0, 1, … weighs 1 + 2^−(j + 1). These extras add up to less than one
    vote, so they decide ties alone, and each outweighs all that come after it.
    """
    ranks = torch.arange(labels.shape[1], device=labels.device, dtype=torch.float64)
    weights = (1 + 0.5 ** (ranks + 1)).expand(labels.shape)
    ballots = weights.new_zeros(len(labels), classes).scatter_add_(1, labels, weights)
    return ballots.argmax(1)


class KNearestNeighbors:
    """Classify by the vote of the ``k`` training images nearest in Euclidean distance.

    ``fit`` only stores its arguments; ``neighbors`` compares each query with all that is stored.

    Args:
        k: how many neighbours vote.
        chunk: queries compared at a time; a chunk holds chunk · N distances in memory.
    """

    def __init__(self, k: int = 5, *, chunk: int = 500) -> None:
        self.k = k
        self.chunk = chunk

    def fit(self, images: torch.Tensor, labels: torch.Tensor) -> Self:
        """Store the training set. Shape: images (N, D) floats, labels (N,) int64.

        Raises:
            ValueError: if the shapes do not agree or there are fewer than ``k`` images.
        """
        if images.ndim != 2 or labels.shape != images.shape[:1]:
            raise ValueError(
                f"images has shape {tuple(images.shape)} and labels {tuple(labels.shape)}; "
                "expected (N, D) and (N,)"
            )
        if not 1 <= self.k <= len(images):
            raise ValueError(f"k is {self.k}; expected 1 to {len(images)}, the images given")
        self.images, self.labels = images, labels
        self.classes = int(labels.max()) + 1
        self.squared = images.square().sum(1)  # (N,)
        return self

    def neighbors(self, queries: torch.Tensor) -> Neighbors:
        """Return the distances to the ``k`` nearest training images and their indices.

        Shape: queries (Q, D) → distances (Q, k) ascending, indices (Q, k) int64.
        """
        # One table for all chunks: fresh memory for each would cost as much as the product.
        table = queries.new_empty(min(self.chunk, len(queries)), len(self.images))
        parts = [self._search(part, table[: len(part)]) for part in queries.split(self.chunk)]
        squared, indices = (torch.cat(column) for column in zip(*parts, strict=True))
        return squared.sqrt(), indices

    def predict(self, queries: torch.Tensor) -> torch.Tensor:
        """Return the class of each query. Shape: (Q, D) → (Q,) int64."""
        return vote(self.labels[self.neighbors(queries)[1]], self.classes)

    def _search(self, queries: torch.Tensor, table: torch.Tensor) -> Neighbors:
        products = torch.addmm(self.squared, queries, self.images.T, alpha=-2, out=table)
        least, indices = smallest(products, self.k)
        # ‖q‖² is the same for all of a row: it changes no order and is added to the winners alone.
        return (least + queries.square().sum(1, keepdim=True)).clamp(min=0), indices


class SketchedNeighbors(KNearestNeighbors):
    """The same neighbours for less work: short sketches rule out almost all training images.

    A sketch of x holds its coordinates along ``size − 1`` principal directions and, last, the
    length of what they leave of x. Two sketches are never further apart than their images, so an
    image whose sketch is further away than ``k`` images known by now is none of the ``k`` nearest.
    The few that are left are compared in full.

    Args:
        k: how many neighbours vote.
        size: numbers in a sketch, at most D.
        chunk: queries compared at a time.

    Source: the bound is the reverse triangle inequality; filter and refine is due to Faloutsos,
    Ranganathan and Manolopoulos (1994).
    """

    #: Share of the squared lengths by which rounding may have moved a distance between sketches.
    slack = 1e-5

    def __init__(self, k: int = 5, *, size: int = 256, chunk: int = 500) -> None:
        super().__init__(k, chunk=chunk)
        self.size = size

    def fit(self, images: torch.Tensor, labels: torch.Tensor) -> Self:
        """Store the training set and its sketches. Shape: images (N, D), labels (N,)."""
        super().fit(images, labels)
        if not 2 <= self.size <= images.shape[1]:
            raise ValueError(f"size is {self.size}; expected 2 to {images.shape[1]}")
        some = images[:: max(1, len(images) // 10_000)]  # any directions are exact; these are good
        directions = torch.linalg.eigh(some.T @ some).eigenvectors  # columns, strongest last
        self.directions = directions[:, -(self.size - 1) :]  # (D, size - 1)
        self.sketches = self.sketch(images)
        self.sketches_squared = self.sketches.square().sum(1)
        self.longest = float(self.squared.max())
        return self

    def sketch(self, images: torch.Tensor) -> torch.Tensor:
        """Return the sketches of ``images``. Shape: (N, D) → (N, size)."""
        coordinates = images @ self.directions
        # Not by Pythagoras: where little is left, rounding of the large squares would be all of it.
        left = torch.addmm(images, coordinates, self.directions.T, alpha=-1)
        return torch.cat([coordinates, left.norm(dim=1, keepdim=True)], dim=1)

    def _search(self, queries: torch.Tensor, table: torch.Tensor) -> Neighbors:
        sketches = self.sketch(queries)
        # The bounds lack the sketched query's own ‖·‖², which changes no order within a row.
        bounds = torch.addmm(
            self.sketches_squared, sketches, self.sketches.T, alpha=-2, out=table
        )  # (Q, N)
        # With twice as many in full, the k-th nearest of them is close to the k-th nearest of all.
        _, hopeful = smallest(bounds, min(2 * self.k, len(self.images)))
        known = (self.images[hopeful] - queries[:, None]).square().sum(2)
        reach = known.sort(dim=1).values[:, self.k - 1]  # (Q,)
        reach += self.slack * (self.longest + queries.square().sum(1))
        limit = reach - sketches.square().sum(1)
        query, image = at_most(bounds, limit)  # the few pairs left
        # So few at a time that they stay in the processor's cache and no thread waits for another.
        pairs = zip(query.split(40), image.split(40), strict=True)
        squared = torch.cat([(self.images[i] - queries[q]).square().sum(1) for q, i in pairs])
        # By query, and nearest first within each; every query has k pairs or more.
        order = squared.argsort()
        order = order[query[order].argsort(stable=True)]
        count = query.bincount(minlength=len(queries))
        first = count.cumsum(0) - count  # (Q,)
        nearest = order[first[:, None] + torch.arange(self.k, device=order.device)]  # (Q, k)
        return squared[nearest], image[nearest]
