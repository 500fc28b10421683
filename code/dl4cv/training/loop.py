"""The loop itself: one step after another, with its losses, checkpoints and evaluations."""

import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from dl4cv import runtime
from dl4cv.training import checkpoints
from dl4cv.training.distributed import Processes
from dl4cv.training.history import History
from dl4cv.training.schedules import Schedule
from dl4cv.training.seeds import derive_seed, seed_all

BatchFunction = Callable[[int], Iterable[Tensor]]
LossFunction = Callable[..., Tensor | Iterable[tuple[str, Tensor]]]
AfterStep = Callable[[Any], object]
Evaluate = Callable[[Any], Mapping[str, float | Tensor]]

#: The losses of so many steps are fetched together: to fetch each would wait for the device.
CHUNK = 50

#: A run that is killed loses at most about so many seconds of work.
CHECKPOINT_SECONDS = 10.0


class TrainingError(ArithmeticError):
    """A training diverged; the message names the run, the step and what is stored."""


@dataclass
class Loop:
    """A run under way: what ``fit`` was given, and how far it got.

    Attributes:
        history: of the steps taken so far.
        path: of the checkpoint.
        processes: that train together.
        step: how many steps are done.
    """

    model: nn.Module
    optimizer: Any
    batches: BatchFunction
    loss_fn: LossFunction
    steps: int
    schedule: Schedule
    after_step: AfterStep | None
    evaluate: Evaluate | None
    evaluate_every: int | None
    seed: int
    history: History
    path: Path
    processes: Processes
    step: int = 0

    def __post_init__(self) -> None:
        """Note the learning rates that the schedule scales."""
        self._rates = [group["lr"] for group in self.optimizer.param_groups]
        self._pending: list[dict[str, Tensor]] = []
        self._saved_step: int | None = None
        self._device = runtime.device()
        self._parallel = self.processes.wrap(self.model)

    def run(self) -> History:
        """Take the steps that are left, and leave the learning rates as they were given.

        Raises:
            TrainingError: if a loss, or a weight at a checkpoint or at the end, is not finite.
        """
        clock = saved = time.perf_counter()
        quiet = not (self.processes.leads and sys.stderr.isatty())
        with tqdm(total=self.steps, initial=self.step, disable=quiet, leave=False) as bar:
            while self.step < self.steps:
                self._take_step()
                bar.update()
                if len(self._pending) == CHUNK:
                    self._fetch_losses()
                if self._evaluation_is_due():
                    self._evaluate()
                now = time.perf_counter()
                self.history.seconds += now - clock
                clock = now
                if now - saved >= CHECKPOINT_SECONDS:
                    self._save()
                    saved = time.perf_counter()
        self._fetch_losses()
        self._check_weights()
        self._scale_rates(1.0)
        self.history.peak_mib = runtime.peak_mib(self._device)
        self.processes.copy_buffers(self.model)
        return self.processes.in_first(lambda: self.history)

    def resume(self, state: dict[str, Any]) -> None:
        """Go back to what a checkpoint holds."""
        install(self.model, self.optimizer, state["model"], state["optimizer"])
        self.history = History(**state["history"])
        self.step = self._saved_step = self.history.steps

    def _take_step(self) -> None:
        """Update the model once, or once for each term that the loss function yields."""
        seed_all(derive_seed(self.seed, 3, self.step, self.processes.rank), self._device)
        batch = self.processes.slice(tuple(self.batches(self.step)))
        batch = tuple(_to_device(tensor, self._device) for tensor in batch)
        self._scale_rates(self.schedule(self.step))
        losses: dict[str, list[Tensor]] = {}
        for term, loss in self._loss_terms(batch):
            # Gradients become None: what a term does not reach, the optimizer leaves alone.
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            losses.setdefault(term, []).append(self.processes.mean(loss.detach()))
        if not losses:
            raise ValueError(
                f"loss_fn yielded nothing at step {self.step}; expected (term, scalar)"
            )
        if self.after_step is not None:
            with torch.no_grad():
                self.after_step(self.model)
        self._pending.append({term: torch.stack(each).mean() for term, each in losses.items()})
        self.step += 1

    def _loss_terms(self, batch: tuple[Tensor, ...]) -> Iterator[tuple[str, Tensor]]:
        """Yield what is to be minimized: the one loss, or one term after another.

        The loss function's code runs under autocast, what the caller does in between does not.
        """
        with runtime.autocast(self._device):
            returned = self.loss_fn(self._parallel, *batch)
        if isinstance(returned, Tensor):
            yield "", returned
            return
        terms = iter(returned)
        while True:
            with runtime.autocast(self._device):
                term = next(terms, None)
            if term is None:
                return
            yield term

    def _scale_rates(self, factor: float) -> None:
        for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor

    def _evaluation_is_due(self) -> bool:
        every = self.evaluate_every
        return self.step == self.steps or (every is not None and self.step % every == 0)

    def _evaluate(self) -> None:
        """Record metrics and snapshots, and the time that they took."""
        if self.evaluate is None or not self.processes.leads:
            return
        if self._device.type == "cuda":  # the steps in its queue are not the evaluation's
            torch.cuda.synchronize()
        began = time.perf_counter()
        seed_all(derive_seed(self.seed, 4, self.step), self._device)
        self.model.eval()
        with torch.no_grad(), runtime.autocast(self._device):
            measured = self.evaluate(self.model)
        self.model.train()
        for name, value in measured.items():
            if isinstance(value, Tensor) and value.ndim:
                kept = value.detach().to("cpu", copy=True)
                self.history.snapshots.setdefault(name, []).append((self.step, kept))
            else:
                self.history.metrics.setdefault(name, []).append((self.step, float(value)))
        self.history.evaluation_seconds += time.perf_counter() - began

    def _fetch_losses(self) -> None:
        """Move the losses of the last steps to the host, and stop if one is not finite."""
        if not self._pending:
            return
        terms = list(self._pending[0])
        fetched = torch.stack([torch.stack(list(each.values())) for each in self._pending])
        self._pending.clear()
        for losses in fetched.float().tolist():
            for term, loss in zip(terms, losses, strict=True):
                if not math.isfinite(loss):
                    of = f" of {term}" if term else ""
                    raise self._error(f"the loss{of} is {loss}", at=self.history.steps)
                if term:
                    self.history.loss_terms.setdefault(term, []).append(loss)
            self.history.losses.append(sum(losses))

    def _check_weights(self) -> None:
        for name, weight in self.model.named_parameters():
            if not weight.isfinite().all():
                raise self._error(f"a weight in {name} is not finite after", at=self.step - 1)

    def _error(self, what: str, at: int) -> TrainingError:
        stored = "there is no checkpoint yet"
        if self._saved_step is not None:
            stored = f"the last good checkpoint, before step {self._saved_step}, is {self.path}"
        return TrainingError(f"{self.history.name}: {what} at step {at}; {stored}")

    def _save(self) -> None:
        """Write a checkpoint, after making sure that it is worth resuming from."""
        self._fetch_losses()
        self._check_weights()
        if self.processes.leads:
            state = {
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "history": vars(self.history),
            }
            checkpoints.write(self.path, state)
            self._saved_step = self.step


def install(model: nn.Module, optimizer: Any, weights: Mapping[str, Tensor], state: Any) -> None:
    """Give model and optimizer a state that was saved."""
    model.load_state_dict(dict(weights))
    optimizer.load_state_dict(state)
    # A fused step walks parameter and state by address, so both must have the same strides.
    for parameter, kept in optimizer.state.items():
        for name, value in kept.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.ndim:
                kept[name] = torch.empty_like(parameter, requires_grad=False).copy_(value)


def _to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Return ``tensor`` on the device, images in the layout of the model's convolutions."""
    layout = runtime.image_layout(device) if tensor.ndim == 4 else torch.preserve_format
    return tensor.to(device, memory_format=layout, non_blocking=True)
