"""Fetching one file by HTTP, or failing within seconds."""

import socket
import threading
from pathlib import Path
from urllib.parse import urlsplit

import requests
from tqdm import tqdm

CONNECT_SECONDS = 2.0
"""How long a server may take to be found and to accept a connection."""
STALL_SECONDS = 20.0
"""How long a transfer that has begun may stand still."""


class SourceError(Exception):
    """One source did not provide a file; the message says why, in a phrase."""


def download(url: str, size: int, into: Path) -> Path:
    """Download the file at ``url``, plain or gzipped, into a folder; return its path.

    Args:
        url: the file's address.
        size: of the plain file in bytes; more than the largest gzip of it is refused.
        into: the folder.

    Raises:
        SourceError: if the server is not reachable, does not have the file or sends too much.
        OSError: if ``into`` cannot be written.
    """
    check_reachable(url)
    target = into / url.rpartition("/")[2]
    limit = size + (size >> 8) + 1024  # no gzip of size bytes is larger
    patience = (2 * CONNECT_SECONDS, STALL_SECONDS / 2)
    headers = {"Accept-Encoding": "identity"}  # or requests unpacks what some servers label
    try:
        with (
            requests.get(url, headers=headers, timeout=patience, stream=True) as response,
            progress_bar(target.name) as bar,
            target.open("wb") as file,
        ):
            response.raise_for_status()
            bar.reset(total=int(response.headers.get("Content-Length", 0)) or None)
            for chunk in response.iter_content(1 << 16):
                if file.tell() + len(chunk) > limit:
                    raise SourceError(f"{target.name} has more than {limit} bytes")
                file.write(chunk)
                bar.update(len(chunk))
    except requests.RequestException as error:
        raise SourceError(f"{target.name}: {error}") from error
    return target


def progress_bar(name: str) -> tqdm:
    """Return a bar that counts the bytes of ``name``; it shows on a terminal only."""
    return tqdm(desc=name, unit="B", unit_scale=True, unit_divisor=1024, leave=False, disable=None)


def check_reachable(url: str) -> None:
    """Raise :class:`SourceError` unless the server of ``url`` (or its proxy) accepts a connection.

    Looking up a name can hang for half a minute where there is no network, and has no timeout that
    one could set; hence the thread, which is left behind.
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
