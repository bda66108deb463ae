"""AUC with its interval and F1, against scikit-learn and the matrix of all pairs."""

import math

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import f1_score, roc_auc_score

from nanosae.analysis.scoring import (
    auc_interval,
    best_f1_threshold,
    keyword_scores,
    wilson_interval,
)


def pairwise_auc(active, silent):
    """AUC and DeLong's variance from the matrix of all pairs."""
    wins = (active[:, None] > silent) + 0.5 * (active[:, None] == silent)
    variance = wins.mean(1).var(ddof=1) / len(active) + wins.mean(0).var(ddof=1) / len(silent)
    return wins.mean(), variance


@pytest.mark.parametrize("ties", [False, True])
def test_auc_and_its_interval_agree_with_all_pairs(ties):
    rng = np.random.default_rng(0)
    active, silent = rng.gamma(2, 2, 23), rng.gamma(2, 1, 57)
    if ties:
        active, silent = active.round(), silent.round()
    auc, low, high = auc_interval(active, silent)
    expected, variance = pairwise_auc(active, silent)
    truth = np.r_[np.ones(23), np.zeros(57)]
    assert auc == pytest.approx(expected)
    assert auc == pytest.approx(roc_auc_score(truth, np.r_[active, silent]))
    # Wilson's bounds p are where (auc - p)² = z² p (1 - p) / n
    n = auc * (1 - auc) / variance
    for p in (low, high):
        assert (auc - p) ** 2 == pytest.approx(1.96**2 * p * (1 - p) / n)
    if ties:
        assert np.mean(active[:, None] > silent) != pytest.approx(auc)  # ties as losses


def test_zeros_may_be_given_as_a_number():
    active, silent = np.array([0.0, 1.0, 2.0, 0.5]), np.array([1.0, 0.2])
    assert auc_interval(active, silent, 7) == pytest.approx(
        auc_interval(active, np.append(silent, np.zeros(7)))
    )


def test_a_perfect_ranking_of_few_texts_is_not_certain():
    auc, low, high = auc_interval(np.full(5, 2.0), np.zeros(0), 100)
    assert (auc, high) == (1, pytest.approx(1))
    assert 0.5 < low < 0.7


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    truth = 0.5 * (1 + math.erf(1.2 / 2))  # of two normals, 1.2 apart
    inside = 0
    for _ in range(400):
        x, y = np.exp(rng.normal(1.2, 1, 15)), np.exp(rng.normal(0, 1, 60))
        _, low, high = auc_interval(x, y)
        inside += low < truth < high
    assert 0.92 < inside / 400 < 0.985


def test_wilsons_interval_is_that_of_scipy():
    for k, n in ((3, 17), (0, 9), (9, 9), (40, 200)):
        expected = binomtest(k, n).proportion_ci(0.95, "wilson")
        assert wilson_interval(k / n, n) == pytest.approx(tuple(expected), abs=2e-5)
    assert wilson_interval(0.5, 10)[0] != pytest.approx(0.5 - 1.96 * math.sqrt(0.025))  # Wald's


@pytest.mark.parametrize("seed", range(6))
def test_the_best_threshold_is_that_of_a_search_over_all(seed):
    rng = np.random.default_rng(seed)
    scores = rng.integers(1, 9, 40) / 4
    truth = rng.random(40) < scores / 3
    n_active = int(truth.sum()) + 5  # five have no score at all
    every = np.append(truth, np.ones(5, bool))
    given = np.append(scores, np.zeros(5))
    by_f1 = [(f1_score(every, given >= limit), limit) for limit in np.unique(scores)]
    best, limit = max(by_f1)
    mine = best_f1_threshold(scores, truth, n_active)
    assert f1_score(every, given >= mine) == pytest.approx(best)
    assert mine in scores
    assert limit > 0


def test_without_a_score_nothing_is_predicted():
    assert best_f1_threshold(np.zeros(0), np.zeros(0, bool), 3) == np.inf


def test_a_query_is_scored_on_held_out_rows_alone():
    rng = np.random.default_rng(0)
    score = np.maximum(rng.normal(0.3, 1, 200), 0).round(1)
    active = rng.random(200) < 0.2 + 0.4 * (score > 0.5)
    held = rng.random(200) < 0.4
    rows = np.flatnonzero(active)
    found = keyword_scores(score, rows, held, 5)
    assert found["label_auc"] == pytest.approx(roc_auc_score(active[held], score[held]))
    by_f1 = [
        (f1_score(active[~held], score[~held] >= limit), limit)
        for limit in np.unique(score[~held & (score > 0)])
    ]
    limit = max(by_f1)[1]
    assert found["label_f1"] == pytest.approx(f1_score(active[held], score[held] >= limit))
    assert found["label_n"] == active[held].sum()
    n_train = int(active[~held].sum())
    fewer = min(n_train, found["label_n"])
    assert np.isfinite(keyword_scores(score, rows, held, int(fewer))["label_auc"])
    assert np.isnan(keyword_scores(score, rows, held, int(fewer) + 1)["label_auc"])
    assert np.isfinite(keyword_scores(score, rows, ~held, int(fewer))["label_auc"])
    assert np.isnan(keyword_scores(score, rows, ~held, int(fewer) + 1)["label_auc"])
    everywhere = np.unique(np.append(rows, np.flatnonzero(held)))
    assert np.isnan(keyword_scores(score, everywhere, held, 5)["label_auc"])  # no inactive row
