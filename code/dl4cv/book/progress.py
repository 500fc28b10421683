"""What the running chapters are at: a line that is written over, where somebody looks at it."""

import shutil
import sys
from threading import Lock


class Progress:
    """Prints what starts and ends, and on a terminal keeps a line below it up to date.

    Such as ``gans 12/41 · vae 3/35 · 7 of 15 done``. Threads may share it.
    """

    def __init__(self, total: int) -> None:
        self._total, self._done = total, 0
        self._cells: dict[str, tuple[int, int]] = {}
        self._lock = Lock()
        self._shown = sys.stdout.isatty()

    def __enter__(self) -> "Progress":
        """Return this."""
        return self

    def __exit__(self, *_) -> None:
        """Take the line away."""
        if self._shown:
            print("\r\x1b[K", end="", flush=True)

    def say(self, line: str) -> None:
        """Print a line that stays."""
        with self._lock:
            self._write(line)

    def at(self, name: str, number: int, total: int) -> None:
        """Note that a chapter starts a cell: its number, and how many there are."""
        with self._lock:
            self._cells[name] = number, total
            self._write()

    def ended(self, name: str, line: str) -> None:
        """Print a chapter's last line, and count it as done."""
        with self._lock:
            self._cells.pop(name, None)
            self._done += 1
            self._write(line)

    def _write(self, line: str | None = None) -> None:
        above = "" if line is None else f"{line}\n"
        if self._shown:
            parts = [f"{name} {number}/{total}" for name, (number, total) in self._cells.items()]
            status = " · ".join([*parts, f"{self._done} of {self._total} done"])
            width = shutil.get_terminal_size().columns - 1
            print(f"\r\x1b[K{above}{status[:width]}", end="", flush=True)
        elif above:
            print(above, end="", flush=True)
