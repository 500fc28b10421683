"""The digest of a function changes when what it does may change, and only then."""

import collections
import functools
import logging
import re
import threading
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np
import pytest
import torch
from dl4cv import provenance
from dl4cv.provenance import sources
from dl4cv.training import schedules
from torch import nn
from torch.nn import functional as F


def define(source: str, **surroundings):
    """Return ``f`` as a notebook's cell would define it."""
    space = {"__name__": "__main__", "torch": torch, "F": F, "nn": nn, **surroundings}
    exec(source, space)
    return space["f"]


def digest(source: str, **surroundings) -> str:
    return provenance.Hasher().digest(define(source, **surroundings))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("f = lambda x: x + 1", "f = lambda x: x + 2"),
        ("f = lambda x: x + 1", "f = lambda x: x - 1"),
        ("f = lambda x: F.relu(x)", "f = lambda x: F.gelu(x)"),
        ("def f(x, k=1): return k", "def f(x, k=2): return k"),
        ("def f(x, *, k=1): return k", "def f(x, *, k=2): return k"),
        ("k = 1\ndef f(x): return x * k", "k = 2\ndef f(x): return x * k"),
        ("def g(): return 1\ndef f(): return g()", "def g(): return 2\ndef f(): return g()"),
        ("def f():\n def g(): return 1\n return g", "def f():\n def g(): return 2\n return g"),
        ("k = 1\nf = lambda: [k for _ in 'a']", "k = 2\nf = lambda: [k for _ in 'a']"),
        ("class f(nn.Module):\n k = 1", "class f(nn.Module):\n k = 2"),
        (
            "class f(nn.Module):\n def forward(self, x): return x",
            "class f(nn.Module):\n def forward(self, x): return -x",
        ),
        ("class B: k = 1\nclass f(B): pass", "class B: k = 2\nclass f(B): pass"),
        (
            "k = {'a': [1, (2.0, None)]}\nf = lambda: k",
            "k = {'a': [1, (2.5, None)]}\nf = lambda: k",
        ),
        ("k = {1, 2}\nf = lambda: k", "k = {1, 3}\nf = lambda: k"),
        ("f = F.relu", "f = F.gelu"),
        ("f = torch.relu", "f = torch.sigmoid"),
        ("f = nn.ReLU", "f = nn.GELU"),
    ],
)
def test_what_changes_the_behaviour_changes_the_digest(one, other):
    assert digest(one) == digest(one)
    assert digest(one) != digest(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("def f(x): return x + 1", "# said\ndef f(x):\n    # more\n    return x + 1"),
        ("def f(x):\n 'one'\n return x", "def f(x):\n 'other'\n return x"),
        ("unused = 1\ndef f(x): return x", "unused = 2\ndef f(x): return x"),
        ("def f(x: int): return x", "def f(x: float): return x"),
        ("k = {1, 2, 3}\nf = lambda: k", "k = {3, 2, 1}\nf = lambda: k"),
    ],
)
def test_what_changes_nothing_leaves_the_digest(one, other):
    assert digest(one) == digest(other)


def test_what_a_closure_holds_counts():
    def scaled(by):
        return lambda x: x * by

    same = provenance.Hasher().digest(scaled(2.0))
    assert provenance.Hasher().digest(scaled(2.0)) == same
    assert provenance.Hasher().digest(scaled(3.0)) != same
    one, other = torch.zeros(3), torch.tensor([0.0, 0.0, 1e-7])
    assert provenance.Hasher().digest(scaled(one)) == provenance.Hasher().digest(
        scaled(one.clone())
    )
    assert provenance.Hasher().digest(scaled(one)) != provenance.Hasher().digest(scaled(other))
    assert provenance.Hasher().digest(scaled(one)) != provenance.Hasher().digest(
        scaled(one.double())
    )


def test_closures_of_the_package_count_too():
    digests = {provenance.Hasher().digest(schedules.cosine(steps)) for steps in (10, 20)}
    assert len(digests) == 2
    assert provenance.Hasher().digest(schedules.cosine(10)) in digests


def test_partials_and_methods():
    assert provenance.Hasher().digest(functools.partial(F.gelu, approximate="tanh")) != (
        provenance.Hasher().digest(functools.partial(F.gelu, approximate="none"))
    )
    assert provenance.Hasher().digest(nn.Linear(2, 2).forward) != (
        provenance.Hasher().digest(nn.Linear(2, 2).forward)
    ), "their weights differ"


@dataclass(frozen=True)
class Settings:
    width: int
    names: tuple[str, ...] = ("a",)


