"""Diffusion and flow matching: images turn into noise, and a network turns noise into images.

Images are x₀, in [-1, 1]; ε is standard normal noise; time runs from 0, the image, to 1, noise.
ᾱ, the fraction of the image's variance that is left, is a number or one number for each image.
Half precision comes back as it went in, but is computed in float32: in 8 bits, 1 − ᾱ is often 0.

Raises:
    ValueError: all functions do, if a shape does not fit or an argument is out of its range.

Source: Ho, Jain and Abbeel, "Denoising Diffusion Probabilistic Models" (2020),
    arXiv:2006.11239; Song, Meng and Ermon, "Denoising Diffusion Implicit Models" (2021),
    arXiv:2010.02502; Lipman et al., "Flow Matching for Generative Modeling" (2023),
    arXiv:2210.02747.
"""

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

from dl4cv.models.blocks import at_least_float32, check_sizes

#: From x_t (N, …), time (N,) in [0, 1] and labels (N,) or None to noise or velocity (N, …).
Predictor = Callable[[Tensor, Tensor, Tensor | None], Tensor]
#: Called with x_t and the predicted x₀ (N, …).
Callback = Callable[[Tensor, Tensor], object]


def linear_schedule(
    steps: int = 1000, *, beta_start: float = 1e-4, beta_end: float = 0.02
) -> Tensor:
    """Return ᾱ for a variance β of each step's noise that grows linearly.

    Args:
        steps: T.
        beta_start: β of the first step, in (0, 1).
        beta_end: β of the last step, in (0, 1).

    Shape: → (T + 1,) float64, from ᾱ_0 = 1 down.

    Source: Ho et al. (2020), section 4.
    """
    check_sizes(steps=steps)
    _check_unit("beta_start", beta_start, zero=False, one=False)
    _check_unit("beta_end", beta_end, zero=False, one=False)
    return _accumulate(torch.linspace(beta_start, beta_end, steps, dtype=torch.float64))


def cosine_schedule(steps: int = 1000, *, offset: float = 0.008, max_beta: float = 0.999) -> Tensor:
    """Return ᾱ that falls like a squared cosine, so that few steps are spent on pure noise.

    Args:
        steps: T.
        offset: s, in [0, 1], which keeps the first steps from being too small.
        max_beta: the largest β, in (0, 1); the last one would be 1.

    Shape: → (T + 1,) float64, from ᾱ_0 = 1 down.

    Source: Nichol and Dhariwal, "Improved Denoising Diffusion Probabilistic Models" (2021),
        arXiv:2102.09672, equation 17.
    """
    check_sizes(steps=steps)
    _check_unit("offset", offset)
    _check_unit("max_beta", max_beta, zero=False, one=False)
    time = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    f = ((time + offset) / (1 + offset) * math.pi / 2).cos().square()
    return _accumulate((1 - f[1:] / f[:-1]).clamp(max=max_beta))


def q_sample(x0: Tensor, eps: Tensor, alpha_bar: Tensor | float) -> Tensor:
    """Return the noisy image at time t in one step: x_t = √ᾱ x₀ + √(1 − ᾱ) ε.

    With α of a single step for ᾱ, it is that step.

    Shape: x0 and eps (N, …), alpha_bar () or (N,) in [0, 1] → (N, …).

    Source: Ho et al. (2020), equation 4.
    """
    a = _broadcast("alpha_bar", alpha_bar, x0=x0, eps=eps)
    return (a.sqrt() * x0 + (1 - a).sqrt() * eps).to(x0.dtype)


def predict_x0(x_t: Tensor, eps: Tensor, alpha_bar: Tensor | float) -> Tensor:
    """Return x₀, given x_t and its noise: the inverse of ``q_sample``.

    Shape: x_t and eps (N, …), alpha_bar () or (N,) in (0, 1] → (N, …).

    Source: Ho et al. (2020), equation 15.
    """
    a = _broadcast("alpha_bar", alpha_bar, zero=False, x_t=x_t, eps=eps)
    return ((x_t - (1 - a).sqrt() * eps) / a.sqrt()).to(x_t.dtype)


def predict_noise(x_t: Tensor, x0: Tensor, alpha_bar: Tensor | float) -> Tensor:
    """Return ε, given x_t and x₀: the inverse of ``q_sample``.

    Shape: x_t and x0 (N, …), alpha_bar () or (N,) in [0, 1) → (N, …).
    """
    a = _broadcast("alpha_bar", alpha_bar, one=False, x_t=x_t, x0=x0)
    return ((x_t - a.sqrt() * x0) / (1 - a).sqrt()).to(x_t.dtype)


