"""What all layers share: the way forward, the way back, and a bridge to PyTorch's autograd."""

from typing import Any, cast

import torch
from torch import Tensor, nn


class Layer(nn.Module):
    """A function of one tensor that can be gone back through, without autograd.

    ``forward`` computes the result and keeps what the way back will need. ``backward`` takes the
    gradient of the loss with respect to that result, adds to each parameter's ``grad``, and returns
    the gradient with respect to the input. Each call of ``backward`` belongs to the call of
    ``forward`` before it.

    ``nn.Module`` lends the keeping of parameters: ``state_dict``, ``train`` and ``eval``. Its
    parameters do not require a gradient, so autograd takes no notice of them.
    """

    _kept: Any = None

    def forward(self, x: Tensor) -> Tensor:
        """Return the result for ``x``, and keep what ``backward`` needs."""
        raise NotImplementedError

    def backward(self, dy: Tensor) -> Tensor:
        """Return the gradient by the input, and add those by the parameters to their ``grad``.

        Args:
            dy: the gradient of the loss by the result of the last ``forward``, of its shape.

        Raises:
            RuntimeError: if there was no ``forward`` since the last ``backward``.
        """
        raise NotImplementedError

    def _recall(self) -> Any:
        """Return what ``forward`` kept, and forget it."""
        kept, self._kept = self._kept, None
        if kept is None:
            raise RuntimeError(
                f"{type(self).__name__}.backward was called without a forward before it; "
                "expected one forward for each backward"
            )
        return kept

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy of the layer needs, which is not what ``forward`` kept."""
        return {name: value for name, value in vars(self).items() if name != "_kept"}


class Sequential(nn.Sequential):
    """Layers one after another; ``torch.nn.Sequential`` with a way back."""

    def layers(self) -> list[Layer]:
        """Return the layers, the first first."""
        return cast(list[Layer], list(self))

    def backward(self, dy: Tensor) -> Tensor:
        """Return the gradient by the input: the chain rule, layer by layer."""
        for layer in reversed(self.layers()):
            dy = layer.backward(dy)
        return dy


class Flatten(Layer):
    """Make one row of each example. Shape: (N, …) → (N, D)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the rows."""
        self._kept = x.shape
        return x.flatten(1)

    def backward(self, dy: Tensor) -> Tensor:
        """Return the gradient in the shape that the input had."""
        return dy.reshape(self._recall())


def parameter(shape: tuple[int, ...], dtype: torch.dtype) -> nn.Parameter:
    """Return a parameter full of zeros, whose gradient is worked out by hand."""
    return nn.Parameter(torch.zeros(shape, dtype=dtype), requires_grad=False)


def add_gradient(to: Tensor, gradient: Tensor) -> None:
    """Add ``gradient`` to ``to.grad``, as PyTorch's ``backward`` does."""
    to.grad = gradient if to.grad is None else to.grad + gradient


def apply(net: nn.Module, x: Tensor) -> Tensor:
    """Return ``net(x)`` so that PyTorch's ``backward`` goes on by ``net.backward``.

    The bridge to everything written for autograd: its losses, and the book's ``training.fit``.
    The layers compute in their parameters' precision, under autocast too.

    Args:
        net: a ``Layer`` or a ``Sequential`` of them.
        x: what goes in; it gets a gradient if it requires one.
    """
    return _Bridge.apply(x, torch.zeros((), requires_grad=True), net)  # pyright: ignore[reportReturnType]


class _Bridge(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, _: Tensor, net: Any) -> Tensor:
        ctx.net = net
        with torch.autocast(x.device.type, enabled=False):
            return net(x.float() if x.dtype is torch.bfloat16 else x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        with torch.autocast(gradients[0].device.type, enabled=False):
            return ctx.net.backward(gradients[0]), None, None
