"""Normalisation: give features mean 0 and variance 1, then let the network scale and shift them.

The layers differ only in what is normalised together: a channel over the batch, an example, or a
group of channels of one example.
"""

import torch
from torch import Tensor

from dl4cv.layers.layer import Layer, add_gradient, check_dtype, parameter


def moments(x: Tensor, dims: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Return mean and (biased) variance of ``x`` over ``dims``, which have size 1 in both."""
    mean = x.mean(dims, keepdim=True)
    return mean, (x - mean).square().mean(dims, keepdim=True)


def standardize(x: Tensor, mean: Tensor, variance: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Return x̂ = (x − μ) / σ and 1 / σ, with σ² the variance plus ``eps``."""
    inverse = (variance + eps).rsqrt()
    return (x - mean) * inverse, inverse


def standardize_backward(
    dx_hat: Tensor, x_hat: Tensor, inverse: Tensor, dims: tuple[int, ...]
) -> Tensor:
    """Return the gradient with respect to x, given that with respect to x̂.

    Every x̂ depends on every x, through mean and standard deviation. Neither a shift of x nor (but
    for ``eps``) a stretch changes x̂: subtract the gradient's mean and its component along x̂.

    Source: Ioffe and Szegedy (2015), arXiv 1502.03167, section 3, gathered into one formula.
    """
    shift = dx_hat.mean(dims, keepdim=True)
    stretch = (dx_hat * x_hat).mean(dims, keepdim=True)
    return inverse * (dx_hat - shift - x_hat * stretch)


class _BatchNorm(Layer):
    """What ``BatchNorm1d`` and ``BatchNorm2d`` share; they differ in the shape of ``x``."""

    _form: str
    _dims: tuple[int, ...]

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        *,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.weight = parameter((num_features,), dtype).fill_(1)
        self.bias = parameter((num_features,), dtype)
        self.running_mean: Tensor
        self.running_var: Tensor
        self.num_batches_tracked: Tensor
        self.register_buffer("running_mean", torch.zeros(num_features, dtype=dtype))
        self.register_buffer("running_var", torch.ones(num_features, dtype=dtype))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x``, normalised, scaled and shifted, of the same shape.

        Raises:
            ValueError: if ``x`` has another shape, or one value per channel in training.
        """
        self._check(x)
        if self.training:
            mean, variance = moments(x, self._dims)
            self._update(mean, variance, x.numel() // self.num_features)
        else:
            mean = self._per_channel(self.running_mean)
            variance = self._per_channel(self.running_var)
        x_hat, inverse = standardize(x, mean, variance, self.eps)
        self._saved = x_hat, inverse, self.training
        return self._per_channel(self.weight) * x_hat + self._per_channel(self.bias)

    def backward(self, dy: Tensor) -> Tensor:
        """Return the gradient with respect to the input, of the same shape."""
        x_hat, inverse, from_batch = self._pop_saved()
        add_gradient(self.weight, (dy * x_hat).sum(self._dims))
        add_gradient(self.bias, dy.sum(self._dims))
        dx_hat = dy * self._per_channel(self.weight)
        if from_batch:
            return standardize_backward(dx_hat, x_hat, inverse, self._dims)
        return dx_hat * inverse  # mean and standard deviation were constants

    def _update(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Move the running statistics towards those of ``count`` values per channel."""
        unbiased = variance * count / (count - 1)
        self.running_mean.lerp_(mean.flatten(), self.momentum)
        self.running_var.lerp_(unbiased.flatten(), self.momentum)
        self.num_batches_tracked += 1

    def _per_channel(self, values: Tensor) -> Tensor:
        """Return a view of values of shape (C,) that broadcasts over ``x``."""
        return values.view(-1, *[1] * (len(self._dims) - 1))

    def _check(self, x: Tensor) -> None:
        if x.ndim != len(self._dims) + 1 or x.shape[1] != self.num_features:
            raise ValueError(
                f"x has shape {tuple(x.shape)}; expected {self._form} with C = {self.num_features}"
            )
        check_dtype(x, self.weight)
        count = x.numel() // self.num_features
        if self.training and count < 2:
            raise ValueError(
                f"x has shape {tuple(x.shape)}, {count} per channel; expected at least 2 values, "
                "since one has no variance (call eval() to use the running statistics)"
            )


class BatchNorm1d(_BatchNorm):
    """Normalise each feature over the batch.

    In training with the mean and variance of the batch, of which it keeps running averages (with
    weight ``momentum`` for the newest); in ``eval`` with these.

    Args:
        num_features: C.
        eps: added to the variance.
        momentum: how fast the running statistics follow.
        dtype: of the parameters.

    Shape: x (N, C) → the same; ``weight``, ``bias``, ``running_mean`` and ``running_var`` (C,).
    Source: Ioffe and Szegedy (2015), arXiv 1502.03167, algorithms 1 and 2.
    """

    _form, _dims = "(N, C)", (0,)


class BatchNorm2d(_BatchNorm):
    """Normalise each channel over the batch and all positions of its map.

    All else is as in ``BatchNorm1d``.

    Shape: x (N, C, H, W) → the same.
    Source: Ioffe and Szegedy (2015), arXiv 1502.03167, section 3.2.
    """

    _form, _dims = "(N, C, H, W)", (0, 2, 3)


class LayerNorm(Layer):
    """Normalise each example by itself, over its last dimensions.

    Args:
        normalized_shape: their sizes, or the size of the last one.
        eps: added to the variance.
        dtype: of the parameters.

    Shape: x (…, *normalized_shape) → the same; ``weight`` and ``bias`` of ``normalized_shape``.
    Source: Ba, Kiros and Hinton (2016), arXiv 1607.06450.
    """

    def __init__(
        self,
        normalized_shape: int | tuple[int, ...],
        eps: float = 1e-5,
        *,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        shape = (normalized_shape,) if isinstance(normalized_shape, int) else normalized_shape
        self.normalized_shape, self.eps = tuple(shape), eps
        self.weight = parameter(self.normalized_shape, dtype).fill_(1)
        self.bias = parameter(self.normalized_shape, dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x``, normalised, scaled and shifted, of the same shape."""
        if x.shape[x.ndim - len(self.normalized_shape) :] != self.normalized_shape:
            raise ValueError(
                f"x has shape {tuple(x.shape)}; expected its last dimensions to be "
                f"{self.normalized_shape}"
            )
        check_dtype(x, self.weight)
        dims = tuple(range(-len(self.normalized_shape), 0))
        x_hat, inverse = standardize(x, *moments(x, dims), self.eps)
        self._saved = x_hat, inverse, dims
        return self.weight * x_hat + self.bias

    def backward(self, dy: Tensor) -> Tensor:
        """Return the gradient with respect to the input, of the same shape."""
        x_hat, inverse, dims = self._pop_saved()
        add_gradient(self.weight, (dy * x_hat).reshape(-1, *self.normalized_shape).sum(0))
        add_gradient(self.bias, dy.reshape(-1, *self.normalized_shape).sum(0))
        return standardize_backward(dy * self.weight, x_hat, inverse, dims)


class GroupNorm(Layer):
    """Normalise each example by itself, one group of channels at a time.

    Args:
        num_groups: G, a divisor of the channels. One group is a layer norm of the whole map, as
            many groups as channels is an instance norm.
        num_channels: C.
        eps: added to the variance.
        dtype: of the parameters.

    Shape: x (N, C, …) → the same; ``weight`` and ``bias`` (C,).

    Raises:
        ValueError: if the groups do not divide the channels, or ``x`` has others.

    Source: Wu and He (2018), arXiv 1803.08494, equation 7.
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        *,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        if num_groups < 1 or num_channels % num_groups:
            raise ValueError(
                f"num_groups is {num_groups}; expected a divisor of num_channels, {num_channels}"
            )
        self.num_groups, self.num_channels, self.eps = num_groups, num_channels, eps
        self.weight = parameter((num_channels,), dtype).fill_(1)
        self.bias = parameter((num_channels,), dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x``, normalised, scaled and shifted, of the same shape."""
        if x.ndim < 2 or x.shape[1] != self.num_channels:
            raise ValueError(f"x has shape {tuple(x.shape)}; expected (N, {self.num_channels}, …)")
        check_dtype(x, self.weight)
        groups = x.unflatten(1, (self.num_groups, -1)).flatten(2)
        groups, inverse = standardize(groups, *moments(groups, (2,)), self.eps)
        self._saved = groups, inverse
        per_channel = (-1, *[1] * (x.ndim - 2))
        return self.weight.view(per_channel) * groups.view(x.shape) + self.bias.view(per_channel)

    def backward(self, dy: Tensor) -> Tensor:
        """Return the gradient with respect to the input, of the same shape."""
        groups, inverse = self._pop_saved()
        others = (0, *range(2, dy.ndim))
        add_gradient(self.weight, (dy * groups.view(dy.shape)).sum(others))
        add_gradient(self.bias, dy.sum(others))
        scaled = dy * self.weight.view(-1, *[1] * (dy.ndim - 2))
        return standardize_backward(scaled.reshape_as(groups), groups, inverse, (2,)).view(dy.shape)
