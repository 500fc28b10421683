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


class _EnoughError(Exception):
    """Raised within a network when all layers that were asked for have answered."""


class ImageNet(nn.Module):
    """A classifier of ImageNet's 1,000 classes that takes images in [0, 1].

    Args:
        network: what it is; says how images are normalised.
        net: the classifier itself, which takes normalised images.

    Attributes:
        network: as given.
        net: as given.
        class_names: of the 1,000 classes, by their number.
        layers: some of its layers by name, in the order in which an image passes them.
    """

    def __init__(self, network: Network, net: nn.Module) -> None:
        super().__init__()
        self.network, self.net = network, net
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer("mean", torch.tensor(network.mean)[:, None, None])
        self.register_buffer("deviation", torch.tensor(network.deviation)[:, None, None])
        self.layers = {name: net.get_submodule(place) for name, place in network.layers.items()}

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
        return self.net((images - self.mean) / self.deviation)

    def activations(self, images: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
        """Return what the named layers give for images, with their gradients.

        What lies behind the last of them is not computed.

        Shape: (N, 3, H, W) in [0, 1] → (N, C, H′, W′) for each layer.

        Raises:
            ValueError: if there is no layer of a name; the message lists them.
        """
        layers = set(layers)
        for name in layers:
            if name not in self.layers:
                known = ", ".join(self.layers)
                raise ValueError(f"layers names {name!r}; expected some of: {known}")
        found: dict[str, Tensor] = {}

        def keep(name: str, module: nn.Module, inputs: object, out: Tensor) -> None:
            found[name] = out
            if len(found) == len(layers):
                raise _EnoughError

        with ExitStack() as hooks:
            for name in layers:
                hook = functools.partial(keep, name)
                hooks.enter_context(self.layers[name].register_forward_hook(hook))
            with suppress(_EnoughError):
                self(images)
        return found


def load(name: str = "efficientnet_lite0") -> ImageNet:
    """Return a network in evaluation mode on the device, its weights frozen.

    It is fetched when it is not in the cache, and its checksum is compared at every load.

    Args:
        name: a key of ``registry.NETWORKS``.

    Raises:
        ValueError: if there is no such network, or its file holds another architecture's weights.
        FetchError: if it is not in the cache and no source hands it out; says what to do.
        OSError: if the cache cannot be written.
    """
    if name not in NETWORKS:
        raise ValueError(f"name is {name!r}; expected one of: {', '.join(NETWORKS)}")
    network = NETWORKS[name]
    net = _architecture(network)
    _install(net, _read(network), name)
    whole = ImageNet(network, net).eval().requires_grad_(False)
    return runtime.to_fast_layout(whole, runtime.device())


def _read(network: Network) -> dict[str, Tensor]:
    weights.fetch(network)
    path = weights.path_of(network)
    try:
        return torch.load(io.BytesIO(path.read_bytes()), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError) as error:
        raise ValueError(f"{path} holds more than weights: {error}") from error


def _architecture(network: Network) -> nn.Module:
    if network.library == "timm":
        with warnings.catch_warnings():
            # On its way it imports tqdm, which warns in a notebook without ipywidgets.
            warnings.simplefilter("ignore")
            import timm

        return timm.create_model(network.architecture, pretrained=False)
    import torchvision

    return torchvision.models.get_model(network.architecture, weights=None)


def _install(net: nn.Module, given: Mapping[str, Tensor], name: str) -> None:
    """Give ``net`` the weights: by name, or in their order where the names are others."""
    own = net.state_dict()
    shapes = [tuple(tensor.shape) for tensor in own.values()]
    found = [tuple(tensor.shape) for tensor in given.values()]
    if shapes != found:
        wrong = next(
            (
                f"{key} is {b}, expected {a}"
                for key, a, b in zip(own, shapes, found, strict=False)
                if a != b
            ),
            f"{len(found)} tensors, expected {len(shapes)}",
        )
        raise ValueError(f"the weights are not those of {name}: {wrong}")
    if own.keys() != given.keys():
        given = dict(zip(own, given.values(), strict=True))
    net.load_state_dict(given)


@functools.cache
def _class_names() -> tuple[str, ...]:
    from timm.data.imagenet_info import ImageNetInfo

    info = ImageNetInfo()
    return tuple(info.index_to_description(i).split(",")[0] for i in range(1000))
