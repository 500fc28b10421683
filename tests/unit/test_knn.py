"""Nearest neighbours against torch.cdist, SciPy and a plain sort."""

import itertools

import pytest
import torch
from dl4cv.models import knn
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import KDTree

DISTANCES = [knn.distances_two_loops, knn.distances_one_loop, knn.distances_no_loops]
SEARCHES = [
    lambda k: knn.KNearestNeighbors(k, chunk=7),
    lambda k: knn.SketchedNeighbors(k, size=4, chunk=7),
]


def points(count: int, width: int = 12, seed: int = 0) -> torch.Tensor:
    """Points of which the first directions carry most, as the principal ones of images do."""
    generator = torch.Generator().manual_seed(seed)
    spread = torch.logspace(0, -2, width, dtype=torch.float64)
    return torch.randn(count, width, generator=generator, dtype=torch.float64) * spread + 0.5


@pytest.mark.parametrize("distances", DISTANCES)
def test_distances_equal_cdist(distances):
    a, b = points(9, seed=1), points(14, seed=2)
    expected = torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
    torch.testing.assert_close(distances(a, b), expected, atol=1e-7, rtol=0)


@pytest.mark.parametrize("distances", DISTANCES)
def test_distances_in_float32_agree_to_1e_4(distances):
    generator = torch.Generator().manual_seed(0)
    a, b = torch.rand(5, 784, generator=generator), torch.rand(6, 784, generator=generator)
    torch.testing.assert_close(
        distances(a, b).double(), torch.cdist(a.double(), b.double()), atol=1e-4, rtol=0
    )


def test_distance_to_itself_is_never_nan():
    a = torch.rand(50, 784, generator=torch.Generator().manual_seed(3))
    assert knn.distances_no_loops(a, a).isfinite().all()


@settings(max_examples=60)
@given(
    columns=st.integers(1, 60),
    k=st.integers(1, 60),
    block=st.integers(1, 9),
    values=st.integers(1, 50),
    seed=st.integers(0, 10**6),
)
def test_smallest_equals_sort(columns, k, block, values, seed):
    k = min(k, columns)
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randint(values, (3, columns), generator=generator)  # few values, so many ties
    least, where = knn.smallest(rows, k, block=block)
    assert torch.equal(least, rows.sort(dim=1).values[:, :k])
    assert torch.equal(rows.gather(1, where), least)
    assert all(len(set(row)) == k for row in where.tolist())


@pytest.mark.parametrize("k", [0, 6])
def test_smallest_refuses_k(k):
    with pytest.raises(ValueError, match=f"k is {k}; expected 1 to 5"):
        knn.smallest(torch.zeros(2, 5), k)


@settings(max_examples=60)
@given(columns=st.integers(1, 60), block=st.integers(1, 9), seed=st.integers(0, 10**6))
def test_at_most_equals_a_comparison_of_all(columns, block, seed):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randint(20, (4, columns), generator=generator)
    limits = torch.randint(-1, 12, (4,), generator=generator)
    found = zip(*(index.tolist() for index in knn.at_most(rows, limits, block=block)), strict=True)
    expected = (rows <= limits[:, None]).nonzero().tolist()
    assert sorted(map(list, found)) == expected


@given(
    st.integers(1, 7).flatmap(
        lambda k: st.lists(st.lists(st.integers(0, 4), min_size=k, max_size=k), max_size=8).map(
            lambda rows: torch.tensor(rows, dtype=torch.int64).reshape(-1, k)
        )
    ),
    st.sampled_from([torch.int64, torch.int32, torch.uint8]),
)
def test_vote_is_the_commonest_and_then_the_nearest(rows, kind):
    expected = [
        max(set(row), key=lambda c, row=row: (row.count(c), -row.index(c))) for row in rows.tolist()
    ]
    assert knn.vote(rows.to(kind), num_classes=5).tolist() == expected


def test_vote_of_many_gives_a_late_tie_to_the_nearest():
    row = [0] * 70 + [2, 1] * 80  # 2 and 1 are tied, and 2 is the nearer by one rank
    assert knn.vote(torch.tensor([row]), num_classes=3).tolist() == [2]


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("k", [1, 5])
def test_neighbors_equal_a_kd_tree(search, k):
    train, queries = points(300, seed=4), points(40, seed=5)
    distances, indices = (
        search(k).fit(train, torch.zeros(300, dtype=torch.int64)).neighbors(queries)
    )
    tree_distances, tree_indices = KDTree(train.numpy()).query(queries.numpy(), k=k)
    expected = torch.as_tensor(tree_distances).reshape(40, k)
    torch.testing.assert_close(distances, expected, atol=1e-7, rtol=0)
    assert torch.equal(indices, torch.as_tensor(tree_indices).reshape(40, k))


