"""How good are generated images? Distances between sets, precision, recall and class counts.

All of it works on the features and logits of a fixed classifier; ``Features`` holds both.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

#: Rows compared at a time: 250 × 10,000 distances take 20 MB.
BATCH_SIZE = 250


@dataclass(frozen=True)
class Features:
    """Features and logits of N images, from a fixed classifier.

    Shape: ``features`` (N, D) floats, ``logits`` (N, K) floats.
    """

    features: Tensor
    logits: Tensor


@dataclass(frozen=True)
class Quality:
    """How a set of generated images compares with a set of real ones.

    Attributes:
        frechet: Fréchet distance of the features; 0 for equal means and covariances.
        kid: kernel distance of the features (an unbiased estimate: it can fall below 0).
        precision: fraction of generated images within the reach of the real ones, in [0, 1].
        recall: fraction of real images within the reach of the generated ones, in [0, 1].
        mode_kl: divergence of the class frequencies from equal ones, in nats; at most ln K.
        confident: fraction of generated images that the classifier is sure of, in [0, 1].
    """

    frechet: float
    kid: float
    precision: float
    recall: float
    mode_kl: float
    confident: float


def evaluate_samples(real: Features, generated: Features) -> Quality:
    """Return every measure of this module for ``generated``, against ``real``."""
    precision, recall = precision_recall(real.features, generated.features)
    return Quality(
        frechet=frechet_distance(real.features, generated.features),
        kid=kid(real.features, generated.features),
        precision=precision,
        recall=recall,
        mode_kl=kl_from_uniform(class_frequencies(generated.logits)),
        confident=fraction_confident(generated.logits),
    )


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Return the Fréchet distance between two sets of features, each modelled as a Gaussian.

    ‖μ_a − μ_b‖² + tr(Σ_a + Σ_b − 2 (Σ_a Σ_b)^½), in float64. It is biased upwards in small sets:
    compare only values from sets of one size.

    Shape: a (N, D), b (M, D), with N and M at least 2; either may be smaller than D.

    Returns:
        The distance, at least 0.

    Raises:
        ValueError: if the shapes do not fit or a feature is not finite.

    Source: Dowson and Landau (1982); on network features, Heusel et al. (2017), arXiv:1706.08500,
        equation 6.
    """
    a, b = _pair(a, b)
    gap = (a.mean(0) - b.mean(0)).square().sum()
    root_a, root_b = _root(a), _root(b)
    # The eigenvalues of Σ_a Σ_b are the squared singular values of R_a R_bᵀ: without a root of what
    # rounding made negative, however few the images.
    cross = torch.linalg.svdvals(root_a @ root_b.T).sum()
    return max(0.0, float(gap + root_a.square().sum() + root_b.square().sum() - 2 * cross))


def kid(a: Tensor, b: Tensor) -> float:
    """Return the kernel inception distance of two sets of features.

    It is the unbiased estimate of the squared maximum mean discrepancy (MMD) under the kernel
    k(x, y) = (x·y / D + 1)³.

    Shape: a (N, D), b (M, D), with N and M at least 2.

    Raises:
        ValueError: if the shapes do not fit or a feature is not finite.

    Source: Bińkowski et al., "Demystifying MMD GANs" (2018), arXiv:1801.01401, section 3; the
        estimate is equation 4 of Gretton et al. (2012), lemma 6.
    """
    a, b = _pair(a, b)

    def total(x: Tensor, y: Tensor) -> Tensor:
        rows = (part @ y.T / x.shape[1] + 1 for part in x.split(BATCH_SIZE))
        return torch.stack([(row * row * row).sum() for row in rows]).sum()

    def own(x: Tensor) -> Tensor:
        diagonal = (x.square().sum(1) / x.shape[1] + 1).pow(3).sum()
        return (total(x, x) - diagonal) / (len(x) * (len(x) - 1))

    return float(own(a) + own(b) - 2 * total(a, b) / (len(a) * len(b)))


