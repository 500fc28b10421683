"""Optimizers from scratch, with the names, arguments and results of ``torch.optim``.

Each class holds one equation of the chapter on optimization: ``update`` changes one parameter in
place, given its gradient. What they share (parameter groups, state, checkpoints) is ``Optimizer``.
"""

import math
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any

import torch
from torch import Tensor

Params = Iterable[Tensor] | Iterable[tuple[str, Tensor]] | Iterable[dict[str, Any]]
State = dict[str, Any]


class Optimizer(ABC):
    """What all optimizers share: parameter groups, a state for each parameter, and checkpoints.

    A subclass says in ``update`` what one step does to one parameter. The attributes and the
    layout of ``state_dict`` are those of ``torch.optim.Optimizer``, so that a checkpoint of one
    loads into the other.

    Every optimizer takes these arguments:

    - ``params``: tensors, (name, tensor) pairs, or dictionaries ``{"params": …, "lr": …}``, each a
      group whose hyperparameters override the defaults.
    - ``lr``: the learning rate.
    - ``weight_decay``: the factor of the L2 penalty's gradient.
    - ``eps``: keeps a divisor from 0.

    Hyperparameters are finite and at least 0; ``betas`` are two numbers in [0, 1).

    Attributes:
        param_groups: dictionaries, each with ``params`` and their hyperparameters; a learning-rate
            schedule writes to ``group["lr"]``.
        state: what is remembered between steps, by parameter.

    Raises:
        TypeError: if ``params`` is a single tensor, or not made of tensors.
        ValueError: if ``params`` is empty or holds a tensor twice, one that is not a leaf, or one
            of integers, or if a hyperparameter is unknown or out of its range.
    """

    def __init__(self, params: Params, **defaults: Any) -> None:
        groups: list[Any] = _listed(params)
        if not groups:
            raise ValueError("params is empty; expected at least one tensor")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        self.defaults = defaults
        self.param_groups: list[dict[str, Any]] = [_group(group, defaults) for group in groups]
        self.state: defaultdict[Tensor, State] = defaultdict(dict)
        every = self._parameters()
        if len(set(every)) < len(every):
            raise ValueError("params holds a tensor twice; expected each tensor once")
        if len({"param_names" in group for group in self.param_groups}) > 1:
            raise ValueError("params has groups with and without names; expected names in all")

    @abstractmethod
    def update(self, theta: Tensor, g: Tensor, state: State, *_: Any, **hyper: Any) -> None:
        """Move the parameter ``theta`` in place, given its gradient ``g`` and its ``state``."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient.

        Args:
            closure: computes the loss and its gradients again, if given.

        Returns:
            What ``closure`` returned, else None.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            hyper = {name: group[name] for name in self.defaults}
            for theta in group["params"]:
                if theta.grad is not None:
                    self.update(theta, theta.grad, self.state[theta], **hyper)
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients: drop them, or fill them with zeros."""
        for theta in self._parameters():
            if set_to_none:
                theta.grad = None
            elif theta.grad is not None:
                theta.grad = torch.zeros_like(theta.grad)

    def state_dict(self) -> dict[str, Any]:
        """Return state and hyperparameters, with each parameter replaced by its position."""
        position = {theta: index for index, theta in enumerate(self._parameters())}
        return {
            "state": {position[theta]: dict(state) for theta, state in self.state.items()},
            "param_groups": [
                {**group, "params": [position[theta] for theta in group["params"]]}
                for group in self.param_groups
            ],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load what ``state_dict`` returned, here or in the class of this name in ``torch.optim``.

        The saved tensors are copied, in the type and on the device of their parameter.

        Raises:
            ValueError: if the saved groups do not have as many parameters as these.
        """
        saved = state_dict["param_groups"]
        sizes = [len(group["params"]) for group in saved]
        expected = [len(group["params"]) for group in self.param_groups]
        if sizes != expected:
            raise ValueError(f"state_dict has groups of {sizes} parameters; expected {expected}")
        positions = chain.from_iterable(group["params"] for group in saved)
        parameter = dict(zip(positions, self._parameters(), strict=True))
        for group, other in zip(self.param_groups, saved, strict=True):
            group.update({name: value for name, value in other.items() if name != "params"})
        self.state.clear()
        for position, state in state_dict["state"].items():
            theta = parameter[position]
            self.state[theta] = {
                name: _like(theta, value) if name != "step" else int(value)
                for name, value in state.items()
            }

    def _parameters(self) -> list[Tensor]:
        return [theta for group in self.param_groups for theta in group["params"]]


class SGD(Optimizer):
    """Stochastic gradient descent, plain, with momentum, or with Nesterov's momentum.

    Args:
        momentum: the fraction of the velocity that survives a step.
        dampening: the fraction of a new gradient kept out of the velocity.
        nesterov: look ahead along the velocity; needs momentum and no dampening.

    Source: Polyak (1964); Nesterov (1983), in the form of Sutskever et al. (2013) that
    ``torch.optim.SGD`` uses.
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            momentum=momentum,
            dampening=dampening,
            weight_decay=weight_decay,
            nesterov=nesterov,
        )

    def update(self, theta, g, state, *, lr, momentum, dampening, weight_decay, nesterov) -> None:
        if weight_decay:
            g = g + weight_decay * theta
        if momentum:
            u = state.get("momentum_buffer")
            u = g.clone() if u is None else momentum * u + (1 - dampening) * g
            state["momentum_buffer"] = u
            g = g + momentum * u if nesterov else u
        theta -= lr * g


