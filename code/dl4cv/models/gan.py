"""Generative adversarial networks: a generator, a discriminator, and the losses of their games.

Such a loss is a function for ``training.fit`` that yields each player's loss in turn. Noise is
(N, Z), images are (N, 1, 28, 28) in [0, 1], and the discriminator's scores are logits (N,).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dl4cv.models.blocks import check_sizes
from dl4cv.training import EMA, History, TrainingError


class GAN(nn.Module):
    """Two players. In evaluation mode the generator is the moving average of its weights.

    Args:
        generator: from noise (N, Z) to images.
        discriminator: from images to scores (N,).
        latent_dim: Z.
        decay: of the generator's moving average.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        *,
        latent_dim: int,
        decay: float = 0.995,
    ) -> None:
        super().__init__()
        check_sizes(latent_dim=latent_dim)
        self.generator = EMA(generator, decay=decay)
        self.discriminator = discriminator
        self.latent_dim = latent_dim

    def noise(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Return standard normal noise, on the model's device and in its precision.

        Shape: → (count, Z).
        """
        noise = torch.randn(count, self.latent_dim, generator=generator)
        return noise.to(next(self.parameters()))

    @torch.no_grad()
    def sample(self, noise: Tensor) -> Tensor:
        """Return the average generator's images, 500 at a time, on the CPU.

        Shape: noise (N, Z) → (N, 1, 28, 28) float32 in [0, 1].

        Raises:
            ValueError: if ``noise`` is not (N, Z).
        """
        if noise.shape[1:] != (self.latent_dim,):
            raise ValueError(
                f"noise has shape {tuple(noise.shape)}; expected (N, {self.latent_dim})"
            )
        average, own = self.generator.average.eval(), next(self.parameters())
        return torch.cat([average(part.to(own)).float().cpu() for part in noise.split(500)])

    def update_average(self) -> None:
        """Move the generator's average, once after each step: ``after_step`` of ``fit``."""
        self.generator.update()


def dense_generator(latent_dim: int, hidden: int = 512) -> nn.Sequential:
    """Return a fully connected generator. Shape: (N, Z) → (N, 1, 28, 28) in [0, 1]."""
    return nn.Sequential(
        nn.Linear(latent_dim, hidden, bias=False),
        nn.BatchNorm1d(hidden),
        nn.ReLU(),
        nn.Linear(hidden, hidden, bias=False),
        nn.BatchNorm1d(hidden),
        nn.ReLU(),
        nn.Linear(hidden, 784),
        nn.Sigmoid(),
        nn.Unflatten(1, (1, 28, 28)),
    )


def dense_discriminator(hidden: int = 512) -> nn.Sequential:
    """Return a fully connected discriminator. Shape: (N, 1, 28, 28) → logits (N,)."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(784, hidden),
        nn.LeakyReLU(0.2),
        nn.Linear(hidden, hidden),
        nn.LeakyReLU(0.2),
        nn.Linear(hidden, 1),
        nn.Flatten(0),
    )


def convolutional_generator(latent_dim: int, *, hidden: int = 768, width: int = 8) -> nn.Sequential:
    """Return a deep convolutional generator. Shape: (N, Z) → (N, 1, 28, 28) in [0, 1].

    Args:
        latent_dim: Z.
        hidden: units of the fully connected layers, which plan the whole image.
        width: a quarter of the channels at 7 × 7, half of those at 14 × 14.

    Source: Radford, Metz and Chintala, "Unsupervised Representation Learning with Deep
        Convolutional Generative Adversarial Networks" (2016), arXiv:1511.06434, section 3; the
        first hidden layer as in Chen et al., "InfoGAN" (2016), arXiv:1606.03657, table 1.
    """
    return nn.Sequential(
        nn.Linear(latent_dim, hidden, bias=False),
        nn.BatchNorm1d(hidden),
        nn.ReLU(),
        nn.Linear(hidden, hidden, bias=False),
        nn.BatchNorm1d(hidden),
        nn.ReLU(),
        nn.Linear(hidden, 4 * width * 49, bias=False),
        nn.Unflatten(1, (4 * width, 7, 7)),
        nn.BatchNorm2d(4 * width),
        nn.ReLU(),
        nn.ConvTranspose2d(4 * width, 2 * width, 4, stride=2, padding=1, bias=False),  # 14 × 14
        nn.BatchNorm2d(2 * width),
        nn.ReLU(),
        nn.ConvTranspose2d(2 * width, 1, 4, stride=2, padding=1),  # 28 × 28
        nn.Sigmoid(),
    )


def convolutional_discriminator(
    *, hidden: int = 256, width: int = 16, noise_std: float = 0.1
) -> nn.Sequential:
    """Return a deep convolutional discriminator. Shape: (N, 1, 28, 28) → logits (N,).

    Args:
        hidden: units of the fully connected layer.
        width: channels at 14 × 14, half of those at 7 × 7.
        noise_std: standard deviation of the noise on its training images.

    Source: Radford, Metz and Chintala (2016), section 3; with a fully connected layer.
    """
    return nn.Sequential(
        InstanceNoise(noise_std),
        nn.Conv2d(1, width, 4, stride=2, padding=1),  # 14 × 14
        nn.LeakyReLU(0.2),
        nn.Conv2d(width, 2 * width, 4, stride=2, padding=1, bias=False),  # 7 × 7
        nn.BatchNorm2d(2 * width),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Linear(2 * width * 49, hidden, bias=False),
        nn.BatchNorm1d(hidden),
        nn.LeakyReLU(0.2),
        nn.Linear(hidden, 1),
        nn.Flatten(0),
    )


class InstanceNoise(nn.Module):
    """Add normal noise to images in training, so that real and generated ones overlap.

    Args:
        std: standard deviation of the noise.

    Shape: (N, …) → (N, …).

    Raises:
        ValueError: if ``std`` is negative.

    Source: Arjovsky and Bottou, "Towards Principled Methods for Training Generative Adversarial
        Networks" (2017), arXiv:1701.04862, section 3.
    """

    def __init__(self, std: float) -> None:
        super().__init__()
        if not std >= 0:
            raise ValueError(f"std is {std}; expected at least 0")
        self.std = std

    def forward(self, images: Tensor) -> Tensor:
        """Return the images, noisy in training."""
        if not self.training:
            return images
        return images + self.std * torch.randn_like(images)


def vanilla_loss(gan: GAN, real: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Yield the discriminator's cross-entropy, then the generator's non-saturating loss.

    Source: Goodfellow et al., "Generative Adversarial Nets" (2014), arXiv:1406.2661, equation 1
        and section 3.
    """
    # −ln σ(s) = softplus(−s), and −ln(1 − σ(s)) = softplus(s).
    return alternate(
        gan,
        real,
        discriminator=lambda real, fake: F.softplus(-real).mean() + F.softplus(fake).mean(),
        generator=lambda fake: F.softplus(-fake).mean(),
    )


def least_squares_loss(gan: GAN, real: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Yield the squared errors of the scores: targets 1 for real, 0 for fake; then 1 for fake.

    Source: Mao et al., "Least Squares Generative Adversarial Networks" (2017),
        arXiv:1611.04076, equation 9.
    """
    return alternate(
        gan,
        real,
        discriminator=lambda real, fake: ((real - 1).square().mean() + fake.square().mean()) / 2,
        generator=lambda fake: (fake - 1).square().mean() / 2,
    )


def hinge_loss(gan: GAN, real: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Yield the hinge loss with margins 1 for real and −1 for fake, then minus the fake scores.

    Source: Lim and Ye, "Geometric GAN" (2017), arXiv:1705.02894; in this form Zhang et al.,
        "Self-Attention Generative Adversarial Networks" (2019), arXiv:1805.08318, equation 4.
    """
    return alternate(
        gan,
        real,
        discriminator=lambda real, fake: F.relu(1 - real).mean() + F.relu(1 + fake).mean(),
        generator=lambda fake: -fake.mean(),
    )


def alternate(
    gan: GAN,
    real: Tensor,
    *,
    discriminator: Callable[[Tensor, Tensor], Tensor],
    generator: Callable[[Tensor], Tensor],
) -> Iterator[tuple[str, Tensor]]:
    """Yield the discriminator's loss on a batch and as many fakes, then the generator's.

    Args:
        gan: the players.
        real: images (N, …).
        discriminator: its loss, from its scores of real and of fake images, both (N,).
        generator: its loss, from the updated discriminator's scores (N,) of the same fakes.

    Raises:
        ValueError: if ``real`` holds no images, or they are not floats.
    """
    _check_real(real)
    fake = gan.generator(gan.noise(len(real)))
    yield "discriminator", discriminator(gan.discriminator(real), gan.discriminator(fake.detach()))
    with frozen(gan.discriminator):
        loss = generator(gan.discriminator(fake))
    yield "generator", loss


def wasserstein_loss(
    gan: GAN, *real: Tensor, penalty: float = 10.0
) -> Iterator[tuple[str, Tensor]]:
    """Yield the critic's loss on each batch of ``real`` in turn, then the generator's.

    Args:
        gan: the players; the critic has no batch normalization.
        real: one batch (N, …) for each of the critic's updates.
        penalty: λ, the weight of the gradient penalty.

    Raises:
        ValueError: if there are no batches, a batch holds no images, or they are not floats.

    Source: Gulrajani et al., "Improved Training of Wasserstein GANs" (2017),
        arXiv:1704.00028, equation 3.
    """
    if not real:
        raise ValueError("real has no batches; expected one for each of the critic's updates")
    for batch in real:
        _check_real(batch)
        with torch.no_grad():
            fake = gan.generator(gan.noise(len(batch)))
        gap = gan.discriminator(fake).mean() - gan.discriminator(batch).mean()
        yield "critic", gap + penalty * gradient_penalty(gan.discriminator, batch, fake)
    with frozen(gan.discriminator):
        loss = -gan.discriminator(gan.generator(gan.noise(len(real[0])))).mean()
    yield "generator", loss


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
    """Return the mean of (‖∇ critic‖ − 1)² at random points between real and fake images.

    The gradient is with respect to the image; each image has its own norm, over all pixels.

    Args:
        critic: from images to scores (N,).
        real: images (N, …).
        fake: images (N, …).

    Shape: → ().

    Raises:
        ValueError: if the shapes differ, or ``real`` is empty or not floats.

    Source: Gulrajani et al. (2017), algorithm 1, lines 5 to 7.
    """
    if real.shape != fake.shape:
        raise ValueError(f"real has shape {tuple(real.shape)}, fake {tuple(fake.shape)}")
    _check_real(real)
    t = torch.rand(len(real), *[1] * (real.ndim - 1), device=real.device, dtype=real.dtype)
    between = torch.lerp(fake.to(t), real, t).requires_grad_()  # (N, …)
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return (gradient.flatten(1).norm(dim=1) - 1).square().mean()


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Let gradients flow through ``module`` to its input, but not to its parameters."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    module.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


def check_discriminator(history: History, *, loss: float = 0.01, window: int = 300) -> None:
    """Raise if the discriminator won for good, which leaves the generator without gradients.

    A critic is skipped: its loss is unbounded below.

    Args:
        history: of a game.
        loss: below this mean over ``window`` steps, the game counts as lost.
        window: steps.

    Raises:
        TrainingError: if that happened; the message names the first such step.
        ValueError: if ``window`` is below 1.
    """
    check_sizes(window=window)
    losses = torch.tensor(history.loss_terms.get("discriminator", []), dtype=torch.float64)
    if not len(losses):
        return
    means = losses.unfold(0, min(window, len(losses)), 1).mean(1)
    lost = (means < loss).nonzero()
    if len(lost):
        first = int(lost[0])
        raise TrainingError(
            f"{history.name}: the discriminator's loss stayed below {loss:g} for {window} steps "
            f"from step {first} on; the generator has nothing left to learn from"
        )


def _check_real(real: Tensor) -> None:
    if not len(real) or not real.is_floating_point():
        raise ValueError(
            f"real has shape {tuple(real.shape)} and dtype {real.dtype}; "
            "expected one image or more, in floats"
        )
