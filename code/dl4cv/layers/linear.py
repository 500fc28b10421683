"""The fully connected layer."""

import torch
from torch import Tensor

from dl4cv.layers import init
from dl4cv.layers.layer import Layer, add_gradient, check_dtype, parameter


class Linear(Layer):
    """``y = x Wᵀ + b``: every output is a weighted sum of all inputs.

    Args:
        in_features: D.
        out_features: K.
        bias: whether there is a ``b``.
        generator: draws the first weights, He et al.'s for ReLU; the global one if None. The
            biases start at 0.
        dtype: of the parameters.

    Shape: x (N, D) → (N, K); ``weight`` (K, D), ``bias`` (K,), as in ``torch.nn.Linear``.

    Raises:
        ValueError: if there are no features, or ``x`` does not have D columns or another type than
            the parameters.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        if in_features < 1 or out_features < 1:
            raise ValueError(
                f"in_features is {in_features} and out_features {out_features}; "
                "expected at least 1 each"
            )
        self.weight = parameter((out_features, in_features), dtype)
        self.bias = parameter((out_features,), dtype) if bias else None
        init.kaiming_normal_(self.weight, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """Return the weighted sums. Shape: (N, D) → (N, K)."""
        self._check(x)
        self._saved = x
        y = x @ self.weight.T
        return y if self.bias is None else y + self.bias

    def backward(self, dy: Tensor) -> Tensor:
        """Return the gradient with respect to the input. Shape: (N, K) → (N, D)."""
        x = self._pop_saved()
        add_gradient(self.weight, dy.T @ x)  # (K, N) @ (N, D)
        if self.bias is not None:
            add_gradient(self.bias, dy.sum(0))
        return dy @ self.weight  # (N, K) @ (K, D)

    def _check(self, x: Tensor) -> None:
        features = self.weight.shape[1]
        if x.ndim != 2 or x.shape[1] != features:
            raise ValueError(f"x has shape {tuple(x.shape)}; expected (N, {features})")
        check_dtype(x, self.weight)
