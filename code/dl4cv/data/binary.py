"""Binarized images: each pixel is 1 with its gray value as the probability, as in binarized MNIST.

Source: Salakhutdinov and Murray, "On the quantitative analysis of deep belief networks" (2008).
Thresholding instead would make an easier set, whose likelihoods cannot be compared.
"""

import torch
from torch import Tensor

#: Seed of the binarized test set.
TEST_SEED = 0


def sample(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return a random binarized version of each image; a transform for ``Batches``.

    Shape: images (N, C, H, W) floats in [0, 1] → the same shape and type, each value 0 or 1.

    Raises:
        ValueError: if ``images`` is not of floats.
    """
    if not images.is_floating_point():
        raise ValueError(f"images is {images.dtype}; expected floats in [0, 1]")
    return torch.bernoulli(images, generator=generator)


def binarize_test_set(images: Tensor) -> Tensor:
    """Return the one binarized version of a test set that every number in the book refers to.

    Shape: images (N, C, H, W) uint8 → the same shape, float32, each value 0 or 1.

    Raises:
        ValueError: if ``images`` is not of bytes.
    """
    if images.dtype != torch.uint8:
        raise ValueError(f"images is {images.dtype}; expected torch.uint8")
    return sample(images.float() / 255, torch.Generator().manual_seed(TEST_SEED))