class Colour(Enum):
    RED = 1
    BLUE = 2


class Wheel:
    def __init__(self, size):
        self.size, self.self = size, self

    @property
    def rim(self):
        return self.size

    @staticmethod
    def turn(by):
        return by


@pytest.mark.parametrize(
    ("make", "other"),
    [
        (lambda: Settings(1), Settings(2)),
        (lambda: Colour.RED, Colour.BLUE),
        (lambda: Wheel(1), Wheel(2)),
        (lambda: torch.float32, torch.float64),
        (lambda: torch.device("cpu"), torch.device("meta")),
        (lambda: torch.Generator().manual_seed(1), torch.Generator().manual_seed(2)),
        (lambda: torch.ones(2, dtype=torch.bfloat16), torch.zeros(2, dtype=torch.bfloat16)),
        (lambda: torch.tensor(1.0), torch.tensor([1.0])),
        (lambda: nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1), requires_grad=False)),
        (lambda: nn.Dropout(0.1), nn.Dropout(0.2)),
        (lambda: nn.Sequential(nn.ReLU()), nn.Sequential(nn.GELU())),
        (lambda: F.max_pool2d, F.avg_pool2d),
        (lambda: b"a", "a"),
        (lambda: 1, True),
        (lambda: [1, 2], (1, 2)),
        (lambda: {1, 2}, frozenset((1, 2))),
        (lambda: collections.deque([1]), collections.deque([2])),
        (lambda: collections.OrderedDict(a=1, b=2), collections.OrderedDict(b=2, a=1)),
        (lambda: functools.partial(F.gelu), functools.partial(F.relu)),
        (lambda: Path("a"), Path("b")),
        (lambda: np, torch),
    ],
)
def test_values_of_many_kinds(make, other):
    assert provenance.Hasher().digest(make()) == provenance.Hasher().digest(make())
    assert provenance.Hasher().digest(make()) != provenance.Hasher().digest(other)


def test_sharing_counts():
    def model(tied: bool):
        layers = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
        for layer in layers:
            nn.init.ones_(layer.weight)
        if tied:
            layers[1].weight = layers[0].weight
        return nn.Sequential(*layers)

    assert provenance.Hasher().digest(model(True)) != provenance.Hasher().digest(model(False))


def test_layout_in_memory_does_not_count():
    images = torch.rand(2, 3, 4, 4)
    assert provenance.Hasher().digest(images) == (
        provenance.Hasher().digest(images.to(memory_format=torch.channels_last))
    )


def test_what_cannot_be_hashed_is_an_error_that_says_how_it_was_reached():
    source = "def g(): return lock\ndef f(): return g()"
    with pytest.raises(
        TypeError, match=r"loss_fn → g → lock is a lock, which cannot be hashed; pass it as"
    ):
        provenance.Hasher().digest(define(source, lock=threading.Lock()), "loss_fn")


@pytest.mark.parametrize(
    "value",
    [
        iter([1]),
        logging.getLogger("a"),
        np.arange(3),
        np.float32(1),
        functools.cache(len),
        torch.Tensor.relu,
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_need_not_be_understood_is_refused_by_its_type(value):
    refusal = f"loss_fn is a {type(value).__qualname__}, which cannot be hashed; pass it as"
    with pytest.raises(TypeError, match=re.escape(refusal)):
        provenance.Hasher().digest(value, "loss_fn")


def test_functions_that_call_each_other_end():
    source = "def g(n): return n and f(n - {})\ndef f(n): return n and g(n - 1)"
    assert digest(source.format(1)) == digest(source.format(1))
    assert digest(source.format(1)) != digest(source.format(2))


def test_a_function_of_the_package_stands_for_what_its_module_reaches(monkeypatch):
    before = provenance.Hasher().digest(schedules.constant)
    monkeypatch.setattr(
        sources, "modules_reached", lambda names, parents: {"dl4cv.training.schedules": "x"}
    )
    assert provenance.Hasher().digest(schedules.constant) != before


def test_a_source_edited_while_the_process_runs_matches_no_other_process(monkeypatch):
    clean = provenance.running(["dl4cv.storage"])
    assert clean == provenance.modules_reached(["dl4cv.storage"], parents=False)
    monkeypatch.setitem(sources._AT_START, "dl4cv.storage", "what was imported")
    unsure = provenance.running(["dl4cv.storage"])
    assert unsure["dl4cv.storage"] not in (clean["dl4cv.storage"], "what was imported")
    assert unsure == provenance.running(["dl4cv.storage"])
