"""The optimizers from scratch against ``torch.optim``, step by step."""

import math

import pytest
import torch
from dl4cv import exercises, optim
from hypothesis import given, settings
from hypothesis import strategies as st

SETTINGS = [
    ("SGD", {"lr": 0.05}),
    ("SGD", {"lr": 0.05, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.02, "momentum": 0.9}),
    ("SGD", {"lr": 0.02, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.05}),
    ("SGD", {"lr": 0.02, "momentum": 0.9, "nesterov": True}),
    ("SGD", {"lr": 0.02, "momentum": 0.7, "nesterov": True, "weight_decay": 0.1}),
    ("Adagrad", {}),
    ("Adagrad", {"lr": 0.1, "weight_decay": 0.1, "eps": 1e-3}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.2, "initial_accumulator_value": 0.5}),
    ("RMSprop", {}),
    ("RMSprop", {"lr": 0.02, "alpha": 0.8, "eps": 1e-3, "weight_decay": 0.1}),
    ("RMSprop", {"lr": 0.02, "momentum": 0.9}),
    ("Adam", {}),
    ("Adam", {"lr": 0.05, "betas": (0.5, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.05, "betas": (0.5, 0.9), "eps": 1e-3, "weight_decay": 0.3}),
]
NAMES = ["SGD", "Adagrad", "RMSprop", "Adam", "AdamW"]


def problem(dtype=torch.float64):
    """Two parameters of different shapes, and a loss of them that is not convex."""
    generator = torch.Generator().manual_seed(0)
    draw = {"generator": generator, "dtype": torch.float64}
    parameters = [torch.randn(4, 3, **draw), torch.randn(3, **draw)]
    x, y = torch.randn(100, 8, 4, **draw), torch.randn(100, 8, 3, **draw)
    x, y = x.to(dtype), y.to(dtype)
    return [
        p.to(dtype).requires_grad_() for p in parameters
    ], lambda ps, t: (torch.tanh(x[t] @ ps[0] + ps[1]) - y[t]).pow(2).mean()


def run(make, steps, *, dtype=torch.float64):
    """Return the parameters after each step, and the optimizer."""
    parameters, loss = problem(dtype)
    optimizer = make(parameters)
    path = []
    for t in range(steps):
        optimizer.zero_grad()
        loss(parameters, t % 100).backward()
        optimizer.step()
        path.append(torch.cat([p.detach().flatten() for p in parameters]))
    return torch.stack(path), optimizer, parameters


@pytest.mark.parametrize(("name", "keywords"), SETTINGS)
def test_equals_torch_after_each_of_100_steps(name, keywords):
    ours, *_ = run(lambda p: getattr(optim, name)(p, **keywords), 100)
    theirs, *_ = run(lambda p: getattr(torch.optim, name)(p, **keywords), 100)
    assert (ours[-1] - ours[0]).abs().max() > 1e-3
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("name", "keywords"), SETTINGS)
def test_equals_torch_in_float32(name, keywords):
    ours, *_ = run(lambda p: getattr(optim, name)(p, **keywords), 20, dtype=torch.float32)
    theirs, *_ = run(lambda p: getattr(torch.optim, name)(p, **keywords), 20, dtype=torch.float32)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


unit = st.floats(0, 0.99)


@settings(max_examples=25, derandomize=True)
@given(
    name=st.sampled_from(["Adam", "AdamW"]),
    lr=st.floats(1e-4, 0.1),
    betas=st.tuples(unit, unit),
    weight_decay=st.floats(0, 1),
)
def test_adam_equals_torch_for_any_hyperparameters(name, lr, betas, weight_decay):
    keywords = {"lr": lr, "betas": betas, "weight_decay": weight_decay, "eps": 1e-4}
    ours, *_ = run(lambda p: getattr(optim, name)(p, **keywords), 10)
    theirs, *_ = run(lambda p: getattr(torch.optim, name)(p, **keywords), 10)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)


