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
def home(tmp_path: Path, monkeypatch) -> Path:
    """The tiny data set's folder in an empty cache; no proxy between the tests and their server."""
    monkeypatch.setenv("DL4CV_CACHE", str(tmp_path / "cache"))
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache" / "data" / "tiny"
