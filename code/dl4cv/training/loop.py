"""The loop itself: one step after another, with its losses, checkpoints and evaluations."""

import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from dl4cv import runtime
from dl4cv.training import checkpoints, seeds
from dl4cv.training.distributed import Processes
from dl4cv.training.schedules import Schedule

BatchFunction = Callable[[int], tuple[Tensor, ...]]
LossFunction = Callable[..., Tensor | Iterable[tuple[str, Tensor]]]
Evaluate = Callable[[nn.Module], Mapping[str, float]]

#: The losses of so many steps are fetched together: to fetch each would wait for the device.
CHUNK = 50

#: A run that is killed loses at most about so many seconds of work.
CHECKPOINT_SECONDS = 10.0


class TrainingError(ArithmeticError):
    """A training went astray; the message names the run, the step and what is kept."""


@dataclass
class Loop:
    """A run under way: what it was given (see ``fit``), and how far it got."""

    model: nn.Module
    batches: BatchFunction
    loss_fn: LossFunction
    optimizer: Any
    schedule: Schedule
    evaluate: Evaluate | None
    evaluate_every: int | None
    steps: int
    seed: int
    name: str
    checkpoint: Path
    processes: Processes
    step: int = 0
    losses: list[float] = field(default_factory=list)
    parts: dict[str, list[float]] = field(default_factory=dict)
    metrics: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        """Note the learning rates that the schedule scales."""
        self._rates = [group["lr"] for group in self.optimizer.param_groups]
        self._pending: list[dict[str, Tensor]] = []
        self._saved_step: int | None = None
        self._device = runtime.device()
        self._parallel = self.processes.wrap(self.model)

    def run(self) -> None:
        """Take the steps that are left, and leave the learning rates as they were given.

        Raises:
            TrainingError: if a loss, or a weight at a checkpoint or at the end, is not finite.
        """
        clock = saved = time.perf_counter()
        quiet = not (self.processes.leads and sys.stderr.isatty())
        with tqdm(total=self.steps, initial=self.step, disable=quiet, leave=False) as bar:
            while self.step < self.steps:
                self._pending.append(self._take_step())
                self.step += 1
                bar.update()
                if len(self._pending) == CHUNK:
                    self._fetch_losses()
                if self._evaluation_is_due():
                    self._measure()
                now = time.perf_counter()
                self.seconds, clock = self.seconds + now - clock, now
                if now - saved >= CHECKPOINT_SECONDS:
                    self._save()
                    saved = time.perf_counter()
        self._fetch_losses()
        self._check_weights()
        self._set_rates(1.0)

    def resume(self, state: dict[str, Any]) -> None:
        """Go back to what a checkpoint holds."""
        install(self.model, self.optimizer, state["model"], state["optimizer"])
        self.step = self._saved_step = state["step"]
        self.losses, self.parts = state["losses"], state["parts"]
        self.metrics, self.seconds = state["metrics"], state["seconds"]

    def _take_step(self) -> dict[str, Tensor]:
        """Update the model once, or once for each part of its loss; return the losses by part."""
        seeds.plant(seeds.mix(self.seed, 3, self.step, self.processes.rank), self._device)
        batch = self.processes.slice(self.batches(self.step))
        batch = tuple(_placed(tensor, self._device) for tensor in batch)
        self._set_rates(self.schedule(self.step))
        taken: dict[str, list[Tensor]] = {}
        for part, loss in self._losses(batch):
            # Gradients become None: what a part does not reach, the optimizer leaves alone.
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            taken.setdefault(part, []).append(self.processes.mean(loss.detach()))
        return {part: torch.stack(losses).mean() for part, losses in taken.items()}

    def _losses(self, batch: tuple[Tensor, ...]) -> Iterator[tuple[str, Tensor]]:
        """Yield what is to be minimised: the one loss, or one part after another.

        The loss function's code runs under autocast, what the caller does in between does not.
        """
        with runtime.autocast(self._device):
            given = self.loss_fn(self._parallel, *batch)
        if isinstance(given, Tensor):
            yield "", given
            return
        parts = iter(given)
        while True:
            with runtime.autocast(self._device):
                part = next(parts, None)
            if part is None:
                return
            yield part

    def _set_rates(self, factor: float) -> None:
        for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor

    def _evaluation_is_due(self) -> bool:
        every = self.evaluate_every
        return self.step == self.steps or (every is not None and self.step % every == 0)

    def _measure(self) -> None:
        if self.evaluate is None or not self.processes.leads:
            return
        seeds.plant(seeds.mix(self.seed, 4, self.step), self._device)
        self.model.eval()
        with torch.no_grad(), runtime.autocast(self._device):
            measured = self.evaluate(self.model)
        self.model.train()
        for metric, value in measured.items():
            self.metrics.setdefault(metric, []).append((self.step, float(value)))

    def _fetch_losses(self) -> None:
        """Move the losses of the last steps to the host, and stop if one is not finite."""
        if not self._pending:
            return
        names = list(self._pending[0])
        fetched = torch.stack([torch.stack(list(p.values())) for p in self._pending])
        self._pending.clear()
        for losses in fetched.float().tolist():
            for part, loss in zip(names, losses, strict=True):
                if not math.isfinite(loss):
                    of = f" of {part}" if part else ""
                    raise self._error(f"the loss{of} is {loss}", at=len(self.losses))
                if part:
                    self.parts.setdefault(part, []).append(loss)
            self.losses.append(sum(losses))

    def _check_weights(self) -> None:
        for name, weight in self.model.named_parameters():
            if not weight.isfinite().all():
                raise self._error(f"a weight in {name} is not finite after", at=self.step - 1)

    def _error(self, what: str, at: int) -> TrainingError:
        kept = "there is no checkpoint yet"
        if self._saved_step is not None:
            kept = f"the last good checkpoint, before step {self._saved_step}, is {self.checkpoint}"
        return TrainingError(f"{self.name}: {what} at step {at}; {kept}")

    def _save(self) -> None:
        """Write a checkpoint, after making sure that it is worth resuming from."""
        self._fetch_losses()
        self._check_weights()
        if self.processes.leads:
            state = {
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "step": self.step,
                "losses": self.losses,
                "parts": self.parts,
                "metrics": self.metrics,
                "seconds": self.seconds,
            }
            checkpoints.write(self.checkpoint, state)
            self._saved_step = self.step


def install(model: nn.Module, optimizer: Any, weights: Mapping[str, Tensor], state: Any) -> None:
    """Give model and optimizer a state that was saved."""
    model.load_state_dict(dict(weights))
    optimizer.load_state_dict(state)
    # A fused step walks parameter and state by address, so both must lie alike in memory.
    for parameter, kept in optimizer.state.items():
        for name, value in kept.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.ndim:
                kept[name] = torch.empty_like(parameter, requires_grad=False).copy_(value)


def _placed(tensor: Tensor, on: torch.device) -> Tensor:
    """Return ``tensor`` on the device, images in the layout of the model's convolutions."""
    layout = runtime.image_layout(on) if tensor.ndim == 4 else torch.preserve_format
    return tensor.to(on, memory_format=layout, non_blocking=True)
