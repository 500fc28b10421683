"""What a network costs: parameters, and the floating-point operations of one image."""

import math
from typing import Any

import torch
from torch import Tensor, nn


def parameters(model: nn.Module) -> int:
    """Return the number of parameters of ``model``."""
    return sum(parameter.numel() for parameter in model.parameters())


def flops(model: nn.Module, image: Tensor) -> int:
    """Return the floating-point operations of the convolutions and linear layers for an image.

    A multiplication with its addition counts as two, biases and everything else as nothing, as
    in ``torch.utils.flop_counter``.

    Args:
        model: a network whose work lies in ``nn.Conv2d`` and ``nn.Linear``.
        image: one input, without the batch dimension.
    """
    total = 0

    def count(layer: nn.Module, _: Any, result: Tensor) -> None:
        nonlocal total
        if isinstance(layer, nn.Conv2d):
            window = layer.in_channels // layer.groups * math.prod(layer.kernel_size)
            total += 2 * window * result.numel()  # each result is a sum over one window
        elif isinstance(layer, nn.Linear):
            total += 2 * layer.in_features * result.numel()

    hooks = [layer.register_forward_hook(count) for layer in model.modules()]
    modes = [(layer, layer.training) for layer in model.modules()]
    try:
        with torch.no_grad():
            model.eval()(image[None])
    finally:
        for layer, training in modes:
            layer.training = training
        for hook in hooks:
            hook.remove()
    return total
