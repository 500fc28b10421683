"""The exercises of the chapter on linear classifiers."""

import torch
from torch.nn import functional as F

from dl4cv.exercises import Case, Exercise


def _batch(count: int, num_classes: int, *, seed: int, scale: float = 2.0):
    generator = torch.Generator().manual_seed(seed)
    scores = scale * torch.randn(count, num_classes, generator=generator, dtype=torch.float64)
    return scores, torch.randint(num_classes, (count,), generator=generator)


def _autograd(loss_fn, tensor: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    leaf = tensor.clone().requires_grad_()
    loss = loss_fn(leaf)
    gradient = torch.autograd.grad(loss, leaf)[0]
    # Rounded, since the page prints them and processors differ in the sixteenth digit.
    return loss.detach().round(decimals=8), gradient.round(decimals=8)


def _softmax_loss() -> list[Case]:
    cases = []
    for name, (scores, labels) in (
        ("one image, three classes", _batch(1, 3, seed=0)),
        ("seven images, ten classes", _batch(7, 10, seed=1)),
        ("scores in the thousands", _batch(4, 5, seed=2, scale=3000)),
    ):
        expected = _autograd(lambda s, labels=labels: F.cross_entropy(s, labels), scores)
        cases.append(Case(name, (scores, labels), expected))
    return cases


def _svm_gradient() -> list[Case]:
    cases = []
    for name, shape, l2 in (
        ("one image, no penalty", (1, 4, 3), 0.0),
        ("nine images, no penalty", (9, 6, 4), 0.0),
        ("five images with a penalty", (5, 3, 10), 0.3),
    ):
        count, features, num_classes = shape
        images, _ = _batch(count, features, seed=3)
        weight, _ = _batch(num_classes, features, seed=4, scale=0.5)
        _, labels = _batch(count, num_classes, seed=5)

        def loss(w, images=images, labels=labels, l2=l2):
            hinge = F.multi_margin_loss(images @ w.T, labels)
            return len(w) * hinge + l2 * w.square().sum()

        cases.append(Case(name, (weight, images, labels, l2), _autograd(loss, weight)[1]))
    return cases


def _label_smoothing() -> list[Case]:
    cases = []
    for name, seed, amount in (
        ("no smoothing", 6, 0.0),
        ("smoothing 0.1", 7, 0.1),
        ("smoothing 0.5", 8, 0.5),
    ):
        scores, labels = _batch(6, 4, seed=seed)
        expected = _autograd(
            lambda s, labels=labels, amount=amount: F.cross_entropy(
                s, labels, label_smoothing=amount
            ),
            scores,
        )
        cases.append(Case(name, (scores, labels, amount), expected))
    return cases


def _squared_hinge() -> list[Case]:
    cases = []
    for name, count, num_classes, seed in (
        ("one image, three classes", 1, 3, 9),
        ("eight images, five classes", 8, 5, 10),
        ("two classes", 5, 2, 11),
    ):
        scores, labels = _batch(count, num_classes, seed=seed)
        expected = _autograd(
            lambda s, labels=labels, k=num_classes: k * F.multi_margin_loss(s, labels, p=2), scores
        )
        cases.append(Case(name, (scores, labels), expected))
    return cases


EXERCISES = {
    "softmax_loss": Exercise(
        _softmax_loss,
        "subtract each row's largest score first; the gradient is (p − onehot(y)) / N.",
    ),
    "svm_gradient": Exercise(
        _svm_gradient,
        "build the (N, K) gradient of the mean loss with respect to the scores, then multiply it "
        "by the images.",
    ),
    "label_smoothing": Exercise(
        _label_smoothing,
        "the target is a row q with 1 − a + a/K at y and a/K elsewhere; the loss is −Σ q log p.",
    ),
    "squared_hinge": Exercise(
        _squared_hinge, "the derivative of max(0, z)² is 2 max(0, z), with no kink at 0."
    ),
}
