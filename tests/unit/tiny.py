"""A small training run, for tests that start it in processes of their own.

It is in float64, which autocast leaves alone: the same numbers on every processor.
"""

import torch
from dl4cv import training
from torch import nn
from torch.nn import functional as F

STEPS = 40


def loss_fn(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return the squared error of a regression."""
    return F.mse_loss(model(x), y)


def evaluate(model: nn.Module) -> dict[str, float | torch.Tensor]:
    """Return a metric and a snapshot that need random numbers, as an evaluation may."""
    predicted = model(torch.rand(4, 3).double())
    return {"noisy": float(predicted.mean()), "predicted": predicted}


def train(*, dropout: float = 0.5) -> tuple[nn.Module, torch.optim.Optimizer, training.History]:
    """Train a net with dropout and a moving schedule, from a fixed start."""
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(48, 4, generator=generator).double().split([3, 1], dim=1)
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 1))
        model.double()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    history = training.fit(
        model,
        training.Batches((x, y), 16),
        loss_fn,
        optimizer,
        name="test/tiny",
        steps=STEPS,
        schedule=training.schedules.one_cycle(STEPS),
        evaluate=evaluate,
        evaluate_every=10,
    )
    return model, optimizer, history
