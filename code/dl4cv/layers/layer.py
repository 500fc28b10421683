"""What all layers share: forward, backward, and a bridge to PyTorch's autograd."""

from typing import Any, cast

import torch
from torch import Tensor, nn


class Layer(nn.Module):
    """A differentiable function of one tensor, with a hand-written backward pass.

    ``forward`` computes the result and saves what the backward pass needs. ``backward`` takes the
    gradient of the loss with respect to that result, adds to each parameter's ``grad``, and returns
    the gradient with respect to the input. Each ``backward`` belongs to the ``forward`` before it:
    a layer saves one call. One that runs several times before going back, such as a recurrent layer
    with its time steps, collects in ``_saved`` what its own steps need, in a list.

    ``nn.Module`` keeps the parameters: ``state_dict``, ``train`` and ``eval``. They do not require
    a gradient, so autograd ignores them.
    """

    _saved: Any = None

    def forward(self, x: Tensor) -> Tensor:
        """Return the result for ``x``, and save what ``backward`` needs."""
        raise NotImplementedError

    def backward(self, dy: Tensor) -> Tensor:
        """Return the gradient with respect to the input; add the parameters' to their ``grad``.

        Args:
            dy: the gradient of the loss with respect to the last result of ``forward``.

        Raises:
            RuntimeError: if there was no ``forward`` since the last ``backward``.
        """
        raise NotImplementedError

    def _pop_saved(self) -> Any:
        """Return what ``forward`` saved, and forget it."""
        saved, self._saved = self._saved, None
        if saved is None:
            raise RuntimeError(
                f"{type(self).__name__}.backward was called without a forward before it; "
                "expected one forward for each backward"
            )
        return saved

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy of the layer needs, which is not what ``forward`` saved."""
        return {name: value for name, value in vars(self).items() if name != "_saved"}


class Sequential(nn.Sequential):
    """Layers one after another; ``torch.nn.Sequential`` with a backward pass."""

    def layers(self) -> list[Layer]:
        """Return the layers in order."""
        return cast(list[Layer], list(self))

    def backward(self, dy: Tensor) -> Tensor:
        """Return the gradient with respect to the input: the chain rule, layer by layer."""
        for layer in reversed(self.layers()):
            dy = layer.backward(dy)
        return dy


class Flatten(Layer):
    """Make one row of each example. Shape: (N, …) → (N, D)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the rows."""
        self._saved = x.shape
        return x.flatten(1)

    def backward(self, dy: Tensor) -> Tensor:
        """Return the gradient in the shape that the input had."""
        return dy.reshape(self._pop_saved())


def parameter(shape: tuple[int, ...], dtype: torch.dtype) -> nn.Parameter:
    """Return a parameter of zeros that autograd ignores.

    Raises:
        ValueError: if a dimension is below 1, or ``dtype`` is neither float32 nor float64.
    """
    if not shape or min(shape) < 1:
        raise ValueError(f"a parameter would have shape {shape}; expected dimensions of at least 1")
    if dtype not in (torch.float32, torch.float64):
        raise ValueError(
            f"dtype is {dtype}; expected torch.float32 or torch.float64, since half precision "
            "overflows in sums (with_autograd takes half-precision inputs)"
        )
    return nn.Parameter(torch.zeros(shape, dtype=dtype), requires_grad=False)


def check_dtype(x: Tensor, weight: Tensor) -> None:
    """Raise ValueError unless ``x`` has the type of a layer's parameters."""
    if x.dtype != weight.dtype:
        raise ValueError(f"x is {x.dtype}; expected {weight.dtype}, the type of the parameters")


def add_gradient(to: Tensor, gradient: Tensor) -> None:
    """Add ``gradient`` to ``to.grad``, as PyTorch's ``backward`` does."""
    to.grad = gradient if to.grad is None else to.grad + gradient


def with_autograd(net: nn.Module, x: Tensor) -> Tensor:
    """Return ``net(x)`` so that PyTorch's ``backward`` continues with ``net.backward``.

    The bridge to everything written for autograd: its losses, and the book's ``training.fit``.
    The layers compute in float32 where ``x`` is in half precision, under autocast too.

    Args:
        net: a ``Layer`` or a ``Sequential`` of them.
        x: the input; it gets a gradient if it requires one.
    """
    return _Bridge.apply(x, torch.zeros((), requires_grad=True), net)  # pyright: ignore[reportReturnType]


class _Bridge(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, _: Tensor, net: Any) -> Tensor:
        ctx.net = net
        with torch.autocast(x.device.type, enabled=False):
            return net(x.float() if x.dtype in (torch.bfloat16, torch.float16) else x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        with torch.autocast(gradients[0].device.type, enabled=False):
            return ctx.net.backward(gradients[0]), None, None
