"""Schedules equal those of torch.optim.lr_scheduler, step for step."""

import itertools

import pytest
import torch
from dl4cv.training import schedules
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import lr_scheduler

STEPS = 60


def rates(make, steps: int = STEPS) -> list[float]:
    """Return the learning rates, from 1, that a scheduler of PyTorch gives."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = make(optimizer)
    found = []
    for _ in range(steps):
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


@given(steps=st.integers(1, 40), rise=st.sampled_from([0.0, 0.1, 0.25, 0.3, 0.5, 0.9, 1.0]))
def test_one_cycle_peaks_once_between_its_ends_however_short(steps, rise):
    schedule = schedules.one_cycle(steps, rise=rise, start=0.1, final=0.01)
    factors = [schedule(step) for step in range(steps)]
    assert all(0.01 - 1e-9 <= factor <= 1 for factor in factors)
    top = factors.index(max(factors))
    assert factors[: top + 1] == sorted(factors[: top + 1])
    assert factors[top:] == sorted(factors[top:], reverse=True)
    assert factors[-1] == pytest.approx(0.01 if rise < 1 else 1.0)
    assert schedule(10 * steps) == pytest.approx(factors[-1])


@given(steps=st.integers(1, 40))
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_one_cycle_equals_pytorch_at_any_length(steps):
    def theirs(optimizer):
        return lr_scheduler.OneCycleLR(
            optimizer, 1.0, total_steps=steps + 1, pct_start=0.37, cycle_momentum=False
        )

    ours = schedules.one_cycle(steps + 1, rise=0.37)
    assert [ours(step) for step in range(steps)] == pytest.approx(rates(theirs, steps), abs=1e-12)


@given(steps=st.integers(1, 40), final=st.floats(0, 1))
def test_cosine_falls_from_one_and_stays_at_its_end(steps, final):
    schedule = schedules.cosine(steps, final=final)
    factors = [schedule(step) for step in range(steps + 10)]
    assert factors[0] == pytest.approx(1)
    assert all(one >= other - 1e-12 for one, other in itertools.pairwise(factors))
    assert factors[steps:] == pytest.approx([final] * 10, abs=1e-12)


@given(steps=st.integers(0, 40))
def test_warmup_ends_where_its_schedule_goes_on(steps):
    schedule = schedules.warmup(steps, schedules.step_decay(every=3))
    then = schedules.step_decay(every=3)
    for step in range(steps + 5):
        assert schedule(step) == pytest.approx(min(1, (step + 1) / max(steps, 1)) * then(step))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: schedules.cosine(0), "steps is 0; expected at least 1"),
        (lambda: schedules.one_cycle(0), "steps is 0; expected at least 1"),
        (lambda: schedules.one_cycle(9, rise=1.1), "rise is 1.1"),
        (lambda: schedules.warmup(-1, schedules.constant()), "steps is -1; expected at least 0"),
        (lambda: schedules.step_decay(every=0), "every is 0; expected at least 1"),
    ],
)
def test_settings_out_of_range_are_errors(make, said):
    with pytest.raises(ValueError, match=said):
        make()