class Adagrad(Optimizer):
    """A step size for each weight, divided by the root of the sum of its squared gradients.

    Args:
        lr_decay: step t has the learning rate ``lr / (1 + (t - 1) * lr_decay)``.
        initial_accumulator_value: what the sum of squares begins with.

    Source: Duchi, Hazan and Singer (2011).
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            lr_decay=lr_decay,
            weight_decay=weight_decay,
            initial_accumulator_value=initial_accumulator_value,
            eps=eps,
        )

    def update(
        self, theta, g, state, *, lr, lr_decay, weight_decay, initial_accumulator_value, eps
    ) -> None:
        if weight_decay:
            g = g + weight_decay * theta
        if not state:
            state.update(step=0, sum=torch.full_like(theta, initial_accumulator_value))
        s = state["sum"]
        t = state["step"] = state["step"] + 1
        s += g**2
        theta -= lr / (1 + (t - 1) * lr_decay) * g / (s.sqrt() + eps)


class RMSprop(Optimizer):
    """AdaGrad that forgets: the sum of squared gradients becomes a running mean.

    Args:
        alpha: the fraction of the old mean that survives a step.
        momentum: the fraction of the velocity that survives a step.

    Source: Tieleman and Hinton (2012), lecture 6.5.
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
    ) -> None:
        super().__init__(
            params, lr=lr, alpha=alpha, eps=eps, weight_decay=weight_decay, momentum=momentum
        )

    def update(self, theta, g, state, *, lr, alpha, eps, weight_decay, momentum) -> None:
        if weight_decay:
            g = g + weight_decay * theta
        if not state:
            state.update(step=0, square_avg=torch.zeros_like(theta))
        v = state["square_avg"]
        state["step"] += 1
        v.mul_(alpha).add_((1 - alpha) * g**2)
        g = g / (v.sqrt() + eps)
        if momentum:
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(theta)
            g = state["momentum_buffer"].mul_(momentum).add_(g)
        theta -= lr * g


class Adam(Optimizer):
    """Momentum with RMSProp's step size for each weight, both means bias-corrected.

    Args:
        betas: the fractions of the means of g and of g² that survive a step.

    Source: Kingma and Ba (2015), arXiv 1412.6980, algorithm 1.
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)

    def update(self, theta, g, state, *, lr, betas, eps, weight_decay) -> None:
        if weight_decay:
            g = g + weight_decay * theta
        adam_step(theta, g, state, lr=lr, betas=betas, eps=eps)


def adam_step(theta: Tensor, g: Tensor, state: State, *, lr, betas, eps) -> None:
    """Move ``theta`` by the step of Adam without weight decay."""
    beta1, beta2 = betas
    if not state:
        zeros = torch.zeros_like(theta)
        state.update(step=0, exp_avg=zeros, exp_avg_sq=zeros.clone())
    m, v = state["exp_avg"], state["exp_avg_sq"]
    t = state["step"] = state["step"] + 1
    m.mul_(beta1).add_((1 - beta1) * g)
    v.mul_(beta2).add_((1 - beta2) * g**2)
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    theta -= lr * m_hat / (v_hat.sqrt() + eps)


class AdamW(Adam):
    """Adam with decoupled weight decay: it acts on the weights, not through the gradient.

    Each step first subtracts ``lr * weight_decay`` times each weight.

    Source: Loshchilov and Hutter (2019), arXiv 1711.05101, algorithm 2.
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)

    def update(self, theta, g, state, *, lr, betas, eps, weight_decay) -> None:
        theta *= 1 - lr * weight_decay
        adam_step(theta, g, state, lr=lr, betas=betas, eps=eps)


