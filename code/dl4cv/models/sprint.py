"""The speed run: MNIST to 99 % in one epoch, in seconds, on a processor."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dl4cv import runtime, training
from dl4cv.data.labelled import LabelledImages

BATCH = 256
EPOCH = 60_000 // BATCH


class Sprint(nn.Module):
    """Three convolutions, at 14 × 14 and 7 × 7 places. Shape: (N, 1, 28, 28) in [0, 1] → (N, 10).

    The first convolution moves by two pixels, so nothing is computed at the full resolution, where
    a layer costs four times as much.
    """

    def __init__(self, widths: tuple[int, int, int] = (16, 32, 48)) -> None:
        super().__init__()
        a, b, c = widths
        self.features = nn.Sequential(
            nn.Conv2d(1, a, 5, 2, 2, bias=False),  # (N, a, 14, 14)
            nn.BatchNorm2d(a),
            nn.ReLU(),
            nn.Conv2d(a, b, 3, 1, 1, bias=False),  # (N, b, 14, 14)
            nn.BatchNorm2d(b),
            nn.ReLU(),
            nn.MaxPool2d(2),  # (N, b, 7, 7)
            nn.Conv2d(b, c, 3, 1, 1, bias=False),  # (N, c, 7, 7)
            nn.BatchNorm2d(c),
            nn.ReLU(),
            nn.Flatten(),
        )
        self.classifier = nn.Linear(c * 49, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits."""
        return self.classifier(self.features(images))


def run(
    train: LabelledImages, test: LabelledImages, seed: int, *, steps: int = EPOCH
) -> training.History:
    """Train a ``Sprint`` for one epoch; its metric is the accuracy on ``test``."""
    runtime.seed(seed)
    model = Sprint()

    def loss_fn(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(model(images), labels)

    def evaluate(model: nn.Module) -> dict[str, float]:
        on, right = runtime.device(), 0
        for x, y in zip(test.images.split(500), test.labels.split(500), strict=True):
            right += int((model(x.to(on).float() / 255).argmax(1) == y.to(on)).sum())
        return {"accuracy": right / len(test)}

    return training.fit(
        model,
        training.Batches(train, BATCH, seed=seed),
        loss_fn,
        torch.optim.Adam(model.parameters(), lr=1e-2, betas=(0.7, 0.9), fused=True),
        name="training/sprint",
        steps=steps,
        schedule=training.schedules.one_cycle(steps),
        evaluate=evaluate,
        seed=seed,
    )
