"""What nbval compares, and which tests one worker runs together."""

from xdist.scheduler import LoadScopeScheduling

# nbval compares the text. Pictures, markup and claims' data are made anew.
NOT_COMPARED = (
    "image/gif",
    "image/svg+xml",
    "text/html",
    "application/vnd.dl4cv.claim+json",
    "application/papermill.record/text/plain",
)


def pytest_collectstart(collector):
    """Extend what nbval skips, on each notebook that it collects."""
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += NOT_COMPARED


class Scheduling(LoadScopeScheduling):
    """As ``--dist loadscope``, but the notebooks of ``test_wheel.py`` run side by side."""

    def _split_scope(self, nodeid: str) -> str:
        return nodeid if "test_wheel.py" in nodeid else super()._split_scope(nodeid)


def pytest_xdist_make_scheduler(config, log):
    """Share the tests out among the workers."""
    return Scheduling(config, log)
