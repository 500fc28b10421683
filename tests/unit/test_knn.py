"""Nearest neighbours against torch.cdist, SciPy and a plain sort."""

import pytest
import torch
from dl4cv.models import knn
from hypothesis import example, given, settings
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


@given(st.lists(st.lists(st.integers(0, 4), min_size=5, max_size=5), min_size=1, max_size=8))
def test_vote_is_the_commonest_and_then_the_nearest(rows):
    expected = [max(set(row), key=lambda c, row=row: (row.count(c), -row.index(c))) for row in rows]
    assert knn.vote(torch.tensor(rows), classes=5).tolist() == expected


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


@settings(max_examples=30)
@example(count=6, k=1, size=6, seed=6)  # points of which the directions leave next to nothing
@given(
    count=st.integers(5, 40), k=st.integers(1, 5), size=st.integers(2, 12), seed=st.integers(0, 99)
)
def test_sketches_lose_no_neighbor(count, k, size, seed):
    train, queries = points(count, seed=seed).float(), points(6, seed=seed + 1).float()
    labels = torch.arange(count)
    exact, _ = knn.KNearestNeighbors(k).fit(train, labels).neighbors(queries)
    found, _ = knn.SketchedNeighbors(k, size=size).fit(train, labels).neighbors(queries)
    torch.testing.assert_close(found, exact, atol=2e-3, rtol=1e-4)


def test_sketches_are_never_further_apart_than_points():
    train, queries = points(200, seed=6), points(50, seed=7)
    model = knn.SketchedNeighbors(1, size=4).fit(train, torch.arange(200))
    between_sketches = torch.cdist(model.sketch(queries), model.sketch(train))
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


def test_fit_names_the_wrong_argument():
    with pytest.raises(ValueError, match=r"images has shape \(4, 3\) and labels \(5,\)"):
        knn.KNearestNeighbors(1).fit(torch.zeros(4, 3), torch.zeros(5, dtype=torch.int64))
    with pytest.raises(ValueError, match="k is 9; expected 1 to 4"):
        knn.KNearestNeighbors(9).fit(torch.zeros(4, 3), torch.zeros(4, dtype=torch.int64))
    with pytest.raises(ValueError, match="size is 20; expected 2 to 3"):
        knn.SketchedNeighbors(1, size=20).fit(torch.zeros(4, 3), torch.zeros(4, dtype=torch.int64))
