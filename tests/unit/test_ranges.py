"""What has a range refuses NaN, which is neither below nor above any limit."""

import math

import pytest
import torch
from dl4cv import evidence, gradcheck, layers, losses, optim, training
from dl4cv.explain import adversarial, images, style_transfer
from dl4cv.models import autoregressive, diffusion, gan, linear
from dl4cv.training import schedules

ONE = torch.full((1, 1, 4, 4), 0.5)
LABEL = torch.zeros(1, dtype=torch.int64)
SCORES = torch.zeros(1, 3)


def net(x):
    """Give three logits."""
    return x.flatten(1)[:, :3]


def parameters():
    """Give an optimizer something to hold."""
    return [torch.zeros(2, 2, requires_grad=True)]


RANGES = {
    "adversarial.fgsm epsilon": lambda v: adversarial.fgsm(net, ONE, LABEL, epsilon=v),
    "adversarial.pgd rate": lambda v: adversarial.pgd(
        net, ONE, LABEL, epsilon=0.1, rate=v, steps=1
    ),
    "autoregressive.sample temperature": lambda v: autoregressive.sample(
        autoregressive.GatedPixelCNN((4, 4)), ONE, temperature=v
    ),
    "autoregressive.sample_naive temperature": lambda v: autoregressive.sample_naive(
        autoregressive.PixelCNN((4, 4)), ONE, temperature=v
    ),
    "diffusion.drop_labels probability": lambda v: diffusion.drop_labels(LABEL, v, 10),
    "diffusion.linear_schedule beta_end": lambda v: diffusion.linear_schedule(9, beta_end=v),
    "diffusion.cosine_schedule max_beta": lambda v: diffusion.cosine_schedule(9, max_beta=v),
    "evidence.standard_error p": lambda v: evidence.standard_error(v, 9),
    "gan.InstanceNoise std": lambda v: gan.InstanceNoise(v),
    "gradcheck.numerical_gradient step": lambda v: gradcheck.numerical_gradient(
        torch.sum, torch.zeros(2, dtype=torch.float64), step=v
    ),
    "images.random_affine zoom": lambda v: images.random_affine(ONE, degrees=1, zoom=v),
    "layers.Dropout p": lambda v: layers.Dropout(v),
    "linear.LinearClassifier std": lambda v: linear.LinearClassifier(2, 3, std=v),
    "linear.LinearClassifier.loss l2": lambda v: linear.LinearClassifier(2, 3).loss(
        torch.zeros(1, 2), LABEL, losses.softmax_loss, l2=v
    ),
    "losses.svm_loss margin": lambda v: losses.svm_loss(SCORES, LABEL, v),
    "optim.Adam betas": lambda v: optim.Adam(parameters(), betas=(0.9, v)),
    "optim.Muon weight_decay": lambda v: optim.Muon(parameters(), weight_decay=v),
    "optim.SGD lr": lambda v: optim.SGD(parameters(), lr=v),
    "schedules.one_cycle rise": lambda v: schedules.one_cycle(9, rise=v),
    "style_transfer.mixed fraction": lambda v: style_transfer.mixed({}, {}, v),
    "training.EMA decay": lambda v: training.EMA(torch.nn.Linear(2, 2), decay=v),
}


@pytest.mark.parametrize("name", RANGES)
def test_not_a_number_is_in_no_range(name):
    argument = name.split()[-1]
    with pytest.raises(ValueError, match=rf"{argument} is .*nan.*; expected"):
        RANGES[name](math.nan)


@pytest.mark.parametrize("argument", ["fgsm epsilon", "pgd rate"])
def test_a_move_is_finite(argument):
    with pytest.raises(ValueError, match=r"is inf; expected at least 0, and finite"):
        RANGES[f"adversarial.{argument}"](math.inf)


def test_a_zoom_is_finite():
    with pytest.raises(ValueError, match="zoom is inf; expected at least 1, and finite"):
        RANGES["images.random_affine zoom"](math.inf)