@settings(max_examples=25, derandomize=True)
@given(
    lr=st.floats(1e-4, 0.1),
    momentum=st.floats(0.01, 0.99),
    dampening=st.floats(0, 1),
    weight_decay=st.floats(0, 1),
    nesterov=st.booleans(),
)
def test_sgd_equals_torch_for_any_hyperparameters(lr, momentum, dampening, weight_decay, nesterov):
    keywords = {
        "lr": lr,
        "momentum": momentum,
        "dampening": 0 if nesterov else dampening,
        "weight_decay": weight_decay,
        "nesterov": nesterov,
    }
    ours, *_ = run(lambda p: optim.SGD(p, **keywords), 10)
    theirs, *_ = run(lambda p: torch.optim.SGD(p, **keywords), 10)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_defaults_are_those_of_torch(name):
    p = [torch.zeros(1, requires_grad=True)]
    ours, theirs = getattr(optim, name)(p).defaults, getattr(torch.optim, name)(p).defaults
    assert ours == {key: theirs[key] for key in ours}


@settings(max_examples=30, derandomize=True)
@given(scale=st.floats(1e-3, 1e6), sign=st.sampled_from([-1.0, 1.0]))
def test_adams_first_step_is_the_learning_rate_whatever_the_gradient(scale, sign):
    w = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    w.grad = torch.tensor([sign * scale], dtype=torch.float64)
    optim.Adam([w], lr=0.01).step()
    assert w.item() == pytest.approx(-sign * 0.01, rel=1e-4)


@pytest.mark.parametrize(("name", "keywords"), SETTINGS)
@pytest.mark.parametrize("source", [optim, torch.optim])
@pytest.mark.parametrize("target", [optim, torch.optim])
def test_a_checkpoint_continues_here_and_in_torch(name, keywords, source, target):
    whole, *_ = run(lambda p: getattr(torch.optim, name)(p, **keywords), 20)
    _, optimizer, parameters = run(lambda p: getattr(source, name)(p, **keywords), 10)
    resumed = getattr(target, name)(parameters, lr=123.0)
    resumed.load_state_dict(optimizer.state_dict())
    _, loss = problem()
    for t in range(10, 20):
        resumed.zero_grad()
        loss(parameters, t).backward()
        resumed.step()
    came = torch.cat([p.detach().flatten() for p in parameters])
    torch.testing.assert_close(came, whole[-1], rtol=0, atol=1e-12)


def test_a_checkpoint_is_a_copy_once_loaded():
    _, optimizer, parameters = run(lambda p: optim.Adam(p), 3)
    other = optim.Adam(parameters)
    other.load_state_dict(optimizer.state_dict())
    before = optimizer.state[parameters[0]]["exp_avg"].clone()
    for p in parameters:
        p.grad = torch.ones_like(p)
    other.step()
    torch.testing.assert_close(optimizer.state[parameters[0]]["exp_avg"], before, rtol=0, atol=0)
    assert optimizer.state_dict()["state"][0]["step"] == 3
    assert other.state_dict()["state"][0]["step"] == 4


def test_a_checkpoint_of_another_model_is_refused():
    p = [torch.zeros(1, requires_grad=True), torch.zeros(2, requires_grad=True)]
    with pytest.raises(ValueError, match=r"state_dict has groups of \[2\].*expected \[1\]"):
        optim.SGD(p[:1]).load_state_dict(optim.SGD(p).state_dict())


@pytest.mark.parametrize("name", NAMES)
def test_groups_have_their_own_learning_rate(name):
    def make(module):
        def build(ps):
            return getattr(module, name)([{"params": ps[:1], "lr": 0.1}, {"params": ps[1:]}], 0.01)

        return build

    ours, optimizer, _ = run(make(optim), 20)
    theirs, *_ = run(make(torch.optim), 20)
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.01]
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


def test_a_schedule_may_change_the_learning_rate():
    w = torch.ones(1, requires_grad=True)
    optimizer = optim.SGD([w], lr=1.0)
    optimizer.param_groups[0]["lr"] = 0.25
    w.grad = torch.ones(1)
    optimizer.step()
    assert w.item() == 0.75


def test_a_parameter_without_gradient_stays():
    w, frozen = torch.ones(1, requires_grad=True), torch.ones(1, requires_grad=True)
    w.grad = torch.ones(1)
    optim.AdamW([w, frozen], lr=0.1).step()
    assert w.item() != 1
    assert frozen.item() == 1


