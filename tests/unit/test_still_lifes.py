"""Still lifes: pixels, boxes, tints and captions must say the same, whatever the seed."""

import colorsys
import itertools
import re
from types import SimpleNamespace

import pytest
import torch
from clothing import some_items
from dl4cv.data import captions, clothes, composed, still_lifes
from hypothesis import given, settings
from hypothesis import strategies as st

TRAIN, TEST = some_items(0), some_items(5)
PHRASE = re.compile(r"(?:a )?(\w+) (top|trousers|dress|bag|shoe|boot)")
HUES = {"red": 0, "yellow": 58, "green": 130, "blue": 216, "purple": 284}  # degrees


@pytest.fixture(scope="module", autouse=True)
def small_chunks():
    """Chunks of few pictures, for speed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(composed, "CHUNK", 20)
        yield


@pytest.fixture(scope="module")
def many(small_chunks) -> still_lifes.StillLifes:
    """A thousand pictures of fifty chunks."""
    return still_lifes.compose(TRAIN, "train", 1000, seed=0)


def parsed(caption: str) -> tuple[list[tuple[str, str]], list[str]]:
    """Return a caption's items, as (tint, kind), and the relations between them."""
    phrases = [match.groups() for match in PHRASE.finditer(caption)]
    between = [part.strip() for part in PHRASE.split(caption)[3::3]]
    return phrases, [part for part in between if part]


def holds(relation: str, first: torch.Tensor, second: torch.Tensor) -> bool:
    """Return whether a relation is true of two boxes, written anew from its words."""
    dx, dy = ((first[:2] + first[2:] - second[:2] - second[2:]) / 2).tolist()
    side = {"left of": -dx, "right of": dx, "above": -dy, "below": dy}[relation]
    other = abs(dy) if relation.endswith("of") else abs(dx)
    return side > 0 and side >= 2 * other


def test_shapes_and_types(many):
    assert len(many) == 1000
    assert many.images.shape == (1000, 3, 64, 64)
    assert many.instance_maps.shape == (1000, 64, 64)
    assert many.boxes.shape == (1000, 3, 4)
    assert many.images.dtype == many.instance_maps.dtype == torch.uint8
    assert sorted(many.counts.unique().tolist()) == [2, 3]
    there = torch.arange(3) < many.counts[:, None]
    for column in (many.labels, many.tints):
        assert ((column >= 0) == there).all()


def test_a_mask_and_its_box_agree_and_items_are_apart(many):
    for i in range(1000):
        for number, box in enumerate(many.boxes[i, : many.counts[i]], 1):
            mask = many.instance_maps[i] == number
            rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
            x0, y0, x1, y1 = box.int().tolist()
            assert (int(columns[0]), int(columns[-1]) + 1) == (x0, x1)
            assert (int(rows[0]), int(rows[-1]) + 1) == (y0, y1)
            assert min(x0, y0) >= 1
            assert max(x1, y1) <= 63
        for (ax0, ay0, ax1, ay1), (bx0, by0, bx1, by1) in itertools.combinations(
            many.boxes[i, : many.counts[i]].tolist(), 2
        ):
            assert max(bx0 - ax1, ax0 - bx1, by0 - ay1, ay0 - by1) >= still_lifes.GAP


def test_an_item_has_the_color_that_its_tint_names(many):
    for i in range(0, 1000, 5):
        for number, tint in enumerate(many.tints[i, : many.counts[i]].tolist(), 1):
            pixels = many.images[i][:, many.instance_maps[i] == number].double().mean(1) / 255
            hue, saturation, _ = colorsys.rgb_to_hsv(*pixels.tolist())
            away = {name: abs((360 * hue - at + 180) % 360 - 180) for name, at in HUES.items()}
            name = "white" if saturation < 0.3 else min(away, key=lambda tint: away[tint])
            assert name == still_lifes.TINTS[tint]


