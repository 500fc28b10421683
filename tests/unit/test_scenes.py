"""Scenes: what a picture's boxes, classes and masks say must agree, whatever the seed."""

import sys
from types import SimpleNamespace

import pytest
import torch
from clothing import some_items
from dl4cv.data import composed, labelled, scenes
from hypothesis import given, settings
from hypothesis import strategies as st

TRAIN, TEST = some_items(0), some_items(5)


@pytest.fixture(scope="module", autouse=True)
def small_chunks():
    """Chunks of few scenes, for speed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(composed, "CHUNK", 20)
        yield


@pytest.fixture(scope="module")
def many(small_chunks) -> scenes.Scenes:
    """A thousand scenes of fifty chunks."""
    return scenes.compose(TRAIN, "train", 1000, seed=0)


def test_shapes_and_types(many):
    assert len(many) == 1000
    assert many.images.shape == (1000, 3, 96, 96)
    assert many.instance_maps.shape == (1000, 96, 96)
    assert many.boxes.shape == (1000, 6, 4)
    assert many.images.dtype == many.instance_maps.dtype == torch.uint8
    assert many.labels.dtype == many.counts.dtype == torch.int64


def test_two_to_six_items_and_all_counts_occur(many):
    assert sorted(many.counts.unique().tolist()) == [2, 3, 4, 5, 6]
    slots = torch.arange(6)
    there = slots < many.counts[:, None]
    assert ((many.labels >= 0) == there).all()
    assert (many.labels[~there] == -1).all()
    assert (many.boxes[~there] == 0).all()
    assert (many.fine_labels[~there] == -1).all()
    assert sorted(many.fine_labels[there].unique().tolist()) == [0, 1, 2, 3, 4]
    kinds = ["top", "trousers", "top", "dress", "top"]
    for fine, kind in zip(many.fine_labels[there], many.labels[there], strict=True):
        assert scenes.CLASS_NAMES[kind] == kinds[fine]


def test_kinds_are_equally_frequent(many):
    shares = many.labels[many.labels >= 0].bincount(minlength=6) / many.counts.sum()
    # A third each of three kinds; four standard errors of about 4,000 draws.
    assert ((shares[:3] - 1 / 3).abs() < 0.03).all()


def test_a_mask_and_its_box_agree_and_every_item_pixel_has_an_item(many):
    for i in range(1000):
        masks = many.masks(i)
        assert len(masks) == many.counts[i]
        assert masks.sum(0).max() <= 1
        assert (masks.any(0) == (many.instance_maps[i] > 0)).all()
        for mask, box in zip(masks, many.boxes[i], strict=False):
            rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
            x0, y0, x1, y1 = box.int().tolist()
            assert (int(columns[0]), int(columns[-1]) + 1) == (x0, x1)
            assert (int(rows[0]), int(rows[-1]) + 1) == (y0, y1)


def test_at_most_two_fifths_of_an_item_are_covered():
    """Items that are full squares show at least three fifths of the square that their sides span.

    Unturned and of one size, a square's whole area is known.
    """
    square = torch.full((10, 1, 28, 28), 200, dtype=torch.uint8)
    items = labelled.LabelledImages(square, torch.zeros(10).long(), ("a",), "0" * 64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scenes, "MIN_SCALE", 1.5)
        patch.setattr(scenes, "MAX_SCALE", 1.5)
        patch.setattr(scenes, "MAX_ANGLE", 0.0)
        found = scenes.compose(items, "train", 500, seed=3)
    numbers = torch.arange(1, 7)[:, None, None]
    shown = (found.instance_maps[:, None] == numbers).sum((2, 3))[found.labels >= 0] / 42**2
    assert shown.min() >= 0.55  # a pixel's row more or less at each border
    assert shown.min() < 0.75
    assert shown.max() <= 1.05


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**40), count=st.integers(1, 50))
def test_the_seed_alone_decides(seed, count):
    first = scenes.compose(TRAIN, "train", count, seed=seed)
    again = scenes.compose(TRAIN, "train", count, seed=seed)
    assert all(torch.equal(tensor, vars(again)[name]) for name, tensor in vars(first).items())


def test_a_larger_set_begins_with_the_smaller_one():
    larger = scenes.compose(TRAIN, "train", composed.CHUNK + 2, seed=5)
    smaller = scenes.compose(TRAIN, "train", 3, seed=5)
    assert all(torch.equal(vars(larger)[n][:3], tensor) for n, tensor in vars(smaller).items())
    other = scenes.compose(TRAIN, "train", 3, seed=6)
    assert not torch.equal(other.images, smaller.images)
    # The chunks of a set differ, too.
    assert not torch.equal(larger.images[composed.CHUNK :], larger.images[:2])


def test_train_and_test_share_neither_items_nor_places(monkeypatch):
    ramp = torch.linspace(0, 255, 300).byte().expand(3, 200, 300)  # brighter to the right
    monkeypatch.setattr(scenes.photos, "NAMES", ("ramp",))
    monkeypatch.setattr(scenes.photos, "load", lambda name: ramp)
    train = scenes.compose(TRAIN, "train", 200, seed=0)
    test = scenes.compose(TEST, "test", 200, seed=0)
    assert set(train.fine_labels.unique().tolist()) == {-1, 0, 1, 2, 3, 4}
    assert set(test.fine_labels.unique().tolist()) == {-1, 5, 6, 7, 8, 9}
    dark, bright = (
        found.images.amax(1)[found.instance_maps == 0].float().quantile(q)
        for found, q in ((train, 0.9), (test, 0.1))
    )
    assert dark < 255 * 2 / 3 < bright


def test_scenes_are_composed_once_and_checked_when_read(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DL4CV_CACHE", str(tmp_path))
    monkeypatch.setattr(scenes, "fashion", SimpleNamespace(load={"train": TRAIN}.get))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    first = scenes.load("train", 20)
    shown = capsys.readouterr()
    assert "Scenes: 20 for train composed in " in shown.err
    assert shown.out == ""
    again = scenes.load("train", 20)
    assert capsys.readouterr() == ("", "")
    assert all(torch.equal(a, vars(again)[name]) for name, a in vars(first).items())
    (file,) = tmp_path.rglob("*.safetensors")
    other = tmp_path / "other"
    other.touch()
    assert file.stat().st_mode == other.stat().st_mode  # a cache can be shared
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))
    scenes.load("train", 20)
    assert "does not match its checksum; composing them again" in capsys.readouterr().out
    file.write_bytes(bytes(content[: len(content) // 2]))
    scenes.load("train", 20)
    assert "composed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("split", "count", "message"),
    [
        ("validation", 5, "split is 'validation'; expected 'train' or 'test'"),
        ("train", 0, "count is 0; expected at least 1"),
    ],
)
def test_wrong_arguments_are_named(split, count, message):
    with pytest.raises(ValueError, match=message):
        scenes.load(split, count)