def posterior(
    x_t: Tensor, x0: Tensor, alpha_bar_t: Tensor | float, alpha_bar_s: Tensor | float
) -> tuple[Tensor, Tensor]:
    """Return mean and variance of q(x_s | x_t, x₀), the image at an earlier time s.

    Args:
        x_t: the noisy image.
        x0: x₀.
        alpha_bar_t: ᾱ of x_t, in [0, 1).
        alpha_bar_s: ᾱ of x_s, in (0, 1], at least ``alpha_bar_t``.

    Shape: x_t and x0 (N, …), alpha_bar_t and alpha_bar_s () or (N,)
        → mean (N, …), variance in a shape that broadcasts to it.

    Source: Ho et al. (2020), equation 7, with any earlier time for t − 1.
    """
    a_t, a_s = _broadcast_both(alpha_bar_t, alpha_bar_s, x_t, x0)
    alpha = a_t / a_s
    mean = (a_s.sqrt() * (1 - alpha) * x0 + alpha.sqrt() * (1 - a_s) * x_t) / (1 - a_t)
    return mean.to(x_t.dtype), (1 - alpha) * (1 - a_s) / (1 - a_t)


def ddpm_step(
    x_t: Tensor,
    x0: Tensor,
    alpha_bar_t: Tensor | float,
    alpha_bar_s: Tensor | float,
    z: Tensor,
) -> Tensor:
    """Return a sample of ``posterior``, made from standard normal noise z.

    Shape: z (N, …) → (N, …). The other arguments are those of ``posterior``.

    Source: Ho et al. (2020), algorithm 2.
    """
    mean, variance = posterior(x_t, x0, alpha_bar_t, alpha_bar_s)
    _check_shapes(x_t=x_t, z=z)
    return (mean + variance.sqrt() * z).to(x_t.dtype)


def ddim_step(
    x_t: Tensor,
    x0: Tensor,
    alpha_bar_t: Tensor | float,
    alpha_bar_s: Tensor | float,
    z: Tensor | None = None,
    *,
    eta: float = 0.0,
) -> Tensor:
    """Return the image at an earlier time s: x₀ with less of the same noise.

    Args:
        x_t: the noisy image.
        x0: x₀.
        alpha_bar_t: ᾱ of x_t, in [0, 1).
        alpha_bar_s: ᾱ of x_s, in (0, 1], at least ``alpha_bar_t``.
        z: standard normal noise, needed unless ``eta`` is 0.
        eta: η in [0, 1]: 0 is deterministic, 1 is ``ddpm_step``.

    Shape: x_t, x0 and z (N, …), alpha_bar_t and alpha_bar_s () or (N,) → (N, …).

    Source: Song, Meng and Ermon (2021), equations 12 and 16.
    """
    _check_unit("eta", eta)
    eps = predict_noise(x_t, x0, alpha_bar_t)
    a_t, a_s = _broadcast_both(alpha_bar_t, alpha_bar_s, x_t, x0)
    if eta == 0:
        return (a_s.sqrt() * x0 + (1 - a_s).sqrt() * eps).to(x_t.dtype)
    if z is None:
        raise ValueError(f"z is None with eta {eta}; expected noise of the shape of x_t")
    _check_shapes(x_t=x_t, z=z)
    sigma = eta * ((1 - a_s) / (1 - a_t) * (1 - a_t / a_s)).sqrt()
    old = (1 - a_s - sigma.square()).clamp(min=0).sqrt()
    return (a_s.sqrt() * x0 + old * eps + sigma * z).to(x_t.dtype)


