"""Diffusion and flow matching: how images turn into noise, and how a network turns noise back.

Images span [-1, 1] here. Time 0 is the image and the last time is noise, in both families. ᾱ, the
share of the image's variance that is left, is passed as a number or one number for each image.

Source: Ho, Jain and Abbeel, "Denoising Diffusion Probabilistic Models" (2020); Song, Meng and
    Ermon, "Denoising Diffusion Implicit Models" (2021); Lipman et al., "Flow Matching for
    Generative Modeling" (2023).
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

#: Of images (N, C, H, W), times (N,) in [0, 1] and labels (N,) or None: one number a pixel.
Field = Callable[[Tensor, Tensor, Tensor | None], Tensor]
Watch = Callable[[Tensor, Tensor], object]


def linear(steps: int = 1000, *, first: float = 1e-4, last: float = 0.02) -> Tensor:
    """Return ᾱ for noise whose share β of a step grows linearly.

    Shape: → (steps + 1,) float64, from ᾱ_0 = 1 down.

    Source: Ho et al. (2020), section 4.
    """
    return _accumulate(torch.linspace(first, last, steps, dtype=torch.float64))


def cosine(steps: int = 1000, *, offset: float = 0.008, most: float = 0.999) -> Tensor:
    """Return ᾱ that falls like a squared cosine, so that no time is wasted on pure noise.

    Args:
        steps: T.
        offset: s, which keeps the first steps from being too small.
        most: the largest β; the last one would be 1.

    Shape: → (steps + 1,) float64, from ᾱ_0 = 1 down.

    Source: Nichol and Dhariwal, "Improved Denoising Diffusion Probabilistic Models" (2021),
        equation 17.
    """
    time = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    wave = ((time + offset) / (1 + offset) * math.pi / 2).cos().square()
    return _accumulate((1 - wave[1:] / wave[:-1]).clamp(max=most))


def q_sample(clean: Tensor, noise: Tensor, alpha_bar: Tensor) -> Tensor:
    """Return the image as it is at time t, at once: √ᾱ x₀ + √(1 − ᾱ) ε.

    With α of one step for ᾱ, it is that step.

    Shape: clean and noise (N, …), alpha_bar () or (N,) → (N, …).

    Raises:
        ValueError: if the shapes differ.

    Source: Ho et al. (2020), equation 4.
    """
    if clean.shape != noise.shape:
        raise ValueError(
            f"noise has shape {tuple(noise.shape)}; expected that of clean, {tuple(clean.shape)}"
        )
    alpha_bar = _over(alpha_bar, clean)
    return alpha_bar.sqrt() * clean + (1 - alpha_bar).sqrt() * noise


def clean_from(x: Tensor, noise: Tensor, alpha_bar: Tensor) -> Tensor:
    """Return x₀ by the noise in x, the inverse of ``q_sample``. Shape: (N, …) → (N, …)."""
    alpha_bar = _over(alpha_bar, x)
    return (x - (1 - alpha_bar).sqrt() * noise) / alpha_bar.sqrt()


def noise_from(x: Tensor, clean: Tensor, alpha_bar: Tensor) -> Tensor:
    """Return the noise in x by x₀, the inverse of ``q_sample``. Shape: (N, …) → (N, …)."""
    alpha_bar = _over(alpha_bar, x)
    return (x - alpha_bar.sqrt() * clean) / (1 - alpha_bar).sqrt()


def posterior(x: Tensor, clean: Tensor, now: Tensor, then: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and variance of the image at an earlier time, by x now and by x₀.

    Args:
        x: the noisy image.
        clean: x₀.
        now: ᾱ of ``x``, below 1.
        then: ᾱ of the earlier time, above ``now``.

    Shape: x and clean (N, …), now and then () or (N,) → (N, …) and a shape that broadcasts to it.

    Source: Ho et al. (2020), equation 7, with any earlier time for t − 1.
    """
    now, then = _over(now, x), _over(then, x)
    alpha = now / then
    mean = (then.sqrt() * (1 - alpha) * clean + alpha.sqrt() * (1 - then) * x) / (1 - now)
    return mean, (1 - alpha) * (1 - then) / (1 - now)


