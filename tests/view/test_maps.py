"""Maps: layout, clusters, labels."""

import sys

import numpy as np
import pandas as pd
import pytest

from nanosae.view import maps


@pytest.fixture
def pca(monkeypatch):
    """No UMAP: it compiles for seconds."""
    monkeypatch.setitem(sys.modules, "umap", None)


def test_without_umap_the_axes_are_principal_components(pca):
    from sklearn.decomposition import PCA

    x = np.random.default_rng(0).normal(size=(300, 12)) * np.arange(1, 13)
    points, method = maps.project(x)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    expected = PCA(2).fit_transform(unit)
    assert method == "PCA"
    np.testing.assert_allclose(np.abs(points), np.abs(expected), atol=1e-3)
    assert np.abs(points - PCA(2).fit_transform(x)).max() > 1


def test_rows_beyond_the_sample_are_placed_on_the_same_axes(pca):
    x = np.random.default_rng(0).normal(size=(400, 6)).astype(np.float32)
    points, _ = maps.project(np.vstack([x, x]), sample=200)
    np.testing.assert_allclose(points[:400], points[400:], atol=1e-5)


@pytest.mark.parametrize("sample", [10_000, 100])
def test_rows_of_zeros_are_in_the_middle_and_move_nothing(pca, sample):
    x = np.random.default_rng(0).normal(3, 1, size=(100, 6)).astype(np.float32)
    expected, _ = maps.project(x)
    with_zeros = np.insert(x, [0, 50, 100], np.zeros(6, np.float32), axis=0)
    points, _ = maps.project(with_zeros, sample=sample)
    is_zero = ~with_zeros.any(1)
    middle = np.median(points[~is_zero], axis=0)
    np.testing.assert_allclose(points[is_zero] - middle, 0, atol=0.03)
    if sample > 100:
        np.testing.assert_allclose(points[~is_zero], expected, atol=1e-5)
    only_zeros, _ = maps.project(np.zeros((4, 6), np.float32))
    assert (only_zeros == 0).all()


def test_clusters_are_the_blobs_largest_first():
    rng = np.random.default_rng(0)
    sizes, centres = [70, 140, 105], [(0, 0), (20, 0), (0, 20)]
    points = np.vstack(
        [rng.normal(c, 1, (n, 2)) for n, c in zip(sizes, centres, strict=True)]
    )
    for sample in (10_000, 250):
        found = maps.clusters(points, sample=sample)
        blobs = np.split(found, np.cumsum(sizes)[:-1])
        assert [pd.Series(blob).mode()[0] for blob in blobs] == [2, 0, 1]
        assert min((blob == pd.Series(blob).mode()[0]).mean() for blob in blobs) > 0.8
    assert (maps.clusters(points[:5]) == -1).all()


def test_a_map_without_gaps_is_divided_into_even_parts():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(2000, 2)).astype(np.float32)
    found = maps.clusters(points, "PCA")
    sizes = np.bincount(found)
    assert found.min() == 0
    assert len(sizes) == maps.PARTS
    assert (np.diff(sizes) <= 0).all()
    middles = np.array([points[found == part].mean(0) for part in range(maps.PARTS)])
    distance = ((points[:, None] - middles) ** 2).sum(-1)
    assert (distance.argmin(1) == found).mean() > 0.98
    by_density = maps.clusters(points)
    assert (by_density < 0).mean() > 0.2  # which leaves much without a name
    assert (maps.clusters(np.zeros((50, 2)), "PCA") == 0).all()


def test_a_heap_of_most_points_is_divided():
    rng = np.random.default_rng(0)
    heap = rng.normal(0, [0.1, 0.3], (20, 40, 2)) + np.arange(20)[:, None, None] * [
        0.9,
        0,
    ]
    points = np.vstack([heap.reshape(-1, 2), rng.normal(40, 0.5, (200, 2))])
    found = maps.clusters(points)
    assert max(np.bincount(found + 1)[1:]) <= 200
    assert found.max() >= 10


def test_labels_name_the_clusters_and_keep_clear_of_each_other():
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(40), 30)
    points = rng.normal(size=(40, 2))[group] + 0.1 * rng.normal(size=(1200, 2))
    names = {i: f"Topic{g} word{g} and {i}" for i, g in enumerate(group.tolist())}
    found = maps.labels(points, group, names, 900, 600)
    assert 10 < len(found) <= 40
    own_words = {
        f"Topic{g} word{g}" for g in range(40)
    }  # as a phrase, as it is written
    assert {text for text, _ in found} <= own_words
    span = np.ptp(points, axis=0)
    boxes = [
        ((np.array(at) - points.min(0)) / span * [900, 600], 3.5 * len(text))
        for text, at in found
    ]

    def overlaps(boxes):
        return [
            (a, b)
            for i, (a, u) in enumerate(boxes)
            for b, v in boxes[:i]
            if abs(a[0] - b[0]) < u + v and abs(a[1] - b[1]) < 14
        ]

    assert overlaps(boxes) == []
    middles = [
        (points[group == g].mean(0) - points.min(0)) / span * [900, 600]
        for g in range(40)
    ]
    assert overlaps([(m, 50) for m in middles])  # where they would lie without care


@pytest.mark.slow
def test_umap_keeps_neighbours_together_and_places_the_rest():
    pytest.importorskip("umap")
    rng = np.random.default_rng(0)
    of = rng.integers(0, 6, 900)
    x = np.eye(20)[of] + 0.15 * rng.normal(size=(900, 20))
    points, method = maps.project(x, sample=500)
    assert method == "UMAP"
    nearest = np.argsort(((points[:, None] - points) ** 2).sum(-1), axis=1)[:, 1:6]
    assert (of[nearest] == of[:, None]).mean() > 0.95
    np.testing.assert_array_equal(points, maps.project(x, sample=500)[0])