def precision_recall(real: Tensor, generated: Tensor, *, k: int = 3) -> tuple[float, float]:
    """Return the fraction of generated images near real ones, and of real ones near generated ones.

    Near a set means: no further from one of its members than that member's k-th nearest neighbour
    in its own set. Distances that differ by rounding alone count as equal.

    Shape: real (N, D), generated (M, D), with N and M above ``k``.

    Raises:
        ValueError: if the shapes do not fit, a feature is not finite or a set is too small.

    Source: Kynkäänniemi et al., "Improved Precision and Recall Metric for Assessing Generative
        Models" (2019), arXiv:1904.06991, equations 1 to 3.
    """
    real, generated = _pair(real, generated)
    if k < 1 or min(len(real), len(generated)) <= k:
        raise ValueError(
            f"k is {k} with sets of {len(real)} and {len(generated)}; expected 1 or more, and "
            "more images than k in each set"
        )
    # The product of matrices behind ``cdist`` rounds more, the further the sets are from 0.
    real, generated = real - real.mean(0), generated - real.mean(0)
    slack = 1e-6 * torch.cat([real, generated]).norm(dim=1).max()
    reach_real, reach_generated = _reach(real, k) + slack, _reach(generated, k) + slack
    precise, recalled = 0, torch.zeros(len(real), dtype=torch.bool)
    for part, reach in zip(
        generated.split(BATCH_SIZE), reach_generated.split(BATCH_SIZE), strict=True
    ):
        distances = torch.cdist(part, real)  # (batch, N)
        precise += int((distances <= reach_real).any(1).sum())
        recalled |= (distances <= reach[:, None]).any(0)
    return precise / len(generated), float(recalled.double().mean())


def class_frequencies(logits: Tensor) -> Tensor:
    """Return the fraction of images that the classifier puts in each class.

    Shape: logits (N, K) → (K,) float64, adding up to 1.

    Raises:
        ValueError: if there are no images.
    """
    _check_logits(logits)
    return logits.argmax(1).bincount(minlength=logits.shape[1]).double() / len(logits)


def kl_from_uniform(frequencies: Tensor) -> float:
    """Return the divergence Σ q ln(q K) of frequencies q from equal ones, in nats, 0 to ln K.

    Shape: frequencies (K,), not negative, adding up to 1.

    Raises:
        ValueError: if they do not add up to 1.
    """
    q = frequencies.double()
    if not ((q >= 0).all() and abs(float(q.sum()) - 1) <= 1e-6):
        raise ValueError(f"frequencies are {q.tolist()}; expected at least 0 each and 1 in all")
    return max(0.0, float(torch.special.xlogy(q, q * len(q)).sum()))


def fraction_confident(logits: Tensor, *, threshold: float = 0.9) -> float:
    """Return the fraction of images whose likeliest class has probability ``threshold`` or more.

    Shape: logits (N, K).

    Raises:
        ValueError: if there are no images.
    """
    _check_logits(logits)
    return float((logits.float().softmax(1).amax(1) >= threshold).double().mean())


def _check_logits(logits: Tensor) -> None:
    if logits.ndim != 2 or len(logits) == 0:
        raise ValueError(
            f"logits has shape {tuple(logits.shape)}; expected (N, K), with one image or more"
        )


def _root(x: Tensor) -> Tensor:
    """Return R with RᵀR the covariance of ``x``. Shape: (N, D) → (min(N, D), D)."""
    return torch.linalg.qr((x - x.mean(0)) / (len(x) - 1) ** 0.5, mode="r").R


def _reach(members: Tensor, k: int) -> Tensor:
    """Return each member's distance to its k-th nearest neighbour. Shape: (N, D) → (N,)."""
    # The least of a member's own distances is the one to itself: hence k + 1.
    nearest = [
        torch.cdist(part, members).topk(k + 1, largest=False).values
        for part in members.split(BATCH_SIZE)
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
