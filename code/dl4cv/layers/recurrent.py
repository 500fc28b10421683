"""Recurrent layers: one step applied to each element of a sequence, and back through time."""

import math

import torch
from torch import Tensor

from dl4cv.layers.layer import Layer, add_gradient, check_dtype, parameter

#: What a layer hands from one time step to the next: (h,) or (h, c), each (N, H).
State = tuple[Tensor, ...]


class Recurrent(Layer):
    """What recurrent layers share: the loop over time, forward and backward.

    A subclass gives ``step`` and ``step_backward``.

    Args:
        input_size: D, features of the input at each time step.
        hidden_size: H, features of the state.
        generator: draws all parameters from U(−1/√H, 1/√H), as ``torch.nn`` does; the global one
            if None.
        dtype: of the parameters.

    Shape: x (N, T, D) → (N, T, H). ``weight_ih_l0`` (G·H, D), ``weight_hh_l0`` (G·H, H) and the two
        biases (G·H,), with G blocks one above the other, as in ``torch.nn`` with
        ``batch_first=True``.

    Attributes:
        dstate: after ``backward``, the gradient with respect to the state that ``forward`` began
            with.

    Raises:
        ValueError: if a size is below 1, the sequence is empty, or the input or the state has
            another shape or type.
    """

    BLOCKS = 1
    STATES = 1

    dstate: State

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        if input_size < 1 or hidden_size < 1:
            raise ValueError(
                f"input_size is {input_size} and hidden_size {hidden_size}; "
                "expected at least 1 each"
            )
        self.input_size, self.hidden_size = input_size, hidden_size
        rows = self.BLOCKS * hidden_size
        self.weight_ih_l0 = parameter((rows, input_size), dtype)
        self.weight_hh_l0 = parameter((rows, hidden_size), dtype)
        self.bias_ih_l0 = parameter((rows,), dtype)
        self.bias_hh_l0 = parameter((rows,), dtype)
        bound = 1 / math.sqrt(hidden_size)
        for weight in self.parameters():
            weight.uniform_(-bound, bound, generator=generator)

    def step(self, x: Tensor, state: State) -> tuple[State, State]:
        """Return the next state, and what ``step_backward`` needs.

        Shape: x (N, D); each tensor of the state (N, H). The first of them is the output.
        """
        raise NotImplementedError

    def step_backward(self, dstate: State, saved: State) -> tuple[Tensor, State]:
        """Return the gradients with respect to a step's input and to the state before it.

        Args:
            dstate: the gradient of the loss with respect to the state after the step.
            saved: what the step returned for this.
        """
        raise NotImplementedError

    def forward(self, x: Tensor, state: State | None = None) -> Tensor:
        """Return the output of every time step; ``state`` is 0 unless given."""
        if state is None:
            zeros = self.weight_hh_l0.new_zeros(len(x), self.hidden_size)
            state = (zeros,) * self.STATES
        self._check(x, state)
        outputs, self._saved = [], []
        for t in range(x.shape[1]):
            state, saved = self.step(x[:, t], state)
            outputs.append(state[0])
            self._saved.append(saved)
        return torch.stack(outputs, 1)

    def backward(self, dy: Tensor) -> Tensor:
        """Return the gradient with respect to the input: backpropagation through time.

        A state has two uses: it is the output of its step, and the next step builds on it. Its
        gradient is the sum of both.

        Source: Werbos (1990).
        """
        saved = self._pop_saved()
        dx: list[Tensor] = []
        dstate: State = (torch.zeros_like(dy[:, 0]),) * self.STATES
        for t in reversed(range(len(saved))):
            dx_t, dstate = self.step_backward((dstate[0] + dy[:, t], *dstate[1:]), saved[t])
            dx.append(dx_t)
        self.dstate = dstate
        return torch.stack(dx[::-1], 1)

    def _preactivation(self, x: Tensor, h: Tensor) -> Tensor:
        """Return W_ih x + b_ih + W_hh h + b_hh. Shape: (N, G·H)."""
        return x @ self.weight_ih_l0.T + self.bias_ih_l0 + h @ self.weight_hh_l0.T + self.bias_hh_l0

    def _preactivation_backward(self, da: Tensor, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradients with respect to x and h; add the parameters' to their ``grad``."""
        add_gradient(self.weight_ih_l0, da.T @ x)  # (G·H, N) @ (N, D)
        add_gradient(self.weight_hh_l0, da.T @ h)  # (G·H, N) @ (N, H)
        add_gradient(self.bias_ih_l0, da.sum(0))
        add_gradient(self.bias_hh_l0, da.sum(0))
        return da @ self.weight_ih_l0, da @ self.weight_hh_l0

    def _check(self, x: Tensor, state: State) -> None:
        if x.ndim != 3 or x.shape[1] == 0 or x.shape[2] != self.input_size:
            raise ValueError(
                f"x has shape {tuple(x.shape)}; expected (N, T, {self.input_size}) with at least "
                "one time step"
            )
        expected = [(len(x), self.hidden_size)] * self.STATES
        if (shapes := [tuple(part.shape) for part in state]) != expected:
            raise ValueError(f"state has shapes {shapes}; expected {expected}")
        for part in (x, *state):
            check_dtype(part, self.weight_ih_l0)


class RNN(Recurrent):
    """The vanilla recurrent layer: ``h' = tanh(W_ih x + b_ih + W_hh h + b_hh)``.

    Source: Elman (1990).
    """

    def step(self, x: Tensor, state: State) -> tuple[State, State]:
        """Return the state after ``x``."""
        (h,) = state
        h_next = self._preactivation(x, h).tanh()
        return (h_next,), (x, h, h_next)

    def step_backward(self, dstate: State, saved: State) -> tuple[Tensor, State]:
        """Return the gradients with respect to ``x`` and ``h``."""
        x, h, h_next = saved
        da = dstate[0] * (1 - h_next.square())  # tanh' = 1 − tanh²
        dx, dh = self._preactivation_backward(da, x, h)
        return dx, (dh,)


class LSTM(Recurrent):
    """Long short-term memory: a cell ``c`` that gates write to, erase and read.

    ``c' = f c + i g`` and ``h' = o tanh(c')``, with the gates i, f, o = σ(…) and the proposal
    g = tanh(…) of one linear layer; i, f, g, o is the order of its rows, as in ``torch.nn.LSTM``.

    Source: Hochreiter and Schmidhuber (1997); the forget gate f is Gers et al.'s (2000).
    """

    BLOCKS = 4
    STATES = 2

    def step(self, x: Tensor, state: State) -> tuple[State, State]:
        """Return (h, c) after ``x``."""
        h, c = state
        i, f, g, o = self._preactivation(x, h).chunk(4, 1)  # (N, H) each
        i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
        c_next = f * c + i * g
        return (o * c_next.tanh(), c_next), (x, h, c, i, f, g, o, c_next)

    def step_backward(self, dstate: State, saved: State) -> tuple[Tensor, State]:
        """Return the gradients with respect to ``x`` and (h, c)."""
        dh, dc = dstate
        x, h, c, i, f, g, o, c_next = saved
        read = c_next.tanh()
        dc = dc + dh * o * (1 - read.square())  # the cell's own use, and the output's
        da = torch.cat(
            [
                dc * g * i * (1 - i),  # σ' = σ (1 − σ)
                dc * c * f * (1 - f),
                dc * i * (1 - g.square()),
                dh * read * o * (1 - o),
            ],
            1,
        )  # (N, 4H)
        dx, dh = self._preactivation_backward(da, x, h)
        return dx, (dh, dc * f)
