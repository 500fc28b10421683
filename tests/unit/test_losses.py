"""The losses and their gradients against torch's own with autograd, and their laws."""

import pytest
import torch
from dl4cv import gradcheck, losses
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

SOFTMAX = [losses.softmax_loss, losses.softmax_loss_naive]
SVM = [losses.svm_loss, losses.svm_loss_naive]
ALL = SOFTMAX + SVM
EXACT = {"atol": 1e-10, "rtol": 1e-10}


def batch(count: int = 7, classes: int = 5, *, seed: int = 0, scale: float = 2.0):
    generator = torch.Generator().manual_seed(seed)
    scores = scale * torch.randn(count, classes, generator=generator, dtype=torch.float64)
    return scores, torch.randint(classes, (count,), generator=generator)


def autograd(loss_fn, scores):
    scores = scores.clone().requires_grad_()
    loss = loss_fn(scores)
    loss.backward()
    return loss.detach(), scores.grad


@pytest.mark.parametrize("loss_fn", SOFTMAX)
@pytest.mark.parametrize("classes", [1, 2, 10])
def test_softmax_equals_cross_entropy(loss_fn, classes):
    scores, labels = batch(classes=classes)
    expected = autograd(lambda s: F.cross_entropy(s, labels), scores)
    torch.testing.assert_close(loss_fn(scores, labels), expected, **EXACT)


