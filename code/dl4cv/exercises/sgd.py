"""Exercises of the chapter on optimization, checked against ``torch.optim`` and ``torch.nn``."""

import torch
from torch import Tensor

from dl4cv.exercises import Case, Exercise


def _numbers(*shape: int, seed: int) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=draw, dtype=torch.float64)


def _walk(optimizer: torch.optim.Optimizer, w: Tensor, gradients: Tensor) -> Tensor:
    """Return ``w`` after one step of PyTorch's optimizer for each row of ``gradients``."""
    for g in gradients:
        w.grad = g.clone()
        optimizer.step()
    return w.detach().clone()


def _momentum() -> list[Case]:
    cases = []
    for name, seed, lr, momentum in [
        ("the first step, from rest", 1, 0.1, 0.9),
        ("a step that already has a velocity", 2, 0.1, 0.9),
        ("little momentum, a large step", 3, 0.7, 0.3),
    ]:
        w, gradients = _numbers(4, seed=seed), _numbers(3, 4, seed=seed + 10)
        if seed == 1:
            gradients = gradients[:1]
        oracle = torch.optim.SGD([w.clone()], lr=lr, momentum=momentum)
        theta = oracle.param_groups[0]["params"][0]
        before = _walk(oracle, theta, gradients[:-1])
        velocity = oracle.state[theta].get("momentum_buffer", torch.zeros_like(w)).clone()
        after = _walk(oracle, theta, gradients[-1:])
        expected = (after, oracle.state[theta]["momentum_buffer"].clone())
        arguments = (before, gradients[-1], velocity, lr, momentum)
        cases.append(Case(name, arguments, expected, tolerance=1e-9))
    return cases


def _adam() -> list[Case]:
    cases = []
    for name, seed, steps, lr, betas in [
        ("the first step", 1, 1, 0.01, (0.9, 0.999)),
        ("the third step", 2, 3, 0.01, (0.9, 0.999)),
        ("other betas, the tenth step", 3, 10, 0.3, (0.5, 0.8)),
    ]:
        w, gradients = _numbers(4, seed=seed), _numbers(steps, 4, seed=seed + 10)
        oracle = torch.optim.Adam([w.clone()], lr=lr, betas=betas)
        theta = oracle.param_groups[0]["params"][0]
        before = _walk(oracle, theta, gradients[:-1])
        state = oracle.state[theta]
        m = state.get("exp_avg", torch.zeros_like(w)).clone()
        v = state.get("exp_avg_sq", torch.zeros_like(w)).clone()
        after = _walk(oracle, theta, gradients[-1:])
        state = oracle.state[theta]
        expected = (after, state["exp_avg"].clone(), state["exp_avg_sq"].clone())
        arguments = (before, gradients[-1], m, v, steps, lr, *betas)
        cases.append(Case(name, arguments, expected, tolerance=1e-9))
    return cases


def _schedule() -> list[Case]:
    steps, warmup, peak = 100, 10, 0.3
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=peak)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps - warmup)
    rates = []
    for _ in range(steps - warmup + 1):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        cosine.step()
    return [
        Case(name, (step, steps, warmup, peak), expected, tolerance=1e-6)
        for name, step, expected in [
            ("the very first step", 0, peak / warmup),
            ("half-way up", 4, peak / 2),
            ("the last step of the warm-up", 9, peak),
            ("the first step of the cosine", 10, rates[0]),
            ("half-way down", 55, rates[45]),
            ("the last step", 99, rates[89]),
        ]
    ]


def _clip() -> list[Case]:
    cases = []
    for name, scale, limit in [
        ("gradients that are too long together", 3.0, 1.0),
        ("gradients that are short enough", 0.01, 1.0),
        ("two that are each short enough, but not together", 0.35, 1.0),
    ]:
        gradients = [scale * _numbers(2, 3, seed=1), scale * _numbers(4, seed=2)]
        parameters = [torch.zeros_like(g) for g in gradients]
        for p, g in zip(parameters, gradients, strict=True):
            p.grad = g.clone()
        norm = torch.nn.utils.clip_grad_norm_(parameters, limit)
        expected = ([p.grad for p in parameters], norm)
        cases.append(Case(name, (gradients, limit), expected, tolerance=1e-5))
    return cases


EXERCISES = {
    "momentum_step": Exercise(
        _momentum,
        "First the velocity, v = momentum * v + g, then the weights, with the new velocity.",
    ),
    "adam_step": Exercise(
        _adam,
        "Return the means as they are stored, without the correction; correct copies of them, "
        "with t counted from 1, and add eps after the root.",
    ),
    "cosine_schedule": Exercise(
        _schedule,
        "Step 0 already moves: the warm-up gives peak * (step + 1) / warmup. The cosine begins at "
        "the peak when step == warmup and would reach 0 when step == steps.",
    ),
    "clip_grad_norm": Exercise(
        _clip,
        "One norm for all gradients together: the root of the sum of all squares. Scale all by the "
        "same factor, and only if the norm is above the limit.",
    ),
}
