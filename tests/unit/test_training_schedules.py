"""Schedules equal those of torch.optim.lr_scheduler, step for step."""

import pytest
import torch
from dl4cv.training import schedules
from torch.optim import lr_scheduler

STEPS = 60


def rates(make) -> list[float]:
    """Return the learning rates, from 1, that a scheduler of PyTorch gives."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = make(optimizer)
    found = []
    for _ in range(STEPS):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (schedules.constant(), lambda o: lr_scheduler.ConstantLR(o, factor=1.0)),
        (
            schedules.step_decay(every=7, factor=0.5),
            lambda o: lr_scheduler.StepLR(o, step_size=7, gamma=0.5),
        ),
        (schedules.cosine(STEPS), lambda o: lr_scheduler.CosineAnnealingLR(o, STEPS)),
        (
            schedules.cosine(STEPS, final=0.1),
            lambda o: lr_scheduler.CosineAnnealingLR(o, STEPS, eta_min=0.1),
        ),
        (
            schedules.warmup(10, schedules.constant()),
            lambda o: lr_scheduler.LinearLR(o, start_factor=0.1, total_iters=9),
        ),
        (
            schedules.one_cycle(STEPS),
            lambda o: lr_scheduler.OneCycleLR(o, 1.0, total_steps=STEPS, cycle_momentum=False),
        ),
        (
            schedules.one_cycle(STEPS, rise=0.5, start=0.1, final=0.01),
            lambda o: lr_scheduler.OneCycleLR(
                o,
                1.0,
                total_steps=STEPS,
                pct_start=0.5,
                div_factor=10,
                final_div_factor=10,
                cycle_momentum=False,
            ),
        ),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_equals_pytorch(ours, theirs):
    assert [ours(step) for step in range(STEPS)] == pytest.approx(rates(theirs), abs=1e-12)