def peak_bytes(call) -> int:
    """What the tensors that ``call`` allocates take at most, at the same time."""
    with torch.profiler.profile(profile_memory=True) as profile:
        call()
    events = sorted(profile.events(), key=lambda event: event.time_range.end)
    return max(itertools.accumulate(event.self_cpu_memory_usage for event in events))


def test_fit_holds_the_sketches_once():
    images, labels = points(40_000, width=30).float(), torch.zeros(40_000, dtype=torch.int64)
    fitted = knn.KNearestNeighbors(1)
    peak = peak_bytes(lambda: fitted.fit(images, labels))
    assert peak < 1.5 * fitted.sketches.nbytes


@pytest.mark.parametrize("search", SEARCHES)
def test_fit_sketches_part_by_part_what_it_would_at_once(search):
    images = points(2_500).float()
    fitted = search(1).fit(images, torch.zeros(len(images), dtype=torch.int64))
    sketches = torch.cat([fitted.sketch(part) for part in images.split(1000)])
    assert torch.equal(fitted.sketches, sketches)
    assert torch.equal(fitted.squared, sketches.square().sum(1))


TYPES = [torch.float16, torch.float32, torch.float64, torch.uint8, torch.int16, torch.int64]


def exactly(train, queries, k):
    """Every distance in float64, and of equal ones the lower index first."""
    squared = (queries.double()[:, None] - train.double()).square().sum(2)
    least, indices = squared.sort(dim=1, stable=True)
    return least[:, :k].sqrt(), indices[:, :k]


