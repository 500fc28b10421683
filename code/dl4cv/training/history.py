"""What a training run did and cost."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

#: The line that ``fit`` prints at its end; what follows the colon differs from run to run.
RUN_LINE = re.compile(r"^\[run\] (?P<name>\S+): (?P<cost>.*)$", re.MULTILINE)


@dataclass(frozen=True)
class History:
    """The course of a training run, and its cost.

    Attributes:
        name: what the run is called, such as ``sgd/adam``.
        key: SHA-256 of everything that determines the result.
        losses: the loss of every step, on that step's batch; of a loss in parts, their sum.
        parts: the parts of the loss at every step by name, if it has parts.
        metrics: for each metric the pairs (steps done, value), in order.
        seconds: what the training took, evaluation included, whenever it was done.
        peak_mib: the most memory in use: the process's own, or the GPU's where there is one.
        trained_now: whether this call trained, or drew the model from the run store.
    """

    name: str
    key: str
    losses: list[float]
    parts: dict[str, list[float]]
    metrics: dict[str, list[tuple[int, float]]]
    seconds: float
    peak_mib: float
    trained_now: bool

    @property
    def steps(self) -> int:
        """The number of steps."""
        return len(self.losses)

    def last(self, metric: str) -> float:
        """Return the metric's value at the end of the training.

        Raises:
            ValueError: if there is no such metric; the message lists those there are.
        """
        if metric not in self.metrics:
            known = ", ".join(self.metrics) or "none, since fit was given no evaluate"
            raise ValueError(f"no metric {metric!r} in {self.name}; expected one of: {known}")
        return self.metrics[metric][-1][1]

    def curve(self, metric: str) -> tuple[list[int], list[float]]:
        """Return the steps at which the metric was measured, and its values, to plot."""
        self.last(metric)
        steps, values = zip(*self.metrics[metric], strict=True)
        return list(steps), list(values)

    def to_json(self) -> dict[str, Any]:
        """Return the history in JSON's types; ``from_json`` makes it again."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any], *, trained_now: bool) -> "History":
        """Return the history that ``to_json`` wrote."""
        metrics = {
            name: [(int(step), float(value)) for step, value in pairs]
            for name, pairs in content["metrics"].items()
        }
        return cls(**{**content, "metrics": metrics, "trained_now": trained_now})

    def line(self, remarks: str = "") -> str:
        """Return the one line that tells a page whether the run was trained now, and its cost."""
        source = "trained now in" if self.trained_now else "from the run store, trained in"
        told = f" ({remarks})" if remarks else ""
        return (
            f"[run] {self.name}: {source} {self.seconds:.1f} s, peak {self.peak_mib:.0f} MiB{told}"
        )
