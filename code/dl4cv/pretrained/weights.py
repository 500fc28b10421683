"""The published weights of ImageNet networks: fetched once, kept as they are, checked when asked.

It does without PyTorch, since every build asks whether all is there.
"""

from collections.abc import Mapping
from pathlib import Path

from dl4cv import storage
from dl4cv.data import sources
from dl4cv.pretrained.registry import Network


def fetch(network: Network) -> bool:
    """Make sure that the weights are whole in the cache; return whether they had to be fetched.

    Raises:
        FetchError: if they are not in the cache and no source hands them out.
        OSError: if the cache cannot be written.
    """
    path = path_of(network)

    def is_whole() -> bool:
        return path.exists() and _is_right(network, path.read_bytes())

    def keep(files: Mapping[str, bytes]) -> None:
        storage.remove_parts(path)
        storage.write_atomically(path, files[network.file.name])

    if is_whole():
        return False
    if path.exists():
        sources.say(f"{network.title}: {path} is not what was published; fetching it again")
    return sources.fill(
        network.title,
        [network.file],
        network.sources,
        path.parent,
        is_whole=is_whole,
        keep=keep,
    )


def path_of(network: Network) -> Path:
    """Return where the weights lie in the cache."""
    return storage.cache_dir() / "pretrained" / network.name / network.file.name


def _is_right(network: Network, content: bytes) -> bool:
    try:
        sources.check(network.file.name, content, network.file.sha256)
    except ValueError:
        return False
    return True
