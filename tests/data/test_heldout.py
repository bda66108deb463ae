"""Held-out rows: whole groups of equal rows, as many as asked for."""

import numpy as np
import pytest

from nanosae.data.heldout import choose_heldout, group_duplicates, hash_rows
from numbered import vectors


def test_hash_tells_rows_apart_as_bytes_do():
    rng = np.random.default_rng(0)
    # worst case: two values only
    x = rng.integers(0, 2, size=(20_000, 24)).astype(np.float32)
    by_bytes = len({row.tobytes() for row in x})
    assert len(np.unique(hash_rows(x))) == by_bytes
    # twin: too few bits
    assert len(np.unique(hash_rows(x).astype(np.uint16))) < by_bytes


def test_groups_are_equal_rows():
    x = vectors(60)[np.r_[0:60, 5, 5, 9]]
    x[[20, 30]] = 0
    groups = group_duplicates(x)
    assert (groups.n_zero, groups.n_copies, len(groups.sizes)) == (2, 4, 59)
    assert len({*groups.group[[5, 60, 61]].tolist()}) == 1
    assert groups.sizes[groups.group[5]] == 3


def test_a_negative_zero_equals_zero():
    x = vectors(4)
    x[:, 0] = 0.0
    x[[2, 3]] = x[[0, 1]]
    x[2, 0] = -0.0
    x[3] = -0.0
    assert len(np.unique(x, axis=0)) == 3  # by value
    assert len({row.tobytes() for row in x}) == 4  # twin: by bytes
    groups = group_duplicates(x)
    assert groups.group[0] == groups.group[2]
    assert (groups.n_zero, groups.n_copies, len(groups.sizes)) == (1, 1, 3)


@pytest.mark.parametrize("seed", range(10))
def test_large_groups_are_held_out_only_if_nothing_else_is_there(seed):
    x = vectors(100)[np.r_[0:100, np.zeros(300, int)]]  # row 0 is three quarters of all
    heldout = choose_heldout(group_duplicates(x), 20, seed)
    assert heldout.sum() == 20
    assert not heldout[0]
    both = choose_heldout(group_duplicates(x[np.r_[0, 1, 100:400]]), 5, seed)
    assert both.sum() == 1  # the single row
    only = choose_heldout(group_duplicates(x[100:]), 5, seed)
    assert only.all()


def share_held_before(choose, seed):
    """Grow 4,000 rows to 8,000; return how many of the old held-out rows were so before."""
    x = np.random.default_rng(seed).normal(size=(8000, 4)).astype(np.float32)
    mixed_up = np.random.default_rng(seed + 1).permutation(8000)
    before = choose(group_duplicates(x[:4000]), 400, seed)
    grown = choose(group_duplicates(x[mixed_up]), 800, seed)
    after = np.empty(8000, bool)
    after[mixed_up] = grown
    return before[after[:4000]].mean()


def in_order_of_places(groups, n_wanted, seed):
    """Draw a number for each group by its place among all, which changes as rows are added."""
    random = np.random.default_rng(seed).random(len(groups.sizes))
    return (random.argsort().argsort() < n_wanted)[groups.group]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_added_rows_leave_held_out_what_was_held_out(seed):
    assert share_held_before(choose_heldout, seed) > 0.85
    assert share_held_before(in_order_of_places, seed) < 0.2


def test_another_seed_holds_out_other_rows():
    x = np.random.default_rng(0).normal(size=(5000, 3)).astype(np.float32)
    first = choose_heldout(group_duplicates(x), 500, 0)
    second = choose_heldout(group_duplicates(x), 500, 1)
    # 50 by chance, give or take 7
    assert 20 < (first & second).sum() < 80
