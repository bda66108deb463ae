"""AUC and F1 against sklearn, their intervals against a bootstrap."""

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.metrics import balanced_accuracy_score, f1_score, roc_auc_score

from nanosae.analysis.classification import (
    auc_scores,
    f1_scores,
    single_feature_auc,
    single_feature_scores,
)


def test_single_feature_scores_agree_with_sklearn_ties_included():
    rng = np.random.default_rng(0)
    x = np.round(4 * rng.random((80, 6))) * (rng.random((80, 6)) < 0.4)
    x[:, 5] = 0  # never on
    y = (rng.random((80, 3)) < 0.3).astype(float)
    scores = single_feature_scores(sp.csc_array(np.float32(x)), sp.csr_array(y))
    auc, f1, threshold = scores.auc, scores.f1, scores.threshold
    for j in range(6):
        levels = [v for v in np.unique(x[:, j]) if v > 0]
        for k in range(3):
            assert auc[j, k] == pytest.approx(roc_auc_score(y[:, k], x[:, j]))
            each = [f1_score(y[:, k], x[:, j] >= v) for v in levels]
            assert f1[j, k] == pytest.approx(max(each, default=0))
            if f1[j, k] > 0:
                assert f1_score(y[:, k], x[:, j] >= threshold[j, k]) == pytest.approx(
                    f1[j, k]
                )
    on = x[:, 0] > 0  # the twin: ranks among active rows alone are another number
    assert abs(auc[0, 0] - roc_auc_score(y[on, 0], x[on, 0])) > 0.02
    assert np.isinf(threshold[5]).all()


def test_rows_count_by_their_weight_in_the_auc():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 4, (60, 5)) * (rng.random((60, 5)) < 0.4)
    y = (rng.random((60, 2)) < 0.3).astype(float)
    weight = rng.random(60)
    auc = single_feature_auc(sp.csc_array(np.float32(x)), sp.csr_array(y), weight)
    for j in range(5):
        for k in range(2):
            expected = roc_auc_score(y[:, k], x[:, j], sample_weight=weight)
            assert auc[j, k] == pytest.approx(expected)
    assert auc[0, 0] != pytest.approx(roc_auc_score(y[:, 0], x[:, 0]))


@pytest.mark.slow
def test_auc_and_f1_with_their_intervals():
    """Values are sklearn's, intervals those of a bootstrap over parts, not over rows."""
    rng = np.random.default_rng(1)
    part = np.repeat(np.arange(150), 4)
    truth = (rng.random((150, 3)) < 0.4)[part]
    score = np.round(truth + rng.normal(size=(150, 3))[part] * 1.2, 1)
    auc, of_auc = auc_scores(score, truth, part)
    f1, of_f1 = f1_scores(score > 0.5, truth, part)
    assert auc == pytest.approx(
        [roc_auc_score(truth[:, k], score[:, k]) for k in range(3)]
    )
    assert f1 == pytest.approx(
        [f1_score(truth[:, k], score[:, k] > 0.5) for k in range(3)]
    )
    # of on and off: the balanced accuracy
    halves = auc_scores(score > 0.5, truth, part)[0]
    want = [balanced_accuracy_score(truth[:, k], score[:, k] > 0.5) for k in range(3)]
    assert halves == pytest.approx(want)
    draws = []
    for _ in range(250):
        rows = np.concatenate(
            [np.flatnonzero(part == p) for p in rng.integers(0, 150, 150)]
        )
        draws.append(
            (
                auc_scores(score[rows], truth[rows], rows)[0].mean(),
                f1_scores(score[rows] > 0.5, truth[rows], rows)[0].mean(),
            )
        )
    for summary, bootstrap in zip((of_auc, of_f1), np.array(draws).T, strict=True):
        assert summary.n == 3
        assert (summary.high - summary.low) / 3.92 == pytest.approx(
            bootstrap.std(), rel=0.2
        )
    naive = auc_scores(score, truth, np.arange(600))[1]
    assert naive.high - naive.low < 0.65 * (of_auc.high - of_auc.low)
