"""Generative adversarial networks: a generator, a discriminator, and the games they play.

A game is a loss function for ``training.fit`` that yields each player's loss in turn. Everywhere
noise is (N, Z), images are (N, 1, 28, 28) in [0, 1], and the discriminator's scores are logits.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dl4cv.training import History, EMA, TrainingError

Game = Callable[["GAN", Tensor], Iterator[tuple[str, Tensor]]]


class GAN(nn.Module):
    """Two players. In evaluation mode the generator is the moving average of its weights.

    Args:
        generator: from noise (N, Z) to images.
        discriminator: from images to scores (N,).
        latent: Z, numbers in a noise vector.
        decay: of the generator's moving average.
        frames: how many pictures ``record`` may take.
    """

    #: Noise vectors that are filmed: a grid of 5 × 5.
    CAST = 25

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        *,
        latent: int,
        decay: float = 0.995,
        frames: int = 0,
    ) -> None:
        super().__init__()
        self.generator = EMA(generator, decay=decay)
        self.discriminator = discriminator
        self.latent = latent
        self.film: Tensor
        self.filmed: Tensor
        film = torch.zeros(frames, self.CAST, 1, 28, 28, dtype=torch.uint8)
        self.register_buffer("film", film)
        self.register_buffer("filmed", torch.zeros((), dtype=torch.int64))

    def noise(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Return standard normal noise on the model's device. Shape: (count, Z)."""
        on = next(self.parameters()).device
        return torch.randn(count, self.latent, generator=generator).to(on)

    @torch.no_grad()
    def sample(self, noise: Tensor) -> Tensor:
        """Return the average generator's images, 500 at a time, on the CPU.

        Shape: noise (N, Z) → (N, 1, 28, 28) float32 in [0, 1].
        """
        average = self.generator.average.eval()
        return torch.cat([average(part).float().cpu() for part in noise.split(500)])

    def record(self) -> None:
        """Keep what the average generator makes of the same noise each time, beside the weights.

        A model from the run store brings its film with it.

        Raises:
            IndexError: if the film is full.
        """
        images = self.sample(self.noise(self.CAST, torch.Generator().manual_seed(0)))
        self.film[int(self.filmed)] = (images * 255).round().byte().to(self.film.device)
        self.filmed += 1


