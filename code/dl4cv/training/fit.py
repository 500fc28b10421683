"""``fit``: train a model once, and afterwards draw it from the run store."""

import re
import sys
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, TypeVar

from torch import nn

from dl4cv import runtime, storage
from dl4cv.training import checkpoints, distributed, runs, seeds
from dl4cv.training.history import History
from dl4cv.training.keys import parts_of
from dl4cv.training.loop import BatchFunction, Evaluate, Loop, LossFunction, install
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
    evaluate: Evaluate | None = None,
    evaluate_every: int | None = None,
    seed: int = 0,
) -> History:
    """Train ``model`` in place, or give it the weights that the same call once arrived at.

    What determines the result (initial weights, data, functions, settings, the code they reach,
    PyTorch, device) makes the run's key in the run store. A run that was killed goes on from its
    last checkpoint and ends as if nothing had happened. Either way the call leaves the same
    behind: weights, optimizer, random state, the model in ``eval`` mode on the device.

    Everything random in a step derives from ``seed`` and the step. A function that is passed in
    must remember nothing from step to step outside the model and the optimizer.

    Args:
        model: what is trained; it moves to ``runtime.device()``.
        batches: gives the tensors of a step, counted from 0; ``training.Batches`` is one.
        loss_fn: called as ``loss_fn(model, *batch)``; returns the scalar to minimise, computed
            under bfloat16 autocast where that is fast. Or it is a generator that yields pairs
            ``(part, scalar)``, such as the losses of two players: each scalar is minimised before
            the generator goes on, and moves only the parameters that it has a gradient for.
        optimizer: of ``torch.optim`` or ``dl4cv.optim``, on the model's parameters.
        name: ``chapter/what``: where the run is kept and what its line says.
        steps: the number of updates.
        schedule: gives the factor on every group's learning rate at a step; constant if None.
        evaluate: returns metrics by name; the model is in ``eval`` mode, without gradients.
        evaluate_every: steps between evaluations; the end is always evaluated.
        seed: what the randomness in the steps (dropout, noise) derives from.

    Returns:
        Losses, metrics and cost, and whether the model was trained now.

    Raises:
        TrainingError: if the loss or a weight is not finite; the message names the step.
        ValueError: if a setting is out of its range, or the optimizer holds other parameters.
        TypeError: if a function uses something whose content cannot be told, such as a file.
    """
    _check(name=name, steps=steps, evaluate_every=evaluate_every)
    processes = distributed.join()
    runtime.to_fast_layout(model.train(), runtime.device())
    _check_parameters(model, optimizer)
    schedule = schedule or constant()
    parts = parts_of(
        model=model,
        optimizer=optimizer,
        batches=batches,
        loss_fn=loss_fn,
        schedule=schedule,
        evaluate=evaluate,
        settings={"steps": steps, "evaluate_every": evaluate_every, "seed": seed},
        processes=processes.world,
    )
    key = processes.share(runs.key_of(parts))
    entry = runs.folder(name, key)
    remarks: list[str] = []
    alone = storage.locked(entry, waiting=_say_waiting) if processes.leads else nullcontext()
    with alone, seeds.kept():
        found = _unless_damaged(lambda: runs.find(name, key), remarks) if processes.leads else None
        if found := processes.share(found):
            install(model, optimizer, found.weights, found.optimizer)
            history = found.history
        else:
            loop = Loop(
                model=model,
                batches=batches,
                loss_fn=loss_fn,
                optimizer=optimizer,
                schedule=schedule,
                evaluate=evaluate,
                evaluate_every=evaluate_every,
                steps=steps,
                seed=seed,
                name=name,
                checkpoint=checkpoints.path_of(entry),
                processes=processes,
            )
            history = _train(loop, key, remarks)
            if processes.leads:
                runs.save(model, optimizer.state_dict(), history, parts)
                checkpoints.remove(loop.checkpoint)
    model.eval()
    if processes.leads:
        print(history.line("; ".join(remarks)), flush=True)
    return history


def _train(loop: Loop, key: str, remarks: list[str]) -> History:
    """Run the loop, from its checkpoint if there is one, and return what it did."""
    processes, before = loop.processes, None
    if processes.leads:
        before = _unless_damaged(lambda: checkpoints.read(loop.checkpoint), remarks)
    if before := processes.share(before):
        loop.resume(before)
        remarks.append(f"resumed at step {loop.step}")
    loop.run()
    history = History(
        name=loop.name,
        key=key,
        losses=loop.losses,
        parts=loop.parts,
        metrics=loop.metrics,
        seconds=loop.seconds,
        peak_mib=runtime.peak_mib(runtime.device()),
        trained_now=True,
    )
    processes.share_buffers(loop.model)
    return processes.share(history)


def _say_waiting() -> None:
    if sys.stderr.isatty():
        print("another process trains this model; waiting for it", file=sys.stderr, flush=True)


def _unless_damaged(read: Callable[[], T], remarks: list[str]) -> T | None:
    """Return what ``read`` does; if the file is damaged, note so and return None."""
    try:
        return read()
    except runs.DamagedError as error:
        remarks.append(str(error))
        return None


def _check(*, name: str, steps: int, evaluate_every: int | None) -> None:
    if not re.fullmatch(r"[a-z0-9_]+(/[a-z0-9_.+-]*[a-z0-9_+-])+", name):
        raise ValueError(f"name is {name!r}; expected chapter/what, in a-z, 0-9, _, -, + and .")
    if steps < 1:
        raise ValueError(f"steps is {steps}; expected at least 1")
    if evaluate_every is not None and evaluate_every < 1:
        raise ValueError(f"evaluate_every is {evaluate_every}; expected at least 1, or None")


def _check_parameters(model: nn.Module, optimizer: Any) -> None:
    known = {id(parameter) for parameter in model.parameters()}
    held = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    strangers = sum(id(parameter) not in known for parameter in held)
    if strangers:
        raise ValueError(
            f"optimizer holds {strangers} of {len(held)} tensors that are no parameters of this "
            "model; expected an optimizer made from model.parameters()"
        )