@settings(max_examples=200, deadline=None)
@given(
    count=st.integers(1, 150),
    queries=st.integers(0, 9),
    width=st.integers(2, 20),
    k=st.integers(1, 150),
    level=st.sampled_from([0, 1, 100, 250]),
    contrast=st.integers(0, 5),
    types=st.tuples(st.sampled_from(TYPES), st.sampled_from(TYPES)),
    again=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_neighbors_are_exact_however_alike_bright_and_often_equal(
    count, queries, width, k, level, contrast, types, again, seed
):
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(
        level, level + contrast + 1, (count + queries, width), generator=generator
    )
    train, asked = drawn[:count].to(types[0]), drawn[count:].to(types[1])
    asked = train[:queries].to(types[1]) if again else asked
    k = min(k, count)
    distances, indices = exactly(train, asked, k)
    for model in (
        knn.KNearestNeighbors(k, chunk=4),
        knn.SketchedNeighbors(k, size=2 + seed % (width - 1), chunk=4),
    ):
        found, where = model.fit(train, torch.zeros(count, dtype=torch.int8)).neighbors(asked)
        assert torch.equal(where, indices)
        torch.testing.assert_close(found.double(), distances, rtol=1e-6, atol=0)


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("groups", [1, 2])
def test_nearly_equal_bright_pictures_find_themselves(search, groups):
    generator = torch.Generator().manual_seed(0)
    bright = torch.tensor([0.99, 0.01])[:groups].repeat_interleave(200 // groups)[:, None]
    pictures = bright + 1e-4 * torch.rand(200, 16 * 16 * 3, generator=generator)
    distances, indices = search(2).fit(pictures, torch.arange(200)).neighbors(pictures)
    assert not distances[:, 0].any()
    assert torch.equal(indices, exactly(pictures, pictures, 2)[1])


@pytest.mark.parametrize("search", SEARCHES)
def test_few_pairs_are_compared_in_full(search, monkeypatch):
    compared, original = [], knn.KNearestNeighbors._squared_distances

    def count(self, queries, query, image):
        compared.append(len(query))
        return original(self, queries, query, image)

    monkeypatch.setattr(knn.KNearestNeighbors, "_squared_distances", count)
    train, queries = points(500, seed=15).float() + 500, points(40, seed=16).float() + 500
    search(1).fit(train, torch.arange(500)).neighbors(queries)
    assert sum(compared) < 0.05 * 500 * 40


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("scale", [1e-30, 1e-18, 1e15])
def test_neighbors_are_exact_at_any_scale(search, scale):
    train, queries = points(120, seed=13).float() * scale, points(20, seed=14).float() * scale
    _, indices = search(3).fit(train, torch.arange(120)).neighbors(queries)
    assert torch.equal(indices, exactly(train, queries, 3)[1])


@pytest.mark.parametrize("search", SEARCHES)
def test_neighbors_of_large_integers_are_exact(search):
    generator = torch.Generator().manual_seed(0)
    train = (
        torch.randint(9, (150, 12), generator=generator) + 10**9 * (torch.arange(150) % 2)[:, None]
    )
    _, indices = search(3).fit(train, torch.arange(150)).neighbors(train[:20])
    assert torch.equal(indices, exactly(train, train[:20], 3)[1])


@pytest.mark.parametrize("search", SEARCHES)
def test_no_queries_have_no_neighbors(search):
    model = search(2).fit(points(150), torch.arange(150))
    distances, indices = model.neighbors(points(0))
    assert distances.shape == indices.shape == (0, 2)
    assert model.predict(points(0)).shape == (0,)


def test_sketches_are_never_further_apart_than_points():
    train, queries = points(200, seed=6), points(50, seed=7)
    model = knn.SketchedNeighbors(1, size=4).fit(train, torch.arange(200))
    between_sketches = torch.cdist(model.sketch(queries), model.sketches)
    assert (between_sketches <= torch.cdist(queries, train) + 1e-9).all()
    # The bound is worth having: it is close to the distance, where the coordinates alone are not.
    coordinates = torch.cdist(model.sketch(queries)[:, :3], model.sketch(train)[:, :3])
    assert (between_sketches > coordinates).double().mean() > 0.99


@pytest.mark.parametrize("search", SEARCHES)
def test_predicts_the_class_of_its_cluster(search):
    train = torch.cat([points(30, seed=8), points(30, seed=9) + 20])
    labels = torch.arange(2).repeat_interleave(30)
    model = search(3).fit(train, labels)
    assert model.predict(torch.cat([points(4, seed=10) + 20, points(4, seed=11)])).tolist() == (
        [1] * 4 + [0] * 4
    )


@pytest.mark.parametrize("search", SEARCHES)
def test_remembers_what_it_saw(search):
    train, labels = points(50, seed=12), torch.arange(50)
    assert torch.equal(search(1).fit(train, labels).predict(train), labels)


FOUR = torch.zeros(4, 3)
MISTAKES = [
    (1, FOUR, torch.arange(5), r"images has shape \(4, 3\) and labels \(5,\)"),
    (1, FOUR[0], torch.arange(3), r"images has shape \(3,\)"),
    (1, torch.zeros(4, 0), torch.arange(4), r"images has shape \(4, 0\)"),
    (9, FOUR, torch.arange(4), "k is 9; expected 1 to 4"),
    (1, torch.zeros(0, 3), torch.arange(0), "k is 1; expected 1 to 0"),
    (1, FOUR, torch.zeros(4), r"labels holds 0.* of torch.float32; expected 0, 1, 2"),
    (1, FOUR, torch.arange(-1, 3), "labels holds -1 of torch.int64; expected 0, 1, 2"),
    (1, FOUR + torch.nan, torch.arange(4), "an image holds NaN or infinity"),
    (1, torch.tensor([[1e30], [0.0]]).expand(2, 3), torch.arange(2), "too large to be squared"),
]


@pytest.mark.parametrize(("k", "images", "labels", "message"), MISTAKES)
def test_fit_names_the_wrong_argument(k, images, labels, message):
    with pytest.raises(ValueError, match=message):
        knn.KNearestNeighbors(k).fit(images, labels)


def test_sketches_of_a_wrong_size_are_named():
    with pytest.raises(ValueError, match="size is 20; expected 2 to 3"):
        knn.SketchedNeighbors(1, size=20).fit(FOUR, torch.arange(4))


@pytest.mark.parametrize("search", SEARCHES)
def test_wrong_queries_are_named(search):
    model = search(1).fit(points(9), torch.arange(9))
    with pytest.raises(ValueError, match=r"queries has shape \(2, 7\); expected \(Q, 12\)"):
        model.neighbors(points(2, 7))
    with pytest.raises(ValueError, match="an image holds NaN or infinity"):
        model.neighbors(points(2) * torch.inf)


@pytest.mark.parametrize("distances", DISTANCES)
def test_distances_are_of_floats_with_rows_of_one_length(distances):
    with pytest.raises(ValueError, match=r"a is torch.uint8 and b torch.uint8; expected floats"):
        distances(points(2).byte(), points(3).byte())
    with pytest.raises(ValueError, match=r"a has shape \(2, 12\) and b \(3, 5\); expected"):
        distances(points(2), points(3, 5))
    assert distances(points(0), points(3)).shape == (0, 3)
