"""Hold a layer of ours against its twin in ``torch.nn``: keys, values and all gradients."""

import torch
from dl4cv import layers
from torch import Tensor, nn

EXACT = {"atol": 1e-9, "rtol": 1e-9}


def numbers(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(shape, generator=generator, dtype=torch.float64)


def assert_same(ours: layers.Layer | layers.Sequential, theirs: nn.Module, x: Tensor) -> None:
    """Give both one state, and compare forward and backward passes, twice over."""
    theirs = theirs.double()
    state = {
        name: numbers(*value.shape, seed=number, scale=0.5).abs() + 0.1
        if name.endswith("running_var")
        else numbers(*value.shape, seed=number, scale=0.5)
        for number, (name, value) in enumerate(theirs.state_dict().items())
        if value.is_floating_point()
    }
    ours.load_state_dict(state, strict=False)
    theirs.load_state_dict(state, strict=False)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    assert ours.training == theirs.training
    before = x.clone()
    for seed in (10, 11):  # the second time gradients add up, and running statistics move on
        leaf = x.clone().requires_grad_()
        expected = theirs(leaf)
        got = ours(x)
        torch.testing.assert_close(got, expected.detach(), **EXACT)
        dy = numbers(*expected.shape, seed=seed)
        expected.backward(dy)
        torch.testing.assert_close(ours.backward(dy), leaf.grad, **EXACT)
        for (name, own), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(own.grad, other.grad, **EXACT, msg=lambda m, n=name: n + m)
        torch.testing.assert_close(
            dict(ours.named_buffers()), dict(theirs.named_buffers()), **EXACT
        )
    assert torch.equal(x, before)
