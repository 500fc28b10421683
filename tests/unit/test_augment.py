"""Augmentation: what moves, what stays, and that each image draws for itself."""

import pytest
import torch
from dl4cv.training import augment
from hypothesis import given, settings
from hypothesis import strategies as st


def images(count: int = 40, channels: int = 2, side: int = 9) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return 0.1 + torch.rand(count, channels, side, side + 1, generator=generator)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


TRANSFORMS = [
    augment.random_shift(2),
    augment.random_horizontal_flip(),
    augment.cutout(3),
    augment.compose(augment.random_horizontal_flip(), augment.random_shift(1)),
]


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_a_transform_repeats_and_leaves_its_input_alone(transform):
    x = images()
    before = x.clone()
    first, again = transform(x, generator()), transform(x, generator())
    assert torch.equal(first, again)
    assert first.shape == x.shape
    assert torch.equal(x, before)
    assert not torch.equal(transform(x, generator(1)), first)


@settings(max_examples=20)
@given(st.integers(0, 3), st.integers(0, 1000))
def test_a_shift_moves_whole_images(max_shift, seed):
    x = images(12)
    moved = augment.random_shift(max_shift)(x, generator(seed))
    padded = torch.nn.functional.pad(x, (max_shift,) * 4)
    seen = set()
    for before, after in zip(padded, moved, strict=True):
        matches = [
            (top, left)
            for top in range(2 * max_shift + 1)
            for left in range(2 * max_shift + 1)
            if torch.equal(before[:, top : top + 9, left : left + 10], after)
        ]
        assert len(matches) == 1
        seen |= set(matches)
    assert max_shift == 0 or len(seen) > 1


def test_a_shift_goes_as_far_as_it_may_and_no_further():
    x = torch.zeros(2000, 1, 9, 9)
    x[:, :, 4, 4] = 1
    rows, columns = augment.random_shift(2)(x, generator())[:, 0].nonzero()[:, 1:].T
    assert sorted(set(rows.tolist())) == sorted(set(columns.tolist())) == [2, 3, 4, 5, 6]


def test_a_flip_mirrors_about_half():
    x = images(2000, 1, 4)
    flipped = augment.random_horizontal_flip()(x, generator())
    mirrored = (flipped == x.flip(3)).flatten(1).all(1)
    same = (flipped == x).flatten(1).all(1)
    assert (mirrored ^ same).all()
    assert 0.45 < mirrored.double().mean() < 0.55  # four standard errors


def test_cutout_blackens_one_square_in_all_channels():
    x = images(500)
    holes = augment.cutout(3)(x, generator()) == 0
    assert torch.equal(holes[:, 0], holes[:, 1])
    counts = holes[:, 0].sum((1, 2))
    assert counts.max() == 9  # whole
    assert counts.min() == 4  # at a corner, its centre is still inside
    whole = holes[:, 0][counts == 9][0].nonzero()
    assert (whole.max(0).values - whole.min(0).values).tolist() == [2, 2]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_the_type_of_images_and_a_batch_of_one_are_kept(transform, dtype):
    x = images(1).to(dtype)
    assert transform(x, generator()).dtype == dtype
    assert transform(x, generator()).shape == x.shape
    assert transform(x[:0], generator()).shape == x[:0].shape


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: augment.random_shift(-1), "max_shift is -1; expected at least 0 pixels"),
        (lambda: augment.cutout(0), "size is 0; expected at least 1 pixel"),
    ],
)
def test_what_is_wrong_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
