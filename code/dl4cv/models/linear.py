"""A linear classifier: one template and one bias for each class, with gradients by hand."""

import torch

from dl4cv.losses import Loss

Gradients = dict[str, torch.Tensor]


class LinearClassifier:
    """Score an image against one template for each class; the highest score wins.

    Attributes have the names and shapes of ``torch.nn.Linear``: ``weight`` (K, D), whose rows are
    the templates, and ``bias`` (K,).

    Args:
        in_features: D, pixels of an image.
        out_features: K, classes.
        generator: samples the initial weights; the global one if None.
        std: standard deviation of the initial weights. The biases start at 0.
        dtype: of the parameters.

    Raises:
        ValueError: if there are no features or no classes, or ``std`` is negative.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        generator: torch.Generator | None = None,
        std: float = 1e-3,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if in_features < 1 or out_features < 1:
            raise ValueError(
                f"in_features is {in_features} and out_features {out_features}; "
                "expected at least 1 each"
            )
        if not std >= 0:
            raise ValueError(f"std is {std}; expected at least 0")
        shape = (out_features, in_features)
        self.weight = std * torch.randn(shape, generator=generator, dtype=dtype)
        self.bias = torch.zeros(out_features, dtype=dtype)

    def scores(self, images: torch.Tensor) -> torch.Tensor:
        """Return the scores (logits) of each image. Shape: images (N, D) → (N, K).

        Raises:
            ValueError: if ``images`` has not D columns, or not the type of the weights.
        """
        if images.ndim != 2 or images.shape[1] != self.weight.shape[1]:
            raise ValueError(
                f"images has shape {tuple(images.shape)}; expected (N, {self.weight.shape[1]})"
            )
        if images.dtype != self.weight.dtype:
            raise ValueError(f"images has dtype {images.dtype}; expected {self.weight.dtype}")
        return images @ self.weight.T + self.bias

    def loss(
        self, images: torch.Tensor, labels: torch.Tensor, loss_fn: Loss, l2: float = 0.0
    ) -> tuple[torch.Tensor, Gradients]:
        """Return the regularized loss of a batch and its gradient with respect to each parameter.

        The penalty is ``l2`` times the sum of the squared weights; biases are not regularized.

        Shape: images (N, D), labels (N,) integers → loss (), {"weight": (K, D), "bias": (K,)}.

        Raises:
            ValueError: if ``l2`` is below 0, or ``scores`` or ``loss_fn`` raises one.
        """
        if not l2 >= 0:
            raise ValueError(f"l2 is {l2}; expected a number of at least 0")
        data_loss, dscores = loss_fn(self.scores(images), labels)
        gradients = {
            "weight": dscores.T @ images + 2 * l2 * self.weight,  # (K, N) @ (N, D)
            "bias": dscores.sum(0),  # (K,)
        }
        return data_loss + l2 * self.weight.square().sum(), gradients

    def predict(self, images: torch.Tensor) -> torch.Tensor:
        """Return the class with the highest score. Shape: images (N, D) → (N,) int64."""
        return self.scores(images).argmax(1)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return the parameters under the keys of ``torch.nn.Linear``."""
        return {"weight": self.weight, "bias": self.bias}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Copy parameters in, such as those of a ``torch.nn.Linear``.

        Raises:
            ValueError: if a key is missing or unknown, or a shape does not fit.
        """
        own = self.state_dict()
        if state.keys() != own.keys():
            raise ValueError(f"state has the keys {sorted(state)}; expected {sorted(own)}")
        for name, value in state.items():
            if value.shape != own[name].shape:
                raise ValueError(
                    f"{name} in state has shape {tuple(value.shape)}; "
                    f"expected {tuple(own[name].shape)}"
                )
        for name, value in state.items():
            own[name].copy_(value.detach())
