"""One epoch of MNIST, the usual way and the book's way, on one machine in one run.

Run it from the root of the repository after ``make book``:

    .venv/bin/python benchmarks/mnist_epoch.py

The usual way is what beginners are shown: images converted one by one, a ``DataLoader``, two
convolutions at full resolution with a wide linear layer, batches of 64, Adadelta. The book's way
is ``recipes.sprint``, with ten seeds, five before the usual way and five after. Its seconds
include the test at the end, the usual way's do not. What it prints is kept beside this file in
``mnist_epoch.json``, with date and machine.
"""

import json
import os
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median

import torch
from dl4cv import data, recipes, storage
from dl4cv.book.machine import machine
from dl4cv.data.labelled import LabelledImages
from dl4cv.models import sprint
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

SEEDS = range(10)
GOAL = 0.99


class Converted(Dataset):
    """Images converted to a picture, and then to a normalized tensor, one at a time."""

    def __init__(self, images: LabelledImages) -> None:
        self.images = images
        self.transform = transforms.Compose(
            [transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        picture = Image.fromarray(self.images.images[index, 0].numpy())
        return self.transform(picture), int(self.images.labels[index])


def usual_epoch(train: LabelledImages, test: LabelledImages) -> tuple[float, float]:
    """Train the usual network for an epoch; return the seconds of it and the test accuracy."""
    torch.manual_seed(0)
    model = sprint.baseline()
    optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0)
    start = time.perf_counter()
    for images, labels in DataLoader(Converted(train), batch_size=64, shuffle=True):
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()
    seconds = time.perf_counter() - start
    model.eval()
    right = 0
    with torch.no_grad():
        for images, labels in DataLoader(Converted(test), batch_size=1000):
            right += int((model(images).argmax(1) == labels).sum())
    return seconds, right / len(test)


def main() -> None:
    """Time both, print and keep what was found."""
    train, test = data.mnist.load("train"), data.mnist.load("test")
    with tempfile.TemporaryDirectory() as store:
        os.environ["DL4CV_CACHE"] = store  # an empty run store: everything is trained
        runs = [recipes.sprint(train, test, seed) for seed in SEEDS[:5]]
        usual_seconds, usual_accuracy = usual_epoch(train, test)
        runs += [recipes.sprint(train, test, seed) for seed in SEEDS[5:]]
    accuracy = [run.last("accuracy") for run in runs]
    seconds = median(run.seconds for run in runs)
    reached = sum(value >= GOAL for value in accuracy)
    print(f"the book's way: {reached} of {len(runs)} seeds reach {GOAL:.0%}, {seconds:.1f} s")
    print(f"the usual way: {usual_accuracy:.2%}, {usual_seconds:.1f} s")
    print(f"ratio: {usual_seconds / seconds:.1f}")
    content = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "torch": version("torch"),
        "sprint": {"accuracy": accuracy, "seconds": [round(run.seconds, 2) for run in runs]},
        "usual": {"accuracy": usual_accuracy, "seconds": round(usual_seconds, 2)},
    }
    target = Path(__file__).with_suffix(".json")
    storage.write_atomically(target, (json.dumps(content, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