def test_step_returns_the_loss_of_its_closure():
    w = torch.ones(1, requires_grad=True)
    optimizer = optim.SGD([w], lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = (w**2).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 1
    assert w.item() == pytest.approx(0.8)
    assert optimizer.step() is None


def test_zero_grad_drops_or_fills():
    w = torch.ones(2, requires_grad=True)
    w.grad = torch.ones(2)
    optimizer = optim.SGD([w])
    optimizer.zero_grad(set_to_none=False)
    assert w.grad is not None
    assert w.grad.tolist() == [0, 0]
    optimizer.zero_grad()
    assert w.grad is None
    optimizer.zero_grad(set_to_none=False)
    assert w.grad is None


ENDS = [-1.0, -1e-12, 0.0, 1e-300, 0.5, 1.0, 1.5, math.nan]


def hyperparameters():
    """Each hyperparameter of each optimizer, at the ends of its range and beyond."""
    w = torch.zeros(1, requires_grad=True)
    for name in NAMES:
        for argument, default in getattr(optim, name)([w]).defaults.items():
            if argument == "betas":
                yield from ((name, argument, (end, 0.9)) for end in ENDS)
                yield from ((name, argument, (0.9, end)) for end in ENDS)
            elif not isinstance(default, bool):
                yield from ((name, argument, end) for end in ENDS)


@pytest.mark.parametrize(("name", "argument", "value"), list(hyperparameters()))
def test_the_range_of_a_hyperparameter_is_torchs(name, argument, value):
    keywords = {argument: value}
    try:
        theirs, *_ = run(lambda p: getattr(torch.optim, name)(p, **keywords), 3)
    except ValueError:
        theirs = None
    # PyTorch does not check the dampening, and lets some NaN through: ours does neither.
    if theirs is None or value != value or (argument == "dampening" and value < 0):
        with pytest.raises(ValueError, match=f"^{argument} is .*; expected"):
            run(lambda p: getattr(optim, name)(p, **keywords), 3)
    else:
        ours, *_ = run(lambda p: getattr(optim, name)(p, **keywords), 3)
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12, equal_nan=True)


def test_a_learning_rate_of_zero_moves_nothing():
    for name in [*NAMES, "Muon"]:
        w = torch.ones(2, 2, requires_grad=True)
        w.grad = torch.ones(2, 2)
        getattr(optim, name)([w], lr=0).step()
        assert w.tolist() == [[1, 1], [1, 1]]


@pytest.mark.parametrize(
    ("name", "keywords", "message"),
    [
        ("SGD", {"lr": math.inf}, r"lr is inf; expected a finite number of at least 0"),
        ("Muon", {"lr": -1}, r"lr is -1; expected a finite number of at least 0"),
        ("Muon", {"momentum": -0.1}, r"momentum is -0\.1; expected"),
        ("Adam", {"betas": (0.9,)}, r"betas is \(0\.9,\); expected two numbers in \[0, 1\)"),
        ("Muon", {"betas": (0.9, 1)}, r"betas is \(0\.9, 1\); expected two numbers in \[0, 1\)"),
        ("SGD", {"nesterov": True}, r"nesterov is True with momentum 0 and dampening 0; expected"),
        (
            "SGD",
            {"nesterov": True, "momentum": 0.9, "dampening": 0.1},
            r"nesterov is True with momentum 0\.9 and dampening 0\.1; expected",
        ),
    ],
)
def test_a_bad_hyperparameter_is_named(name, keywords, message):
    with pytest.raises(ValueError, match=message):
        getattr(optim, name)([torch.zeros(1, requires_grad=True)], **keywords)


def leaves():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, 3, generator=generator).requires_grad_() for _ in range(3)]


