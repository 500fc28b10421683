"""How good are generated images? Distances between sets, precision, recall and class counts.

All of it works on what a fixed network sees in the images: ``Seen`` holds its features and logits.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

#: Rows compared at a time: 250 × 10,000 numbers take 20 MB; larger tables are slower to come by.
CHUNK = 250


@dataclass(frozen=True)
class Seen:
    """What a fixed classifier sees in N images.

    Shape: ``features`` (N, D) floats, ``logits`` (N, K) floats.
    """

    features: Tensor
    logits: Tensor


@dataclass(frozen=True)
class Quality:
    """How a set of generated images compares with a set of real ones.

    Attributes:
        frechet: Fréchet distance of the features; 0 for equal means and covariances.
        kernel: kernel distance of the features (an unbiased estimate: it can fall below 0).
        precision: share of generated images within the reach of the real ones, in [0, 1].
        recall: share of real images within the reach of the generated ones, in [0, 1].
        mode_kl: divergence of the classes' shares from equal shares, in nats; at most ln K.
        confident: share of generated images that the classifier is sure of, in [0, 1].
    """

    frechet: float
    kernel: float
    precision: float
    recall: float
    mode_kl: float
    confident: float


def quality(real: Seen, generated: Seen) -> Quality:
    """Return every measure of this module for ``generated``, against ``real``."""
    precision, recall = precision_recall(real.features, generated.features)
    return Quality(
        frechet=frechet_distance(real.features, generated.features),
        kernel=kernel_distance(real.features, generated.features),
        precision=precision,
        recall=recall,
        mode_kl=kl_from_uniform(class_shares(generated.logits)),
        confident=confident_share(generated.logits),
    )


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Return the Fréchet distance between two sets of features, each taken for a normal cloud.

    ‖μ_a − μ_b‖² + tr(Σ_a + Σ_b − 2 (Σ_a Σ_b)^½), in float64. It is biased upwards in small sets:
    compare only values from sets of one size.

    Shape: a (N, D), b (M, D), with N and M at least 2.

    Raises:
        ValueError: if the shapes do not fit or a feature is not finite.

    Source: Dowson and Landau (1982); on network features, Heusel et al. (2017), equation 6.
    """
    a, b = _pair(a, b)
    gap = (a.mean(0) - b.mean(0)).square().sum()
    cov_a, cov_b = torch.cov(a.T).reshape(a.shape[1], -1), torch.cov(b.T).reshape(a.shape[1], -1)
    # tr (Σ_a Σ_b)^½ through the symmetric Σ_a^½ Σ_b Σ_a^½, which has the same eigenvalues.
    values, vectors = torch.linalg.eigh(cov_a)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    cross = torch.linalg.eigvalsh(root @ cov_b @ root).clamp(min=0).sqrt().sum()
    return float(gap + cov_a.trace() + cov_b.trace() - 2 * cross)


def kernel_distance(a: Tensor, b: Tensor) -> float:
    """Return the unbiased squared maximum mean discrepancy under k(x, y) = (x·y / D + 1)³.

    Shape: a (N, D), b (M, D), with N and M at least 2.

    Raises:
        ValueError: if the shapes do not fit or a feature is not finite.

    Source: Bińkowski et al., "Demystifying MMD GANs" (2018), section 3; the estimate is equation 4
        of Gretton et al. (2012), lemma 6.
    """
    a, b = _pair(a, b)

    def total(x: Tensor, y: Tensor) -> Tensor:
        rows = (part @ y.T / x.shape[1] + 1 for part in x.split(CHUNK))
        return torch.stack([(row * row * row).sum() for row in rows]).sum()

    def own(x: Tensor) -> Tensor:
        diagonal = (x.square().sum(1) / x.shape[1] + 1).pow(3).sum()
        return (total(x, x) - diagonal) / (len(x) * (len(x) - 1))

    return float(own(a) + own(b) - 2 * total(a, b) / (len(a) * len(b)))


def precision_recall(real: Tensor, generated: Tensor, *, k: int = 3) -> tuple[float, float]:
    """Return the share of generated images near real ones, and of real ones near generated ones.

    Near a set means: no further from one of its members than that member's k-th nearest neighbour
    in its own set.

    Shape: real (N, D), generated (M, D), with N and M above ``k``.

    Raises:
        ValueError: if the shapes do not fit, a feature is not finite or a set is too small.

    Source: Kynkäänniemi et al., "Improved Precision and Recall Metric for Assessing Generative
        Models" (2019), equations 1 to 3.
    """
    real, generated = _pair(real, generated)
    if k < 1 or min(len(real), len(generated)) <= k:
        raise ValueError(
            f"k is {k} with sets of {len(real)} and {len(generated)}; expected 1 or more, and "
            "more images than k in each set"
        )
    reach_real, reach_generated = _reach(real, k), _reach(generated, k)
    precise, recalled = 0, torch.zeros(len(real), dtype=torch.bool)
    for part, reach in zip(generated.split(CHUNK), reach_generated.split(CHUNK), strict=True):
        distances = torch.cdist(part, real)  # (chunk, N)
        precise += int((distances <= reach_real).any(1).sum())
        recalled |= (distances <= reach[:, None]).any(0)
    return precise / len(generated), float(recalled.double().mean())


def class_shares(logits: Tensor) -> Tensor:
    """Return the share of images that the classifier puts in each class.

    Shape: logits (N, K) → (K,) float64, adding up to 1.
    """
    return logits.argmax(1).bincount(minlength=logits.shape[1]).double() / len(logits)


def kl_from_uniform(shares: Tensor) -> float:
    """Return the divergence Σ q ln(q K) of shares q from equal shares, in nats, 0 to ln K.

    Shape: shares (K,), not negative, adding up to 1.

    Raises:
        ValueError: if they do not add up to 1.
    """
    if (shares < 0).any() or abs(float(shares.sum()) - 1) > 1e-6:
        raise ValueError(f"shares are {shares.tolist()}; expected at least 0 each and 1 in all")
    return float(torch.special.xlogy(shares, shares * len(shares)).sum())


def confident_share(logits: Tensor, *, threshold: float = 0.9) -> float:
    """Return the share of images whose likeliest class has a probability of ``threshold`` or more.

    Shape: logits (N, K).
    """
    return float((logits.softmax(1).amax(1) >= threshold).double().mean())


def _reach(members: Tensor, k: int) -> Tensor:
    """Return each member's distance to its k-th nearest neighbour. Shape: (N, D) → (N,)."""
    # The least of a member's own distances is the one to itself: hence k + 1.
    nearest = [
        torch.cdist(part, members).topk(k + 1, largest=False).values
        for part in members.split(CHUNK)
    ]
    return torch.cat(nearest).amax(1)


def _pair(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return both sets in float64 after checking them."""
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError(
            f"the sets have shapes {tuple(a.shape)} and {tuple(b.shape)}; expected (N, D) and "
            "(M, D), with two images or more in each"
        )
    if not (a.isfinite().all() and b.isfinite().all()):
        raise ValueError("a feature is not finite; expected finite features")
    return a.double(), b.double()