class Denoiser(nn.Module):
    """Predict the noise as √(1 − ᾱ) x_t + √ᾱ F(x_t, t): a known part, and a net for the rest.

    Args:
        net: F, from images, times in [0, 1] and labels to one number per pixel.
        alpha_bar: the schedule (T + 1,).

    Source: F learns v of Salimans and Ho, "Progressive Distillation for Fast Sampling of
        Diffusion Models" (2022), arXiv:2202.00512, appendix D; as a frame around a net, Karras
        et al., "Elucidating the Design Space of Diffusion-Based Generative Models" (2022),
        arXiv:2206.00364, equation 7.
    """

    def __init__(self, net: nn.Module, alpha_bar: Tensor) -> None:
        super().__init__()
        self.net = net
        self.alpha_bar: Tensor
        self.register_buffer("alpha_bar", alpha_bar.float())

    def forward(self, x_t: Tensor, time: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return ε̂. Shape: x_t (N, C, H, W), time (N,) in [0, 1], labels (N,) → as x_t."""
        _check_unit("time", time)
        t = (time * (len(self.alpha_bar) - 1)).round().long()
        a = _broadcast("alpha_bar", self.alpha_bar[t], x_t=x_t)
        net = self.net(x_t, time, labels)
        return ((1 - a).sqrt() * x_t + a.sqrt() * net).to(x_t.dtype)

    def _apply(self, fn, recurse=True):
        """Move the schedule with the module, but never to half precision."""
        schedule = self.alpha_bar
        super()._apply(fn, recurse)
        self.alpha_bar = schedule.to(self.alpha_bar.device)
        return self


def drop_labels(labels: Tensor, probability: float, null_label: int) -> Tensor:
    """Return the labels, each replaced by ``null_label`` with ``probability``.

    Shape: (N,) integers → the same.

    Source: Ho and Salimans, "Classifier-Free Diffusion Guidance" (2022), arXiv:2207.12598,
        algorithm 1.
    """
    _check_unit("probability", probability)
    drop = torch.rand(len(labels), device=labels.device) < probability
    return labels.masked_fill(drop, null_label)


def classifier_free_guidance(net: Predictor, *, scale: float) -> Predictor:
    """Return the predictor that extrapolates from the unconditional to the conditional one.

    Args:
        net: predicts noise or velocity, without condition where the labels are None.
        scale: 0 ignores the label, 1 is conditional, more exaggerates what the label changes.

    Source: Ho and Salimans (2022), equation 6, whose w is ``scale`` − 1.
    """

    def guided(x_t: Tensor, time: Tensor, labels: Tensor | None) -> Tensor:
        if scale == 0 or labels is None:
            return net(x_t, time, None)
        conditional = net(x_t, time, labels)
        if scale == 1:
            return conditional
        unconditional = net(x_t, time, None)
        return unconditional + scale * (conditional - unconditional)

    return guided


@torch.no_grad()
def sample(
    net: Predictor,
    noise: Tensor,
    alpha_bar: Tensor,
    *,
    steps: int,
    eta: float = 0.0,
    labels: Tensor | None = None,
    scale: float = 1.0,
    clip: float | None = 1.0,
    generator: torch.Generator | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """Turn noise into images with a net that predicts noise, at evenly spaced times.

    Args:
        net: on the device of ``noise``; its time is in float32 or better.
        noise: standard normal, x_T.
        alpha_bar: the schedule (T + 1,) of the training.
        steps: network evaluations, 1 to T; twice as many with guidance.
        eta: 0 is DDIM, 1 is DDPM.
        labels: the classes of the images; None samples without condition.
        scale: of ``classifier_free_guidance``.
        clip: predictions of x₀ are clipped to [−clip, clip]; None does not clip.
        generator: samples the noise of ``eta``, on the CPU.
        callback: called after each step with the images and the predicted x₀.

    Shape: noise (N, …), labels (N,) → (N, …).

    Source: Song, Meng and Ermon (2021), section 4.2.
    """
    last = len(alpha_bar) - 1
    if not 1 <= steps <= last:
        raise ValueError(f"steps is {steps}; expected 1 to {last}")
    _check_labels(labels, noise)
    times = torch.linspace(last, 0, steps + 1).round().long()
    predict = classifier_free_guidance(net, scale=scale)
    x = noise.to(at_least_float32(noise.dtype))
    for t, s in pairwise(times):
        time = torch.full((len(x),), float(t) / last, device=x.device, dtype=x.dtype)
        eps = predict(x.to(noise.dtype), time, labels).to(x.dtype)
        x0 = predict_x0(x, eps, alpha_bar[t])
        if clip is not None:
            x0 = x0.clamp(-clip, clip)
        z = torch.randn(x.shape, generator=generator).to(x) if eta else None
        x = ddim_step(x, x0, alpha_bar[t], alpha_bar[s], z, eta=eta)
        if callback:
            callback(x, x0)
    return x.to(noise.dtype)


def interpolate(x0: Tensor, eps: Tensor, time: Tensor | float) -> Tensor:
    """Return the point on the straight line from image to noise: (1 − t) x₀ + t ε.

    Shape: x0 and eps (N, …), time () or (N,) in [0, 1] → (N, …).

    Source: Lipman et al. (2023), equation 22, with σ_min = 0 and time reversed.
    """
    t = _broadcast("time", time, x0=x0, eps=eps)
    return torch.lerp(x0.to(t.dtype), eps.to(t.dtype), t).to(x0.dtype)


def velocity(x0: Tensor, eps: Tensor) -> Tensor:
    """Return the derivative of ``interpolate`` with respect to time, the target of a flow.

    Shape: x0 and eps (N, …) → (N, …).

    Source: Lipman et al. (2023), equation 23, with σ_min = 0 and time reversed.
    """
    _check_shapes(x0=x0, eps=eps)
    return eps - x0


@torch.no_grad()
def sample_flow(
    net: Predictor,
    noise: Tensor,
    *,
    steps: int,
    labels: Tensor | None = None,
    scale: float = 1.0,
    callback: Callback | None = None,
) -> Tensor:
    """Turn noise into images with a net that predicts velocity, by Euler's method from 1 to 0.

    Args:
        net: on the device of ``noise``; its time is in float32 or better.
        noise: standard normal, x₁.
        steps: network evaluations; twice as many with guidance.
        labels: the classes of the images; None samples without condition.
        scale: of ``classifier_free_guidance``.
        callback: called after each step with the images and the predicted x₀.

    Shape: noise (N, …), labels (N,) → (N, …).
    """
    check_sizes(steps=steps)
    _check_labels(labels, noise)
    predict = classifier_free_guidance(net, scale=scale)
    x = noise.to(at_least_float32(noise.dtype))
    for i in range(steps):
        time = torch.full((len(x),), 1 - i / steps, device=x.device, dtype=x.dtype)
        v = predict(x.to(noise.dtype), time, labels).to(x.dtype)
        x0 = x - (1 - i / steps) * v
        x = x - v / steps
        if callback:
            callback(x, x0)
    return x.to(noise.dtype)


def _accumulate(beta: Tensor) -> Tensor:
    """Return ᾱ at times 0 to T: the product of 1 − β over the steps so far."""
    return torch.cat([beta.new_ones(1), (1 - beta).cumprod(0)])


def _broadcast(
    name: str, value: Tensor | float, *, zero: bool = True, one: bool = True, **images: Tensor
) -> Tensor:
    """Return ``value``, checked, in a shape that broadcasts over ``images``; float32 or better.

    Args:
        name: of ``value`` in an error.
        value: one number in [0, 1], or one per image.
        zero: whether 0 is allowed.
        one: whether 1 is allowed.
        images: by their names; all have one shape.
    """
    _check_shapes(**images)
    _check_unit(name, value, zero=zero, one=one)
    value, x = torch.as_tensor(value), next(iter(images.values()))
    if value.numel() not in (1, len(x)):
        raise ValueError(f"{name} has shape {tuple(value.shape)}; expected () or ({len(x)},)")
    return value.reshape(-1, *[1] * (x.ndim - 1)).to(x.device, at_least_float32(x.dtype))


def _broadcast_both(
    alpha_bar_t: Tensor | float, alpha_bar_s: Tensor | float, x_t: Tensor, x0: Tensor
) -> tuple[Tensor, Tensor]:
    """Return ᾱ at both ends of a step back in time, as ``_broadcast`` does."""
    a_t = _broadcast("alpha_bar_t", alpha_bar_t, one=False, x_t=x_t, x0=x0)
    a_s = _broadcast("alpha_bar_s", alpha_bar_s, zero=False, x_t=x_t, x0=x0)
    if not (a_t <= a_s).all():
        raise ValueError("alpha_bar_s is below alpha_bar_t; expected that of an earlier time")
    return a_t, a_s


def _check_unit(name: str, value: Tensor | float, *, zero: bool = True, one: bool = True) -> None:
    value = torch.as_tensor(value)
    right = (value >= 0 if zero else value > 0) & (value <= 1 if one else value < 1)
    if not right.all():
        interval = f"{'[' if zero else '('}0, 1{']' if one else ')'}"
        raise ValueError(f"{name} is {value[~right][0].item():g}; expected a number in {interval}")


def _check_shapes(**tensors: Tensor) -> None:
    (first, expected), *others = tensors.items()
    for name, tensor in others:
        if tensor.shape != expected.shape:
            raise ValueError(
                f"{name} has shape {tuple(tensor.shape)}; expected that of {first}, "
                f"{tuple(expected.shape)}"
            )


def _check_labels(labels: Tensor | None, noise: Tensor) -> None:
    if labels is not None and labels.shape != noise.shape[:1]:
        raise ValueError(f"labels has shape {tuple(labels.shape)}; expected ({len(noise)},)")
