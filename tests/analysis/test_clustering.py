"""Ward's method against scipy's; the strongest feature of each row."""

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import cut_tree, linkage
from sklearn.metrics import adjusted_rand_score

from nanosae.analysis import topics as module
from nanosae.analysis.clustering import leaders, ward_merges

topics: Any = module.topics


def groups_of(merges, n_points, n):
    """Follow the first n_points − n merges one by one: the group of each point."""
    group = list(range(n_points))
    for i, j in merges[: n_points - n].tolist():
        old, new = group[j], group[i]
        group = [new if g == old else g for g in group]
    return group


def check_ward(ward, seed, n_points, weights):
    """Every cut must be that of scipy's Ward on points repeated as often as they weigh."""
    x = np.random.default_rng(seed).normal(size=(n_points, 3))
    merges = ward(x, weights.astype(float))
    assert merges.shape == (n_points - 1, 2)
    copies = np.repeat(np.arange(n_points), weights)
    first = np.searchsorted(copies, np.arange(n_points))
    tree = linkage(x[copies], "ward")
    for n in range(1, n_points + 1):
        expected = cut_tree(tree, n_clusters=[n]).ravel()[first]
        assert adjusted_rand_score(expected, groups_of(merges, n_points, n)) == 1


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), n_points=st.integers(2, 14))
def test_every_cut_is_that_of_scipys_ward_on_repeated_points(seed, n_points):
    weights = np.random.default_rng(seed).integers(1, 9, n_points)
    check_ward(ward_merges, seed, n_points, weights)


def test_a_ward_without_weights_is_rejected():
    weights = np.array([1, 9, 1, 7, 1, 1, 8, 2, 1, 9])
    check_ward(ward_merges, 0, 10, weights)
    with pytest.raises(AssertionError):
        check_ward(lambda x, w: ward_merges(x, np.ones(len(w))), 0, 10, weights)


def test_equal_points_are_merged_first_and_only_once():
    x = np.array([[0, 0], [5, 5], [0, 0], [5, 5.0]])
    merges = ward_merges(x, np.ones(4))
    assert {tuple(m) for m in merges[:2].tolist()} == {(0, 2), (1, 3)}
    assert len(set(groups_of(merges, 4, 1))) == 1


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_leaders_are_the_largest_of_each_row(seed):
    rng = np.random.default_rng(seed)
    dense = rng.integers(1, 4, (9, 6)) * (rng.random((9, 6)) < 0.4)
    rows, leading = leaders(sp.csr_array(dense.astype(np.float32)))
    assert rows.tolist() == [i for i in range(9) if dense[i].any()]
    assert leading.tolist() == [int(dense[i].argmax()) for i in rows]  # ties: the first
