"""Which pixels a unit can see: the receptive field, layer by layer."""

from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn

from dl4cv.layers.convolution import Conv2d
from dl4cv.layers.layer import Layer
from dl4cv.layers.linear import Linear
from dl4cv.layers.normalization import GroupNorm, LayerNorm
from dl4cv.layers.pooling import MaxPool2d


@dataclass(frozen=True)
class ReceptiveField:
    """How far the units of a layer see.

    Attributes:
        layer: the layer's name.
        size: height of the window of input pixels that one unit depends on.
        stride: input pixels between neighbouring units.
    """

    layer: str
    size: int
    stride: int


def receptive_fields(net: Iterable[nn.Module]) -> list[ReceptiveField]:
    """Return the receptive field after every convolution and pooling of a chain of our layers.

    A kernel of size k adds k − 1 steps, each as long as the strides before it multiply to. It is
    counted down the rows of an image.

    Raises:
        ValueError: if a layer is not one of this book's, or one whose units see everything.

    Source: Araujo, Norris and Sim (2019).
    """
    size = stride = 1
    fields = []
    for layer in net:
        if not isinstance(layer, Layer) or isinstance(layer, Linear | LayerNorm | GroupNorm):
            raise ValueError(
                f"net holds a {type(layer).__name__}; expected convolutions, poolings and layers "
                "that leave a unit's neighbours alone"
            )
        if isinstance(layer, Conv2d | MaxPool2d):
            size += (layer.kernel_size[0] - 1) * stride
            stride *= layer.stride[0]
            fields.append(ReceptiveField(type(layer).__name__, size, stride))
    return fields
