"""How much of a file has come: one line on a terminal, nothing anywhere else."""

import sys
import time


class Progress:
    """A line that counts mebibytes, with the methods that pooch asks of a progress bar."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.total = 0
        self.done = 0
        self.shown_at = 0.0
        self.visible = sys.stderr.isatty()

    def update(self, count: int) -> None:
        """Add ``count`` bytes to what has come."""
        # pooch counts the last chunk as a full one.
        self.done = min(self.done + count, self.total or self.done + count)
        if self.visible and time.monotonic() - self.shown_at > 0.1:
            self.shown_at = time.monotonic()
            of = f" of {self.total / 2**20:.1f}" if self.total else ""
            print(f"\r  {self.what}: {self.done / 2**20:.1f}{of} MiB ", end="", file=sys.stderr)
            sys.stderr.flush()

    def reset(self) -> None:
        """Start counting anew."""
        self.done = 0

    def close(self) -> None:
        """Wipe the line."""
        if self.visible:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
