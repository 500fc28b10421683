"""Property tests have no deadline: a shared machine may pause for longer than any of them takes."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")


@pytest.fixture
def server():
    """A web server on this machine."""
    from fetching import Server

    running = Server()
    yield running
    running.close()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch) -> Path:
    """An empty cache, run store included."""
    monkeypatch.setenv("DL4CV_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture
def no_proxy(monkeypatch) -> None:
    """Nothing between the tests and their server."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def home(tmp_path: Path, monkeypatch, no_proxy) -> Path:
    """The tiny data set's folder in an empty cache."""
    monkeypatch.setenv("DL4CV_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "data" / "tiny"


@pytest.fixture
def shown(monkeypatch) -> list:
    """What claims displayed: a list of (mime bundle, metadata)."""
    from dl4cv.evidence import claims

    seen = []
    monkeypatch.setattr(
        claims, "display", lambda data, raw, metadata=None: seen.append((data, metadata))
    )
    return seen
