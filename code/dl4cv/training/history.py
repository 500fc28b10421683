"""What a training run did and cost."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

#: The line that ``fit`` prints at its end; what follows the colon differs from run to run.
RUN_LINE = re.compile(r"^\[run\] (?P<name>\S+): (?P<cost>.*)$", re.MULTILINE)


@dataclass
class History:
    """The course of a training run, and its cost.

    Attributes:
        name: what the run is called, such as ``sgd/adam``.
        key: SHA-256 of everything that determines the result.
        losses: the loss of every step, on that step's batch; of several terms, their sum.
        loss_terms: for each term that the loss function yields, its value at every step.
        metrics: for each metric the pairs (steps done, value), in order.
        snapshots: for each tensor that ``evaluate`` returned the pairs (steps done, tensor), in
            order, on the CPU.
        seconds: what the training took, evaluation included, whenever it was done.
        evaluation_seconds: how much of that was spent in ``evaluate``.
        peak_mib: the most memory in use: the process's own, or the GPU's where there is one.
        trained_now: whether this call trained, or loaded the result from the run store.
    """

    name: str
    key: str
    losses: list[float] = field(default_factory=list)
    loss_terms: dict[str, list[float]] = field(default_factory=dict)
    metrics: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    snapshots: dict[str, list[tuple[int, Tensor]]] = field(default_factory=dict)
    seconds: float = 0.0
    evaluation_seconds: float = 0.0
    peak_mib: float = 0.0
    trained_now: bool = True

    @property
    def steps(self) -> int:
        """The number of steps."""
        return len(self.losses)

    def last(self, metric: str) -> float:
        """Return the metric's value at the end of the training.

        Raises:
            ValueError: if there is no such metric; the message lists those there are.
        """
        return self._of("metric", metric, self.metrics)[-1][1]

    def curve(self, metric: str) -> tuple[list[int], list[float]]:
        """Return the steps at which the metric was measured, and its values, to plot.

        Raises:
            ValueError: if there is no such metric; the message lists those there are.
        """
        steps, values = zip(*self._of("metric", metric, self.metrics), strict=True)
        return list(steps), list(values)

    def snapshot(self, name: str) -> tuple[list[int], Tensor]:
        """Return the steps at which the snapshot was taken, and all of them. Shape: (S, …).

        Raises:
            ValueError: if there is no such snapshot; the message lists those there are.
        """
        steps, values = zip(*self._of("snapshot", name, self.snapshots), strict=True)
        return list(steps), torch.stack(values)

    def smoothed(self, window: int) -> tuple[list[int], list[float]]:
        """Return the running mean of the losses over ``window`` steps, or over all if fewer.

        Returns:
            The number of steps done at the end of each window, and the means.

        Raises:
            ValueError: if ``window`` is below 1.
        """
        if window < 1:
            raise ValueError(f"window is {window}; expected at least 1 step")
        window = min(window, self.steps)
        means = np.convolve(self.losses, np.full(window, 1 / window), "valid")
        return list(range(window, self.steps + 1)), means.tolist()

    def to_json(self) -> dict[str, Any]:
        """Return all but the snapshots in JSON's types; ``from_json`` makes it again."""
        return {name: value for name, value in vars(self).items() if name != "snapshots"}

    @classmethod
    def from_json(
        cls,
        content: Mapping[str, Any],
        snapshots: dict[str, list[tuple[int, Tensor]]],
        *,
        trained_now: bool,
    ) -> "History":
        """Return the history that ``to_json`` wrote, with its snapshots."""
        metrics = {
            name: [(int(step), float(value)) for step, value in pairs]
            for name, pairs in content["metrics"].items()
        }
        changed = {"metrics": metrics, "snapshots": snapshots, "trained_now": trained_now}
        return cls(**{**content, **changed})

    def line(self, remarks: str = "") -> str:
        """Return the one line that tells a page whether the run was trained now, and its cost."""
        source = "trained now in" if self.trained_now else "from the run store, trained in"
        evaluation = (
            f" (evaluation {self.evaluation_seconds:.1f} s)" if self.evaluation_seconds else ""
        )
        remarks = f" ({remarks})" if remarks else ""
        cost = f"{self.seconds:.1f} s{evaluation}, peak {self.peak_mib:.0f} MiB"
        return f"[run] {self.name}: {source} {cost}{remarks}"

    def _of(self, kind: str, name: str, recorded: Mapping[str, list]) -> list:
        if name not in recorded:
            known = ", ".join(recorded) or f"none, since evaluate returned no {kind}"
            raise ValueError(f"no {kind} {name!r} in {self.name}; expected one of: {known}")
        return recorded[name]
