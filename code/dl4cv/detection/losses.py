"""Losses of detectors: for classes of which nearly every place has none, and for boxes."""

from torch import Tensor
from torch.nn import functional as F

from dl4cv.detection import boxes, inputs


def sigmoid_focal_loss(
    logits: Tensor, targets: Tensor, *, alpha: float = 0.25, gamma: float = 2
) -> Tensor:
    """Return the focal loss of each logit: −α_t (1 − p_t)^γ log p_t.

    p_t is the probability that the network gives to the truth. The factor (1 − p_t)^γ takes the
    weight from what is right already, such as most of the background.

    Args:
        logits: of any shape.
        targets: of the same shape, 0 or 1.
        alpha: α_t where the target is 1; it is 1 − ``alpha`` where the target is 0.
        gamma: 0 for a weighted cross-entropy.

    Shape: → that of ``logits``.
    Units: nats.

    Raises:
        ValueError: if the shapes differ, a logit is not finite, a target is not 0 or 1, ``alpha``
            is outside [0, 1] or ``gamma`` negative.

    Source: Lin, Goyal, Girshick, He and Dollár (2017), arXiv 1708.02002, equation 5.
    """
    logits = inputs.floats("logits", logits)
    if targets.shape != logits.shape:
        raise ValueError(
            f"targets has shape {tuple(targets.shape)}; expected that of logits, "
            f"{tuple(logits.shape)}"
        )
    if not ((targets == 0) | (targets == 1)).all():
        raise ValueError("targets holds values other than 0 and 1; expected these alone")
    inputs.fraction("alpha", alpha)
    if not gamma >= 0:
        raise ValueError(f"gamma is {gamma}; expected at least 0")
    targets = targets.to(logits)
    margin = (2 * targets - 1) * logits  # p_t = sigmoid(margin)
    alpha_t = alpha * targets + (1 - alpha) * (1 - targets)
    modulation = (gamma * F.logsigmoid(-margin)).exp()  # (1 − p_t)^γ
    return -alpha_t * modulation * F.logsigmoid(margin)


def giou_loss(predicted: Tensor, truth: Tensor) -> Tensor:
    """Return 1 − GIoU of each pair of boxes.

    Shape: predicted (…, 4) and truth (…, 4), broadcast → (…).
    Units: [0, 2].

    Raises:
        ValueError: if ``predicted`` or ``truth`` are not boxes.

    Source: Rezatofighi et al. (2019), arXiv 1902.09630, algorithm 2.
    """
    predicted, truth = inputs.boxes("predicted", predicted), inputs.boxes("truth", truth)
    return 1 - boxes.giou(predicted, truth)