def ddpm_step(x: Tensor, clean: Tensor, now: Tensor, then: Tensor, fresh: Tensor) -> Tensor:
    """Return a draw from ``posterior``, with standard normal noise ``fresh`` (N, …)."""
    mean, variance = posterior(x, clean, now, then)
    return mean + variance.sqrt() * fresh


def ddim_step(
    x: Tensor,
    clean: Tensor,
    now: Tensor,
    then: Tensor,
    fresh: Tensor | None = None,
    *,
    eta: float = 0.0,
) -> Tensor:
    """Return the image at an earlier time: x₀ with less of the same noise.

    Args:
        x: the noisy image.
        clean: x₀.
        now: ᾱ of ``x``, below 1.
        then: ᾱ of the earlier time, above ``now``.
        fresh: standard normal noise, needed if ``eta`` is not 0.
        eta: share of fresh noise: 0 is deterministic, 1 draws as ``ddpm_step`` does.

    Shape: x, clean and fresh (N, …), now and then () or (N,) → (N, …).

    Raises:
        ValueError: if ``eta`` is not 0 and there is no fresh noise.

    Source: Song, Meng and Ermon (2021), equations 12 and 16.
    """
    noise = noise_from(x, clean, now)
    now, then = _over(now, x), _over(then, x)
    if eta == 0:
        return then.sqrt() * clean + (1 - then).sqrt() * noise
    if fresh is None:
        raise ValueError(f"fresh is None with eta {eta}; expected noise of the shape of x")
    sigma = eta * ((1 - then) / (1 - now) * (1 - now / then)).sqrt()
    kept = (1 - then - sigma.square()).clamp(min=0).sqrt()
    return then.sqrt() * clean + kept * noise + sigma * fresh


class Denoiser(nn.Module):
    """Guess the noise in an image as √(1 − ᾱ) x + √ᾱ F(x, t): what is plain to see, and the rest.

    Args:
        net: F, from images, times in [0, 1] and labels to one number a pixel.
        alpha_bar: the schedule (T + 1,).

    Source: Salimans and Ho, "Progressive Distillation for Fast Sampling of Diffusion Models"
        (2022), whose v the net F comes to predict; as a frame around a net, Karras et al. (2022),
        equation 7.
    """

    def __init__(self, net: nn.Module, alpha_bar: Tensor) -> None:
        super().__init__()
        self.net = net
        self.alpha_bar: Tensor
        self.register_buffer("alpha_bar", alpha_bar.float())

    def forward(self, x: Tensor, time: Tensor, labels: Tensor | None = None) -> Tensor:
        """Shape: x (N, 1, H, W), time (N,) in [0, 1], labels (N,) or None → (N, 1, H, W)."""
        t = (time * (len(self.alpha_bar) - 1)).round().long()
        a = _over(self.alpha_bar[t], x)
        return (1 - a).sqrt() * x + a.sqrt() * self.net(x, time, labels)


def drop_labels(labels: Tensor, share: float, untold: int) -> Tensor:
    """Return the labels, a random ``share`` of them replaced by ``untold``. Shape: (N,) → (N,).

    Source: Ho and Salimans, "Classifier-Free Diffusion Guidance" (2022), algorithm 1.
    """
    return labels.masked_fill(torch.rand(len(labels), device=labels.device) < share, untold)


def guided(net: Field, weight: float) -> Field:
    """Return the field that goes ``weight`` times the way from not knowing the label to knowing it.

    0 ignores the label, 1 is the conditional field, and more exaggerates what the label changes.

    Source: Ho and Salimans (2022), equation 6, whose w is ``weight`` − 1.
    """

    def field(x: Tensor, time: Tensor, labels: Tensor | None) -> Tensor:
        if weight == 0 or labels is None:
            return net(x, time, None)
        told = net(x, time, labels)
        if weight == 1:
            return told
        untold = net(x, time, None)
        return untold + weight * (told - untold)

    return field


