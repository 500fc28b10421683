"""The published weights of ImageNet networks: fetched once, kept as they are, checked at every use.

It does without PyTorch, since every build checks whether all is there.
"""

from pathlib import Path

from dl4cv import storage
from dl4cv.fetch import sources
from dl4cv.pretrained.registry import Network


def fetch(network: Network) -> bool:
    """Make sure that the weights are complete in the cache; return whether they were fetched.

    Raises:
        FetchError: if they are not in the cache and no source has them.
        OSError: if the cache cannot be written.
    """
    path = path_of(network)

    def verify() -> None:
        try:
            content = path.read_bytes()
        except NotADirectoryError as error:
            # The cache lies below a file. Whoever writes there next says so and names DL4CV_CACHE.
            raise FileNotFoundError(f"{path} does not exist") from error
        sources.check(str(path), content, network.file.sha256)

    def keep(files: dict[str, bytes]) -> None:
        storage.remove_parts(path)
        storage.write_atomically(path, files[network.file.name])

    return sources.fetch_first_available(network, path.parent, verify=verify, keep=keep)


def path_of(network: Network) -> Path:
    """Return where the weights are kept in the cache."""
    return storage.cache_dir() / "pretrained" / network.name / network.file.name
