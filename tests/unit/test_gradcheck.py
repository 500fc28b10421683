"""Numerical gradients against autograd."""

import pytest
import torch
from dl4cv import gradcheck


def points(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("shape", [(), (5,), (3, 4), (2, 3, 2)])
def test_equals_autograd(shape):
    def f(x):
        return (x.sin() * x.exp()).sum() + x.prod()

    x = points(*shape)
    leaf = x.clone().requires_grad_()
    f(leaf).backward()
    assert leaf.grad is not None
    assert gradcheck.relative_error(gradcheck.numerical_gradient(f, x), leaf.grad) < 1e-9


def test_takes_a_transposed_tensor_and_leaves_it_alone():
    x = points(3, 4).T
    before = x.clone()
    gradient = gradcheck.numerical_gradient(lambda x: (x[1] * x[2]).sum(), x)
    expected = torch.zeros_like(before)
    expected[1], expected[2] = before[2], before[1]
    assert gradcheck.relative_error(gradient, expected) < 1e-9
    assert torch.equal(x, before)


def test_is_exact_to_second_order():
    # A forward difference would be wrong by h = 0.1.
    gradient = gradcheck.numerical_gradient(lambda x: x.square().sum(), points(4), step=0.1)
    torch.testing.assert_close(gradient, 2 * points(4))


def test_relative_error_is_a_fraction_of_the_largest():
    a, b = torch.tensor([8.0, 1.0]), torch.tensor([10.0, 2.0])
    assert gradcheck.relative_error(a, b) == pytest.approx(0.2)
    assert gradcheck.relative_error(b, a) == pytest.approx(0.2)
    assert gradcheck.relative_error(a, a) == 0
    assert gradcheck.relative_error(a, -a) == pytest.approx(2.0)
    assert gradcheck.relative_error(torch.zeros(2), torch.zeros(2)) == 0


def test_relative_error_does_not_wrap_or_overflow():
    assert (
        gradcheck.relative_error(torch.tensor([1, 4]).byte(), torch.tensor([2, 4]).byte()) == 0.25
    )
    large = torch.tensor([6e4], dtype=torch.float16)
    assert gradcheck.relative_error(large, -large) == 2


def test_the_gradient_of_nothing_is_empty():
    assert gradcheck.numerical_gradient(torch.sum, points(0, 3)).shape == (0, 3)


def test_relative_error_of_nan_is_within_no_bound():
    assert not gradcheck.relative_error(torch.tensor([1.0, torch.nan]), torch.ones(2)) <= 1


def test_what_is_wrong_is_named():
    with pytest.raises(ValueError, match=r"x is torch.float32; expected torch.float64"):
        gradcheck.numerical_gradient(torch.sum, torch.zeros(2))
    with pytest.raises(ValueError, match="step is 0; expected a finite number above 0"):
        gradcheck.numerical_gradient(torch.sum, points(2), step=0)
    with pytest.raises(ValueError, match=r"f returned a tensor of shape \(2,\)"):
        gradcheck.numerical_gradient(lambda x: x, points(2))
    with pytest.raises(ValueError, match=r"a has shape \(2,\) and b \(3,\)"):
        gradcheck.relative_error(points(2), points(3))
