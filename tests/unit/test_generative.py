"""Distances between sets of images against SciPy and closed forms; the judge and its weights."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from dl4cv import data
from dl4cv.metrics import generative
from dl4cv.models.lenet import LeNet
from dl4cv.pretrained import digits
from hypothesis import given, settings
from hypothesis import strategies as st


def features(count: int, size: int, *, seed: int, scale: float = 1.0, shift: float = 0.0):
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(size, size, generator=generator, dtype=torch.float64)
    return (
        scale * torch.randn(count, size, generator=generator, dtype=torch.float64) @ mixing + shift
    )


def scipy_frechet(a: np.ndarray, b: np.ndarray) -> float:
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = scipy.linalg.sqrtm(cov_a @ cov_b)
    gap = np.square(a.mean(0) - b.mean(0)).sum()
    return float(gap + np.trace(cov_a + cov_b - 2 * np.real(root)))


@pytest.mark.parametrize(("size", "shift"), [(2, 0.0), (7, 0.5), (84, 3.0)])
def test_frechet_distance_equals_scipys(size, shift):
    a, b = features(300, size, seed=0), features(400, size, seed=1, scale=1.5, shift=shift)
    ours = generative.frechet_distance(a, b)
    assert ours == pytest.approx(scipy_frechet(a.numpy(), b.numpy()), rel=1e-8)


def test_frechet_distance_of_a_degenerate_set_is_finite():
    flat = features(50, 6, seed=0)
    flat[:, 3] = 0  # a feature that is never on, as ReLU leaves them
    assert generative.frechet_distance(flat, flat) == pytest.approx(0, abs=1e-12)
    assert generative.frechet_distance(flat, flat + 2) == pytest.approx(6 * 4, abs=1e-10)


SETS = st.tuples(st.integers(2, 12), st.integers(2, 12), st.integers(1, 30), st.integers(0, 999))


@given(SETS)
def test_frechet_distance_is_a_distance_however_small_the_sets(sizes):
    n, m, size, seed = sizes
    a, b = features(n, size, seed=seed), features(m, size, seed=seed + 1, shift=0.5)
    scale = float(a.square().mean(0).sum() + b.square().mean(0).sum())
    there, back = generative.frechet_distance(a, b), generative.frechet_distance(b, a)
    assert there == pytest.approx(back, abs=1e-12 * scale)
    assert 0 <= generative.frechet_distance(a, a) <= 1e-12 * scale
    means = float((a.mean(0) - b.mean(0)).square().sum())
    assert there >= means - 1e-12 * scale
    # Turning both sets about 0 changes nothing.
    turn = torch.linalg.qr(features(size, size, seed=seed + 2)).Q
    assert generative.frechet_distance(a @ turn, b @ turn) == pytest.approx(
        there, abs=1e-10 * scale
    )


@given(SETS, st.floats(0, 3))
def test_frechet_distance_to_a_scaled_copy_is_known_in_closed_form(sizes, factor):
    n, _, size, seed = sizes
    a = features(n, size, seed=seed, shift=1)
    expected = (1 - factor) ** 2 * float(a.mean(0).square().sum() + a.var(0).sum())
    scale = float(a.square().mean(0).sum()) + 1
    assert generative.frechet_distance(a, factor * a) == pytest.approx(expected, abs=1e-10 * scale)


@given(st.integers(2, 9), st.integers(2, 9), st.integers(0, 999))
def test_frechet_distance_of_one_feature_is_the_gap_of_means_and_deviations(n, m, seed):
    a, b = features(n, 1, seed=seed), features(m, 1, seed=seed + 1)
    expected = float((a.mean() - b.mean()) ** 2 + (a.std() - b.std()) ** 2)
    assert generative.frechet_distance(a, b) == pytest.approx(expected, abs=1e-10)


def test_frechet_distance_of_a_set_smaller_than_its_dimension():
    a, b = features(5, 512, seed=0), features(7, 512, seed=1)
    assert 0 <= generative.frechet_distance(a, a) < 1e-9
    # SciPy's root of the singular product is good to the root of the rounding error.
    assert generative.frechet_distance(a, b) == pytest.approx(
        scipy_frechet(a.numpy(), b.numpy()), rel=1e-5
    )


def test_frechet_distance_of_two_normal_lines():
    a = torch.randn(200_000, 1, generator=torch.Generator().manual_seed(0))
    assert generative.frechet_distance(a, 3 * a + 2) == pytest.approx(2**2 + (3 - 1) ** 2, rel=0.01)


def test_kid_equals_the_sum_over_pairs(monkeypatch):
    monkeypatch.setattr(generative, "BATCH_SIZE", 3)
    a, b = features(7, 4, seed=0), features(5, 4, seed=1, shift=1)

    def k(x, y):
        return (float(x @ y) / 4 + 1) ** 3

    within_a = np.mean([k(a[i], a[j]) for i in range(7) for j in range(7) if i != j])
    within_b = np.mean([k(b[i], b[j]) for i in range(5) for j in range(5) if i != j])
    across = np.mean([k(x, y) for x in a for y in b])
    assert generative.kid(a, b) == pytest.approx(within_a + within_b - 2 * across)


def test_kid_is_unbiased():
    draws = [
        generative.kid(
            torch.randn(20, 3, generator=torch.Generator().manual_seed(seed)),
            torch.randn(20, 3, generator=torch.Generator().manual_seed(1000 + seed)),
        )
        for seed in range(300)
    ]
    error = np.std(draws) / math.sqrt(len(draws))
    assert abs(np.mean(draws)) < 3 * error
    assert min(draws) < 0


def test_precision_and_recall_by_hand():
    real = torch.tensor([[0.0], [1.0], [2.0], [3.0]])
    generated = torch.tensor([[0.5], [0.7], [0.9], [40.0]])
    # With k = 1 every real point reaches 1 far; the generated ones reach 0.2, 0.2, 0.2 and 39.1.
    assert generative.precision_recall(real, generated, k=1) == (0.75, 0.75)
    near = torch.tensor([[0.5], [0.7], [0.9], [1.1]])
    assert generative.precision_recall(real, near, k=1) == (1.0, 0.25)


def test_precision_and_recall_swap_with_the_sets(monkeypatch):
    monkeypatch.setattr(generative, "BATCH_SIZE", 16)
    a, b = features(60, 5, seed=0), features(50, 5, seed=1, shift=1)
    precision, recall = generative.precision_recall(a, b)
    assert generative.precision_recall(b, a) == (recall, precision)
    assert generative.precision_recall(a, a) == (1.0, 1.0)


@given(st.lists(st.integers(1, 50), min_size=2, max_size=12))
@settings(deadline=None, max_examples=30)
def test_divergence_from_equal_frequencies_lies_between_its_ends(counts):
    q = torch.tensor(counts, dtype=torch.float64)
    q /= q.sum()
    uniform = torch.full_like(q, 1 / len(counts))
    expected = torch.nn.functional.kl_div(uniform.log(), q, reduction="sum")
    assert generative.kl_from_uniform(q) == pytest.approx(float(expected), abs=1e-12)
    assert 0 <= generative.kl_from_uniform(q) <= math.log(len(counts))


def test_a_class_that_never_comes_counts():
    assert generative.kl_from_uniform(torch.tensor([0.5, 0.5, 0, 0])) == pytest.approx(math.log(2))
    for wrong in ([0.5, 0.4], [1.5, -0.5], [math.nan, 0.5]):
        with pytest.raises(ValueError, match="1 in all"):
            generative.kl_from_uniform(torch.tensor(wrong))


def test_frequencies_and_confidence():
    logits = torch.tensor([[5.0, 0, 0], [0, 0.1, 0], [9, 0, 0], [0, 0, 2]])
    torch.testing.assert_close(
        generative.class_frequencies(logits), torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64)
    )
    assert generative.fraction_confident(logits) == 0.5
    assert generative.fraction_confident(logits, threshold=0.75) == 0.75
    assert generative.fraction_confident(logits.half()) == 0.5


def test_a_probability_at_the_threshold_is_confident():
    assert generative.fraction_confident(torch.zeros(3, 2), threshold=0.5) == 1


@pytest.mark.parametrize("logits", [torch.zeros(0, 3), torch.zeros(3)])
def test_no_images_have_no_frequencies(logits):
    for measure in (generative.class_frequencies, generative.fraction_confident):
        with pytest.raises(ValueError, match=r"logits has shape .*; expected \(N, K\)"):
            measure(logits)


@pytest.mark.parametrize("offset", [0, 1000])
def test_equal_distances_count_as_near(offset):
    # Every image twice, so that each reaches exactly as far as 0.
    generator = torch.Generator().manual_seed(0)
    twice = (offset + torch.rand(400, 84, generator=generator)).repeat(2, 1)
    shuffled = twice[torch.randperm(800, generator=generator)]
    assert generative.precision_recall(twice, shuffled, k=1) == (1.0, 1.0)
    assert generative.precision_recall(twice, twice + 0.01, k=1) == (0.0, 0.0)


def test_a_quality_holds_each_measure_of_the_samples():
    def seen(count, seed, shift):
        return generative.Features(
            features(count, 4, seed=seed, shift=shift), features(count, 3, seed=seed + 9)
        )

    real, fake = seen(30, 0, 0.0), seen(20, 1, 0.7)
    found = generative.evaluate_samples(real, fake)
    assert found.frechet == generative.frechet_distance(real.features, fake.features)
    assert found.kid == generative.kid(real.features, fake.features)
    assert (found.precision, found.recall) == generative.precision_recall(
        real.features, fake.features
    )
    assert found.mode_kl == generative.kl_from_uniform(generative.class_frequencies(fake.logits))
    assert found.confident == generative.fraction_confident(fake.logits)


@given(st.integers(4, 40), st.integers(4, 40), st.integers(1, 8), st.integers(0, 999))
def test_precision_and_recall_equal_the_definition(n, m, size, seed):
    real, fake = features(n, size, seed=seed), features(m, size, seed=seed + 1, shift=0.5)

    def near(points, members):
        own = (members[:, None] - members[None]).norm(dim=2).sort(1).values[:, 3]
        return ((points[:, None] - members[None]).norm(dim=2) <= own).any(1).double().mean().item()

    found = generative.precision_recall(real, fake, k=3)
    assert found == pytest.approx((near(fake, real), near(real, fake)))


def test_half_precision_features_are_measured_in_float64():
    a, b = (features(50, 4, seed=s, scale=20).half() for s in (0, 1))
    for measure in (generative.frechet_distance, generative.kid, generative.precision_recall):
        assert measure(a, b) == measure(a.double(), b.double())


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        (torch.zeros(3, 2), torch.zeros(3, 4), r"\(3, 2\) and \(3, 4\)"),
        (torch.zeros(1, 2), torch.zeros(3, 2), "two images or more"),
        (torch.zeros(3), torch.zeros(3, 2), r"\(3,\)"),
        (torch.full((3, 2), torch.nan), torch.zeros(3, 2), "not finite"),
    ],
)
def test_sets_that_do_not_fit_are_errors(a, b, said):
    for measure in (
        generative.frechet_distance,
        generative.kid,
        generative.precision_recall,
    ):
        with pytest.raises(ValueError, match=said):
            measure(a, b)


def test_a_set_no_larger_than_k_is_an_error():
    with pytest.raises(ValueError, match="k is 3 with sets of 3 and 9"):
        generative.precision_recall(torch.rand(3, 2), torch.rand(9, 2))


def test_the_judge_reads_digits_and_measures_a_floor():
    test, train = data.mnist.load("test"), data.mnist.load("train")
    seen = digits.digit_features(test.images)
    assert seen.features.shape == (10_000, 84)
    accuracy = (seen.logits.argmax(1) == test.labels).double().mean()
    assert accuracy >= 0.99
    real = generative.Features(seen.features[:2000], seen.logits[:2000])
    floor = generative.evaluate_samples(real, digits.digit_features(train.images[:2000]))
    assert floor.frechet < 10
    assert floor.mode_kl < 0.01
    assert floor.confident > 0.95
    assert floor.precision > 0.8
    assert floor.recall > 0.8
    inverted = generative.evaluate_samples(real, digits.digit_features(255 - test.images[:2000]))
    assert inverted.frechet > 50 * floor.frechet
    assert inverted.kid > 50 * abs(floor.kid)
    assert inverted.recall < 0.05


def test_the_judge_sees_bytes_and_floats_alike():
    images = data.mnist.load("test").images[:20]
    torch.testing.assert_close(
        digits.digit_features(images), digits.digit_features(images.float() / 255)
    )


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (torch.zeros(2, 28, 28), r"\(2, 28, 28\); expected \(N, 1, 28, 28\)"),
        (torch.full((2, 1, 28, 28), -1.0), r"\[-1, -1\]; expected floats in \[0, 1\]"),
        (torch.full((2, 1, 28, 28), torch.nan), r"expected floats in \[0, 1\]"),
    ],
)
def test_images_that_are_no_digits_are_errors(images, said):
    with pytest.raises(ValueError, match=said):
        digits.digit_features(images)


def test_weights_that_are_missing_or_changed_are_errors(tmp_path):
    path = tmp_path / "digits.safetensors"
    with pytest.raises(FileNotFoundError, match="is missing"):
        digits.load(path)
    content = bytearray(digits.WEIGHTS.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"expected {digits.SHA256}"):
        digits.load(path)


def test_lenet_has_the_papers_size():
    model = LeNet()
    assert sum(p.numel() for p in model.parameters()) == 61_706
    assert model(torch.rand(3, 1, 28, 28)).shape == (3, 10)


def test_binary_digits_keep_their_greys_on_average():
    images = torch.full((400, 1, 28, 28), 64, dtype=torch.uint8)
    drawn = data.binary.binarize_test_set(images)
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    assert float(drawn.mean()) == pytest.approx(64 / 255, abs=0.003)
    torch.testing.assert_close(drawn, data.binary.binarize_test_set(images), rtol=0, atol=0)
    with pytest.raises(ValueError, match=r"images is torch.uint8"):
        data.binary.sample(images, torch.Generator())
