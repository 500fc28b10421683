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


#: Files whose tests need not stay together, since each is slow and stands alone.
ONE_BY_ONE = ("tests/chapters/test_wheel.py", "tests/site/test_pages.py")


class Scheduling(LoadScopeScheduling):
    """As ``--dist loadscope``, but the tests of some files run side by side."""

    def _split_scope(self, nodeid: str) -> str:
        return nodeid if nodeid.startswith(ONE_BY_ONE) else super()._split_scope(nodeid)


def pytest_xdist_make_scheduler(config, log):
    """Share the tests out among the workers."""
    return Scheduling(config, log)
