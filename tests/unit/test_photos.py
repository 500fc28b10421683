"""Photographs against scikit-image's own arrays."""

import numpy as np
import pytest
from dl4cv.data import photos
from skimage import data as photographs


@pytest.mark.parametrize("name", photos.NAMES)
def test_photographs_are_scikit_images(name):
    expected = getattr(photographs, name)()
    assert np.array_equal(photos.read(name).numpy(), expected)
    channels_first = expected[None] if expected.ndim == 2 else expected.transpose(2, 0, 1)
    assert np.array_equal(photos.load(name).numpy(), channels_first)
    assert photos.load(name).is_contiguous()


def test_unknown_name_lists_the_known():
    with pytest.raises(ValueError, match=r"'moon'; expected one of: astronaut, brick"):
        photos.read("moon")
