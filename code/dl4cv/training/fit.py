"""``fit``: train a model once; later calls load the result from the run store."""

import re
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from dl4cv import runtime, storage
from dl4cv.training import checkpoints, distributed, keys, runs, seeds
from dl4cv.training.history import History
from dl4cv.training.loop import AfterStep, BatchFunction, Evaluate, Loop, LossFunction, install
from dl4cv.training.schedules import Schedule, constant

T = TypeVar("T")


def fit(
    model: nn.Module,
    batches: BatchFunction,
    loss_fn: LossFunction,
    optimizer: Any,
    *,
    name: str,
    steps: int,
    schedule: Schedule | None = None,
    after_step: AfterStep | None = None,
    evaluate: Evaluate | None = None,
    evaluate_every: int | None = None,
    seed: int = 0,
) -> History:
    """Train ``model`` in place, or load the result of an earlier identical call.

    What determines the result (initial weights, data, functions, settings, the code they reach,
    PyTorch, device) makes the run's key in the run store. A run that was killed goes on from its
    last checkpoint and ends as if nothing had happened. Either way the call leaves the same
    behind: weights, optimizer, random state, the model in ``eval`` mode on the device.

    Everything random in a step derives from ``seed`` and the step. A function that is passed in
    must remember nothing from step to step outside the model and the optimizer.

    Args:
        model: what is trained; it moves to ``runtime.device()``.
        batches: gives the tensors of a step, counted from 0; ``training.Batches`` is one.
        loss_fn: called as ``loss_fn(model, *batch)``; returns the scalar to minimize, computed
            under bfloat16 autocast where that is fast. Or, for a game, it is a generator that
            yields pairs ``(term, scalar)``, such as the losses of two players: each scalar is
            minimized before the generator goes on, and moves only the parameters that it has a
            gradient for.
        optimizer: of ``torch.optim`` or ``dl4cv.optim``, on the model's parameters.
        name: ``chapter/what``: where the run is stored and what its line says.
        steps: the number of updates.
        schedule: gives the factor on every group's learning rate at a step; constant if None.
        after_step: called as ``after_step(model)`` after each step, without gradients, such as
            ``lambda model: model.update()`` for an ``EMA``.
        evaluate: called as ``evaluate(model)`` in ``eval`` mode, without gradients. Of what it
            returns by name, numbers are metrics, tensors with dimensions are snapshots.
        evaluate_every: steps between evaluations; the end is always evaluated.
        seed: what the randomness in the steps (dropout, noise) derives from, at least 0.

    Returns:
        Losses, metrics, snapshots and cost, and whether the model was trained now.

    Raises:
        TrainingError: if the loss or a weight is not finite; the message names the step.
        ValueError: if a setting is out of its range, or the optimizer holds other parameters.
        TypeError: if a function uses something that cannot be hashed, such as a file.
        storage.CacheError: if the cache cannot be written.
    """
    _check_settings(name, steps, evaluate_every, seed)
    _check_parameters(model, optimizer)
    processes = distributed.join()
    runtime.to_fast_layout(model.train(), runtime.device())
    given = {
        "model": model,
        "optimizer": optimizer,
        "batches": batches,
        "loss_fn": loss_fn,
        "steps": steps,
        "schedule": schedule or constant(),
        "after_step": after_step,
        "evaluate": evaluate,
        "evaluate_every": evaluate_every,
        "seed": seed,
    }
    ingredients = keys.ingredients(given, processes=processes.world)
    key = processes.in_first(lambda: runs.key_of(ingredients))
    entry = runs.folder(name, key)
    remarks: list[str] = []

    def read(load: Callable[[], T]) -> T | None:
        return processes.in_first(lambda: _unless_damaged(load, remarks))

    with _alone(entry, processes), seeds.preserve_rng_state():
        if stored := read(lambda: runs.find(name, key)):
            install(model, optimizer, stored.weights, stored.optimizer)
            history = stored.history
        else:
            checkpoint = checkpoints.path_of(entry)
            loop = Loop(**given, history=History(name, key), path=checkpoint, processes=processes)
            if saved := read(lambda: checkpoints.read(checkpoint)):
                loop.resume(saved)
                remarks.append(f"resumed at step {loop.step}")
            history = loop.run()
            if processes.leads:
                runs.save(model, optimizer, history, ingredients)
                checkpoints.remove(checkpoint)
    model.eval()
    if processes.leads:
        print(history.line("; ".join(remarks)), flush=True)
    return history


def _alone(entry: Path, processes: distributed.Processes) -> AbstractContextManager[None]:
    """Hold the lock of a run, so that of two programs that want it one trains."""
    return storage.locked(entry, waiting=_say_waiting) if processes.leads else nullcontext()


def _say_waiting() -> None:
    if sys.stderr.isatty():
        print("another process trains this model; waiting for it", file=sys.stderr, flush=True)


def _unless_damaged(load: Callable[[], T], remarks: list[str]) -> T | None:
    """Return what ``load`` does; if the file is damaged, note so and return None."""
    try:
        return load()
    except runs.DamagedError as error:
        remarks.append(str(error))
        return None


def _check_settings(name: str, steps: int, evaluate_every: int | None, seed: int) -> None:
    if not re.fullmatch(r"[a-z0-9_]+(/[a-z0-9_.+-]*[a-z0-9_+-])+", name):
        raise ValueError(f"name is {name!r}; expected chapter/what, in a-z, 0-9, _, -, + and .")
    if steps < 1:
        raise ValueError(f"steps is {steps}; expected at least 1")
    if evaluate_every is not None and evaluate_every < 1:
        raise ValueError(f"evaluate_every is {evaluate_every}; expected at least 1, or None")
    if seed < 0:
        raise ValueError(f"seed is {seed}; expected at least 0")


def _check_parameters(model: nn.Module, optimizer: Any) -> None:
    known = {id(parameter) for parameter in model.parameters()}
    held = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    strangers = sum(id(parameter) not in known for parameter in held)
    if strangers:
        raise ValueError(
            f"optimizer holds {strangers} of {len(held)} tensors that are no parameters of this "
            "model; expected an optimizer made from model.parameters()"
        )
