"""Layers from scratch: forward and backward by hand, with the names and keys of ``torch.nn``."""

from dl4cv.layers.activation import GELU, LeakyReLU, ReLU, Sigmoid, Tanh
from dl4cv.layers.convolution import Conv2d
from dl4cv.layers.dropout import Dropout
from dl4cv.layers.embedding import Embedding
from dl4cv.layers.layer import Flatten, Layer, Sequential, with_autograd
from dl4cv.layers.linear import Linear
from dl4cv.layers.normalization import BatchNorm1d, BatchNorm2d, GroupNorm, LayerNorm
from dl4cv.layers.pooling import MaxPool2d
from dl4cv.layers.recurrent import LSTM, RNN

__all__ = [
    "GELU",
    "LSTM",
    "RNN",
    "BatchNorm1d",
    "BatchNorm2d",
    "Conv2d",
    "Dropout",
    "Embedding",
    "Flatten",
    "GroupNorm",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "MaxPool2d",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Tanh",
    "with_autograd",
]
