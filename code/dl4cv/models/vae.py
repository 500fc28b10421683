"""Variational autoencoders: a normal latent code behind each image, learned with its encoder.

Images are (N, 1, H, W), zeros and ones; a code z is (N, Z). The prior of codes is the standard
normal N(0, I); the encoder answers with a normal of diagonal covariance, told as its mean and the
logarithm of its variance. All values of a density are in nats.

Source: Kingma and Welling, "Auto-Encoding Variational Bayes" (2014), and Rezende, Mohamed and
    Wierstra, "Stochastic Backpropagation" (2014).
"""

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dl4cv.models.autoregressive import nats

#: A code's number is active if its mean varies by more than this over images (Burda et al., 2016).
ACTIVE_VARIANCE = 0.01


class Dense(nn.Module):
    """Three linear layers, each told the class, if there are classes.

    In between, each image's units are brought to mean 0 and variance 1 and go through x σ(x).

    Args:
        inputs: numbers in.
        hidden: units of either hidden layer.
        outputs: numbers out.
        classes: K, appended to each layer's input as a one-hot vector; 0 for none.
    """

    def __init__(self, inputs: int, hidden: int, outputs: int, *, classes: int = 0) -> None:
        super().__init__()
        self.classes = classes
        widths = (inputs, hidden, hidden, outputs)
        self.layers = nn.ModuleList(nn.Linear(i + classes, o) for i, o in pairwise(widths))

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Shape: x (N, inputs), labels (N,) integers → (N, outputs).

        Raises:
            ValueError: if there are classes and no labels, or the other way round.
        """
        if (labels is None) == bool(self.classes):
            given, expected = ("None", "one a row") if labels is None else ("given", "None")
            raise ValueError(f"labels is {given}; expected {expected}, with {self.classes} classes")
        for number, layer in enumerate(self.layers):
            x = F.silu(F.layer_norm(x, x.shape[1:])) if number else x
            if labels is not None:
                x = torch.cat([x, F.one_hot(labels, self.classes).to(x)], 1)
            x = layer(x)
        return x


class Autoencoder(nn.Module):
    """An ordinary autoencoder: to Z numbers and back, with nothing asked of them.

    Args:
        latent: Z.
        hidden: units of the hidden layers.
    """

    def __init__(self, latent: int, *, hidden: int = 400) -> None:
        super().__init__()
        self.encoder = Dense(784, hidden, latent)
        self.decoder = Dense(latent, hidden, 784)

    def encode(self, images: Tensor) -> Tensor:
        """Shape: (N, 1, 28, 28) → codes (N, Z)."""
        return self.encoder(images.flatten(1))

    def decode(self, z: Tensor) -> Tensor:
        """Shape: (N, Z) → logits (N, 1, 28, 28)."""
        return self.decoder(z).unflatten(1, (1, 28, 28))

    def forward(self, images: Tensor) -> Tensor:
        """Return the nats that each image costs, given its own code. Shape: → (N,)."""
        return nats(self.decode(self.encode(images)), images)


class VAE(nn.Module):
    """A variational autoencoder; with classes, a conditional one.

    Args:
        latent: Z.
        hidden: units of the hidden layers.
        classes: K; if above 0, every method needs the labels.
        shape: (H, W) of the images.

    Source: Kingma and Welling (2014), appendix C; conditional: Sohn, Lee and Yan (2015).
    """

    def __init__(
        self,
        latent: int,
        *,
        hidden: int = 400,
        classes: int = 0,
        shape: tuple[int, int] = (28, 28),
    ) -> None:
        super().__init__()
        self.shape = (1, *shape)
        self.encoder = Dense(math.prod(shape), hidden, 2 * latent, classes=classes)
        self.decoder = Dense(latent, hidden, math.prod(shape), classes=classes)

    def encode(self, images: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance of q(z | x). Shape: (N, 1, H, W) → twice (N, Z)."""
        h = self.encoder(images.flatten(1), labels)
        h = h.to(torch.promote_types(h.dtype, torch.float32))  # never in bfloat16
        mean, log_var = h.chunk(2, 1)
        return mean, log_var

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the logits of p(x | z). Shape: (N, Z) → (N, 1, H, W)."""
        return self.decoder(z, labels).unflatten(1, self.shape)

    def forward(
        self, images: Tensor, labels: Tensor | None = None, *, noise: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return both terms of the negative bound, in nats.

        Args:
            images: zeros and ones.
            labels: of a conditional model.
            noise: standard normal (N, Z); drawn if None.

        Shape: images (N, 1, H, W) → reconstruction (N,), and KL (N, Z) for each number of the code.
        """
        mean, log_var = self.encode(images, labels)
        noise = torch.randn_like(mean) if noise is None else noise
        z = reparametrise(mean, log_var, noise)
        return nats(self.decode(z, labels), images), kl(mean, log_var)

    @torch.no_grad()
    def start_at(self, rate: Tensor) -> None:
        """Let the decoder begin with each pixel's own rate of ink, in (0, 1). Shape: (1, H, W)."""
        self.decoder.layers[-1].get_parameter("bias").copy_(torch.logit(rate).flatten())

    @torch.no_grad()
    def pictures(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return each pixel's probability of ink, on the CPU. Shape: (N, Z) → (N, 1, H, W)."""
        return self.decode(z, labels).float().sigmoid().cpu()


def kl(mean: Tensor, log_var: Tensor) -> Tensor:
    """Return KL(N(μ, σ²) ‖ N(0, 1)) of each number of a code: ½ (μ² + σ² − 1 − ln σ²).

    Shape: mean and log_var (…, Z) → (…, Z); the sum over Z is the divergence of whole codes.

    Source: Kingma and Welling (2014), appendix B.
    """
    return (mean.square() + log_var.exp() - 1 - log_var) / 2


def reparametrise(mean: Tensor, log_var: Tensor, noise: Tensor) -> Tensor:
    """Return z = μ + σ ε, a draw of N(μ, σ²) made from standard normal noise.

    Shape: mean and log_var (N, Z), noise (N, Z) or (S, N, Z) → that of noise.

    Source: Kingma and Welling (2014), section 2.4.
    """
    return mean + (log_var / 2).exp() * noise


def pathwise_gradients(
    f: Callable[[Tensor], Tensor], mean: Tensor, log_var: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor]:
    """Return each draw's estimate of ∇ E f(z), z ~ N(μ, σ²), through z = μ + σ ε.

    Args:
        f: from (S, Z) to (S,), each value from its own row.
        mean: μ.
        log_var: ln σ².
        noise: ε, a row for each draw.

    Shape: mean and log_var (Z,), noise (S, Z) → for mean and log_var, (S, Z) each.

    Source: Kingma and Welling (2014), section 2.4.
    """
    z = reparametrise(mean, log_var, noise).detach().requires_grad_()
    (slope,) = torch.autograd.grad(f(z).sum(), z)
    return slope, slope * (log_var / 2).exp() * noise / 2


@torch.no_grad()
def score_gradients(
    f: Callable[[Tensor], Tensor], mean: Tensor, log_var: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor]:
    """Return each draw's estimate of ∇ E f(z), z ~ N(μ, σ²), as f(z) ∇ ln q(z).

    Arguments and shapes are those of ``pathwise_gradients``; f need have no derivative.

    Source: Williams, "Simple Statistical Gradient-Following Algorithms" (1992), section 6.
    """
    value = f(reparametrise(mean, log_var, noise))[:, None]
    return value * noise / (log_var / 2).exp(), value * (noise.square() - 1) / 2


def log_weights(net: VAE, images: Tensor, noise: Tensor, labels: Tensor | None = None) -> Tensor:
    """Return ln p(x | z) + ln p(z) − ln q(z | x) for each of S codes an image.

    Shape: images (N, 1, H, W), noise (S, N, Z) → (S, N).

    Source: Burda, Grosse and Salakhutdinov (2016), equation 7.
    """
    mean, log_var = net.encode(images, labels)
    z = reparametrise(mean, log_var, noise)  # (S, N, Z)
    # Both log-densities hold −½ ln 2π for each number: it cancels.
    log_ratio = (noise.square() + log_var - z.square()).sum(2) / 2  # ln p(z) − ln q(z | x)
    return log_ratio - torch.stack([nats(net.decode(codes, labels), images) for codes in z])


def importance_bound(log_weights: Tensor) -> Tensor:
    """Return the logarithm of the mean weight over S draws, safe from overflow.

    Shape: (S, N) → (N,). With S = 1 it is the ordinary bound; it grows with S on average.

    Source: Burda, Grosse and Salakhutdinov (2016), equation 8.
    """
    return torch.logsumexp(log_weights, 0) - math.log(len(log_weights))


def active(mean: Tensor) -> Tensor:
    """Return which numbers of the code carry something: their mean varies from image to image.

    Shape: mean (N, Z) → (Z,) booleans.

    Source: Burda, Grosse and Salakhutdinov (2016), section 5.2.
    """
    return mean.var(0) > ACTIVE_VARIANCE


def slerp(a: Tensor, b: Tensor, t: float) -> Tensor:
    """Return the point at t on the arc from a (t = 0) to b (t = 1).

    Shape: a and b (…, Z) → (…, Z). Where they point the same way, the arc is the straight line.

    Source: Shoemake, "Animating Rotation with Quaternion Curves" (1985), section 3.3.
    """
    angle = F.cosine_similarity(a, b, -1).clamp(-1, 1).acos()[..., None]
    sine = angle.sin()
    arc = (((1 - t) * angle).sin() * a + (t * angle).sin() * b) / sine.clamp(min=1e-6)
    return torch.where(sine > 1e-6, arc, torch.lerp(a, b, t))
