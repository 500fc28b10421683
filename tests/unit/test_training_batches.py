"""Batches: every example once an epoch, and the same at every call."""

import pytest
import torch
from dl4cv import data, training
from dl4cv.training.seeds import derive_seed
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
def test_derived_seeds_are_seeds_and_differ(numbers, place):
    assert 0 <= derive_seed(*numbers) < 2**32
    other = list(numbers)
    other[place % len(numbers)] += 1
    assert derive_seed(*numbers) != derive_seed(*other)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_labels_of_any_integer_type_come_as_the_losses_take_them(dtype):
    labels = torch.arange(4).to(dtype)
    x, y = training.Batches((torch.rand(4, 1, 2, 3), labels), 1)(0)
    assert y.dtype == torch.int64
    torch.nn.functional.cross_entropy(x.flatten(1), y)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_images_that_are_floats_already_keep_their_type(dtype):
    images = torch.rand(4, 1, 2, 3).to(dtype)
    targets = torch.rand(4)
    x, y = training.Batches((images, targets), 4)(0)
    assert x.dtype == dtype
    assert y.dtype == targets.dtype


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ((), "data has tensors of lengths"),
        ((torch.zeros(0, 1, 2, 2), torch.zeros(0)), "data is empty"),
        (torch.zeros(4, 1, 2, 2), "data is one tensor; expected several"),
    ],
)
def test_data_without_examples_is_an_error(data, said):
    with pytest.raises(ValueError, match=said):
        training.Batches(data, 1)


def test_a_seed_below_zero_is_an_error():
    with pytest.raises(ValueError, match="seed is -1"):
        training.Batches((torch.zeros(4),), 1, seed=-1)
