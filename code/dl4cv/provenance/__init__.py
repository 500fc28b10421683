"""What a result came from: digests of source files, and of functions with all that they use."""

from dl4cv.provenance.sources import imports, modules_reached, running
from dl4cv.provenance.values import Hasher

__all__ = ["Hasher", "imports", "modules_reached", "running"]
