"""Training recipes that a chapter and a benchmark share."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dl4cv import runtime, training
from dl4cv.data.labelled import LabelledImages
from dl4cv.metrics import classification
from dl4cv.models.sprint import Sprint

BATCH_SIZE = 128
EPOCH = 60_000 // BATCH_SIZE  # steps, on the training set of MNIST


def sprint(
    train: LabelledImages,
    test: LabelledImages,
    seed: int,
    *,
    steps: int = EPOCH,
    network: Callable[[], nn.Module] = Sprint,
    lr: float = 7e-3,
    betas: tuple[float, float] = (0.7, 0.9),
    one_cycle: bool = True,
    label_smoothing: float = 0.1,
) -> training.History:
    """Train a network for one epoch: MNIST to 99 % within seconds on a CPU.

    The defaults are the recipe; each other argument takes one of its parts away.

    Args:
        train: images to learn from.
        test: images whose accuracy is the run's metric, at its end.
        seed: of the weights and of the batches.
        steps: batches of 128 images.
        network: makes the network; the weights come from the global generator.
        lr: learning rate of Adam, at its highest.
        betas: of Adam; lower than usual, since the run is short.
        one_cycle: whether the learning rate rises and falls; constant if not.
        label_smoothing: probability spread over all classes.
    """
    runtime.seed_everything(seed)
    model = network()

    def loss_fn(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(model(images), labels, label_smoothing=label_smoothing)

    def evaluate(model: nn.Module) -> dict[str, float]:
        return {"accuracy": classification.accuracy(model, test.images, test.labels)}

    return training.fit(
        model,
        training.Batches(train, BATCH_SIZE, seed=seed),
        loss_fn,
        torch.optim.Adam(model.parameters(), lr=lr, betas=betas, fused=True),
        name="training/sprint",
        steps=steps,
        schedule=training.schedules.one_cycle(steps) if one_cycle else None,
        evaluate=evaluate,
        seed=seed,
    )
