"""A chapter fits into Binder's 2 GB, with a Jupyter server beside it.

Binder counts the memory that is in use, and so does the build: the most that each kernel held. A
limit on what a process may reserve (``ulimit``) says little, since PyTorch and the allocator
reserve far more than they touch.
"""

import json

import pytest
from dl4cv.book.chapters import ROOT, chapters

MOST_MIB = 1500


@pytest.mark.parametrize("name", [chapter.name for chapter in chapters(ROOT)])
def test_a_chapter_needs_less_than_binder_has(name):
    report = json.loads((ROOT / "_build/build-report.json").read_text("utf-8"))
    assert report["chapters"][name]["peak_mib"] < MOST_MIB