@pytest.mark.parametrize("loss_fn", SVM)
@pytest.mark.parametrize("margin", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("classes", [2, 10])
def test_svm_equals_multi_margin_loss(loss_fn, margin, classes):
    scores, labels = batch(classes=classes)
    # Torch divides by the number of classes.
    expected = autograd(lambda s: classes * F.multi_margin_loss(s, labels, margin=margin), scores)
    torch.testing.assert_close(loss_fn(scores, labels, margin), expected, **EXACT)


@pytest.mark.parametrize("loss_fn", ALL)
def test_gradient_equals_the_numerical_one(loss_fn):
    scores, labels = batch(seed=1)
    numerical = gradcheck.numerical_gradient(lambda s: loss_fn(s, labels)[0], scores)
    assert gradcheck.relative_error(loss_fn(scores, labels)[1], numerical) < 1e-8


@pytest.mark.parametrize("loss_fn", SOFTMAX)
@pytest.mark.parametrize("size", [1e3, 1e30])
def test_softmax_survives_any_score(loss_fn, size):
    scores = torch.tensor([[size, 0.0, -size]])
    for label, expected in ((0, 0.0), (1, size), (2, 2 * size)):
        loss, dscores = loss_fn(scores, torch.tensor([label]))
        torch.testing.assert_close(loss, torch.tensor(expected))
        assert dscores.isfinite().all()


FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


@pytest.mark.parametrize("kind", FLOATS)
@pytest.mark.parametrize("size", [1.0, 300.0, 3e4])
@pytest.mark.parametrize("count", [0, 1, 7])
def test_softmax_equals_torchs(kind, size, count):
    scores = batch(count)[0].clamp(-2, 2).mul(size).to(kind)
    torch.testing.assert_close(losses.softmax(scores), scores.softmax(1))


@pytest.mark.parametrize("wrong", [torch.ones(3), torch.ones(2, 3).byte(), torch.ones(2, 0)])
def test_softmax_is_of_a_table_of_floats(wrong):
    with pytest.raises(ValueError, match=r"scores is .* expected floats of shape \(N, K\)"):
        losses.softmax(wrong)


INTEGERS = [torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64]


@pytest.mark.parametrize("loss_fn", ALL)
@pytest.mark.parametrize("kind", [*INTEGERS, torch.uint16])
def test_labels_may_be_of_any_integer_type(loss_fn, kind):
    scores, labels = batch()
    torch.testing.assert_close(loss_fn(scores, labels.to(kind)), loss_fn(scores, labels), **EXACT)


@pytest.mark.parametrize("loss_fn", ALL)
@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("size", [1.0, 2e4])
def test_half_precision_neither_overflows_nor_rounds_sums(loss_fn, kind, size):
    scores, labels = batch(40, 5)
    scores = scores.clamp(-2, 2).mul(size).to(kind)
    torch.testing.assert_close(loss_fn(scores, labels), loss_fn(scores.float(), labels))


@pytest.mark.parametrize(
    ("loss_fn", "expected"),
    [(losses.softmax_loss, torch.tensor(10.0).log()), (losses.svm_loss, torch.tensor(9.0))],
)
def test_loss_of_equal_scores_is_known(loss_fn, expected):
    torch.testing.assert_close(loss_fn(torch.ones(4, 10), torch.arange(4))[0], expected)


def test_svm_by_hand():
    # The first wrong class is 2.5 short of its margin, the second keeps it.
    loss, dscores = losses.svm_loss(torch.tensor([[2.0, 3.5, -1.0]]), torch.tensor([0]))
    assert loss.item() == 2.5
    assert dscores.tolist() == [[-1.0, 1.0, 0.0]]


@pytest.mark.parametrize("loss_fn", SVM)
def test_svm_is_flat_at_the_kink(loss_fn):
    loss, dscores = loss_fn(torch.tensor([[1.0, 0.0]]), torch.tensor([0]))
    assert loss.item() == 0
    assert not dscores.any()


batches = st.builds(
    batch,
    st.integers(1, 9),
    st.integers(1, 6),
    seed=st.integers(0, 10**6),
    scale=st.sampled_from([0.1, 1.0, 10.0]),
)


@settings(max_examples=40)
@given(batches, st.floats(-50, 50))
def test_a_shift_of_all_scores_changes_nothing(given_batch, shift):
    scores, labels = given_batch
    for loss_fn in ALL:
        moved = loss_fn(scores + shift, labels)
        torch.testing.assert_close(moved, loss_fn(scores, labels), atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(losses.softmax(scores + shift), losses.softmax(scores))


@settings(max_examples=40)
@given(batches)
def test_rows_of_the_gradient_sum_to_zero(given_batch):
    scores, labels = given_batch
    for loss_fn in ALL:
        loss, dscores = loss_fn(scores, labels)
        assert loss >= 0
        torch.testing.assert_close(dscores.sum(1), torch.zeros_like(dscores[:, 0]))


@settings(max_examples=40)
@given(batches, st.randoms(use_true_random=False))
def test_the_order_of_a_batch_changes_nothing(given_batch, random):
    scores, labels = given_batch
    order = torch.tensor(random.sample(range(len(labels)), len(labels)))
    for loss_fn in ALL:
        loss, dscores = loss_fn(scores, labels)
        again, shuffled = loss_fn(scores[order], labels[order])
        torch.testing.assert_close(again, loss, **EXACT)
        torch.testing.assert_close(shuffled, dscores[order], **EXACT)


@settings(max_examples=40)
@given(batches)
def test_softmax_rows_are_probabilities(given_batch):
    p = losses.softmax(given_batch[0])
    assert (p >= 0).all()
    torch.testing.assert_close(p.sum(1), torch.ones_like(p[:, 0]))


@pytest.mark.parametrize("loss_fn", ALL)
def test_arguments_are_left_as_they_were(loss_fn):
    scores, labels = batch()
    before = scores.clone()
    loss_fn(scores, labels)
    assert torch.equal(scores, before)


@pytest.mark.parametrize("loss_fn", ALL)
@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        (torch.zeros(3), torch.zeros(3).long(), r"scores is torch.float32 of shape \(3,\)"),
        (
            torch.zeros(0, 3),
            torch.zeros(0).long(),
            r"scores .* \(0, 3\); expected at least one row",
        ),
        (torch.zeros(2, 0), torch.zeros(2).long(), r"scores .* \(2, 0\); .* at least one class"),
        (torch.zeros(2, 3).long(), torch.zeros(2).long(), "scores is torch.int64"),
        (torch.zeros(2, 3), torch.zeros(3).long(), r"labels .* \(3,\); .* of shape \(2,\)"),
        (torch.zeros(2, 3), torch.zeros(2), "labels is torch.float32 .* expected integers"),
        (torch.zeros(2, 3), torch.tensor([9, 0]).byte(), "labels holds 9; expected classes"),
        (torch.zeros(2, 3), torch.tensor([0, 3]), "labels holds 3; expected classes from 0 to 2"),
        (torch.zeros(2, 3), torch.tensor([0, -1]), "labels holds -1; expected classes"),
        (torch.tensor([[0, torch.nan]]), torch.tensor([0]), "scores holds nan; expected finite"),
        (torch.tensor([[0, torch.inf]]), torch.tensor([0]), "scores holds inf; expected finite"),
    ],
)
def test_what_is_wrong_is_named(loss_fn, scores, labels, message):
    with pytest.raises(ValueError, match=message):
        loss_fn(scores, labels)


@pytest.mark.parametrize("margin", [0.0, -1.0, torch.inf, torch.nan])
@pytest.mark.parametrize("loss_fn", SVM)
def test_a_margin_is_above_zero(loss_fn, margin):
    with pytest.raises(ValueError, match=r"margin is .*; expected a finite number above 0"):
        loss_fn(*batch(), margin)