def test_captions_are_all_orders_in_which_neighbours_are_related(many):
    for i in range(1000):
        count = int(many.counts[i])
        items = [
            (still_lifes.TINTS[tint], clothes.KINDS[kind])
            for tint, kind in zip(
                many.tints[i, :count].tolist(), many.labels[i, :count].tolist(), strict=True
            )
        ]
        expected = set()
        for order in itertools.permutations(range(count)):
            names = []
            for pair in itertools.pairwise(order):
                boxes = [many.boxes[i, item] for item in pair]
                true = [name for name in still_lifes.RELATIONS if holds(name, *boxes)]
                names.append(true[0] if true else None)
                assert len(true) <= 1
            if None not in names:
                expected.add((tuple(items[item] for item in order), tuple(names)))
        found = [tuple(map(tuple, parsed(caption))) for caption in many.captions(i)]
        assert found
        assert set(found) == expected
        assert len(many.captions(i)) == len(set(many.captions(i)))


def test_captions_read_as_english():
    pictures = still_lifes.compose(TRAIN, "train", 40, seed=1)
    said = " ".join(itertools.chain.from_iterable(map(pictures.captions, range(40))))
    assert "a red top" in said
    assert "trousers" in said
    assert not re.search(r"\ba \w+ trousers", said)


def test_a_sampled_caption_is_a_right_one_and_all_come_up(many):
    first, again, other = (many.sampled_captions(seed) for seed in (0, 0, 1))
    assert first == again != other
    assert all(caption in many.captions(i) for i, caption in enumerate(first))
    assert {caption == many.captions(i)[-1] for i, caption in enumerate(first)} == {True, False}


def test_the_vocabulary_spells_every_caption(many):
    said = many.sampled_captions(0)
    tokens = still_lifes.VOCABULARY.encode(said, still_lifes.MAX_TOKENS)
    assert still_lifes.VOCABULARY.decode(tokens) == said
    assert (tokens[:, 0] == captions.START).all()
    assert (tokens[:, -1] != captions.PADDING).any()  # no shorter length would do
    assert set(tokens.unique().tolist()) == set(range(len(still_lifes.VOCABULARY))) - {
        still_lifes.VOCABULARY.tokens.index(kind) for kind in ("bag", "shoe", "boot")
    }


def test_kinds_and_tints_are_equally_frequent():
    pictures = still_lifes.compose(some_items(0, labels=10), "train", 1000, seed=2)
    there = pictures.labels >= 0
    for column in (pictures.labels, pictures.tints):
        shares = column[there].bincount(minlength=6) / there.sum()
        assert ((shares - 1 / 6).abs() < 0.035).all()  # over four standard errors


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**40), count=st.integers(1, 50))
def test_the_seed_alone_decides(seed, count):
    first = still_lifes.compose(TRAIN, "train", count, seed=seed)
    again = still_lifes.compose(TRAIN, "train", count, seed=seed)
    assert all(torch.equal(tensor, vars(again)[name]) for name, tensor in vars(first).items())


def test_train_and_test_pictures_are_made_of_their_own_items(tmp_path, monkeypatch):
    monkeypatch.setenv("DL4CV_CACHE", str(tmp_path))
    splits = {"train": TRAIN, "test": TEST}
    monkeypatch.setattr(still_lifes, "fashion", SimpleNamespace(load=splits.get))
    train, test = still_lifes.load("train", 20), still_lifes.load("test", 20)
    assert set(train.labels.unique().tolist()) == {-1, 0, 1, 2}  # of the classes 0 to 4
    assert set(test.labels.unique().tolist()) == {-1, 0, 3, 4, 5}  # of the classes 5 to 9
    assert len(list(tmp_path.rglob("still_lifes/*.safetensors"))) == 2


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="split is 'validation'"):
        still_lifes.load("validation", 5)
    with pytest.raises(ValueError, match="count is 0"):
        still_lifes.load("train", 0)


def test_without_pixels_the_captions_are_the_same():
    pictures = still_lifes.compose(TRAIN, "train", 10, seed=0)
    small = pictures.without_pixels()
    assert small.images.numel() == small.instance_maps.numel() == 0
    assert len(small) == 10
    assert [small.captions(i) for i in range(10)] == [pictures.captions(i) for i in range(10)]
