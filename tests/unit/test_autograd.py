"""The tiny engine against torch, on random graphs, and the drawing of a graph."""

import matplotlib.pyplot as plt
import pytest
import torch
from dl4cv import plotting
from dl4cv.autograd import Variable
from hypothesis import given, settings
from hypothesis import strategies as st
from twins import EXACT, numbers

SHAPES = [(3, 3), (1, 3), (3, 1), (3,), ()]
UNARY = {
    "exp": lambda a: (a * 0.1).exp(),
    "log": lambda a: (a * a + 1.0).log(),
    "tanh": lambda a: a.tanh(),
    "relu": lambda a: a.relu(),
    "power": lambda a: (a * a + 1.0) ** -0.5,
    "negate": lambda a: -a,
    "from the left": lambda a: 2.0 * a + (1.0 + a) - (3.0 - a) / (4.0 + 1.0 / (a * a + 1.0)),
    "all": lambda a: a.sum(),
    "rows": lambda a: a.sum(0),
    "rows, kept": lambda a: a.sum(0, keepdim=True),
}
BINARY = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / (b * b + 1.0),
}
steps = st.lists(
    st.tuples(st.sampled_from([*UNARY, *BINARY, "@"]), st.integers(0, 99), st.integers(0, 99)),
    min_size=1,
    max_size=12,
)


def run(program, leaves):
    """Return a number made from ``leaves`` by a program, on variables or on tensors alike."""
    made = list(leaves)
    for op, first, second in program:
        a, b = made[first % len(made)], made[second % len(made)]
        if op in UNARY and not (op.startswith("rows") and dimensions(a) == 0):
            made.append(UNARY[op](a))
        elif op in BINARY:
            made.append(BINARY[op](a, b))
        elif op == "@":
            made.append((a * leaves[0]) @ (b * leaves[0]))  # both (3, 3)
    total = made[-1].sum()
    return total if len(made) == len(leaves) else total + (made[len(leaves)] * 0.5).sum()


def dimensions(value) -> int:
    return (value.data if isinstance(value, Variable) else value).ndim


@settings(max_examples=300)
@given(steps, st.integers(0, 10**6))
def test_gradients_equal_torchs_on_random_graphs(program, seed):
    values = [0.5 * numbers(*shape, seed=seed + i) for i, shape in enumerate(SHAPES)]
    leaves = [value.clone().requires_grad_() for value in values]
    expected = run(program, leaves)
    expected.backward()
    ours = [Variable(value) for value in values]
    got = run(program, ours)
    got.backward()
    torch.testing.assert_close(got.data, expected.detach(), **EXACT)
    for leaf, variable in zip(leaves, ours, strict=True):
        assert (variable.grad is None) == (leaf.grad is None)
        if leaf.grad is not None:
            torch.testing.assert_close(variable.grad, leaf.grad, **EXACT)


def test_by_hand():
    x, w, b = Variable(2.0), Variable(-3.0), Variable(10.0)
    y = (w * x + b) ** 2  # 16; dy/dw = 2 · 4 · x
    y.backward()
    assert y.data.item() == 16
    assert [v.grad.item() for v in (x, w, b)] == [-24, 16, 8]


def test_gradients_add_up_over_calls_and_paths():
    x = Variable(3.0)
    for _ in range(2):
        (x * x + x).backward()
    assert x.grad is not None
    assert x.grad.item() == 14


POINTS = [-torch.inf, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0, torch.inf, torch.nan]
EDGES = {
    **{f"power {n}": lambda a, n=n: a**n for n in (0, 0.0, 0.5, 1, 1.5, 2, 3, -1, -0.5, -2)},
    **{f"{c} / x": lambda a, c=c: c / a for c in (0.0, 1.0, -2.0)},
    **{f"x / {c}": lambda a, c=c: a / c for c in (0.0, 1.0, -2.0)},
    "x / x": lambda a: a / a,
    "log": lambda a: a.log(),
    "exp": lambda a: a.exp(),
    "tanh": lambda a: a.tanh(),
}


@pytest.mark.parametrize("name", EDGES)
@pytest.mark.parametrize("x", POINTS)
def test_functions_equal_torchs_at_their_edges(name, x):
    ours, theirs = Variable(x), torch.tensor(x, requires_grad=True)
    value, expected = EDGES[name](ours), EDGES[name](theirs)
    value.backward()
    expected.backward()
    torch.testing.assert_close(value.data, expected.detach(), equal_nan=True)
    torch.testing.assert_close(ours.grad, theirs.grad, equal_nan=True)


def test_a_power_is_a_number():
    with pytest.raises(TypeError, match="unsupported operand"):
        Variable(2.0) ** Variable(3.0)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_variables_keep_their_precision(kind):
    x = Variable(torch.tensor([1.0, 2.0], dtype=kind))
    y = (2 * x**2 / 3 - 1).tanh().sum()
    y.backward()
    assert y.data.dtype == x.grad.dtype == kind


def test_a_deep_graph_does_not_run_out_of_stack():
    x = Variable(1.0)
    y = x
    for _ in range(5000):
        y = y + 1.0
    y.backward()
    assert x.grad is not None
    assert x.grad.item() == 1


def test_gradients_are_of_their_own():
    a, b = Variable(torch.ones(2)), Variable(torch.ones(2))
    (a + b).sum().backward()
    a.grad.zero_()
    assert b.grad.tolist() == [1, 1]


def test_integers_become_floats():
    x = Variable(3)
    (x * 0.5 + x / 2).backward()
    assert x.grad.item() == 1


def test_relu_of_minus_infinity_is_zero():
    assert Variable(-torch.inf).relu().data.item() == 0


def test_reshape_and_repr():
    x = Variable(torch.arange(6.0))
    y = x.reshape(2, 3)
    (y * y).sum().backward()
    assert torch.equal(x.grad, 2 * torch.arange(6.0))
    assert repr(Variable(2.0) * 3) == "Variable(6.0, by *)"
    assert repr(Variable(2.0)) == "Variable(2.0)"


def test_backward_starts_from_one_number():
    with pytest.raises(
        ValueError, match=r"backward needs a single number, this is of shape \(2,\)"
    ):
        Variable(torch.ones(2)).backward()


def test_a_drawing_shows_names_values_and_gradients():
    x, w = Variable(2.0), Variable(torch.ones(3))
    y = (w * x).sum()
    y.backward()
    figure = plotting.draw_graph(y, {x: "x", w: "w"})
    shown = [text.get_text() for text in figure.axes[0].texts]
    assert {"x = 2\n", "w = 3\n", "* = 3\n", "sum = 6\n"} <= set(shown)
    assert {"\n3", "\n1"} <= set(shown)
    places = {t.get_text(): t.get_position() for t in figure.axes[0].texts}
    assert places["x = 2\n"][1] > places["* = 3\n"][1] > places["sum = 6\n"][1]
    assert abs(places["x = 2\n"][0] - places["w = 3\n"][0]) >= 1
    plt.close(figure)
