"""Exercises that check themselves: ``exercises.check("linear/softmax_loss", my_function)``.

Each chapter's exercises live in the module of the chapter's name beside this file, in a dictionary
``EXERCISES``. A module is imported only when one of its exercises is checked.
"""

import copy
import importlib
import pkgutil
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

#: Characters in a line of a verdict, which the page shows without cutting it.
WIDTH = 84


@dataclass(frozen=True)
class Case:
    """One hidden case: the arguments, and the result that an oracle gives for them.

    ``expected`` is a tensor, a number, a string, or a tuple or list of these.
    """

    name: str
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
        The verdict: whether all cases passed and, if not, which case failed, the expected and the
        actual result, and a hint. Whatever ``answer`` returns or raises, there is a verdict.

    Raises:
        ValueError: if there is no such exercise; the message lists those of the chapter.
    """
    exercise = find(name)
    cases = exercise.cases()
    for number, case in enumerate(cases, start=1):
        complaint = _complaint(answer, case)
        if complaint:
            where = f"{name}: not yet. Case {number} of {len(cases)}, {case.name}:"
            lines = [textwrap.fill(where, WIDTH), *complaint, _line("hint", exercise.hint)]
            return Verdict(name, False, "\n".join(lines))
    return Verdict(name, True, f"{name}: correct, all {len(cases)} cases pass.")


def uniform(*shape: int, seed: int) -> torch.Tensor:
    """Return float64 numbers from [0, 1) for a case; a seed always gives the same ones."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, generator=generator, dtype=torch.float64)


def normal(*shape: int, seed: int) -> torch.Tensor:
    """Return float64 standard normal numbers; a seed always gives the same ones."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def pullback(
    f: Callable[..., torch.Tensor], *inputs: torch.Tensor, dy: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    """Return the result of ``f`` for a case and its gradients with respect to the inputs.

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


def _complaint(answer: Callable, case: Case) -> list[str]:
    """Return the lines that say how the answer to ``case`` is wrong; none if it is right."""
    expected = _line("expected", _show(case.expected))
    try:
        got = answer(*copy.deepcopy(case.arguments), **case.keywords)
    except NotImplementedError:
        return [expected, _line("got", "nothing: it is not written yet")]
    except Exception as error:
        return [expected, _line("got", f"{type(error).__name__}: {error}")]
    difference = _difference(got, case.expected, case.tolerance)
    return [expected, _line("got", _show(got)), _line("because", difference)] if difference else []


def _line(label: str, text: str) -> str:
    start, rest = f"  {label:<10}", 12 * " "
    return textwrap.fill(text, WIDTH, initial_indent=start, subsequent_indent=rest)


def _difference(got: Any, expected: Any, tolerance: float) -> str:
    """Return in words how ``got`` differs from ``expected``, or an empty string if it does not."""
    if isinstance(expected, tuple | list):
        if not isinstance(got, tuple | list) or len(got) != len(expected):
            return f"{len(expected)} results are expected, in a tuple"
        parts = (_difference(g, e, tolerance) for g, e in zip(got, expected, strict=True))
        return next((f"result {i}: {p}" for i, p in enumerate(parts, start=1) if p), "")
    if isinstance(expected, str):
        return "" if isinstance(got, str) and got == expected else "the values differ"
    if not isinstance(got, torch.Tensor | float | int):
        return f"a tensor or a number is expected, not {type(got).__name__}"
    got, expected = torch.as_tensor(got).detach(), torch.as_tensor(expected)
    if got.shape != expected.shape:
        return f"the shape is {tuple(got.shape)}, expected {tuple(expected.shape)}"
    if got.is_complex() or got.is_meta or got.layout != torch.strided:
        return f"it is a {got.layout} tensor of {got.dtype} on {got.device}, expected plain numbers"
    got, expected = got.cpu().double(), expected.double()  # not every device has float64
    if torch.allclose(got, expected, rtol=tolerance, atol=tolerance):
        return ""
    return f"the largest difference is {(got - expected).abs().max():.3g}, allowed {tolerance:g}"


def _show(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        if value.is_meta or value.layout != torch.strided:
            return f"a {value.layout} tensor of shape {tuple(value.shape)} on {value.device}"
        if value.numel() > 8:
            head = ", ".join(_show(v) for v in value.detach().flatten()[:4].tolist())
            return f"a tensor of shape {tuple(value.shape)}: {head}, …"
        return _show(value.tolist())
    if isinstance(value, list):
        return "[" + ", ".join(_show(v) for v in value) + "]"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, tuple):
        return "(" + ", ".join(_show(v) for v in value) + ")"
    return repr(value)
