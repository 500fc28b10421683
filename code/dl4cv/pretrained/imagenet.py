"""ImageNet networks with their weights: fetched once, checked at every load, no code executed."""

import functools
import io
import pickle
import warnings
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress

import torch
from torch import Tensor, nn

from dl4cv import runtime
from dl4cv.pretrained import weights
from dl4cv.pretrained.registry import NETWORKS, Network


class _StopForwardError(Exception):
    """Raised within a forward pass once all requested activations are known."""


class ImageNetClassifier(nn.Module):
    """A classifier of ImageNet's 1,000 classes that takes images in [0, 1].

    Args:
        spec: the registry's entry; says how images are normalized.
        net: the classifier itself, which takes normalized images.

    Attributes:
        spec: as given.
        net: as given.
        layers: some of its layers by name, from shallow to deep.
    """

    def __init__(self, spec: Network, net: nn.Module) -> None:
        super().__init__()
        self.spec, self.net = spec, net
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(spec.mean)[:, None, None])
        self.register_buffer("std", torch.tensor(spec.std)[:, None, None])
        self.layers = {name: net.get_submodule(path) for name, path in spec.layers.items()}

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the 1,000 classes, by number; the first of each class's synonyms."""
        return _class_names()

    def forward(self, images: Tensor) -> Tensor:
        """Return logits. Shape: (N, 3, H, W) in [0, 1] → (N, 1000).

        Raises:
            ValueError: if ``images`` has another shape or another type.
        """
        if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
            raise ValueError(
                f"images has shape {tuple(images.shape)} and type {images.dtype}; "
                "expected (N, 3, H, W), floats in [0, 1]"
            )
        return self.net((images - self.mean) / self.std)

    def activations(self, images: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
        """Return the outputs of the named layers, through which gradients flow.

        The forward pass stops behind the last of them.

        Shape: images (N, 3, H, W) in [0, 1] → (N, C, H′, W′) for each layer.

        Raises:
            ValueError: if there is no layer of a name; the message lists them.
        """
        layers = set(layers)
        for name in layers - self.layers.keys():
            raise ValueError(f"layers names {name!r}; expected some of: {', '.join(self.layers)}")
        found: dict[str, Tensor] = {}

        def keep(name: str, module: nn.Module, inputs: object, out: Tensor) -> None:
            found[name] = out
            if len(found) == len(layers):
                raise _StopForwardError

        with ExitStack() as hooks:
            for name in layers:
                hook = functools.partial(keep, name)
                hooks.enter_context(self.layers[name].register_forward_hook(hook))
            with suppress(_StopForwardError):
                self(images)
        return found


def load(name: str = "efficientnet_lite0") -> ImageNetClassifier:
    """Return a network in evaluation mode on the device, its weights frozen.

    It is fetched at first use and checked at every use.

    Args:
        name: a key of ``registry.NETWORKS``.

    Raises:
        ValueError: if there is no such network, or its file holds another architecture's weights.
        FetchError: if it is not in the cache and no source has it.
        OSError: if the cache cannot be written.
    """
    if name not in NETWORKS:
        raise ValueError(f"name is {name!r}; expected one of: {', '.join(NETWORKS)}")
    spec = NETWORKS[name]
    net = _architecture(spec)
    _load_weights(net, _read(spec), name)
    classifier = ImageNetClassifier(spec, net).eval().requires_grad_(False)
    return runtime.to_fast_layout(classifier, runtime.device())


def _read(spec: Network) -> dict[str, Tensor]:
    weights.fetch(spec)
    path = weights.path_of(spec)
    try:
        return torch.load(io.BytesIO(path.read_bytes()), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError) as error:
        raise ValueError(f"{path} holds more than weights: {error}") from error


def _architecture(spec: Network) -> nn.Module:
    if spec.library == "timm":
        with warnings.catch_warnings():
            # On its way it imports tqdm, which warns in a notebook without ipywidgets.
            warnings.simplefilter("ignore")
            import timm

        return timm.create_model(spec.architecture, pretrained=False)
    import torchvision

    return torchvision.models.get_model(spec.architecture, weights=None)


def _load_weights(net: nn.Module, state: Mapping[str, Tensor], name: str) -> None:
    """Load a state dict by name, or by order where its names differ from the architecture's."""
    own = net.state_dict()
    shapes = [tuple(tensor.shape) for tensor in own.values()]
    found = [tuple(tensor.shape) for tensor in state.values()]
    if shapes != found:
        differences = (
            f"{key} is {b}, expected {a}"
            for key, a, b in zip(own, shapes, found, strict=False)
            if a != b
        )
        why = next(differences, f"{len(found)} tensors, expected {len(shapes)}")
        raise ValueError(f"the weights are not those of {name}: {why}")
    if own.keys() != state.keys():
        state = dict(zip(own, state.values(), strict=True))
    net.load_state_dict(state)


@functools.cache
def _class_names() -> tuple[str, ...]:
    from timm.data.imagenet_info import ImageNetInfo

    info = ImageNetInfo()
    return tuple(info.index_to_description(i).split(",")[0] for i in range(1000))
