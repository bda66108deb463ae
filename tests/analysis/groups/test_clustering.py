"""Ward's method against scipy's on the points; smoothing by dense loops; leading features."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster import hierarchy
from sklearn.metrics import adjusted_rand_score

from nanosae.analysis.groups import clustering
from nanosae.analysis.groups.clustering import (
    cut_tree,
    group_sums,
    leaders,
    smooth_rows,
    ward_tree,
)


def check_cuts(cut, seed, n_points):
    """Every cut must be scipy's, of a tree that scipy makes from the points themselves."""
    x = np.random.default_rng(seed).normal(size=(n_points, 3))
    own = ward_tree(x)
    expected_tree = hierarchy.ward(x)
    for n in range(1, n_points + 1):
        expected = hierarchy.cut_tree(expected_tree, n_clusters=[n]).ravel()
        group = cut(own, n)
        assert sorted(set(group.tolist())) == list(range(n))
        assert adjusted_rand_score(expected, group) == 1


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), n_points=st.integers(2, 14))
def test_every_cut_is_scipys(seed, n_points):
    check_cuts(cut_tree, seed, n_points)


def test_a_cut_one_merge_late_is_rejected():
    check_cuts(cut_tree, 0, 10)
    with pytest.raises(AssertionError):
        check_cuts(lambda tree, n: cut_tree(tree, min(n + 1, 10)), 0, 10)


@pytest.mark.parametrize("n_points", [0, 1])
def test_few_points_have_no_merges(n_points):
    tree = ward_tree(np.ones((n_points, 2)))
    assert tree.shape == (0, 4)


def test_one_point_is_one_group():
    assert cut_tree(np.empty((0, 4)), 1).tolist() == [0]


def test_equal_points_are_merged_first():
    x = np.array([[0, 0], [5, 5], [0, 0], [5, 5.0]])
    assert cut_tree(ward_tree(x), 2).tolist() == [0, 1, 0, 1]


def test_sums_of_groups_keep_the_type_and_empty_groups():
    rows = np.array([[1, 2], [3, 4], [5, 6]], np.float32)
    sums = group_sums(rows, np.array([2, 0, 2]), 4)
    assert sums.dtype == np.float32
    assert sums.tolist() == [[3, 4], [0, 0], [6, 8], [0, 0]]


def by_loops(rows, near, times):
    """Filter rows over links in both directions, float64, one entry at a time."""
    n = len(rows)
    linked = np.eye(n)
    for row, places in enumerate(near):
        for place in places:
            linked[row, place] = 1
            linked[place, row] = 1
    degree = linked.sum(1)
    smoothed = np.asarray(rows, np.float64)
    for _ in range(times):
        filtered = np.zeros_like(smoothed)
        for i in range(n):
            for j in range(n):
                weight = linked[i, j] / np.sqrt(degree[i] * degree[j])
                filtered[i] += weight * smoothed[j]
        smoothed = filtered / np.linalg.norm(filtered, axis=1, keepdims=True)
    return smoothed


def check_smoothing(smooth, seed):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(9, 4)).astype(np.float32)
    near = np.array([rng.choice(9, 3, replace=False) for _ in rows], np.int32)
    np.testing.assert_allclose(
        smooth(rows, near, 3), by_loops(rows, near, 3), atol=1e-5
    )


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_smoothing_is_that_of_dense_loops(seed):
    check_smoothing(smooth_rows, seed)


def test_smoothing_by_plain_means_is_rejected():
    def plain(rows, near, times):
        for _ in range(times):
            means = (rows + rows[near].sum(1)) / 4
            rows = means / np.linalg.norm(means, axis=1, keepdims=True)
        return rows

    with pytest.raises(AssertionError):
        check_smoothing(plain, 0)


def test_nearest_rows_are_those_of_all_products(monkeypatch):
    monkeypatch.setattr(clustering, "BLOCK", 7)
    rng = np.random.default_rng(0)
    rows, sample = rng.normal(size=(20, 5)), rng.normal(size=(12, 5))
    expected = np.argsort(-(rows @ sample.T), axis=1)[:, :4]
    found = clustering.nearest_rows(rows, sample, 4)
    assert np.sort(found, axis=1).tolist() == np.sort(expected, axis=1).tolist()


@pytest.mark.parametrize("n_copies", [0, 40, 500])
def test_nearest_rows_of_a_wide_sample_with_copies(n_copies):
    """The largest of groups of columns bound the largest products; many are equal."""
    rng = np.random.default_rng(0)
    rows, sample = rng.normal(size=(20, 5)), rng.normal(size=(500, 5))
    sample[:n_copies] = sample[0]
    rows[:5] = sample[0]
    products = rows @ sample.T
    found = clustering.nearest_rows(rows, sample, 7)
    assert [len(set(of_row)) for of_row in found.tolist()] == [7] * 20
    largest = -np.sort(-products, axis=1)[:, :7]
    chosen = -np.sort(-np.take_along_axis(products, found, axis=1), axis=1)
    np.testing.assert_allclose(chosen, largest, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_leaders_are_the_largest_of_each_row(seed):
    rng = np.random.default_rng(seed)
    dense = rng.integers(1, 4, (9, 6)) * (rng.random((9, 6)) < 0.4)
    rows, leading = leaders(sp.csr_array(dense.astype(np.float32)))
    assert rows.tolist() == [i for i in range(9) if dense[i].any()]
    assert leading.tolist() == [int(dense[i].argmax()) for i in rows]  # ties: the first
