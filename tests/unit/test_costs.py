"""Where a chapter's seconds went: each second is counted once."""

import nbformat
import pytest
from dl4cv.book import costs
from dl4cv.book.execution import Execution


def stream(text: str) -> nbformat.NotebookNode:
    return nbformat.v4.new_output("stream", text=text)


PICTURE = nbformat.v4.new_output("display_data", {"image/png": "", "text/plain": "<Figure>"})


def chapter(*cells: tuple[str, float, list], start: float = 2.0, end: float = 1.0) -> Execution:
    """Return an executed chapter, given source, seconds and outputs of its cells."""
    markdown = nbformat.v4.new_markdown_cell("prose")
    code = [nbformat.v4.new_code_cell(source, outputs=outputs) for source, _, outputs in cells]
    seconds = {place: seconds for place, (_, seconds, _) in enumerate(cells, start=1)}
    total = start + sum(seconds.values()) + end
    return Execution(nbformat.v4.new_notebook(cells=[markdown, *code]), total, start, seconds)


def test_training_evaluation_drawing_and_import_are_told_apart():
    made = chapter(
        ("%matplotlib inline", 1.0, []),
        ("import math\nfrom dl4cv import data", 3.0, [PICTURE]),
        (
            "fit()",
            20.0,
            [stream("[run] a/b: trained now in 16.0 s, evaluation 4.5 s, peak 9 MiB\n")],
        ),
        ("draw()", 5.0, [PICTURE]),
        ("x + 1", 2.0, []),
    )
    assert costs.split(made) == {
        "training": 11.5,
        "evaluation": 4.5,
        "drawing": 5.0,
        "import": 6.0,
        "other": 7.0,
    }


def test_the_rest_of_a_cell_that_trains_and_draws_is_drawing():
    lines = "".join(f"[run] a/{name}: trained now in 3.0 s, peak 9 MiB\n" for name in "bc")
    made = chapter(("import torch", 1.0, []), ("fit()", 10.0, [stream(lines), PICTURE]))
    assert costs.split(made)["training"] == 6.0
    assert costs.split(made)["drawing"] == 4.0


def test_a_run_from_the_store_cost_nothing_now():
    line = "[run] a/b: from the run store, trained in 50.0 s, evaluation 4.5 s, peak 9 MiB\n"
    made = chapter(("import torch", 1.0, []), ("fit()", 2.0, [stream(line)]))
    assert costs.split(made)["training"] == costs.split(made)["evaluation"] == 0


def test_a_resumed_run_counts_no_more_than_its_cell_took():
    line = "[run] a/b: trained now in 50.0 s, evaluation 4.5 s, peak 9 MiB (resumed at step 9)\n"
    made = chapter(("import torch", 1.0, []), ("fit()", 10.0, [stream(line)]))
    assert costs.split(made)["training"] == 5.5
    assert min(costs.split(made).values()) >= 0


@pytest.mark.parametrize("cells", [0, 1, 12])
def test_the_sum_is_the_whole_and_ten_cells_are_listed(cells):
    made = chapter(*((f"a{n}\nb", float(n), []) for n in range(cells)))
    assert sum(costs.split(made).values()) == pytest.approx(made.seconds)
    listed = costs.dearest(made)
    assert len(listed) == min(cells, 10)
    if cells:
        assert listed[0] == {"cell": cells, "line": f"a{cells - 1}", "seconds": cells - 1.0}
