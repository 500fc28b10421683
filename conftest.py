"""Which outputs nbval compares: the text. Pictures, markup and claims' data are made anew.

The chapters that it runs get no more memory than Binder gives a reader.
"""

import sys
from pathlib import Path

NOT_COMPARED = (
    "image/gif",
    "image/svg+xml",
    "text/html",
    "application/vnd.dl4cv.claim+json",
    "application/papermill.record/text/plain",
)

#: What Binder promises, in bytes. CUDA reserves far more than it uses, so a GPU is not held to it.
MEMORY = 2 << 30


def pytest_collectstart(collector):
    """Extend what nbval skips, on each notebook that it collects."""
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += NOT_COMPARED
        limit_memory()


def limit_memory():
    """Hold this process and the kernels that it starts to 2 GiB each, where the system can."""
    if sys.platform == "linux" and not Path("/dev/nvidiactl").exists():
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, hard))
