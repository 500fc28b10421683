"""Learning-rate schedules: functions from the step (0, 1, 2, …) to a factor on the learning rate.

A schedule remembers nothing, so a run that resumes at step 700 needs only the number 700.
"""

import math
from collections.abc import Callable

Schedule = Callable[[int], float]


def constant() -> Schedule:
    """Return the schedule that leaves the learning rate alone."""
    return lambda step: 1.0


def step_decay(*, every: int, factor: float = 0.1) -> Schedule:
    """Return the schedule that multiplies by ``factor`` after each ``every`` steps."""
    return lambda step: factor ** (step // every)


def cosine(steps: int, *, final: float = 0.0) -> Schedule:
    """Return half a cosine wave from 1 at step 0 down to ``final`` at step ``steps``.

    Source: Loshchilov and Hutter, "SGDR" (2017), equation 5, without restarts.
    """
    return lambda step: _ease(1.0, final, step / steps)


def warmup(steps: int, then: Schedule) -> Schedule:
    """Return ``then``, its first ``steps`` steps damped by a factor that grows linearly to 1.

    Source: Goyal et al., "Accurate, Large Minibatch SGD" (2017), section 2.2.
    """
    return lambda step: min(1.0, (step + 1) / steps) * then(step)


def one_cycle(
    steps: int, *, rise: float = 0.3, start: float = 1 / 25, final: float = 4e-6
) -> Schedule:
    """Return one rise to 1 and a longer fall, both half cosine waves.

    Args:
        steps: length of the whole run.
        rise: share of the steps that rise.
        start: factor at the first step.
        final: factor at the last step.

    Source: Smith and Topin, "Super-Convergence" (2018); the defaults are those of
        ``torch.optim.lr_scheduler.OneCycleLR``.
    """
    peak = rise * steps - 1

    def factor(step: int) -> float:
        if step <= peak:
            return _ease(start, 1.0, step / peak)
        return _ease(1.0, final, (step - peak) / (steps - 1 - peak))

    return factor


def _ease(begin: float, end: float, progress: float) -> float:
    """Return the value at ``progress`` (0 to 1) on half a cosine wave from ``begin`` to ``end``."""
    return end + (begin - end) * (1 + math.cos(math.pi * progress)) / 2
