"""What the captioning chapters share."""

import pytest
import torch
from clothing import some_items
from dl4cv import caption_training
from dl4cv.data import composed, still_lifes


@pytest.fixture(scope="module")
def pictures():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(composed, "CHUNK", 20)
        yield still_lifes.compose(some_items(0), "train", 60, seed=0)


def test_a_cell_shows_the_item_that_most_of_its_pixels_do(pictures):
    found = caption_training.shown(pictures.instance_maps)
    assert found.shape == (60, 64)
    for picture in range(60):
        for cell in range(64):
            top, left = 8 * (cell // 8), 8 * (cell % 8)
            pixels = pictures.instance_maps[picture, top : top + 8, left : left + 8].flatten()
            counts = pixels.long().bincount(minlength=4)[1:]
            expected = counts.argmax().item() if counts.max() >= 16 else -1
            assert found[picture, cell] == expected


def test_every_item_has_a_cell_of_its_own_in_nearly_all_pictures(pictures):
    found = caption_training.shown(pictures.instance_maps)
    seen = torch.stack([(found == item).any(1) for item in range(3)], 1)
    there = torch.arange(3) < pictures.counts[:, None]
    assert not seen[~there].any()
    assert seen[there].float().mean() > 0.95


def test_targets_of_cells_are_those_of_the_item_that_each_shows(pictures):
    item = caption_training.shown(pictures.instance_maps)
    kinds, tints = caption_training.cell_targets(
        pictures.instance_maps, pictures.labels, pictures.tints
    )
    assert (kinds[item < 0] == -1).all()
    for found, expected in ((kinds, pictures.labels), (tints, pictures.tints)):
        for picture, cell in (item >= 0).nonzero().tolist():
            assert found[picture, cell] == expected[picture, item[picture, cell]]


class Reads(torch.nn.Module):
    """Knows kind and tint of a cell from the first two channels, which hold them."""

    def forward(self, images):
        cells = torch.nn.functional.max_pool2d(images[:, :2], 8).flatten(2)  # (N, 2, 64)
        numbers = (10 * cells).round().long() - 1
        return [
            30 * torch.nn.functional.one_hot(n.clamp(min=0), 6).float() for n in numbers.unbind(1)
        ]


def test_pictures_and_targets_are_shifted_together(pictures):
    maps = pictures.instance_maps.long()
    channels = []
    for rows in (pictures.labels, pictures.tints):
        padded = torch.cat([torch.zeros(60, 1), (rows + 1) / 10], 1)
        channels.append(padded.gather(1, maps.flatten(1)).view(60, 64, 64))
    images = torch.stack([*channels, torch.zeros(60, 64, 64)], 1)
    given = images, pictures.instance_maps, pictures.labels, pictures.tints
    torch.manual_seed(0)
    drawn = torch.stack([caption_training.cell_loss(Reads(), *given) for _ in range(10)])
    floor = 2 * 0.1 * 30 * 5 / 6  # what smoothed targets cost who is sure, and right
    assert len(drawn.unique()) > 1
    assert (drawn < floor + 2).all()


def test_cells_are_those_of_the_encoder_picture_by_picture(pictures):
    torch.manual_seed(0)
    encoder = caption_training.Labels().eval().encoder
    cells = caption_training.encode(encoder, pictures)
    assert cells.shape == (60, 64, caption_training.DIM)
    alone = encoder(pictures.images[7:8].float() / 255)
    torch.testing.assert_close(cells[7:8].float(), alone, atol=1e-2, rtol=1e-2)


def test_tokens_are_a_right_caption_of_each_picture(pictures):
    tokens = caption_training.tokens(pictures, seed=3)
    words = still_lifes.VOCABULARY.decode(tokens)
    assert all(words[i] in pictures.captions(i) for i in range(len(pictures)))
    assert words != still_lifes.VOCABULARY.decode(caption_training.tokens(pictures, seed=4))
