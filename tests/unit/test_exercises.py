"""The checker says what was expected, what came, and a hint, and never lets a wrong answer pass."""

import pytest
import torch
from dl4cv import exercises
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


def test_a_wrong_answer_is_told_expected_came_and_hint(task):
    verdict = task(torch.tensor([4.0, 5.0]))(lambda x: torch.tensor([4.0, 7.0]))
    assert not verdict.passed
    for part in ("a case", "[4, 5]", "[4, 7]", "largest difference is 2", "Think."):
        assert part in verdict.message


@pytest.mark.parametrize(
    ("expected", "came", "because"),
    [
        (torch.zeros(2, 3), torch.zeros(3, 2), r"shape is (3, 2), expected (2, 3)"),
        (torch.zeros(2), "zeros", "not str"),
        ((1.0, 2.0), 1.0, "2 results are wanted"),
        ((1.0, torch.zeros(1)), (1.0, torch.ones(1)), "result 2: the largest difference is 1"),
        (True, False, "the values differ"),
        (torch.zeros(1), torch.tensor([float("nan")]), "largest difference is nan"),
        (torch.zeros(9), torch.ones(9), "a tensor of shape (9,): 1, 1, 1, 1, …"),
        (1.0, None, "not NoneType"),
    ],
)
def test_the_reason_is_named(task, expected, came, because):
    verdict = task(expected)(lambda x: came)
    assert not verdict.passed
    assert because in verdict.message


def test_an_exception_is_a_failed_case(task):
    def answer(x):
        raise ZeroDivisionError("oh")

    assert "came      ZeroDivisionError: oh" in task(1.0)(answer).message


def test_an_unwritten_stub_is_told_so(task):
    def answer(x):
        raise NotImplementedError

    assert "not written yet" in task(1.0)(answer).message


def test_an_answer_that_changes_its_input_does_not_change_the_case(task):
    given = torch.ones(2)
    check = task(torch.zeros(2), arguments=(given,))
    assert check(lambda x: x.zero_()).passed
    assert given.tolist() == [1.0, 1.0]


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