FORMS = {
    "a list": lambda a, b, c: [a, b, c],
    "a generator": lambda a, b, c: iter([a, b, c]),
    "pairs": lambda a, b, c: [("a", a), ("b", b), ("c", c)],
    "a generator of pairs": lambda a, b, c: iter([("a", a), ("b", b), ("c", c)]),
    "groups": lambda a, b, c: [{"params": [a], "lr": 0.5}, {"params": (b, c)}],
    "a group of one tensor": lambda a, b, c: [{"params": a}, {"params": iter([b, c])}],
    "named groups": lambda a, b, c: [{"params": [("a", a)]}, {"params": [("b", b), ("c", c)]}],
    "an empty group": lambda a, b, c: [{"params": []}, {"params": [a, b, c]}],
    "a lone tensor": lambda a, b, c: a,
    "a dict": lambda a, b, c: {"a": a, "b": b},
    "a group alone": lambda a, b, c: {"params": [a, b]},
    "nothing": lambda a, b, c: [],
    "None": lambda a, b, c: None,
    "a module": lambda a, b, c: torch.nn.Linear(2, 2),
    "modules": lambda a, b, c: torch.nn.Sequential(torch.nn.Linear(2, 2)),
    "numbers": lambda a, b, c: [1.0, 2.0],
    "names": lambda a, b, c: ["a", "b"],
    "names for some": lambda a, b, c: [("a", a), b],
    "names for some groups": lambda a, b, c: [{"params": [("a", a)]}, {"params": [b]}],
    "a group of a set": lambda a, b, c: [{"params": {a, b}}],
    "a group and a tensor": lambda a, b, c: [{"params": [a]}, b],
    "a tensor in two groups": lambda a, b, c: [{"params": [a]}, {"params": [a, b]}],
    "a result": lambda a, b, c: [a, b * c],
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", FORMS)
def test_parameters_are_taken_or_refused_as_torch_does(name, form):
    def attempt(module):
        tensors = leaves()
        for value, tensor in enumerate(tensors):
            tensor.grad = torch.full_like(tensor, value + 1)
        try:
            optimizer = getattr(module, name)(FORMS[form](*tensors))
        except (TypeError, ValueError) as error:
            return type(error), str(error)
        optimizer.step()
        groups = optimizer.state_dict()["param_groups"]
        return tensors, [(g["params"], g.get("param_names"), g["lr"]) for g in groups]

    (theirs, detail), (ours, message) = attempt(torch.optim), attempt(optim)
    if isinstance(theirs, type):
        assert ours is theirs
        assert "params" in message
    else:
        torch.testing.assert_close(ours, theirs)
        assert message == detail


@pytest.mark.parametrize("name", [*NAMES, "Muon"])
def test_parameters_are_refused_when_the_optimizer_is_made(name):
    make, w = getattr(optim, name), torch.zeros(2, 2, requires_grad=True)
    with pytest.raises(TypeError, match="params is a Tensor; expected a list of tensors"):
        make(w)
    with pytest.raises(ValueError, match="params is empty; expected at least one tensor"):
        make([])
    with pytest.raises(ValueError, match="params holds a tensor twice"):
        make([w, w])
    with pytest.raises(ValueError, match=r"params holds a tensor of torch.int64; expected floats"):
        make([torch.zeros(2).long()])
    with pytest.raises(ValueError, match=r"params has a group with 'learning_rate'; expected"):
        make([{"params": [w], "learning_rate": 0.1}])
    with pytest.raises(TypeError, match="expected a dict with 'params'"):
        make([{"lr": 0.1}])
    with pytest.raises(ValueError, match=r"lr is -1; expected"):
        make([{"params": [w], "lr": -1}])


def test_groups_are_left_as_they_were_given():
    group = {"params": [("w", torch.zeros(1, requires_grad=True))], "lr": 0.1}
    before = dict(group)
    optim.SGD([group])
    assert group == before


@pytest.mark.parametrize(("name", "keywords"), SETTINGS)
def test_equals_torch_in_bfloat16(name, keywords):
    ours, *_ = run(lambda p: getattr(optim, name)(p, **keywords), 5, dtype=torch.bfloat16)
    theirs, *_ = run(lambda p: getattr(torch.optim, name)(p, **keywords), 5, dtype=torch.bfloat16)
    torch.testing.assert_close(ours, theirs, rtol=0.05, atol=0.05)


def momentum_step(w, g, u, lr, momentum):
    u = momentum * u + g
    return w - lr * u, u


def adam_step(w, g, m, v, t, lr, beta1, beta2, eps=1e-8):
    m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
    return w - lr * m / (1 - beta1**t) / ((v / (1 - beta2**t)).sqrt() + eps), m, v


def cosine_schedule(step, steps, warmup, peak):
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup))) / 2


def clip_grad_norm(gradients, limit):
    norm = torch.cat([g.flatten() for g in gradients]).norm()
    return [g * min(1.0, limit / norm) for g in gradients], norm


