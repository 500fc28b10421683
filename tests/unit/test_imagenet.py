"""ImageNet networks: what they take and give, and each way in which a file can be wrong."""

import hashlib
import io
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision
from dl4cv import storage
from dl4cv.fetch.published import MANUAL_DIR, Mirror, PinnedFile
from dl4cv.fetch.sources import FetchError
from dl4cv.pretrained import __main__ as command
from dl4cv.pretrained import imagenet, registry, weights
from dl4cv.pretrained.registry import NETWORKS

DEAD = Mirror("http://127.0.0.1:9/", suffix="")


class Squeeze:
    """SqueezeNet as its publisher would hand it out, with weights that nobody trained."""

    def __init__(self, home: Path, monkeypatch) -> None:
        self.home, self.monkeypatch = home, monkeypatch
        torch.manual_seed(0)
        self.net = torchvision.models.squeezenet1_1(weights=None)
        self.publish(self.net.state_dict())

    def publish(self, state: object, *, digits: int = 8) -> None:
        """Let the registry pin a file that holds ``state``, as torch.save writes it."""
        file = io.BytesIO()
        torch.save(state, file)
        self.content = file.getvalue()
        digest = hashlib.sha256(self.content).hexdigest()[:digits]
        self.network = replace(
            NETWORKS["squeezenet1_1"],
            file=PinnedFile("weights.pth", len(self.content), digest),
            sources=(MANUAL_DIR, DEAD),
        )
        self.monkeypatch.setitem(NETWORKS, "squeezenet1_1", self.network)

    @property
    def cached(self) -> Path:
        return weights.path_of(self.network)

    def put_by_hand(self, content: bytes) -> None:
        folder = self.cached.parent / "by-hand"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "weights.pth").write_bytes(content)

    def put_in_cache(self, content: bytes) -> None:
        self.cached.parent.mkdir(parents=True, exist_ok=True)
        self.cached.write_bytes(content)


@pytest.fixture
def squeeze(cache, no_proxy, monkeypatch) -> Squeeze:
    return Squeeze(cache, monkeypatch)


def test_the_logits_are_those_of_the_published_network(squeeze, capsys):
    squeeze.put_by_hand(squeeze.content)
    network = imagenet.load("squeezenet1_1")
    assert "SqueezeNet 1.1: fetched from the folder" in capsys.readouterr().out
    images = torch.rand(2, 3, 64, 48, generator=torch.Generator().manual_seed(1))
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    normal = (images - mean[:, None, None]) / std[:, None, None]
    with torch.no_grad():
        torch.testing.assert_close(network(images), squeeze.net.eval()(normal))
    assert not any(weight.requires_grad for weight in network.parameters())
    imagenet.load("squeezenet1_1")
    assert capsys.readouterr().out == ""


def test_layers_give_their_maps_and_let_gradients_through(squeeze):
    squeeze.put_in_cache(squeeze.content)
    network = imagenet.load("squeezenet1_1")
    images = torch.rand(1, 3, 64, 64, requires_grad=True)
    maps = network.activations(images, ["stage1", "head"])
    assert {name: tuple(found.shape) for name, found in maps.items()} == {
        "stage1": (1, 128, 15, 15),
        "head": (1, 512, 3, 3),
    }
    maps["stage1"].sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0
    with pytest.raises(ValueError, match=r"layers names 'conv5'; expected some of: stem, "):
        network.activations(images, ["conv5"])
    assert not network.layers["stage1"]._forward_hooks


def test_what_lies_behind_the_layers_is_not_computed(squeeze):
    squeeze.put_in_cache(squeeze.content)
    network = imagenet.load("squeezenet1_1")
    called = []
    for name in ("stage2", "head"):
        network.layers[name].register_forward_hook(lambda *_, name=name: called.append(name))
    whole = network.activations(torch.rand(1, 3, 64, 64), ["stage2", "stage1"])
    assert (called, list(whole)) == (["stage2"], ["stage1", "stage2"])


@pytest.mark.parametrize(
    "images", [torch.rand(3, 8, 8), torch.rand(1, 1, 8, 8), torch.ones(1, 3, 8, 8).byte()]
)
def test_images_of_another_form_are_refused(squeeze, images):
    squeeze.put_in_cache(squeeze.content)
    with pytest.raises(ValueError, match=r"expected \(N, 3, H, W\), floats in \[0, 1\]"):
        imagenet.load("squeezenet1_1")(images)


def test_an_unknown_network_is_named(squeeze):
    with pytest.raises(ValueError, match="name is 'vgg16'; expected one of: efficientnet_lite0, "):
        imagenet.load("vgg16")


