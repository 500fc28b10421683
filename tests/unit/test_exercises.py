"""The checker says what was expected, what it got, and a hint; no wrong answer passes."""

import ast

import numpy as np
import pytest
import torch
from dl4cv import exercises
from dl4cv.book.chapters import chapters
from dl4cv.exercises import Case, Exercise


@pytest.fixture
def task(monkeypatch):
    """Put an exercise of one case in place and return a function that checks an answer to it."""

    def put(expected, arguments=(2.0,), **keywords):
        case = Case("a case", arguments, expected, **keywords)
        monkeypatch.setattr(exercises, "find", lambda name: Exercise(lambda: [case], hint="Think."))
        return lambda answer: exercises.check("some/task", answer)

    return put


def test_a_right_answer_passes(task):
    verdict = task(4.0)(lambda x: x * x)
    assert verdict.passed
    assert repr(verdict) == "some/task: correct, all 1 cases pass."


def test_a_wrong_answer_gets_expected_got_and_hint(task):
    verdict = task(torch.tensor([4.0, 5.0]))(lambda x: torch.tensor([4.0, 7.0]))
    assert not verdict.passed
    for part in ("a case", "[4, 5]", "[4, 7]", "largest difference is 2", "Think."):
        assert part in verdict.message


@pytest.mark.parametrize(
    ("expected", "got", "because"),
    [
        (torch.zeros(2, 3), torch.zeros(3, 2), r"shape is (3, 2), expected (2, 3)"),
        (torch.zeros(2), "zeros", "not str"),
        ((1.0, 2.0), 1.0, "2 results are expected"),
        ((1.0, torch.zeros(1)), (1.0, torch.ones(1)), "result 2: the largest difference is 1"),
        (True, False, "largest difference is 1"),
        (torch.zeros(1), torch.tensor([float("nan")]), "largest difference is nan"),
        (torch.zeros(9), torch.ones(9), "a tensor of shape (9,): 1, 1, 1, 1, …"),
        (1.0, None, "not NoneType"),
        ("left", "right", "the values differ"),
        ("left", torch.ones(3), "the values differ"),
        ("left", np.ones(3), "the values differ"),
        (torch.zeros(3), np.zeros(3), "not ndarray"),
        (torch.zeros(3), [0.0, 0.0, 0.0], "not list"),
        (torch.zeros(3), torch.zeros(3, dtype=torch.complex64), "torch.complex64"),
        (torch.zeros(3), torch.zeros(3).to_sparse(), "torch.sparse_coo tensor"),
        (torch.zeros(3), torch.zeros(3, device="meta"), "on meta"),
        (torch.zeros(9), torch.zeros(9, device="meta"), "on meta"),
        (torch.zeros(3), torch.zeros(4, device="meta"), "the shape is (4,)"),
        ((1.0, torch.zeros(2)), (1.0, torch.zeros(2, device="meta")), "result 2: it is"),
        (torch.zeros(3), torch.ones(3, requires_grad=True) * 2, "largest difference is 2"),
        (torch.zeros(9), torch.ones(9, requires_grad=True) * 2, "largest difference is 2"),
    ],
)
def test_the_reason_is_named(task, expected, got, because):
    verdict = task(expected)(lambda x: got)
    assert not verdict.passed
    assert because in verdict.message


def test_an_exception_is_a_failed_case(task):
    def answer(x):
        raise ZeroDivisionError("oh")

    assert "got       ZeroDivisionError: oh" in task(1.0)(answer).message


def test_an_unwritten_stub_is_named(task):
    def answer(x):
        raise NotImplementedError

    assert "not written yet" in task(1.0)(answer).message


@pytest.mark.parametrize(
    "kind", [torch.int64, torch.uint8, torch.bool, torch.float16, torch.bfloat16, torch.float64]
)
def test_a_right_answer_of_any_type_passes(task, kind):
    assert task(torch.tensor([0.0, 1.0]))(lambda x: torch.tensor([0, 1]).to(kind)).passed
    assert task(torch.tensor([0, 1]))(lambda x: torch.tensor([0, 1]).to(kind)).passed


def test_a_right_answer_that_requires_a_gradient_passes(task):
    assert task(torch.ones(2))(lambda x: torch.ones(2, requires_grad=True) * 1).passed


def test_what_is_no_function_is_a_failed_case(task):
    assert "got       TypeError" in task(1.0)(torch.ones(2)).message


def test_no_line_of_a_verdict_is_cut_on_the_page(task):
    def answer(x):
        raise ValueError("many words " * 40 + "\n  and lines")

    message = task(torch.arange(8.0) / 3)(answer).message
    assert max(map(len, message.splitlines())) <= exercises.WIDTH
    assert message.count("many") == 40


@pytest.mark.parametrize("chapter", exercises.modules())
def test_no_line_of_any_verdict_is_cut_on_the_page(chapter):
    for name in exercises.tasks(chapter):
        message = exercises.check(f"{chapter}/{name}", lambda *_, **__: None).message
        assert max(map(len, message.splitlines())) <= exercises.WIDTH


def test_an_answer_that_changes_its_input_does_not_change_the_case(task):
    given, listed = torch.ones(2), [torch.ones(2)]
    check = task(torch.zeros(2), arguments=(given, listed))
    assert check(lambda x, xs: x.zero_() + xs[0].zero_()).passed
    assert given.tolist() == listed[0].tolist() == [1.0, 1.0]


def test_keywords_and_tolerance_reach_the_case(task):
    check = task(2.01, keywords={"plus": 0.0}, tolerance=0.1)
    assert check(lambda x, plus: x + plus).passed


@pytest.mark.parametrize("name", ["nowhere/task", "task", ""])
def test_an_unknown_chapter_lists_the_chapters(name):
    with pytest.raises(ValueError, match="names no chapter; expected one of: "):
        exercises.find(name)


def test_an_unknown_task_lists_the_chapters_tasks():
    chapter = exercises.modules()[0]
    first = next(iter(exercises.tasks(chapter)))
    with pytest.raises(ValueError, match=f"no exercise '{chapter}/none'.*{chapter}/{first}"):
        exercises.find(f"{chapter}/none")


def test_a_stub_takes_the_number_of_classes_as_num_classes():
    stubs = [
        cell.source
        for chapter in chapters()
        for cell in chapter.read().cells
        if "exercise-stub" in cell.metadata.get("tags", [])
    ]
    arguments = {
        node.arg
        for stub in stubs
        for node in ast.walk(ast.parse(stub))
        if isinstance(node, ast.arg)
    }
    assert "num_classes" in arguments
    assert "classes" not in arguments
