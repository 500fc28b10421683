"""Attention rollout: from which patches of the image each token's features come.

Source: Abnar and Zuidema, "Quantifying Attention Flow in Transformers" (2020), arXiv 2005.00928,
    section 3.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def rollout(weights: Sequence[Tensor]) -> Tensor:
    """Return how much of each token after the last block comes from each one before the first.

    A block adds what attention mixes to what was there. So half of a token is taken to be itself
    and half the mean of the heads' attention, and the blocks' matrices are multiplied. Values,
    projections and the network behind the attention are ignored.

    Args:
        weights: the attention of each block, first block first: (N, h, T, T) each, rows sum to 1.

    Shape: → (N, T, T); rows sum to 1.

    Raises:
        ValueError: if there are no weights, or they are not of one such shape.
    """
    shapes = [tuple(each.shape) for each in weights]
    if not shapes or any(
        len(shape) != 4
        or shape[2] != shape[3]
        or (shape[0], shape[2]) != (shapes[0][0], shapes[0][2])
        for shape in shapes
    ):
        raise ValueError(f"weights have shapes {shapes}; expected (N, h, T, T), one or more")
    identity = torch.eye(shapes[0][2], dtype=weights[0].dtype, device=weights[0].device)
    total = identity.expand(shapes[0][0], -1, -1)
    for each in weights:
        total = (identity + each.mean(1)) / 2 @ total
    return total
