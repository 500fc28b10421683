"""Word embeddings: a table with one row of features for each token."""

import torch
from torch import Tensor

from dl4cv.layers.layer import Layer, add_gradient, parameter


class Embedding(Layer):
    """Look up a row for each token; the same as a one-hot vector times ``weight``.

    Args:
        num_embeddings: V, how many tokens there are.
        embedding_dim: D, features of each.
        generator: draws the rows from N(0, 1), as ``torch.nn`` does; the global one if None.
        dtype: of the parameters.

    Shape: tokens (…), integers in 0 to V − 1 → (…, D); ``weight`` (V, D), as in
        ``torch.nn.Embedding``.

    Raises:
        ValueError: if a size is below 1, or a token is no integer from 0 to V − 1.

    Source: Bengio et al. (2003).
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        if num_embeddings < 1 or embedding_dim < 1:
            raise ValueError(
                f"num_embeddings is {num_embeddings} and embedding_dim {embedding_dim}; "
                "expected at least 1 each"
            )
        self.weight = parameter((num_embeddings, embedding_dim), dtype)
        self.weight.normal_(generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """Return the tokens' rows. Shape: (…) → (…, D)."""
        if x.is_floating_point() or x.dtype == torch.bool:
            raise ValueError(f"x is {x.dtype}; expected integers, the numbers of tokens")
        if x.numel():
            least, most = (int(token) for token in x.aminmax())
            if least < 0 or most >= len(self.weight):
                raise ValueError(
                    f"x holds {least if least < 0 else most}; expected tokens from 0 to "
                    f"{len(self.weight) - 1}"
                )
        self._saved = x = x.long()  # as an index, uint8 would be taken for a mask
        return self.weight[x]

    def backward(self, dy: Tensor) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Add to ``weight.grad``; tokens have no gradient. A row used twice gets both."""
        tokens = self._pop_saved()
        rows = dy.reshape(-1, dy.shape[-1])
        gradient = torch.zeros_like(self.weight)
        add_gradient(self.weight, gradient.index_add_(0, tokens.flatten(), rows))