@torch.no_grad()
def sample(
    net: Field,
    noise: Tensor,
    alpha_bar: Tensor,
    *,
    steps: int,
    eta: float = 0.0,
    labels: Tensor | None = None,
    weight: float = 1.0,
    limit: float | None = 1.0,
    generator: torch.Generator | None = None,
    watch: Watch | None = None,
) -> Tensor:
    """Turn noise into images with a net that predicts noise, in equal strides of time.

    Args:
        net: on the device of ``noise``.
        noise: standard normal, what the result depends on.
        alpha_bar: the schedule (T + 1,) of the training.
        steps: how often the net is asked, 1 to T; twice as often with guidance.
        eta: 0 is DDIM, 1 is DDPM.
        labels: the classes wanted; None leaves them open.
        weight: of ``guided``.
        limit: largest value of a pixel, at which guesses of x₀ are cut off; None does not cut.
        generator: draws the fresh noise of ``eta``, on the CPU.
        watch: called after each step with the images and the guess of x₀.

    Shape: noise (N, …), labels (N,) → (N, …).

    Raises:
        ValueError: if ``steps`` is out of its range.
    """
    last = len(alpha_bar) - 1
    if not 1 <= steps <= last:
        raise ValueError(f"steps is {steps}; expected 1 to {last}")
    times = torch.linspace(last, 0, steps + 1).round().long()
    levels = alpha_bar[times].to(noise)
    field, x = guided(net, weight), noise
    for i in range(steps):
        time = torch.full((len(x),), float(times[i]) / last, device=x.device, dtype=x.dtype)
        clean = clean_from(x, field(x, time, labels), levels[i])
        if limit is not None:
            clean = clean.clamp(-limit, limit)
        fresh = torch.randn(x.shape, generator=generator).to(x) if eta else None
        x = ddim_step(x, clean, levels[i], levels[i + 1], fresh, eta=eta)
        if watch:
            watch(x, clean)
    return x


def between(clean: Tensor, noise: Tensor, time: Tensor) -> Tensor:
    """Return the point on the straight way from image to noise: (1 − t) x₀ + t ε.

    Shape: clean and noise (N, …), time () or (N,) → (N, …).

    Source: Lipman et al. (2023), equation 22, with σ_min = 0 and time the other way round.
    """
    return torch.lerp(clean, noise, _over(time, clean))


def velocity(clean: Tensor, noise: Tensor) -> Tensor:
    """Return d/dt of ``between``, what a flow's net is trained for. Shape: (N, …) → (N, …)."""
    return noise - clean


@torch.no_grad()
def flow(
    net: Field,
    noise: Tensor,
    *,
    steps: int,
    labels: Tensor | None = None,
    weight: float = 1.0,
    watch: Watch | None = None,
) -> Tensor:
    """Turn noise into images with a net that predicts velocity, by Euler's method from 1 to 0.

    Args:
        net: on the device of ``noise``.
        noise: standard normal, what the result depends on.
        steps: how often the net is asked; twice as often with guidance.
        labels: the classes wanted; None leaves them open.
        weight: of ``guided``.
        watch: called after each step with the images and the guess of x₀.

    Shape: noise (N, …), labels (N,) → (N, …).

    Raises:
        ValueError: if ``steps`` is below 1.
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}; expected 1 or more")
    field, x = guided(net, weight), noise
    for i in range(steps):
        time = torch.full((len(x),), 1 - i / steps, device=x.device, dtype=x.dtype)
        speed = field(x, time, labels)
        clean = x - (1 - i / steps) * speed
        x = x - speed / steps
        if watch:
            watch(x, clean)
    return x


def _accumulate(beta: Tensor) -> Tensor:
    """Return ᾱ at times 0 to T: what is left after each step has kept 1 − β."""
    return torch.cat([beta.new_ones(1), (1 - beta).cumprod(0)])


def _over(value: Tensor, x: Tensor) -> Tensor:
    """Return a number, or one for each image, in a shape that broadcasts over ``x``."""
    return value.reshape(-1, *[1] * (x.ndim - 1)).to(x)
