"""Losses of class scores, each with its gradient derived by hand, naive and vectorised.

Every loss takes scores (logits) and labels and returns the mean loss of the batch and the gradient
of that mean with respect to the scores. What lies before the scores, a matrix or a deep network,
is no business of the loss: the chain rule carries the gradient on from there.

All take labels of any integer type. Half-precision scores are converted to float32, and so are the
loss and the gradient, since a sum over a batch overflows or rounds too much in 16 bits.
"""

import math
from collections.abc import Callable

import torch

#: From scores (N, K) and labels (N,) to the mean loss and its gradient (N, K).
Loss = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


def softmax(scores: torch.Tensor) -> torch.Tensor:
    """Return the probabilities that scores stand for, without overflow.

    Shape: scores (N, K) → (N, K).
    Units: scores are logits of any size; each row of the result is in [0, 1] and sums to 1.

    Raises:
        ValueError: if ``scores`` is not a table of floats.

    Source: Bridle (1990); the largest score of a row is subtracted first, which changes nothing.
    """
    _check_scores(scores)
    powers = (scores - scores.amax(1, keepdim=True)).exp()  # (N, K), the largest is e^0 = 1
    return powers / powers.sum(1, keepdim=True)


def softmax_loss(scores: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean cross-entropy of the softmax of ``scores``, and its gradient.

    Shape: scores (N, K) floats, labels (N,) integers in 0 to K - 1 → loss (), gradient (N, K).
    Units: scores are logits; the loss is in nats.

    Raises:
        ValueError: if the shapes do not agree, a score is not finite or a label is no class.

    Source: gradient (p − onehot(y)) / N, with p the softmax of the scores.
    """
    scores, labels = _checked(scores, labels)
    rows = torch.arange(len(scores), device=scores.device)
    shifted = scores - scores.amax(1, keepdim=True)  # (N, K), none above 0
    log_p = shifted - shifted.exp().sum(1, keepdim=True).log()  # (N, K)
    loss = -log_p[rows, labels].mean()
    dscores = log_p.exp()  # (N, K): p
    dscores[rows, labels] -= 1
    return loss, dscores / len(scores)


def softmax_loss_naive(
    scores: torch.Tensor, labels: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the same as ``softmax_loss``, image by image and class by class."""
    scores, labels = _checked(scores, labels)
    loss = scores.new_zeros(())
    dscores = torch.zeros_like(scores)
    for i, y in enumerate(labels.tolist()):
        highest = scores[i].max()  # subtracted from all, so that no power overflows
        total = scores.new_zeros(())
        for k in range(scores.shape[1]):
            total += (scores[i, k] - highest).exp()
        for k in range(scores.shape[1]):
            dscores[i, k] = (scores[i, k] - highest).exp() / total
        dscores[i, y] -= 1
        loss += total.log() - (scores[i, y] - highest)  # −log p, even where p rounds to 0
    return loss / len(scores), dscores / len(scores)


def temporal_softmax_loss(
    scores: torch.Tensor, tokens: torch.Tensor, *, padding: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean cross-entropy over the tokens of all sequences, and its gradient.

    Sequences of different lengths are filled up with ``padding``; these places cost nothing.

    Shape: scores (N, T, V) floats, tokens (N, T) integers in 0 to V - 1 → loss (), gradient
        (N, T, V).
    Units: scores are logits; the loss is in nats per token.

    Raises:
        ValueError: if the shapes do not agree, a score is not finite, a token is not in the
            vocabulary, or all tokens are padding.
    """
    if scores.ndim != 3 or tokens.shape != scores.shape[:2]:
        raise ValueError(
            f"scores has shape {tuple(scores.shape)} and tokens {tuple(tokens.shape)}; "
            "expected (N, T, V) and (N, T)"
        )
    kept = tokens != padding  # (N, T)
    if not kept.any():
        raise ValueError(
            f"tokens holds nothing but the padding, {padding}; expected at least one other token"
        )
    loss, dkept = softmax_loss(scores[kept], tokens[kept])
    dscores = torch.zeros_like(scores, dtype=dkept.dtype)
    dscores[kept] = dkept
    return loss, dscores


def svm_loss(
    scores: torch.Tensor, labels: torch.Tensor, margin: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean multiclass hinge loss of ``scores``, and its gradient.

    Each wrong class pays by how much its score comes nearer than ``margin`` to the right one's; an
    image's loss is the sum over its wrong classes. (``torch.nn.functional.multi_margin_loss`` is
    this divided by K.) At a kink, where a wrong class keeps its margin exactly, the gradient taken
    is that of the flat side.

    Shape: scores (N, K) floats, labels (N,) integers in 0 to K - 1 → loss (), gradient (N, K).

    Raises:
        ValueError: if the shapes do not agree, a score is not finite, a label is no class or the
            margin is not above 0.

    Source: Weston and Watkins (1999).
    """
    scores, labels = _checked(scores, labels, margin)
    rows = torch.arange(len(scores), device=scores.device)
    short = scores - scores[rows, labels, None] + margin  # (N, K): what each class is short of
    short[rows, labels] = 0  # the right class competes with nobody
    loss = short.clamp(min=0).sum() / len(scores)
    dscores = (short > 0).to(scores.dtype)  # (N, K)
    dscores[rows, labels] = -dscores.sum(1)
    return loss, dscores / len(scores)


def svm_loss_naive(
    scores: torch.Tensor, labels: torch.Tensor, margin: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the same as ``svm_loss``, image by image and class by class."""
    scores, labels = _checked(scores, labels, margin)
    loss = scores.new_zeros(())
    dscores = torch.zeros_like(scores)
    for i, y in enumerate(labels.tolist()):
        for k in range(scores.shape[1]):
            short = scores[i, k] - scores[i, y] + margin
            if k != y and short > 0:
                loss += short
                dscores[i, k] += 1
                dscores[i, y] -= 1
    return loss / len(scores), dscores / len(scores)


def _check_scores(scores: torch.Tensor) -> None:
    if scores.ndim != 2 or not scores.is_floating_point() or scores.shape[1] == 0:
        raise ValueError(
            f"scores is {scores.dtype} of shape {tuple(scores.shape)}; "
            "expected floats of shape (N, K), at least one class"
        )


def _checked(
    scores: torch.Tensor, labels: torch.Tensor, margin: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return scores of at least 32 bits and labels that can index them, or raise ValueError."""
    _check_scores(scores)
    if len(scores) == 0:
        raise ValueError(f"scores has shape {tuple(scores.shape)}; expected at least one row")
    if labels.shape != scores.shape[:1] or labels.is_floating_point():
        raise ValueError(
            f"labels is {labels.dtype} of shape {tuple(labels.shape)}; "
            f"expected integers of shape ({len(scores)},), one label a row of scores"
        )
    labels = labels.long()  # as an index, uint8 would be taken for a mask
    classes = scores.shape[1]
    least, most = (int(label) for label in labels.aminmax())
    if least < 0 or most >= classes:
        raise ValueError(
            f"labels holds {least if least < 0 else most}; expected classes from 0 to "
            f"{classes - 1}, since scores has {classes} columns"
        )
    if not scores.isfinite().all():
        strange = float(scores[~scores.isfinite()][0])
        raise ValueError(
            f"scores holds {strange}; expected finite numbers "
            "(a learning rate that is too high ends this way)"
        )
    if not 0 < margin < math.inf:
        raise ValueError(f"margin is {margin}; expected a finite number above 0")
    return scores.float() if scores.dtype.itemsize < 4 else scores, labels
