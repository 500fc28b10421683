"""Batches: every example once an epoch, and the same whenever a step is asked for again."""

import pytest
import torch
from dl4cv import data, training
from dl4cv.training.seeds import mix
from hypothesis import given
from hypothesis import strategies as st


@given(count=st.integers(1, 40), size=st.integers(1, 40), seed=st.integers(0, 3))
def test_an_epoch_shows_every_example_at_most_once(count, size, seed):
    size = min(size, count)
    batches = training.Batches((torch.arange(count),), size, seed=seed)
    for epoch in range(3):
        steps = range(epoch * batches.per_epoch, (epoch + 1) * batches.per_epoch)
        seen = torch.cat([batches(step)[0] for step in steps])
        assert len(seen) == count // size * size
        assert len(set(seen.tolist())) == len(seen)


def test_the_order_depends_on_seed_and_epoch_and_on_nothing_else():
    def order(seed: int, step: int) -> list[int]:
        return training.Batches((torch.arange(100),), 100, seed=seed)(step)[0].tolist()

    first = order(0, 0)
    torch.rand(3)
    assert order(0, 0) == first
    assert len({tuple(order(seed, step)) for seed in range(3) for step in range(3)}) == 9


def test_labelled_images_come_as_floats_with_their_labels():
    images = torch.arange(4 * 4, dtype=torch.uint8).reshape(4, 1, 2, 2)
    labelled = data.LabelledImages(images, torch.arange(4), ("a", "b", "c", "d"), "0" * 64)
    x, y = training.Batches(labelled, 3)(0)
    assert x.dtype == torch.float32
    torch.testing.assert_close(x, images[y].float() / 255)


def test_a_transform_is_given_the_same_randomness_at_the_same_step():
    def noisy(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return images + torch.rand(images.shape, generator=generator)

    batches = training.Batches((torch.zeros(8, 1, 2, 2), torch.arange(8)), 4, transform=noisy)
    torch.testing.assert_close(batches(1), batches(1), rtol=0, atol=0)
    assert not torch.equal(batches(0)[0], batches(1)[0])


@pytest.mark.parametrize(
    ("lengths", "size", "said"),
    [((3, 4), 1, r"lengths \[3, 4\]"), ((3,), 4, "batch_size is 4"), ((3,), 0, "batch_size is 0")],
)
def test_wrong_settings_are_errors(lengths, size, said):
    with pytest.raises(ValueError, match=said):
        training.Batches([torch.zeros(length) for length in lengths], size)


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=4), st.integers(0, 3))
def test_mixed_seeds_are_seeds_and_differ(numbers, place):
    assert 0 <= mix(*numbers) < 2**32
    other = list(numbers)
    other[place % len(numbers)] += 1
    assert mix(*numbers) != mix(*other)
