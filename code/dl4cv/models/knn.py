"""Nearest neighbours: distances three ways, voting, and an exact search that skips most pairs."""

from typing import Self

import torch

Neighbors = tuple[torch.Tensor, torch.Tensor]


def distances_two_loops(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return the Euclidean distance of each row of ``a`` to each row of ``b``, pair by pair.

    Shape: a (N, D), b (M, D) → (N, M).

    Raises:
        ValueError: if ``a`` and ``b`` are not floats of one type, with rows of one length; so do
            the other two.
    """
    _check_rows(a, b)
    out = a.new_empty(len(a), len(b))
    for i in range(len(a)):
        for j in range(len(b)):
            out[i, j] = (a[i] - b[j]).square().sum().sqrt()
    return out


def distances_one_loop(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return the same as ``distances_two_loops``, one row of ``a`` against all of ``b`` at a time.

    Shape: a (N, D), b (M, D) → (N, M).
    """
    _check_rows(a, b)
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
    _check_rows(a, b)
    a_squared = a.square().sum(1, keepdim=True)  # (N, 1)
    b_squared = b.square().sum(1)  # (M,)
    squared = a_squared - 2 * a @ b.T + b_squared  # (N, M)
    return squared.clamp(min=0).sqrt()  # rounding may leave −1e-6


def smallest(rows: torch.Tensor, k: int, *, block: int = 100) -> Neighbors:
    """Return the ``k`` smallest values of each row and their columns, in ascending order.

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
    """Return the rows and columns of the values that do not exceed their row's limit.

    Equal to ``(rows <= limits[:, None]).nonzero(as_tuple=True)`` up to the order, and faster where
    few values are so small: only the blocks whose minimum is small enough are searched. The columns
    of each row are in ascending order.

    Shape: rows (N, M), limits (N,) → two of (P,) int64, for P values.
    """
    blocks = rows.shape[1] // block
    whole = rows[:, : blocks * block].unflatten(1, (blocks, block))  # (N, blocks, block)
    row, chosen = (whole.amin(2) <= limits[:, None]).nonzero(as_tuple=True)
    pair, place = (whole[row, chosen] <= limits[row, None]).nonzero(as_tuple=True)
    last_row, last = (rows[:, blocks * block :] <= limits[:, None]).nonzero(as_tuple=True)
    columns = torch.cat([chosen[pair] * block + place, blocks * block + last])
    return torch.cat([row[pair], last_row]), columns


def vote(labels: torch.Tensor, num_classes: int) -> torch.Tensor:
    """Return the most frequent class of each row; of tied classes, the one with the nearest vote.

    Shape: labels (N, k) integers in 0 to num_classes - 1, nearest first → (N,) int64.
    """
    labels = labels.long()
    counts = labels.new_zeros(len(labels), num_classes)
    counts = counts.scatter_add_(1, labels, torch.ones_like(labels))
    votes = counts.gather(1, labels)  # (N, k): how many votes each neighbour's class has
    nearest = votes.argmax(1, keepdim=True)  # (N, 1): argmax returns the first of equals
    return labels.gather(1, nearest).squeeze(1)


class KNearestNeighbors:
    """Classify by the vote of the ``k`` training images nearest in Euclidean distance.

    The search is exact, however alike the images are: a rough distance to every training image, by
    one matrix product, leaves those that rounding cannot rule out, and their distances are computed
    in float64 from the differences. Of equally distant images the first in the training set is the
    nearer one. Images may be of any type: floats, or integers such as uint8.

    Args:
        k: how many neighbours vote.
        chunk: queries compared at a time; a chunk holds chunk · N distances in memory.
    """

    def __init__(self, k: int = 5, *, chunk: int = 500) -> None:
        self.k = k
        self.chunk = chunk

    def fit(self, images: torch.Tensor, labels: torch.Tensor) -> Self:
        """Store the training set. Shape: images (N, D), labels (N,) integers.

        Raises:
            ValueError: if the shapes do not agree, there are fewer than ``k`` images, a pixel is
                not finite or a label is no class.
        """
        if images.ndim != 2 or images.shape[1] == 0 or labels.shape != images.shape[:1]:
            raise ValueError(
                f"images has shape {tuple(images.shape)} and labels {tuple(labels.shape)}; "
                "expected (N, D) and (N,)"
            )
        if not 1 <= self.k <= len(images):
            raise ValueError(f"k is {self.k}; expected 1 to {len(images)}, the images given")
        if labels.is_floating_point() or labels.min() < 0:
            raise ValueError(f"labels holds {labels.min()} of {labels.dtype}; expected 0, 1, 2, …")
        self.images, self.labels = images, labels.long()
        self.num_classes = int(self.labels.max()) + 1
        self._prepare(images[:: max(1, len(images) // 10_000)].double())
        # Filled part by part: a list of the parts, or all squares at once, would be a second copy.
        width = self.sketch(images[:1]).shape[1]
        self.sketches = images.new_empty(len(images), width, dtype=self.precision)
        parts = self.sketches.split(1000)
        for part, some in zip(parts, images.split(1000), strict=True):
            part.copy_(self.sketch(some))
        self.squared = torch.cat([part.square().sum(1) for part in parts])  # (N,)
        self.longest = float(self.squared.max())
        # Rounding moves a rough distance by less than this fraction of two squared lengths.
        self.slack = 4 * (images.shape[1] + 8) * torch.finfo(self.precision).eps
        return self

    def sketch(self, images: torch.Tensor) -> torch.Tensor:
        """Return what the rough distances are computed from: here all of the centred image.

        Shape: (N, D) → (N, D).
        """
        # Around the mean, squares are small, and so is what rounding takes from their difference.
        centred = (images.double() - self.center).to(self.precision)
        if not centred.square().sum(1).isfinite().all():
            raise ValueError("an image holds NaN or infinity, or is too large to be squared")
        return centred

    def neighbors(self, queries: torch.Tensor) -> Neighbors:
        """Return the distances to the ``k`` nearest training images and their indices.

        Shape: queries (Q, D) → distances (Q, k) ascending, indices (Q, k) int64.

        Raises:
            ValueError: if the queries do not have D pixels each, or one is not finite.
        """
        if queries.ndim != 2 or queries.shape[1] != self.images.shape[1]:
            raise ValueError(
                f"queries has shape {tuple(queries.shape)}; expected (Q, {self.images.shape[1]})"
            )
        # One table for all chunks: fresh memory for each would cost as much as the product.
        table = self.squared.new_empty(min(self.chunk, len(queries)), len(self.images))
        parts = [self._search(part, table[: len(part)]) for part in queries.split(self.chunk)]
        squared, indices = (torch.cat(column) for column in zip(*parts, strict=True))
        return squared.sqrt().to(self.precision), indices

    def predict(self, queries: torch.Tensor) -> torch.Tensor:
        """Return the class of each query. Shape: (Q, D) → (Q,) int64."""
        return vote(self.labels[self.neighbors(queries)[1]], self.num_classes)

    def _prepare(self, some: torch.Tensor) -> None:
        """Choose the centre and the precision of the rough distances, from some of the images."""
        self.precision = torch.promote_types(self.images.dtype, torch.float32)
        self.center = some.mean(0)

    def _search(self, queries: torch.Tensor, table: torch.Tensor) -> Neighbors:
        sketches = self.sketch(queries)
        # ‖s(q)‖² is the same for all of a row: it changes no order and is added to no entry.
        rough = torch.addmm(self.squared, sketches, self.sketches.T, alpha=-2, out=table)  # (Q, N)
        # With twice as many in full, the k-th nearest of them is close to the k-th nearest of all.
        _, hopeful = smallest(rough, min(2 * self.k, len(self.images)))
        rows = torch.arange(len(queries), device=queries.device)[:, None].expand_as(hopeful)
        known = self._squared_distances(queries, rows.flatten(), hopeful.flatten())
        reach = known.view(hopeful.shape).sort(dim=1).values[:, self.k - 1]  # (Q,)
        own = sketches.square().sum(1)
        limit = reach - own + self.slack * (self.longest + own)
        query, image = at_most(rough, limit.to(self.precision))  # the few pairs left
        squared = self._squared_distances(queries, query, image)
        # By query, within each by distance, and of equal distances the first image first.
        order = squared.argsort(stable=True)
        order = order[query[order].argsort(stable=True)]
        count = query.bincount(minlength=len(queries))  # k or more each
        first = count.cumsum(0) - count  # (Q,)
        nearest = order[first[:, None] + torch.arange(self.k, device=order.device)]  # (Q, k)
        return squared[nearest], image[nearest]

    def _squared_distances(
        self, queries: torch.Tensor, query: torch.Tensor, image: torch.Tensor
    ) -> torch.Tensor:
        """Return the squared distances of pairs, by index. Shape: (P,) and (P,) → (P,) float64."""
        # So few at a time that they stay in the processor's cache.
        pairs = zip(query.split(40), image.split(40), strict=True)
        gaps = (self.images[i].double() - queries[q].double() for q, i in pairs)
        return torch.cat([gap.square().sum(1) for gap in gaps])


class SketchedNeighbors(KNearestNeighbors):
    """The same neighbours for less work: short sketches rule out almost all training images.

    The sketch of a centred image holds its coordinates along ``size − 1`` principal directions and,
    last, the length of what they leave of it. Two sketches are never further apart than their
    images, so an image whose sketch is further away than ``k`` images known by now is none of the
    ``k`` nearest. The few that are left are compared in full.

    Args:
        k: how many neighbours vote.
        size: length of a sketch, at most D.
        chunk: queries compared at a time.

    Source: the bound is the reverse triangle inequality; filter and refine is due to Faloutsos,
    Ranganathan and Manolopoulos (1994).
    """

    def __init__(self, k: int = 5, *, size: int = 256, chunk: int = 500) -> None:
        super().__init__(k, chunk=chunk)
        self.size = size

    def sketch(self, images: torch.Tensor) -> torch.Tensor:
        """Return the sketches of ``images``. Shape: (N, D) → (N, size)."""
        centred = super().sketch(images)
        coordinates = centred @ self.directions
        # Not by Pythagoras: where little is left, rounding of the large squares would be all of it.
        left = torch.addmm(centred, coordinates, self.directions.T, alpha=-1)
        return torch.cat([coordinates, left.norm(dim=1, keepdim=True)], dim=1)

    def _prepare(self, some: torch.Tensor) -> None:
        """Choose the principal directions, too. Any are exact; these rule out most."""
        super()._prepare(some)
        if not 2 <= self.size <= some.shape[1]:
            raise ValueError(f"size is {self.size}; expected 2 to {some.shape[1]}")
        some = super().sketch(some)
        directions = torch.linalg.eigh(some.T @ some).eigenvectors  # columns, strongest last
        self.directions = directions[:, -(self.size - 1) :]  # (D, size - 1)


def _check_rows(a: torch.Tensor, b: torch.Tensor) -> None:
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(
            f"a has shape {tuple(a.shape)} and b {tuple(b.shape)}; expected (N, D) and (M, D)"
        )
    if not a.is_floating_point() or a.dtype != b.dtype:
        raise ValueError(f"a is {a.dtype} and b {b.dtype}; expected floats of one type")
