"""A chapter fits into Binder's 2 GB, with a Jupyter server beside it.

That each runs in a process of 2 GiB is held where nbval runs them; see ``limit_memory`` in the
conftest.py above.
"""

import json

import pytest
from dl4cv.book.chapters import ROOT, chapters

MOST_MIB = 1500


@pytest.mark.parametrize("name", [chapter.name for chapter in chapters(ROOT)])
def test_a_chapter_needs_less_than_binder_has(name):
    report = json.loads((ROOT / "_build/build-report.json").read_text("utf-8"))
    assert report["chapters"][name]["peak_mib"] < MOST_MIB
