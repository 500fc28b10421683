"""Which outputs nbval compares: the text. Pictures, markup and claims' data are made anew."""

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
