"""A tiny autograd engine: arrays that remember how they were made, and can find their gradients.

Each operation notes what it was applied to and, for each of these, how a gradient of its result
becomes a gradient of its argument. ``backward`` walks these notes from the end to the beginning.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

#: From the gradient with respect to a result to the gradient with respect to an argument.
Pullback = Callable[[Tensor], Tensor]


class Variable:
    """An array in a computational graph.

    It takes part in ``+ - * / **`` with broadcasting, in ``@`` between matrices, and has methods
    named as those of ``torch.Tensor``.

    Attributes:
        data: the value, a tensor of any shape, outside PyTorch's autograd.
        grad: the gradient of what ``backward`` was called on, of the shape of ``data``; None
            before.
        op: the operation that made it; empty for what the user made.
        parents: what the operation was applied to, each with its pullback.
    """

    def __init__(
        self,
        data: Tensor | float,
        op: str = "",
        parents: Sequence[tuple[Variable, Pullback]] = (),
    ) -> None:
        data = torch.as_tensor(data).detach()
        self.data = data if data.is_floating_point() else data.to(torch.get_default_dtype())
        self.grad: Tensor | None = None
        self.op = op
        self.parents = tuple(parents)

    def __repr__(self) -> str:
        made = f", by {self.op}" if self.op else ""
        return f"Variable({self.data.tolist()}{made})"

    def backward(self) -> None:
        """Compute the gradient of every variable that this one was made from.

        Gradients add up: over all paths through the graph, and over calls.

        Raises:
            ValueError: if this variable is not a single number.
        """
        if self.data.numel() != 1:
            raise ValueError(
                f"backward needs a single number, this is of shape {tuple(self.data.shape)}; "
                "sum it first"
            )
        gradients = {id(self): torch.ones_like(self.data)}
        for node in reversed(self.graph()):
            g = gradients.pop(id(node))
            node.grad = g.clone() if node.grad is None else node.grad + g
            for parent, pullback in node.parents:
                # Broadcasting copied the parent; the copies' gradients add up.
                dparent = pullback(g).sum_to_size(parent.data.shape)
                if id(parent) in gradients:
                    dparent = gradients[id(parent)] + dparent
                gradients[id(parent)] = dparent

    def graph(self) -> list[Variable]:
        """Return all nodes, each after everything that it was made from."""
        order: list[Variable] = []
        seen: set[int] = set()
        stack: list[tuple[Variable, bool]] = [(self, False)]
        while stack:
            node, parents_are_in = stack.pop()
            if parents_are_in:
                order.append(node)
            elif id(node) not in seen:
                seen.add(id(node))
                stack.append((node, True))  # once its parents are in
                stack += [(parent, False) for parent, _ in node.parents]
        return order

    def __add__(self, other: Variable | float) -> Variable:
        other = _variable(other, like=self)
        parents = [(self, lambda g: g), (other, lambda g: g)]
        return Variable(self.data + other.data, "+", parents)

    def __mul__(self, other: Variable | float) -> Variable:
        other = _variable(other, like=self)
        parents = [
            (self, lambda g: g * other.data),
            (other, lambda g: g * self.data),
        ]
        return Variable(self.data * other.data, "*", parents)

    def __matmul__(self, other: Variable) -> Variable:
        parents = [(self, lambda g: g @ other.data.T), (other, lambda g: self.data.T @ g)]
        return Variable(self.data @ other.data, "@", parents)

    def __pow__(self, power: float) -> Variable:
        if not isinstance(power, int | float):
            return NotImplemented
        # x⁰ is 1 everywhere: its slope is 0 at x = 0 too, where 0 · x⁻¹ would be NaN.
        slope = power * self.data ** (power - 1) if power else torch.zeros_like(self.data)
        return Variable(self.data**power, f"^{power:g}", [(self, lambda g: g * slope)])

    def exp(self) -> Variable:
        value = self.data.exp()
        return Variable(value, "exp", [(self, lambda g: g * value)])

    def log(self) -> Variable:
        return Variable(self.data.log(), "log", [(self, lambda g: g / self.data)])

    def tanh(self) -> Variable:
        value = self.data.tanh()
        return Variable(value, "tanh", [(self, lambda g: g * (1 - value**2))])

    def relu(self) -> Variable:
        mask = self.data > 0
        return Variable(self.data.clamp(min=0), "relu", [(self, lambda g: g * mask)])

    def sum(self, dim: int | None = None, keepdim: bool = False) -> Variable:
        value = self.data.sum() if dim is None else self.data.sum(dim, keepdim)

        def pullback(g: Tensor) -> Tensor:
            g = g if dim is None or keepdim else g.unsqueeze(dim)
            return g.expand(self.data.shape)

        return Variable(value, "sum", [(self, pullback)])

    def reshape(self, *shape: int) -> Variable:
        back = self.data.shape
        return Variable(self.data.reshape(shape), "reshape", [(self, lambda g: g.reshape(back))])

    def __neg__(self) -> Variable:
        return self * -1.0

    def __sub__(self, other: Variable | float) -> Variable:
        return self + -_variable(other, like=self)

    def __rsub__(self, other: float) -> Variable:
        return -self + other

    def __truediv__(self, other: Variable | float) -> Variable:
        return self * _variable(other, like=self) ** -1

    def __rtruediv__(self, other: float) -> Variable:
        return other * self**-1

    __radd__, __rmul__ = __add__, __mul__


def _variable(value: Variable | float, like: Variable) -> Variable:
    """Return ``value``, a plain number made a variable."""
    if isinstance(value, Variable):
        return value
    return Variable(torch.as_tensor(value, dtype=like.data.dtype))
