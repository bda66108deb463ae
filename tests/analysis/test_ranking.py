"""Rankings: the largest entries in an order without chance, and several rankings as one."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanosae.analysis.ranking import (
    fuse_rankings,
    largest_in_rows,
    largest_places,
    lower_bounds,
)


def fused_by_hand(rankings):
    """Items by the exact sum of 1 ÷ (60 + place), places counted from 1; ties: lower first."""
    earned = {}
    for ranking in rankings:
        for place, item in enumerate(ranking, start=1):
            earned[item] = earned.get(item, 0) + Fraction(1, 60 + place)
    return sorted(earned, key=lambda item: (-earned[item], item))


permutations = st.permutations(range(12)).flatmap(
    lambda items: st.integers(0, 12).map(lambda n: items[:n])
)


@given(st.lists(permutations, min_size=1, max_size=3))
def test_rankings_are_fused_by_reciprocal_rank(rankings):
    arrays = [np.array(ranking, dtype=np.int64) for ranking in rankings]
    fused = fuse_rankings(arrays, 12).tolist()
    want = fused_by_hand(rankings)
    assert sorted(fused) == sorted(want)
    place_of = {item: place for place, item in enumerate(want)}
    earned = dict.fromkeys(want, 0.0)
    for ranking in rankings:
        for place, item in enumerate(ranking, start=1):
            earned[item] += 1 / (60 + place)
    for one, other in pairwise(fused):
        is_tie = earned[one] == pytest.approx(earned[other], rel=1e-12)
        assert is_tie or place_of[one] < place_of[other]


def test_two_good_places_beat_one_best_and_one_far_place():
    far = [7, *range(20, 60), 3]  # 7 is first and 3 is 42nd
    near = [5, 3, 7]
    assert fuse_rankings([np.array(far), np.array(near)], 3).tolist() == [7, 3, 5]
    # 1/61 + 1/63 = .0323, 1/102 + 1/62 = .0259, 1/61 = .0164


def test_places_count_from_sixty_and_not_from_more():
    """Second in both: 2/62 > 1/61 + 1/65; were places 40 times as far apart, it would be less."""
    one, other = [1, 2, 3, 4, 9], [9, 2, 5, 6, 1]
    assert fuse_rankings([np.array(one), np.array(other)], 1).tolist() == [2]


@given(
    st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0, -np.inf]), max_size=60),
    st.integers(0, 6) | st.integers(0, 70),
)
def test_the_largest_places_are_those_of_a_stable_sort(values, n):
    got = largest_places(np.array(values), n).tolist()
    want = sorted(range(len(values)), key=lambda place: (-values[place], place))
    assert got == want[:n]


@pytest.mark.parametrize("n", [0, 1, 2, 3, 100])
@pytest.mark.parametrize("n_missing", [1, 97, 98, 99, 100])
def test_missing_numbers_are_the_last_of_the_largest(n, n_missing):
    values = np.zeros(100)
    missing = np.random.default_rng(0).permutation(100)[:n_missing]
    values[missing] = np.nan
    known = sorted(set(range(100)) - set(missing.tolist()))
    want = [*known, *sorted(missing.tolist())]
    assert largest_places(values, n).tolist() == want[:n]


@given(
    st.integers(1, 400).flatmap(
        lambda width: st.tuples(st.just(width), st.integers(1, min(width, 30)))
    ),
    st.integers(0, 10**6),
    st.sampled_from([2, 10**6]),
)
def test_bounds_are_reached_by_the_largest_of_each_row(size, seed, n_values):
    width, n = size
    scores = np.random.default_rng(seed).integers(0, n_values, (5, width)) * 1.0
    bounds = lower_bounds(scores, n)
    nth_largest = np.sort(scores, axis=1)[:, -n]
    assert (bounds <= nth_largest).all()
    assert (bounds >= scores.min(axis=1)).all()


def test_bounds_leave_few_candidates():
    scores = np.random.default_rng(0).normal(size=(20, 8192))
    n_candidates = (scores >= lower_bounds(scores, 15)[:, None]).sum(axis=1)
    assert n_candidates.min() >= 15
    assert n_candidates.max() <= 30


@given(
    st.integers(1, 300),
    st.integers(1, 12),
    st.integers(0, 10**6),
    st.sampled_from([3, 10**6]),
)
def test_the_largest_of_rows_are_those_of_a_stable_sort(width, n, seed, n_values):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, n_values, (4, width)) * 1.0
    scores[rng.random(scores.shape) < 0.2] = -np.inf
    columns, values = largest_in_rows(scores, n)
    for of_row, column, value in zip(scores, columns, values, strict=True):
        order = np.argsort(-of_row, kind="stable")
        expected = [place for place in order if of_row[place] > -np.inf][:n]
        assert column.tolist() == expected
        assert value.tolist() == of_row[expected].tolist()