def test_no_network_and_no_file_says_what_to_do(squeeze):
    with pytest.raises(FetchError) as caught:
        imagenet.load("squeezenet1_1")
    text = str(caught.value)
    assert text.startswith("SqueezeNet 1.1 is not in the cache and could not be fetched.")
    assert f"2. {DEAD}: cannot connect to 127.0.0.1" in text
    assert f"{squeeze.cached.parent / 'by-hand'}:\n      weights.pth" in text
    assert list(squeeze.cached.parent.glob("*.pth")) == []


@pytest.mark.parametrize("damage", ["truncated", "tampered"])
def test_a_damaged_file_is_fetched_again(squeeze, capsys, damage):
    content = bytearray(squeeze.content)
    if damage == "truncated":
        del content[len(content) // 2 :]
    else:
        content[len(content) // 2] ^= 1
    squeeze.put_in_cache(bytes(content))
    squeeze.put_by_hand(squeeze.content)
    imagenet.load("squeezenet1_1")
    assert f"{squeeze.cached} has SHA-256 " in capsys.readouterr().out
    assert squeeze.cached.read_bytes() == squeeze.content


def test_a_damaged_download_is_not_kept(squeeze):
    squeeze.put_by_hand(squeeze.content[:-1])
    with pytest.raises(FetchError, match=r"weights\.pth has SHA-256 [0-9a-f]{64}, expected"):
        imagenet.load("squeezenet1_1")
    assert not squeeze.cached.exists()


def test_another_networks_weights_are_refused(squeeze):
    squeeze.publish(torchvision.models.squeezenet1_0(weights=None).state_dict())
    squeeze.put_in_cache(squeeze.content)
    with pytest.raises(
        ValueError,
        match=r"the weights are not those of squeezenet1_1: features\.0\.weight is \(96, 3, 7, 7\)",
    ):
        imagenet.load("squeezenet1_1")


def test_missing_tensors_are_counted(squeeze):
    state = squeeze.net.state_dict()
    state.popitem()
    squeeze.publish(state)
    squeeze.put_in_cache(squeeze.content)
    with pytest.raises(ValueError, match="51 tensors, expected 52"):
        imagenet.load("squeezenet1_1")


class Trap:
    """Unpickled by a careless reader, it makes a folder."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_file_that_would_run_code_is_refused(squeeze, tmp_path):
    squeeze.publish(Trap(str(tmp_path / "sprung")))
    squeeze.put_in_cache(squeeze.content)
    with pytest.raises(ValueError, match="holds more than weights"):
        imagenet.load("squeezenet1_1")
    assert not (tmp_path / "sprung").exists()


def test_a_checksum_of_few_digits_proves_nothing(squeeze):
    squeeze.publish(squeeze.net.state_dict(), digits=7)
    squeeze.put_by_hand(squeeze.content)
    with pytest.raises(FetchError, match="has SHA-256"):
        imagenet.load("squeezenet1_1")


def test_weights_under_other_names_are_taken_in_their_order(squeeze):
    state = {f"w{i}": w for i, w in enumerate(squeeze.net.state_dict().values())}
    squeeze.publish(state)
    squeeze.put_in_cache(squeeze.content)
    network = imagenet.load("squeezenet1_1")
    for name, weight in squeeze.net.state_dict().items():
        assert torch.equal(network.net.state_dict()[name], weight)


@pytest.mark.parametrize("name", [n for n in NETWORKS if n != "squeezenet1_1"])
def test_the_layers_of_the_lite_networks_are_rectified_and_wide(name):
    network = imagenet.ImageNetClassifier(
        NETWORKS[name], imagenet._architecture(NETWORKS[name])
    ).eval()
    maps = network.activations(torch.rand(1, 3, 64, 64), network.layers)
    assert [found.shape[2] for found in maps.values()] == [32, 32, 16, 8, 4, 2, 2]
    assert all(found.min() >= 0 and found.shape[1] >= 32 for found in maps.values())
    assert maps["head"].shape == (1, 1280, 2, 2)


def test_classes_have_their_names():
    names = imagenet._class_names()
    assert len(names) == 1000
    assert (names[76], names[604]) == ("tarantula", "hourglass")


def test_the_command_fetches_what_chapters_load(squeeze, monkeypatch, capsys):
    monkeypatch.setattr(registry, "LOADED_BY_CHAPTERS", ("squeezenet1_1",))
    assert command.main() == 1
    assert "SqueezeNet 1.1 is not in the cache" in capsys.readouterr().err
    squeeze.put_by_hand(squeeze.content)
    assert command.main() == 0
    assert "SqueezeNet 1.1: fetched from the folder" in capsys.readouterr().out
    assert command.main() == 0
    assert f"SqueezeNet 1.1: already there in {squeeze.cached}" in capsys.readouterr().out


def test_a_cache_below_a_file_is_an_error_that_says_what_to_do(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("DL4CV_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(storage.CacheError, match=r"cannot be written .* DL4CV_CACHE"):
        imagenet.load("squeezenet1_1")