class Muon(Optimizer):
    """Momentum whose step is orthogonalised by a Newton–Schulz iteration.

    The momentum of a weight with two or more dimensions is taken as a matrix, one row for each
    output, and made nearly orthogonal. What has fewer dimensions (biases, normalisations) moves by
    AdamW, and needs a group with a smaller learning rate.

    Args:
        momentum: the fraction of the velocity that survives a step.
        betas: for tensors with fewer than two dimensions, as in ``Adam``; so is ``eps``.
        weight_decay: decoupled, as in ``AdamW``.

    Source: Jordan et al., "Muon: An Optimizer for Hidden Layers in Neural Networks" (2024),
    kellerjordan.github.io/posts/muon. For matrices it is ``torch.optim.Muon``, whose Newton–Schulz
    iteration runs in bfloat16.
    """

    def __init__(
        self,
        params: Params,
        lr: float = 2e-2,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            momentum=momentum,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
        )

    def update(self, theta, g, state, *, lr, momentum, betas, eps, weight_decay) -> None:
        theta *= 1 - lr * weight_decay
        if theta.ndim < 2:
            adam_step(theta, g, state, lr=lr, betas=betas, eps=eps)
            return
        if not state:
            state["momentum_buffer"] = torch.zeros_like(theta)
        u = state["momentum_buffer"]
        u.mul_(momentum).add_((1 - momentum) * g)
        step = orthogonal((momentum * u + (1 - momentum) * g).flatten(1))
        rows, columns = step.shape
        theta -= lr * max(1, rows / columns) ** 0.5 * step.view(theta.shape)


def orthogonal(matrix: Tensor, steps: int = 5) -> Tensor:
    """Return nearly U Vᵀ of the singular value decomposition U S Vᵀ, by Newton–Schulz iteration.

    Each step sends every singular value s to a s + b s³ + c s⁵, which pulls what is not tiny to
    between about 0.7 and 1.2. It takes matrix products only.

    Shape: (M, N) → the same.

    Source: Jordan et al. (2024), with their coefficients.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    wide = len(matrix) <= matrix.shape[1]
    x = matrix if wide else matrix.T
    x = x / x.norm().clamp(min=1e-7)  # no singular value is above 1
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x if wide else x.T


def _listed(params: Any) -> list[Any]:
    """Return ``params`` as a list, unless it has no order or is a single tensor."""
    if isinstance(params, Tensor | dict | set | str) or not isinstance(params, Iterable):
        raise TypeError(
            f"params is a {type(params).__name__}; expected a list of tensors, of (name, tensor) "
            "pairs or of dictionaries, such as net.parameters()"
        )
    return list(params)


def _group(group: Any, defaults: dict[str, Any]) -> dict[str, Any]:
    """Return a checked copy of a parameter group, with the defaults that it does not override."""
    if not isinstance(group, dict) or "params" not in group:
        raise TypeError(f"params holds {group!r} among groups; expected a dict with 'params'")
    group = {**defaults, **group}
    params = group["params"]
    params = [params] if isinstance(params, Tensor) else _listed(params)
    pairs = [p for p in params if isinstance(p, tuple) and len(p) == 2]
    if pairs and len(pairs) < len(params):
        raise ValueError("params holds tensors with and without a name; expected names for all")
    if pairs:
        group["param_names"], params = (list(column) for column in zip(*pairs, strict=True))
    for theta in params:
        if not isinstance(theta, Tensor):
            raise TypeError(f"params holds a {type(theta).__name__}; expected tensors")
        if not (theta.is_leaf or theta.retains_grad):
            raise ValueError(
                "params holds the result of an operation; expected leaves, which get a gradient"
            )
        if not theta.is_floating_point():
            raise ValueError(f"params holds a tensor of {theta.dtype}; expected floats")
    _check(group, known=defaults)
    return {**group, "params": params}


def _like(theta: Tensor, value: Any) -> Any:
    """Return a copy of a saved tensor in the type and on the device of ``theta``."""
    return value.to(theta, copy=True) if isinstance(value, Tensor) else value


def _check(group: dict[str, Any], *, known: dict[str, Any]) -> None:
    """Raise ValueError for the first hyperparameter of ``group`` that is out of its range."""
    for name in group.keys() - known.keys() - {"params", "param_names", "initial_lr"}:
        raise ValueError(f"params has a group with {name!r}; expected one of: {', '.join(known)}")
    for name in known:
        if name not in ("betas", "nesterov") and not 0 <= group[name] < math.inf:
            raise ValueError(f"{name} is {group[name]}; expected a finite number of at least 0")
    if "betas" in group and not (
        len(group["betas"]) == 2 and all(0 <= beta < 1 for beta in group["betas"])
    ):
        raise ValueError(f"betas is {group['betas']}; expected two numbers in [0, 1)")
    if group.get("nesterov") and (not group["momentum"] or group["dampening"]):
        raise ValueError(
            f"nesterov is True with momentum {group['momentum']} and dampening "
            f"{group['dampening']}; expected momentum above 0 and dampening 0"
        )
