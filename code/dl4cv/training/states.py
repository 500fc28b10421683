"""Nested states (of models, optimizers, checkpoints) as safetensors bytes: no pickle, no code."""

import json
from typing import Any

import torch
from safetensors import torch as safetensors
from torch import Tensor

#: The name under which the shape of the nesting is kept, beside the tensors.
_TREE = "tree"


def dump(state: Any) -> bytes:
    """Return ``state`` as the content of a safetensors file; ``load`` gives it back.

    Args:
        state: tensors, numbers, strings and None in any nesting of dictionaries, lists and tuples.

    Raises:
        TypeError: if it holds anything else.
    """
    tensors: dict[str, Tensor] = {}
    tree = json.dumps(_outline(state, tensors)).encode()
    tensors[_TREE] = torch.frombuffer(bytearray(tree), dtype=torch.uint8)
    return safetensors.save(tensors)


def load(content: bytes) -> Any:
    """Return the state that ``dump`` wrote, its tensors on the CPU."""
    tensors = safetensors.load(content)
    return _refill(json.loads(tensors[_TREE].numpy().tobytes()), tensors)


def weights(model: torch.nn.Module) -> bytes:
    """Return the model's state dict as a safetensors file that any reader of these can open."""
    return safetensors.save({name: _own(tensor) for name, tensor in model.state_dict().items()})


def read_weights(content: bytes) -> dict[str, Tensor]:
    """Return the state dict that ``weights`` wrote, its tensors on the CPU."""
    return safetensors.load(content)


def _own(tensor: Tensor) -> Tensor:
    """Return a copy in memory of its own: safetensors refuses tensors that share theirs."""
    return tensor.detach().to("cpu", copy=True).contiguous()


def _outline(state: Any, tensors: dict[str, Tensor]) -> Any:
    """Return ``state`` in JSON's types, with its tensors moved into ``tensors``."""
    if isinstance(state, Tensor):
        name = f"{len(tensors)}"
        tensors[name] = _own(state)
        return {"tensor": name}
    if isinstance(state, dict):
        pairs = [[_outline(key, tensors), _outline(state[key], tensors)] for key in state]
        return {"dict": pairs}
    if isinstance(state, list | tuple):
        kind = "list" if isinstance(state, list) else "tuple"
        return {kind: [_outline(item, tensors) for item in state]}
    if state is None or isinstance(state, bool | int | float | str):
        return state
    raise TypeError(f"a state holds a {type(state).__name__}; expected tensors and plain values")


def _refill(outline: Any, tensors: dict[str, Tensor]) -> Any:
    if not isinstance(outline, dict):
        return outline
    ((kind, content),) = outline.items()
    match kind:
        case "tensor":
            return tensors[content]
        case "dict":
            return {_refill(k, tensors): _refill(v, tensors) for k, v in content}
        case "list":
            return [_refill(item, tensors) for item in content]
        case _:
            return tuple(_refill(item, tensors) for item in content)
