"""Black-and-white images: each pixel drawn with its grey value as its probability of ink.

The set that likelihoods on binarised MNIST refer to; thresholding instead makes an easier one.
Source: Salakhutdinov and Murray, "On the quantitative analysis of deep belief networks" (2008).
"""

import torch
from torch import Tensor

#: What the test set is drawn with, once for all.
TEST_SEED = 0


def sample(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return a random black-and-white version of each image; a transform for ``Batches``.

    Shape: images (N, C, H, W) floats in [0, 1] → the same, each value 0 or 1.

    Raises:
        ValueError: if ``images`` is not of floats.
    """
    if not images.is_floating_point():
        raise ValueError(f"images is {images.dtype}; expected floats in [0, 1]")
    return torch.bernoulli(images, generator=generator)


def fixed(images: Tensor) -> Tensor:
    """Return the black-and-white version of a test set that every number in the book refers to.

    Shape: images (N, C, H, W) uint8 → the same shape, float32, each value 0 or 1.
    """
    return sample(images.float() / 255, torch.Generator().manual_seed(TEST_SEED))
