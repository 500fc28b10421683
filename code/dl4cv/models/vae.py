"""Variational autoencoders: a normal latent code for each image, learned with its encoder.

Images are (N, 1, H, W), zeros and ones; a code z is (N, Z). The prior p(z) is N(0, I). The encoder
returns q(z | x), a normal distribution with diagonal covariance, as its mean and log-variance.
All log-densities are in nats.

Source: Kingma and Welling, "Auto-Encoding Variational Bayes" (2014), arXiv:1312.6114; Rezende,
    Mohamed and Wierstra, "Stochastic Backpropagation and Approximate Inference in Deep Generative
    Models" (2014), arXiv:1401.4082; Burda, Grosse and Salakhutdinov, "Importance Weighted
    Autoencoders" (2016), arXiv:1509.00519.
"""

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dl4cv.models.autoregressive import nll
from dl4cv.models.blocks import at_least_float32, check_sizes, class_indices

#: A latent unit is active if its mean varies by more than this over images (Burda et al., 2016).
ACTIVE_VARIANCE = 0.01


class MLP(nn.Module):
    """Three linear layers with LayerNorm and SiLU in between; each layer also gets the class.

    Args:
        in_features: features of the input.
        hidden: units of either hidden layer.
        out_features: features of the output.
        num_classes: K, appended to each layer's input as a one-hot vector; 0 for none.
    """

    def __init__(
        self, in_features: int, hidden: int, out_features: int, *, num_classes: int = 0
    ) -> None:
        super().__init__()
        check_sizes(in_features=in_features, hidden=hidden, out_features=out_features)
        self.num_classes = num_classes
        widths = (in_features, hidden, hidden, out_features)
        self.layers = nn.ModuleList(nn.Linear(i + num_classes, o) for i, o in pairwise(widths))

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Shape: x (N, in_features), labels (N,) integers → (N, out_features).

        Raises:
            ValueError: if there are classes and no labels, or the other way round, or a label is
                out of its range.
        """
        if (labels is None) == bool(self.num_classes):
            given, expected = ("None", "one a row") if labels is None else ("given", "None")
            raise ValueError(
                f"labels is {given}; expected {expected}, with {self.num_classes} classes"
            )
        if labels is not None:
            labels = class_indices(labels, len(x), self.num_classes)
        x = x.to(self.layers[0].get_parameter("weight").dtype)
        for i, layer in enumerate(self.layers):
            x = F.silu(F.layer_norm(x, x.shape[1:])) if i else x
            if labels is not None:
                x = torch.cat([x, F.one_hot(labels, self.num_classes).to(x)], 1)
            x = layer(x)
        return x


class Autoencoder(nn.Module):
    """An ordinary autoencoder: to Z numbers and back, without a prior on them.

    Args:
        latent_dim: Z.
        hidden: units of the hidden layers.
    """

    def __init__(self, latent_dim: int, *, hidden: int = 400) -> None:
        super().__init__()
        self.encoder = MLP(784, hidden, latent_dim)
        self.decoder = MLP(latent_dim, hidden, 784)

    def encode(self, images: Tensor) -> Tensor:
        """Return the codes. Shape: (N, 1, 28, 28) → (N, Z)."""
        return self.encoder(_flat(images, (1, 28, 28)))

    def decode(self, z: Tensor) -> Tensor:
        """Return the logits. Shape: (N, Z) → (N, 1, 28, 28)."""
        return self.decoder(z).unflatten(1, (1, 28, 28))

    def forward(self, images: Tensor) -> Tensor:
        """Return the negative log-likelihood of each image given its code, in nats.

        Shape: (N, 1, 28, 28) → (N,).
        """
        return nll(self.decode(self.encode(images)), images)


class VAE(nn.Module):
    """A variational autoencoder; with classes, a conditional one.

    Args:
        latent_dim: Z.
        hidden: units of the hidden layers.
        num_classes: K; if above 0, every method needs the labels.
        shape: (H, W) of the images.

    Source: Kingma and Welling (2014), appendix C; conditional: Sohn, Lee and Yan, "Learning
        Structured Output Representation using Deep Conditional Generative Models" (2015).
    """

    def __init__(
        self,
        latent_dim: int,
        *,
        hidden: int = 400,
        num_classes: int = 0,
        shape: tuple[int, int] = (28, 28),
    ) -> None:
        super().__init__()
        self.shape = (1, *shape)
        pixels = math.prod(shape)
        self.encoder = MLP(pixels, hidden, 2 * latent_dim, num_classes=num_classes)
        self.decoder = MLP(latent_dim, hidden, pixels, num_classes=num_classes)

    def encode(self, images: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance of q(z | x). Shape: (N, 1, H, W) → (N, Z) each.

        Raises:
            ValueError: if ``images`` has another shape, or ``labels`` does not fit.
        """
        h = self.encoder(_flat(images, self.shape), labels)
        mean, log_var = h.to(at_least_float32(h.dtype)).chunk(2, 1)
        return mean, log_var

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the logits of p(x | z). Shape: (N, Z) → (N, 1, H, W)."""
        return self.decoder(z, labels).unflatten(1, self.shape)

    def forward(
        self, images: Tensor, labels: Tensor | None = None, *, noise: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return both terms of the negative ELBO, in nats.

        Args:
            images: zeros and ones.
            labels: of a conditional model.
            noise: standard normal (N, Z); sampled if None.

        Shape: images (N, 1, H, W) → reconstruction (N,), and KL (N, Z) of each latent unit.
        """
        mean, log_var = self.encode(images, labels)
        noise = torch.randn_like(mean) if noise is None else noise
        z = reparameterize(mean, log_var, noise)
        return nll(self.decode(z, labels), images), kl(mean, log_var)

    @torch.no_grad()
    def init_output_bias(self, probability: Tensor) -> None:
        """Let the decoder start from the probability of a one at each pixel.

        Shape: probability (1, H, W), in (0, 1).

        Raises:
            ValueError: if the shape is another, or a probability is out of its range.
        """
        if probability.shape != self.shape or not ((probability > 0) & (probability < 1)).all():
            raise ValueError(
                f"probability has shape {tuple(probability.shape)} and values from "
                f"{probability.min():g} to {probability.max():g}; expected {self.shape} in (0, 1)"
            )
        self.decoder.layers[-1].get_parameter("bias").copy_(torch.logit(probability).flatten())

    @torch.no_grad()
    def decode_probs(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the probability of a one at each pixel, in float32 on the CPU.

        Shape: (N, Z) → (N, 1, H, W).
        """
        return self.decode(z, labels).float().sigmoid().cpu()


def kl(mean: Tensor, log_var: Tensor) -> Tensor:
    """Return KL(N(μ, σ²) ‖ N(0, 1)) of each latent unit: ½ (μ² + σ² − 1 − ln σ²).

    Shape: mean and log_var (…, Z) → (…, Z); the sum over Z is the divergence of whole codes.

    Source: Kingma and Welling (2014), appendix B.
    """
    return (mean.square() + log_var.exp() - 1 - log_var) / 2


def reparameterize(mean: Tensor, log_var: Tensor, noise: Tensor) -> Tensor:
    """Return z = μ + σ ε, a sample of N(μ, σ²) made from standard normal noise.

    Shape: mean and log_var (N, Z), noise (N, Z) or (S, N, Z) → that of noise.

    Source: Kingma and Welling (2014), section 2.4.
    """
    return mean + (log_var / 2).exp() * noise


def pathwise_gradients(
    f: Callable[[Tensor], Tensor], mean: Tensor, log_var: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor]:
    """Return each sample's estimate of ∇ E f(z), z ~ N(μ, σ²), through z = μ + σ ε.

    Args:
        f: from (S, Z) to (S,), each value from its own row.
        mean: μ.
        log_var: ln σ².
        noise: ε, a row for each sample.

    Shape: mean and log_var (Z,), noise (S, Z) → with respect to mean and log_var, (S, Z) each.

    Source: Kingma and Welling (2014), section 2.4.
    """
    z = reparameterize(mean, log_var, noise).detach().requires_grad_()
    (slope,) = torch.autograd.grad(f(z).sum(), z)
    return slope, slope * (log_var / 2).exp() * noise / 2


@torch.no_grad()
def score_gradients(
    f: Callable[[Tensor], Tensor], mean: Tensor, log_var: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor]:
    """Return each sample's estimate of ∇ E f(z), z ~ N(μ, σ²), as f(z) ∇ ln q(z).

    Arguments and shapes are those of ``pathwise_gradients``; f need not be differentiable.

    Source: Williams, "Simple Statistical Gradient-Following Algorithms for Connectionist
        Reinforcement Learning" (1992), section 6.
    """
    value = f(reparameterize(mean, log_var, noise))[:, None]
    return value * noise / (log_var / 2).exp(), value * (noise.square() - 1) / 2


def log_weights(net: VAE, images: Tensor, noise: Tensor, labels: Tensor | None = None) -> Tensor:
    """Return ln p(x | z) + ln p(z) − ln q(z | x) for each of S codes per image.

    Shape: images (N, 1, H, W), noise (S, N, Z) → (S, N).

    Raises:
        ValueError: if ``noise`` has another shape.

    Source: Burda et al. (2016), equation 7.
    """
    mean, log_var = net.encode(images, labels)
    if noise.ndim != 3 or not len(noise) or noise.shape[1:] != mean.shape:
        raise ValueError(
            f"noise has shape {tuple(noise.shape)}; expected (S, {len(mean)}, {mean.shape[1]})"
        )
    z = reparameterize(mean, log_var, noise)  # (S, N, Z)
    # Both log-densities hold −½ ln 2π for each latent unit: it cancels.
    log_ratio = (noise.square() + log_var - z.square()).sum(2) / 2  # ln p(z) − ln q(z | x)
    return log_ratio - torch.stack([nll(net.decode(codes, labels), images) for codes in z])


def iwae_bound(log_weights: Tensor) -> Tensor:
    """Return the logarithm of the mean weight over S samples, without overflow.

    With S = 1 it is an estimate of the ELBO; on average it grows with S.

    Shape: (S, N) → (N,).

    Raises:
        ValueError: if there are no samples.

    Source: Burda et al. (2016), equation 8.
    """
    if not len(log_weights):
        raise ValueError(f"log_weights has shape {tuple(log_weights.shape)}; expected S ≥ 1")
    return torch.logsumexp(log_weights, 0) - math.log(len(log_weights))


def active_units(mean: Tensor) -> Tensor:
    """Return which latent units carry information: their mean varies from image to image.

    Shape: mean (N, Z) → (Z,) booleans.

    Raises:
        ValueError: if there are fewer than two images.

    Source: Burda et al. (2016), section 5.2.
    """
    if len(mean) < 2:
        raise ValueError(f"mean has shape {tuple(mean.shape)}; expected two images or more")
    return mean.var(0) > ACTIVE_VARIANCE


def slerp(a: Tensor, b: Tensor, t: Tensor | float) -> Tensor:
    """Return the point at t on the arc from a (t = 0) to b (t = 1).

    Where they point the same way, or opposite ways, it is the straight line.

    Shape: a and b (…, Z), t () → (…, Z).

    Raises:
        ValueError: if the shapes differ.

    Source: Shoemake, "Animating Rotation with Quaternion Curves" (1985), section 3.3.
    """
    if a.shape != b.shape:
        raise ValueError(f"b has shape {tuple(b.shape)}; expected that of a, {tuple(a.shape)}")
    dtype, precise = a.dtype, at_least_float32(a.dtype)
    a, b = a.to(precise), b.to(precise)
    angle = F.cosine_similarity(a, b, -1).clamp(-1, 1).acos()[..., None]
    sine = angle.sin()
    arc = (((1 - t) * angle).sin() * a + (t * angle).sin() * b) / sine.clamp(min=1e-6)
    return torch.where(sine > 1e-6, arc, a + t * (b - a)).to(dtype)


def _flat(images: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return images as rows of numbers."""
    if images.shape[1:] != shape:
        expected = ", ".join(map(str, shape))
        raise ValueError(f"images has shape {tuple(images.shape)}; expected (N, {expected})")
    return images.flatten(1)
