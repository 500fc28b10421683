"""Bounded unpacking, and checksums."""

import gzip

import pytest
from dl4cv import storage
from dl4cv.fetch import sources


def test_gunzip_gives_exactly_what_was_announced():
    assert sources.gunzip("packed", gzip.compress(b"12345"), size=5) == b"12345"
    with pytest.raises(ValueError, match="packed holds more bytes; expected 4"):
        sources.gunzip("packed", gzip.compress(b"12345"), size=4)
    with pytest.raises(ValueError, match="packed holds 5 bytes; expected 6"):
        sources.gunzip("packed", gzip.compress(b"12345"), size=6)


def test_a_bomb_does_not_unfold(monkeypatch):
    asked = []
    read = gzip.GzipFile.read
    monkeypatch.setattr(
        gzip.GzipFile, "read", lambda self, size=-1: (asked.append(size), read(self, size))[1]
    )
    with pytest.raises(ValueError, match="more"):
        sources.gunzip("packed", gzip.compress(bytes(50_000_000)), size=1000)
    assert asked == [1001]


@pytest.mark.parametrize(
    "spoil", [lambda b: b[:-9], lambda b: b"x" + b, lambda b: b[:12] + b"zzzz"]
)
def test_a_broken_gzip_file_is_refused(spoil):
    packed = gzip.compress(bytes(range(256)) * 9)
    with pytest.raises(ValueError, match="packed is not a whole gzip file"):
        sources.gunzip("packed", spoil(packed), size=2304)


def test_a_checksum_may_be_a_prefix_of_eight_digits():
    digest = storage.sha256(b"content")
    for expected in (digest, digest[:8]):
        sources.check("file", b"content", expected)
    for expected in (digest[:7], "", "0" * 64):
        with pytest.raises(sources.BrokenFileError, match=f"file has SHA-256 {digest}, expected"):
            sources.check("file", b"content", expected)