def dense_generator(latent: int, hidden: int = 512) -> nn.Sequential:
    """Return a fully connected generator. Shape: (N, Z) → (N, 1, 28, 28) in [0, 1]."""
    return nn.Sequential(
        nn.Linear(latent, hidden, bias=False),
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
    """Return a fully connected discriminator. Shape: (N, 1, 28, 28) → (N,)."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(784, hidden),
        nn.LeakyReLU(0.2),
        nn.Linear(hidden, hidden),
        nn.LeakyReLU(0.2),
        nn.Linear(hidden, 1),
        nn.Flatten(0),
    )


def convolutional_generator(latent: int, *, hidden: int = 768, width: int = 8) -> nn.Sequential:
    """Return a deep convolutional generator. Shape: (N, Z) → (N, 1, 28, 28) in [0, 1].

    Args:
        latent: Z.
        hidden: units of the dense layers, which plan the whole image.
        width: a quarter of the channels at 7 × 7, half of those at 14 × 14.

    Source: Radford, Metz and Chintala, "Unsupervised Representation Learning with Deep
        Convolutional Generative Adversarial Networks" (2016), section 3; a hidden dense layer
        comes first, as in Chen et al., "InfoGAN" (2016), table 1, and another after it.
    """
    return nn.Sequential(
        nn.Linear(latent, hidden, bias=False),
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
    *, hidden: int = 256, width: int = 16, noise: float = 0.1
) -> nn.Sequential:
    """Return a deep convolutional discriminator. Shape: (N, 1, 28, 28) → (N,).

    Args:
        hidden: units of the dense layer.
        width: channels at 14 × 14, half of those at 7 × 7.
        noise: of the images that it learns from, as a standard deviation.

    Source: Radford, Metz and Chintala (2016), section 3; with a hidden dense layer.
    """
    return nn.Sequential(
        InstanceNoise(noise),
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
    """Add normal noise to images while training, so that real and generated ones overlap.

    Args:
        deviation: standard deviation of the noise.

    Source: Arjovsky and Bottou, "Towards Principled Methods for Training Generative Adversarial
        Networks" (2017), section 3.
    """

    def __init__(self, deviation: float) -> None:
        super().__init__()
        self.deviation = deviation

    def forward(self, images: Tensor) -> Tensor:
        """Shape: (N, …) → (N, …)."""
        if not self.training:
            return images
        return images + self.deviation * torch.randn_like(images)


def vanilla_game(gan: GAN, real: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Yield the discriminator's cross-entropy, then the generator's, in its non-saturating form.

    Source: Goodfellow et al., "Generative Adversarial Nets" (2014), equation 1 and section 3.
    """
    # −ln σ(s) = softplus(−s), and −ln(1 − σ(s)) = softplus(s).
    return take_turns(
        gan,
        real,
        discriminator=lambda real, fake: F.softplus(-real).mean() + F.softplus(fake).mean(),
        generator=lambda fake: F.softplus(-fake).mean(),
    )


def least_squares_game(gan: GAN, real: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Yield half the squared distances of scores from 1 for real and 0 for fake, then from 1.

    Source: Mao et al., "Least Squares Generative Adversarial Networks" (2017), equation 9.
    """
    return take_turns(
        gan,
        real,
        discriminator=lambda real, fake: ((real - 1).square().mean() + fake.square().mean()) / 2,
        generator=lambda fake: (fake - 1).square().mean() / 2,
    )


def hinge_game(gan: GAN, real: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Yield how far scores fall short of 1 for real and of −1 for fake, then minus the fake ones.

    Source: Lim and Ye, "Geometric GAN" (2017); in this form Zhang et al., "Self-Attention
        Generative Adversarial Networks" (2019), equation 4.
    """
    return take_turns(
        gan,
        real,
        discriminator=lambda real, fake: F.relu(1 - real).mean() + F.relu(1 + fake).mean(),
        generator=lambda fake: -fake.mean(),
    )


def take_turns(
    gan: GAN,
    real: Tensor,
    *,
    discriminator: Callable[[Tensor, Tensor], Tensor],
    generator: Callable[[Tensor], Tensor],
) -> Iterator[tuple[str, Tensor]]:
    """Yield the discriminator's loss on a batch and as many fakes, then the generator's on these.

    Args:
        gan: the players.
        real: images (N, …).
        discriminator: its loss, from its scores of real and of fake images, both (N,).
        generator: its loss, from the scores (N,) that the discriminator, now wiser, gives to fakes.
    """
    fake = gan.generator(gan.noise(len(real)))
    yield "discriminator", discriminator(gan.discriminator(real), gan.discriminator(fake.detach()))
    with frozen(gan.discriminator):
        loss = generator(gan.discriminator(fake))
    yield "generator", loss
    gan.generator.update()


def wasserstein_game(
    gan: GAN, *real: Tensor, penalty: float = 10.0
) -> Iterator[tuple[str, Tensor]]:
    """Yield the critic's loss on each batch of ``real`` in turn, then the generator's.

    Args:
        gan: the players; the critic has no batch normalisation.
        real: one batch for each of the critic's updates.
        penalty: λ, the weight of the gradient penalty.

    Source: Gulrajani et al., "Improved Training of Wasserstein GANs" (2017), equation 3.
    """
    for batch in real:
        with torch.no_grad():
            fake = gan.generator(gan.noise(len(batch)))
        gap = gan.discriminator(fake).mean() - gan.discriminator(batch).mean()
        yield "critic", gap + penalty * gradient_penalty(gan.discriminator, batch, fake)
    with frozen(gan.discriminator):
        loss = -gan.discriminator(gan.generator(gan.noise(len(real[0])))).mean()
    yield "generator", loss
    gan.generator.update()


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
    """Return the mean of (‖∇ critic‖ − 1)² at random points between real and fake images.

    Shape: real and fake (N, …) → (). The norm is taken for each image, over all its pixels.
    Raises: ValueError if the shapes differ.
    Source: Gulrajani et al. (2017), algorithm 1, lines 5 to 7.
    """
    if real.shape != fake.shape:
        raise ValueError(f"real has shape {tuple(real.shape)}, fake {tuple(fake.shape)}")
    share = torch.rand(len(real), *[1] * (real.ndim - 1), device=real.device, dtype=real.dtype)
    between = torch.lerp(fake, real, share).requires_grad_()  # (N, …)
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return (gradient.flatten(1).norm(dim=1) - 1).square().mean()


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Let gradients flow through ``module`` to its input, but not to its parameters."""
    module.requires_grad_(False)
    try:
        yield
    finally:
        module.requires_grad_(True)


def check_balance(history: History, *, loss: float = 0.01, window: int = 300) -> None:
    """Make sure that the discriminator did not win for good, which leaves nothing to learn from.

    Args:
        history: of a game; one with a critic, whose loss has no least value, is let pass.
        loss: below this mean over ``window`` steps the game counts as lost.
        window: steps.

    Raises:
        TrainingError: if that happened; the message names the first such step.
    """
    if "discriminator" not in history.loss_terms:
        return
    losses = torch.tensor(history.loss_terms["discriminator"], dtype=torch.float64)
    means = losses.unfold(0, min(window, len(losses)), 1).mean(1)
    lost = (means < loss).nonzero()
    if len(lost):
        first = int(lost[0])
        raise TrainingError(
            f"{history.name}: the discriminator's loss stayed below {loss:g} for {window} steps "
            f"from step {first} on; the generator has nothing left to learn from"
        )
