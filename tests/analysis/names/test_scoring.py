"""AUC with its interval and F1, against scikit-learn and the matrix of all pairs."""

import math

import numpy as np
import pytest
from scipy.stats import binomtest, norm
from sklearn.metrics import f1_score, precision_score, recall_score, roc_auc_score

from nanosae.analysis.names.scoring import (
    area,
    area_with_interval,
    auc_interval,
    can_be_scored,
    wilson_interval,
    word_scores,
)


def pairwise_auc(active, silent):
    """AUC and DeLong's variance from the matrix of all pairs."""
    wins = (active[:, None] > silent) + 0.5 * (active[:, None] == silent)
    variance = wins.mean(1).var(ddof=1) / len(active) + wins.mean(0).var(ddof=1) / len(
        silent
    )
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
        z = norm.ppf(0.975)
        assert (auc - p) ** 2 == pytest.approx(z**2 * p * (1 - p) / n)
    if ties:
        assert np.mean(active[:, None] > silent) != pytest.approx(auc)  # ties as losses


def test_a_perfect_ranking_of_few_texts_is_not_certain():
    auc, low, high = auc_interval(np.full(5, 2.0), np.zeros(100))
    assert (auc, high) == (1, pytest.approx(1))
    assert 0.5 < low < 0.7


def test_copies_make_an_interval_no_narrower():
    rng = np.random.default_rng(0)
    active, silent = rng.normal(1, 1, 12), rng.normal(0, 1, 40)
    copied = np.repeat(np.arange(12), 9)
    of_texts = auc_interval(active, silent)
    of_copies = auc_interval(active[copied], silent, copied)
    assert of_copies == pytest.approx(of_texts)
    taken_for_texts = auc_interval(active[copied], silent)
    assert taken_for_texts[1] > of_texts[1] + 0.05
    # all ranked correctly
    of_few = auc_interval(np.full(500, 2.0), np.zeros(100), np.arange(500) % 5)
    assert of_few == pytest.approx(auc_interval(np.full(5, 2.0), np.zeros(100)))


def test_the_interval_covers_the_truth_if_texts_of_a_group_are_alike():
    rng = np.random.default_rng(0)
    truth = 0.5 * (1 + math.erf(1.2 / 2))
    n_inside = n_inside_of_texts = 0
    active_group, silent_group = np.arange(60) // 3, np.arange(120) // 2
    for _ in range(2000):
        x = rng.normal(1.2, 0.9**0.5, 20)[active_group]
        y = rng.normal(0, 0.9**0.5, 60)[silent_group]
        x, y = x + rng.normal(0, 0.1**0.5, 60), y + rng.normal(0, 0.1**0.5, 120)
        _, low, high = auc_interval(x, y, active_group, silent_group)
        n_inside += low < truth < high
        _, low, high = auc_interval(x, y)
        n_inside_of_texts += low < truth < high
    assert 0.93 < n_inside / 2000 < 0.97
    assert n_inside_of_texts / 2000 < 0.85  # as if they were independent


@pytest.mark.parametrize("n_silent", [1, 1000])
def test_a_single_text_says_little(n_silent):
    silent = np.linspace(0, 1, n_silent)
    for active, others in ((np.array([0.9]), silent), (silent, np.array([0.1]))):
        auc, low, high = auc_interval(active, others)
        assert (low, high) == pytest.approx(wilson_interval(auc, 1))
        assert high - low > 0.7


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
    # Wald's
    assert wilson_interval(0.5, 10)[0] != pytest.approx(0.5 - 1.96 * math.sqrt(0.025))


def some_rows(seed=0):
    """Rows of a feature, which are held out, and which texts have a word of its name."""
    rng = np.random.default_rng(seed)
    has_word = rng.random(200) < 0.3
    is_active = rng.random(200) < 0.2 + 0.4 * has_word
    held = rng.random(200) < 0.4
    return has_word, is_active, held


@pytest.mark.parametrize("seed", range(4))
def test_words_are_scored_on_held_out_rows_alone(seed):
    has_word, is_active, held = some_rows(seed)
    found = word_scores(has_word, np.flatnonzero(is_active), held)
    truth, predicted = is_active[held], has_word[held]
    assert found["label_f1"] == pytest.approx(f1_score(truth, predicted))
    assert found["label_precision"] == pytest.approx(precision_score(truth, predicted))
    assert found["label_recall"] == pytest.approx(recall_score(truth, predicted))
    on_training_rows = f1_score(is_active[~held], has_word[~held])
    assert found["label_f1"] != pytest.approx(on_training_rows)


def test_a_name_that_no_text_has_finds_nothing():
    _, is_active, held = some_rows()
    found = word_scores(np.zeros(200, bool), np.flatnonzero(is_active), held)
    assert (found["label_f1"], found["label_recall"]) == (0, 0)
    assert math.isnan(found["label_precision"])


def test_enough_rows_must_be_on_either_side():
    _, is_active, held = some_rows()
    rows = np.flatnonzero(is_active)
    train = rows[~held[rows]]
    fewer = min(is_active[held].sum(), is_active[~held].sum())
    assert can_be_scored(rows, train, held, fewer)
    assert not can_be_scored(rows, train, held, fewer + 1)
    assert not can_be_scored(rows, train[:4], held, 5)
    everywhere = np.unique(np.append(rows, np.flatnonzero(held)))
    assert not can_be_scored(everywhere, train, held, 5)  # no inactive row is held out
    assert not can_be_scored(rows, rows, held, 5)  # the label has seen held-out rows


def test_the_area_takes_any_numbers():
    rng = np.random.default_rng(0)
    scores, is_active = rng.normal(size=80), rng.random(80) < 0.3
    expected = roc_auc_score(is_active, scores)
    each = np.arange(len(scores))
    with_interval = area_with_interval(scores, is_active, each)
    assert with_interval[0] == area(scores, is_active) == pytest.approx(expected)
    assert area_with_interval(scores - 7, is_active, each) == pytest.approx(
        with_interval
    )
    for nobody in (np.zeros(80, bool), np.ones(80, bool)):
        assert np.isnan(area(scores, nobody))
        assert np.isnan(area_with_interval(scores, nobody, each)).all()
