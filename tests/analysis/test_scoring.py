"""AUC with its interval and F1, against scikit-learn and the matrix of all pairs."""

import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from nanosae.analysis.scoring import auc_interval


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