@pytest.mark.parametrize("answer", [momentum_step, adam_step, cosine_schedule, clip_grad_norm])
def test_exercises_accept_the_right_answer(answer):
    assert exercises.check(f"sgd/{answer.__name__}", answer).passed


@pytest.mark.parametrize(
    ("name", "mistake"),
    [
        ("momentum_step", lambda w, g, u, lr, mu: (w - lr * u, mu * u + g)),
        ("momentum_step", lambda w, g, u, lr, mu: momentum_step(w, (1 - mu) * g, u, lr, mu)),
        ("adam_step", lambda w, g, m, v, t, *rest: adam_step(w, g, m, v, 10**9, *rest)),
        ("adam_step", lambda w, g, m, v, t, *rest: adam_step(w, g, m, v, t + 1, *rest)),
        ("cosine_schedule", lambda step, *rest: cosine_schedule(step + 1, *rest)),
        (
            "cosine_schedule",
            lambda step, n, warmup, peak: cosine_schedule(step, n, 1, peak),
        ),
        ("clip_grad_norm", lambda gs, limit: ([clip_grad_norm([g], limit)[0][0] for g in gs], 1.0)),
        ("clip_grad_norm", lambda gs, limit: (gs, clip_grad_norm(gs, limit)[1])),
    ],
)
def test_exercises_refuse_a_mistake(name, mistake):
    assert not exercises.check(f"sgd/{name}", mistake).passed


@given(
    rows=st.integers(1, 9),
    columns=st.integers(1, 9),
    seed=st.integers(0, 99),
    steps=st.integers(0, 6),
)
@settings(deadline=None)
def test_orthogonal_sends_each_singular_value_through_the_polynomial(rows, columns, seed, steps):
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randn(rows, columns, generator=generator, dtype=torch.float64)
    u, s, vt = torch.linalg.svd(matrix / matrix.norm(), full_matrices=False)
    for _ in range(steps):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    torch.testing.assert_close(optim.orthogonal(matrix, steps), u * s @ vt, rtol=0, atol=1e-9)


def test_orthogonal_is_close_to_a_rotation():
    matrix = torch.randn(12, 30, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(optim.orthogonal(matrix))
    assert values.min() > 0.6
    assert values.max() < 1.3


def test_orthogonal_leaves_zero_at_zero():
    assert not optim.orthogonal(torch.zeros(3, 4)).any()


@pytest.mark.parametrize("shape", [(4, 3), (3, 4), (5, 5)])
def test_muon_equals_torch_on_a_matrix(shape, monkeypatch):
    # torch orthogonalises in bfloat16; with ours in its place the rest must agree to the last bit.
    monkeypatch.setattr(
        "torch.optim._muon._zeropower_via_newtonschulz",
        lambda matrix, coefficients, steps, eps: optim.orthogonal(matrix, steps),
    )
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(shape, generator=generator, dtype=torch.float64)
    ours, theirs = start.clone().requires_grad_(), start.clone().requires_grad_()
    mine = optim.Muon([ours], lr=0.1, momentum=0.8, weight_decay=0.3)
    reference = torch.optim.Muon([theirs], lr=0.1, momentum=0.8, weight_decay=0.3)
    for _ in range(20):
        g = torch.randn(shape, generator=generator, dtype=torch.float64)
        ours.grad, theirs.grad = g.clone(), g.clone()
        mine.step()
        reference.step()
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


def test_muon_takes_a_filter_bank_as_a_matrix_and_a_bias_as_adamw_does():
    generator = torch.Generator().manual_seed(0)
    filters, bias = torch.randn(4, 2, 3, 3, generator=generator), torch.randn(4)
    flat, twin = filters.flatten(1).clone(), bias.clone()
    muon = optim.Muon([{"params": [filters]}, {"params": [bias], "lr": 0.03}], lr=0.1)
    alone, adamw = optim.Muon([flat], lr=0.1), optim.AdamW([twin], lr=0.03)
    for _ in range(3):
        filters.grad = torch.randn(4, 2, 3, 3, generator=generator)
        bias.grad = torch.randn(4, generator=generator)
        flat.grad, twin.grad = filters.grad.flatten(1).clone(), bias.grad.clone()
        for optimizer in (muon, alone, adamw):
            optimizer.step()
    torch.testing.assert_close(filters.flatten(1), flat)
    torch.testing.assert_close(bias, twin)
