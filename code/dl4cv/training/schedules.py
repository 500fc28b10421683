"""Learning-rate schedules: functions from the step (0, 1, 2, …) to a factor on the learning rate.

A schedule has no state, so a run that resumes at step 700 needs only the number 700. After the
last step it stays where it ended.
"""

import math
from collections.abc import Callable

Schedule = Callable[[int], float]


def constant() -> Schedule:
    """Return the schedule that leaves the learning rate alone."""
    return lambda step: 1.0


def step_decay(*, every: int, factor: float = 0.1) -> Schedule:
    """Return the schedule that multiplies by ``factor`` after each ``every`` steps.

    Raises:
        ValueError: if ``every`` is below 1.
    """
    _check_at_least(1, every=every)
    return lambda step: factor ** (step // every)


def cosine(steps: int, *, final: float = 0.0) -> Schedule:
    """Return half a cosine wave from 1 at step 0 down to ``final`` at step ``steps``.

    Raises:
        ValueError: if ``steps`` is below 1.

    Source: Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts" (2017),
        arXiv:1608.03983, equation 5, without restarts.
    """
    _check_at_least(1, steps=steps)
    return lambda step: _ease(1.0, final, step / steps)


def warmup(steps: int, then: Schedule) -> Schedule:
    """Return ``then``, its first ``steps`` steps damped by a factor that grows linearly to 1.

    Raises:
        ValueError: if ``steps`` is below 0.

    Source: Goyal et al., "Accurate, Large Minibatch SGD" (2017), arXiv:1706.02677, section 2.2.
    """
    _check_at_least(0, steps=steps)
    return lambda step: then(step) if step >= steps else (step + 1) / steps * then(step)


def one_cycle(
    steps: int, *, rise: float = 0.3, start: float = 1 / 25, final: float = 4e-6
) -> Schedule:
    """Return one rise to 1 and a longer fall, both half cosine waves.

    Args:
        steps: length of the whole run. With a single one, its factor is ``final``.
        rise: fraction of the steps that rise, in [0, 1].
        start: factor at the first step.
        final: factor at the last step.

    Raises:
        ValueError: if ``steps`` is below 1, or ``rise`` is out of its range.

    Source: Smith and Topin, "Super-Convergence" (2018), arXiv:1708.07120; the defaults are those
        of ``torch.optim.lr_scheduler.OneCycleLR``.
    """
    _check_at_least(1, steps=steps)
    if not 0 <= rise <= 1:
        raise ValueError(f"rise is {rise}; expected a fraction in [0, 1]")
    peak, last = rise * steps - 1, steps - 1

    def factor(step: int) -> float:
        if step < peak:
            return _ease(start, 1.0, step / peak)
        return _ease(1.0, final, (step - peak) / (last - peak)) if peak < last else 1.0

    return factor


def _check_at_least(least: int, **argument: int) -> None:
    for name, value in argument.items():
        if value < least:
            raise ValueError(f"{name} is {value}; expected at least {least}")


def _ease(begin: float, end: float, progress: float) -> float:
    """Return the value at ``progress`` (0 to 1) on half a cosine wave from ``begin`` to ``end``."""
    return end + (begin - end) * (1 + math.cos(math.pi * min(progress, 1.0))) / 2
