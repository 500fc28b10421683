"""Exercises that check themselves: ``exercises.check("linear/softmax_loss", my_function)``.

Each chapter's exercises live in the module of the chapter's name beside this file, in a dictionary
``EXERCISES``. A module is imported only when one of its exercises is checked.
"""

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch


@dataclass(frozen=True)
class Case:
    """One hidden case: what goes in, and what an oracle says must come out.

    ``expected`` is a tensor, a number, a string, or a tuple or list of these.
    """

    about: str
    arguments: tuple
    expected: Any
    keywords: Mapping[str, Any] = field(default_factory=dict)
    tolerance: float = 1e-6


@dataclass(frozen=True)
class Exercise:
    """A task with its hidden cases and the hint that a wrong answer earns.

    ``cases`` is a function, so that nothing is computed until somebody checks an answer.
    """

    cases: Callable[[], Sequence[Case]]
    hint: str


@dataclass(frozen=True)
class Verdict:
    """What a check found; prints as the sentence the student reads."""

    name: str
    passed: bool
    message: str

    def __repr__(self) -> str:
        return self.message


def check(name: str, answer: Callable) -> Verdict:
    """Run ``answer`` on the hidden cases of the exercise ``name``, up to the first that fails.

    Args:
        name: ``chapter/exercise``, such as ``linear/softmax_loss``.
        answer: the student's function.

    Returns:
        The verdict: whether all cases passed and, if not, which case failed, what was expected,
        what came, and a hint. An exception in ``answer`` is a failed case, not an error.

    Raises:
        ValueError: if there is no such exercise; the message lists those of the chapter.
    """
    exercise = find(name)
    cases = exercise.cases()
    for number, case in enumerate(cases, start=1):
        complaint = _complaint(answer, case)
        if complaint:
            message = (
                f"{name}: not yet. Case {number} of {len(cases)}, {case.about}:\n"
                f"{complaint}\n  hint      {exercise.hint}"
            )
            return Verdict(name, False, message)
    return Verdict(name, True, f"{name}: correct, all {len(cases)} cases pass.")


def uniform(*shape: int, seed: int) -> torch.Tensor:
    """Return numbers from [0, 1) for a case, always the same ones for a seed; float64."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, generator=generator, dtype=torch.float64)


def normal(*shape: int, seed: int) -> torch.Tensor:
    """Return standard normal numbers for a case, always the same ones for a seed; float64."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def pullback(
    f: Callable[..., torch.Tensor], *inputs: torch.Tensor, dy: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    """Return the result of ``f`` for a case and its gradients by the inputs, by autograd.

    Rounded to eight decimals, since the page prints them and processors differ in the sixteenth.
    """
    leaves = [tensor.clone().requires_grad_() for tensor in inputs]
    result = f(*leaves)
    gradients = torch.autograd.grad(result, leaves, dy)
    return tuple(t.detach().round(decimals=8) for t in (result, *gradients))


def find(name: str) -> Exercise:
    """Return the exercise called ``chapter/exercise``.

    Raises:
        ValueError: if there is none; the message lists what there is.
    """
    chapter, _, task = name.partition("/")
    if chapter not in modules():
        known = ", ".join(modules())
        raise ValueError(f"exercise {name!r} names no chapter; expected one of: {known}")
    if task not in tasks(chapter):
        known = ", ".join(f"{chapter}/{key}" for key in tasks(chapter))
        raise ValueError(f"no exercise {name!r}; expected one of: {known}")
    return tasks(chapter)[task]


def modules() -> list[str]:
    """Return the chapters that have checked exercises."""
    return [module.name for module in pkgutil.iter_modules(__path__)]


def tasks(chapter: str) -> dict[str, Exercise]:
    """Return the checked exercises of ``chapter`` by name."""
    return importlib.import_module(f"{__name__}.{chapter}").EXERCISES


def _complaint(answer: Callable, case: Case) -> str:
    arguments = [a.clone() if isinstance(a, torch.Tensor) else a for a in case.arguments]
    try:
        came = answer(*arguments, **case.keywords)
    except NotImplementedError:
        return f"  expected  {_show(case.expected)}\n  came      nothing: it is not written yet"
    except Exception as error:
        return f"  expected  {_show(case.expected)}\n  came      {type(error).__name__}: {error}"
    difference = _difference(came, case.expected, case.tolerance)
    if not difference:
        return ""
    return (
        f"  expected  {_show(case.expected)}\n  came      {_show(came)}\n  because   {difference}"
    )


def _difference(came: Any, expected: Any, tolerance: float) -> str:
    """Return in words how ``came`` differs from ``expected``, or an empty string if it does not."""
    if isinstance(expected, tuple | list):
        if not isinstance(came, tuple | list) or len(came) != len(expected):
            return f"{len(expected)} results are wanted, in a tuple"
        parts = (_difference(c, e, tolerance) for c, e in zip(came, expected, strict=True))
        return next((f"result {i}: {p}" for i, p in enumerate(parts, start=1) if p), "")
    if isinstance(expected, str | bool):
        return "" if came == expected else "the values differ"
    if not isinstance(came, torch.Tensor | float | int):
        return f"a tensor or a number is wanted, not {type(came).__name__}"
    came, expected = torch.as_tensor(came), torch.as_tensor(expected)
    if came.shape != expected.shape:
        return f"the shape is {tuple(came.shape)}, expected {tuple(expected.shape)}"
    came, expected = came.double(), expected.double()
    if torch.allclose(came, expected, rtol=tolerance, atol=tolerance):
        return ""
    return f"the largest difference is {(came - expected).abs().max():.3g}, allowed {tolerance:g}"


def _show(value: Any) -> str:
    if isinstance(value, torch.Tensor) and value.numel() > 8:
        head = ", ".join(f"{v:.4g}" for v in value.flatten()[:4].tolist())
        return f"a tensor of shape {tuple(value.shape)}: {head}, …"
    if isinstance(value, torch.Tensor):
        return _show(value.tolist())
    if isinstance(value, list):
        return "[" + ", ".join(_show(v) for v in value) + "]"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, tuple):
        return "(" + ", ".join(_show(v) for v in value) + ")"
    return repr(value)
