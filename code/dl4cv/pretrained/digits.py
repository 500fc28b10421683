"""The fixed LeNet that judges generated digits: its weights lie beside this file and never change.

A distance between sets of images means something only in the features of one and the same network.
``python -m dl4cv.pretrained.digits`` trains it anew, and prints the checksum to pin: after that no
number measured before can be compared with one measured later.
"""

from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dl4cv import data, runtime, storage, training
from dl4cv.metrics.generative import Features
from dl4cv.models.lenet import LeNet
from dl4cv.training import states

WEIGHTS = Path(__file__).with_name("digits.safetensors")
SHA256 = "5ea7e7fb309897de58940d5c3d10c72b3184091ba79191aeb1681145db699c76"


@cache
def load(path: Path = WEIGHTS) -> LeNet:
    """Return the judge in evaluation mode, on the device, after checking its weights.

    Raises:
        FileNotFoundError: if the weights are not there.
        ValueError: if the file is not the one that is pinned.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; it comes with the package, so fetch it anew")
    content = path.read_bytes()
    if (found := storage.sha256(content)) != SHA256:
        raise ValueError(f"{path} has the SHA-256 {found}; expected {SHA256}; fetch it anew")
    model = LeNet()
    model.load_state_dict(states.read_weights(content))
    return model.to(runtime.device()).eval().requires_grad_(False)


@torch.no_grad()
def see(images: Tensor) -> Features:
    """Return what the judge sees in digits, on the CPU.

    Shape: images (N, 1, 28, 28), uint8 or floats in [0, 1] → features (N, 84), logits (N, 10).

    Raises:
        ValueError: if ``images`` has another shape, or floats that are not in [0, 1].
    """
    if images.ndim != 4 or images.shape[1:] != (1, 28, 28):
        raise ValueError(f"images has shape {tuple(images.shape)}; expected (N, 1, 28, 28)")
    if images.dtype == torch.uint8:
        images = images.float() / 255
    elif not (images.min() >= 0 and images.max() <= 1):
        span = f"[{images.min():g}, {images.max():g}]"
        raise ValueError(f"images spans {span}; expected floats in [0, 1]")
    judge = load()
    features = [judge.features(part.float().to(runtime.device())) for part in images.split(500)]
    seen = torch.cat(features)
    return Features(seen.cpu(), judge.classifier(seen).cpu())


def train() -> LeNet:
    """Return the judge, trained as the pinned one was: ten epochs, shifted by up to two pixels."""
    runtime.seed_everything(0)
    model = LeNet()
    steps = 10 * 60_000 // 256
    batches = training.Batches(data.mnist.load("train"), 256, transform=_shifted)
    test = data.mnist.load("test")

    def loss_fn(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(model(images), labels)

    def evaluate(model: nn.Module) -> dict[str, float]:
        logits = torch.cat([model(part.float() / 255) for part in test.images.split(500)])
        return {"accuracy": float((logits.argmax(1) == test.labels).double().mean())}

    history = training.fit(
        model,
        batches,
        loss_fn,
        torch.optim.Adam(model.parameters(), lr=3e-3),
        name="digits/lenet",
        steps=steps,
        schedule=training.schedules.one_cycle(steps),
        evaluate=evaluate,
    )
    print(f"accuracy on the test digits: {history.last('accuracy'):.4f}")
    return model


def _shifted(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return the batch moved by up to two pixels up, down, left and right."""
    down, right = torch.randint(-2, 3, (2,), generator=generator).tolist()
    return images.roll((down, right), (2, 3))


if __name__ == "__main__":
    storage.write_atomically(WEIGHTS, states.weights(train()))
    print(f"{WEIGHTS} has the SHA-256 {storage.sha256_of_file(WEIGHTS)}")
