"""What the tests of fetching share: a web server on this machine, and tiny data sets.

PyTorch is not imported here: the sabotage tests run parts of these files often.
"""

import gzip
import hashlib
import http.server
import threading
from collections import Counter
from pathlib import Path

import numpy as np
from dl4cv.data import formats, registry
from dl4cv.fetch import published

DEAD = "http://127.0.0.1:9"
"""Nothing listens at this port, named "discard"."""


class Server:
    """A web server on this machine that hands out ``files`` and counts what was asked."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: Counter[str] = Counter()
        self.let_go = threading.Event()
        self.let_go.set()
        self.half_sent = threading.Event()
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked[self.path] += 1
                content = server.files.get(self.path)
                if content is None:
                    self.send_error(404, "Not here")
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[: len(content) // 2])
                self.wfile.flush()
                server.half_sent.set()
                server.let_go.wait(30)
                try:
                    self.wfile.write(content[len(content) // 2 :])
                except (BrokenPipeError, ConnectionResetError):
                    return  # the other side was interrupted, as a test wants

            def log_message(self, *_: object) -> None:
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}/"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.02,))
        self.thread.start()

    def close(self) -> None:
        self.let_go.set()
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


def make(*sources: published.Source, seed: int = 0, side: int = 4):
    """Return a tiny data set of 6 + 3 images and its gzipped files by name."""
    numbers = np.random.default_rng(seed)
    splits, packed = {}, {}
    for split, count in (("train", 6), ("test", 3)):
        images = numbers.integers(0, 256, (count, side, side), dtype=np.uint8)
        labels = numbers.integers(0, 2, count, dtype=np.uint8)
        parts = []
        for kind, values in (("images", images), ("labels", labels)):
            content = formats.encode_idx(values)
            packed[f"{split}-{kind}.gz"] = gzip.compress(content, mtime=0)
            pin = hashlib.sha256(content).hexdigest()
            parts.append(published.PinnedFile(f"{split}-{kind}", len(content), pin))
        digest = hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()
        splits[split] = registry.Split(*parts, (count, 1, side, side), digest)
    dataset = registry.DataSet(
        name="tiny",
        title="Tiny",
        about="",
        credit="nobody",
        homepage="",
        license=published.License("none", "https://example.org"),
        class_names=("a", "b"),
        splits=splits,
        sources=sources,
    )
    return dataset, packed


def put(packed: dict[str, bytes], server: Server, below: str = "") -> published.Mirror:
    """Let ``server`` hand out ``packed`` and return it as a source."""
    server.files |= {f"/{below}{name}": content for name, content in packed.items()}
    return published.Mirror(server.url + below)


def kept(home: Path) -> set[str]:
    """Return the names in the data set's folder, the lock apart."""
    return {str(p.relative_to(home)) for p in home.rglob("*")} - {".fetch.lock"}


def plain(packed: dict[str, bytes], name: str) -> np.ndarray:
    return formats.decode_idx(gzip.decompress(packed[f"{name}.gz"]))
