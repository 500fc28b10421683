"""Sums and differences of numbers below 100, as sequences of tokens: ``47+38`` and ``85``."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import torch
from torch import Tensor

from dl4cv.data.captions import Vocabulary

#: Both operands are below this.
LIMIT = 100

CHARACTERS = "0123456789+-"
VOCABULARY = Vocabulary(*CHARACTERS)

#: Tokens of the longest problem with END, and of the longest answer with START and END.
SOURCE_LENGTH, TARGET_LENGTH = 6, 5

Order = Literal["units last", "units first"]


@dataclass(frozen=True)
class Problems:
    """Problems of the form a + b or a − b, and their answers.

    Attributes:
        a: (N,) int64, the first operand.
        b: (N,) int64, the second.
        minus: (N,) bool, where b is subtracted.
        order: whether an answer ends with its units digit, as one writes it, or begins with it.
        source: (N, 6) int64: the problem's characters and END, filled up with PADDING.
        target: (N, 5) int64: START, the answer's characters and END, filled up with PADDING.

    Raises:
        ValueError: if an operand is not from 0 to 99, there is no problem, or no such order.
    """

    a: Tensor
    b: Tensor
    minus: Tensor
    order: Order = "units last"
    source: Tensor = field(init=False, repr=False)
    target: Tensor = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Write the problems and their answers as tokens."""
        if self.order not in get_args(Order):
            raise ValueError(
                f"order is {self.order!r}; expected one of: {', '.join(get_args(Order))}"
            )
        for name, operand in (("a", self.a), ("b", self.b)):
            if not len(operand) or operand.min() < 0 or operand.max() >= LIMIT:
                raise ValueError(
                    f"{name} is {operand.tolist()}; expected at least one number, each from 0 to "
                    f"{LIMIT - 1}"
                )
        step = -1 if self.order == "units first" else 1
        answers = [str(answer)[::step] for answer in self.answers.tolist()]
        object.__setattr__(self, "source", encode(self.texts))
        object.__setattr__(self, "target", _tokens(answers, TARGET_LENGTH))

    def __len__(self) -> int:
        """Return N."""
        return len(self.a)

    def __getitem__(self, chosen: Tensor | slice) -> "Problems":
        """Return some of the problems: a slice, numbers, or a mask."""
        return Problems(self.a[chosen], self.b[chosen], self.minus[chosen], self.order)

    @property
    def answers(self) -> Tensor:
        """a + b or a − b. Shape: (N,) int64."""
        return torch.where(self.minus, self.a - self.b, self.a + self.b)

    @property
    def texts(self) -> list[str]:
        """The problems as one writes them, such as ``47+38``."""
        rows = zip(self.a.tolist(), self.minus.tolist(), self.b.tolist(), strict=True)
        return [f"{a}{'-' if minus else '+'}{b}" for a, minus, b in rows]

    @property
    def carries(self) -> Tensor:
        """Where the units digits carry a one into the tens, or borrow one. Shape: (N,) bool."""
        low, high = torch.minimum(self.a, self.b), torch.maximum(self.a, self.b)
        borrows = high % 10 < low % 10
        return torch.where(self.minus, borrows, self.a % 10 + self.b % 10 >= 10)

    @property
    def families(self) -> Tensor:
        """A number for each fact family: 3 + 5, 5 + 3, 8 − 3, 8 − 5, 3 − 8 and 5 − 8 share one.

        A family is named by its two addends. Shape: (N,) int64.
        """
        first = torch.minimum(self.a, self.b)
        second = torch.where(self.minus, (self.a - self.b).abs(), torch.maximum(self.a, self.b))
        return torch.minimum(first, second) * LIMIT + torch.maximum(first, second)


def all_problems(order: Order = "units last") -> Problems:
    """Return the 10,000 sums and the 10,000 differences of two numbers below 100."""
    minus, a, b = torch.cartesian_prod(
        torch.arange(2), torch.arange(LIMIT), torch.arange(LIMIT)
    ).unbind(1)
    return Problems(a, b, minus.bool(), order)


def split(
    seed: int = 0, *, fraction: float = 0.8, order: Order = "units last", by_family: bool = True
) -> tuple[Problems, Problems]:
    """Return the problems to learn from, and those that are held out.

    Args:
        seed: which ones are held out.
        fraction: of the fact families, or of the problems, to learn from.
        order: of the answers' digits.
        by_family: whether the problems of a fact family stay together. If not, the answer to most
            of the problems held out follows from one to learn from with the operands exchanged.

    Raises:
        ValueError: if ``fraction`` leaves one of the two empty.
    """
    problems = all_problems(order)
    families = problems.families if by_family else torch.arange(len(problems))
    members = families.unique()
    count = round(fraction * len(members))
    if not 0 < count < len(members):
        raise ValueError(f"fraction is {fraction}; expected one that leaves problems on both sides")
    shuffled = members[torch.randperm(len(members), generator=torch.Generator().manual_seed(seed))]
    learned = torch.isin(families, shuffled[:count])
    return problems[learned], problems[~learned]


def encode(texts: Sequence[str]) -> Tensor:
    """Return the characters of each problem and END, filled up with PADDING.

    Shape: N problems, such as ``47+38`` → (N, 6) int64.

    Raises:
        ValueError: if a problem is empty or too long, or a character is not in the vocabulary.
    """
    for text in texts:
        strange = [character for character in text if character not in CHARACTERS]
        if strange or not 1 <= len(text) < SOURCE_LENGTH:
            raise ValueError(
                f"texts holds {text!r}; expected 1 to {SOURCE_LENGTH - 1} of the characters "
                f"{CHARACTERS}"
            )
    return _tokens(texts, SOURCE_LENGTH + 1)[:, 1:]


def decode(tokens: Tensor) -> list[str]:
    """Return the characters of each row up to its END. Shape: (N, T) → N texts.

    Raises:
        ValueError: if ``tokens`` has another shape, or holds a number that is no token.
    """
    return [text.replace(" ", "") for text in VOCABULARY.decode(tokens)]


def _tokens(texts: Sequence[str], length: int) -> Tensor:
    return VOCABULARY.encode([" ".join(text) for text in texts], length)
