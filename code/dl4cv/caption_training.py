"""What the captioning chapters share: pictures, an encoder that is trained once, and one recipe."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dl4cv import optim, runtime, training
from dl4cv.data import clothes, still_lifes
from dl4cv.data.captions import PADDING
from dl4cv.data.still_lifes import StillLifes
from dl4cv.models.captioning import GRID, Encoder

#: D, features of a cell.
DIM = 128
#: Pixels of an item that a cell must show, at least, to be counted as the item's: a quarter.
LEAST = 16
BATCH_SIZE = 64
#: Pictures in a batch of the encoder's.
ENCODER_BATCH = 32
#: Pixels by which its batches are shifted, at most: half a cell.
MAX_SHIFT = 4


def pictures() -> tuple[StillLifes, StillLifes, StillLifes]:
    """Return pictures to learn from, others of the same items to choose by, and test pictures.

    Raises:
        FetchError: if Fashion-MNIST is not there and cannot be fetched.
        OSError: if the cache cannot be written.
    """
    learned, chosen, test = runtime.budget(
        smoke=(250, 50, 50), book=(18_000, 2_000, 5_000), full=(54_000, 2_000, 5_000)
    )
    return (
        still_lifes.load("train", learned, seed=0),
        still_lifes.load("train", chosen, seed=1),
        still_lifes.load("test", test, seed=0),
    )


def shown(instance_maps: Tensor) -> Tensor:
    """Return which item each of 8 × 8 cells shows most of, 0 to 2, or −1 for none.

    Shape: (N, 64, 64), as in ``StillLifes`` → (N, 64) int64.
    """
    size = still_lifes.IMAGE_SIZE // GRID
    found = []
    for maps in instance_maps.split(500):
        cells = maps.unfold(1, size, size).unfold(2, size, size).flatten(3).flatten(1, 2)
        counts = torch.stack([(cells == item).sum(2) for item in (1, 2, 3)], 2)  # (n, 64, 3)
        most, item = counts.max(2)
        found.append(torch.where(most >= LEAST, item, -1))
    return torch.cat(found)


def cell_targets(instance_maps: Tensor, *of_items: Tensor) -> list[Tensor]:
    """Return for each cell what is given for each item, or −1 where the cell shows none.

    Shape: (N, 64, 64), (N, 3) each → (N, 64) each.
    """
    item = shown(instance_maps)
    return [torch.where(item < 0, -1, row.gather(1, item.clamp(min=0))) for row in of_items]


def cell_loss(
    model: nn.Module, images: Tensor, maps: Tensor, kinds: Tensor, tints: Tensor
) -> Tensor:
    """Return the cross-entropy of kinds and tints over cells that show an item, after a shift.

    The whole batch is shifted by the same few pixels, at random. What leaves on one side comes back
    on the other.

    Shape: (N, 3, 64, 64), (N, 64, 64), (N, 3) twice → ().
    """
    shift = torch.randint(-MAX_SHIFT, MAX_SHIFT + 1, (2,)).tolist()
    images, maps = images.roll(shift, (2, 3)), maps.roll(shift, (1, 2))
    losses = [
        F.cross_entropy(
            logits.flatten(0, 1), target.flatten(), ignore_index=-1, label_smoothing=0.1
        )
        for logits, target in zip(model(images), cell_targets(maps, kinds, tints), strict=True)
    ]
    return losses[0] + losses[1]


class Labels(nn.Module):
    """The encoder, and for each cell the logits of a kind and of a tint: (N, 64, 6) each."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder(DIM)
        self.kind = nn.Linear(DIM, len(clothes.KINDS))
        self.tint = nn.Linear(DIM, len(still_lifes.TINTS))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return both."""
        cells = self.encoder(images)
        return self.kind(cells), self.tint(cells)


def encoder(learned: StillLifes, chosen: StillLifes) -> tuple[Encoder, training.History]:
    """Return an encoder that has learned to say what its cells show, and how well it does.

    Args:
        learned: what it learns from.
        chosen: pictures that the metrics ``kind`` and ``tint`` are taken on: the fraction of
            their items' cells that are right.
    """

    def evaluate(model: nn.Module) -> dict[str, Tensor]:
        device = runtime.device()
        parts = [model(part.to(device).float() / 255) for part in chosen.images.split(250)]
        found = [torch.cat(logits).argmax(2).cpu() for logits in zip(*parts, strict=True)]
        expected = cell_targets(chosen.instance_maps, chosen.labels, chosen.tints)
        right = [(f == e)[e >= 0].float().mean() for f, e in zip(found, expected, strict=True)]
        return dict(zip(("kind", "tint"), right, strict=True))

    runtime.seed_everything(0)
    model = Labels()
    steps = runtime.budget(smoke=2, book=1400, full=6000)
    history = training.fit(
        model,
        training.Batches(
            (learned.images, learned.instance_maps, learned.labels, learned.tints), ENCODER_BATCH
        ),
        cell_loss,
        muon(model),
        name="captions/encoder",
        steps=steps,
        schedule=training.schedules.one_cycle(steps),
        evaluate=evaluate,
    )
    return model.encoder.requires_grad_(False), history


@torch.no_grad()
def encode(encoder: Encoder, pictures: StillLifes) -> Tensor:
    """Return the features of all cells. Shape: (N, 64, D) float16, on the CPU."""
    device = runtime.device()
    cells = torch.empty(len(pictures), GRID * GRID, DIM, dtype=torch.float16)
    for rows in torch.arange(len(pictures)).split(250):
        cells[rows] = encoder(pictures.images[rows].to(device).float() / 255).half().cpu()
    return cells


def tokens(pictures: StillLifes, seed: int) -> Tensor:
    """Return one of the right captions of each picture, at random. Shape: (N, 15) int64."""
    captions = pictures.sampled_captions(seed)
    return still_lifes.VOCABULARY.encode(captions, still_lifes.MAX_TOKENS)


def learn(
    model: nn.Module,
    cells: Tensor,
    tokens: Tensor,
    *,
    name: str,
    steps: int,
    seed: int = 0,
) -> training.History:
    """Train a captioner to give each word of a caption, from the picture and the words before.

    Args:
        model: gives logits (N, T, V) for cells (N, 64, D) and tokens (N, T).
        cells: of the pictures, (N, 64, D).
        tokens: of one caption each, (N, T + 1).
        name: ``chapter/what``, of the run.
        steps: batches of 64 pictures.
        seed: of the order of the pictures.
    """

    def loss_fn(model: nn.Module, cells: Tensor, tokens: Tensor) -> Tensor:
        logits = model(cells.float(), tokens[:, :-1])
        target = tokens[:, 1:].flatten()
        return F.cross_entropy(logits.flatten(0, 1), target, ignore_index=PADDING)

    return training.fit(
        model,
        training.Batches((cells, tokens), BATCH_SIZE, seed=seed),
        loss_fn,
        muon(model),
        name=name,
        steps=steps,
        schedule=training.schedules.one_cycle(steps),
        seed=seed,
    )


def muon(model: nn.Module) -> optim.Muon:
    """Return Muon for the matrices of a model, at 0.02, and AdamW for its vectors, at 0.005."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim == 1]
    return optim.Muon([{"params": matrices}, {"params": vectors, "lr": 5e-3}], lr=0.02)
