"""Probes against sklearn."""

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.optimize import linear_sum_assignment
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, roc_auc_score

from nanosae.analysis.evaluation.probes import (
    RowClasses,
    best_features,
    dense_probe,
    fit_dense_probe,
    fit_sparse_probe,
    sparse_probes,
)


def test_a_sparse_probe_is_sklearns_logistic_regression():
    rng = np.random.default_rng(0)
    x = rng.random((900, 3)) * (rng.random((900, 3)) < 0.2)
    y = rng.random(900) < np.where(x[:, 0] > 0, 0.8, 0.1)
    train = np.arange(900) < 600
    scaled = x / x[train].std(0)
    outside, other = (
        LogisticRegression(C=1.0, tol=1e-10).fit(scaled[rows], y[rows])
        for rows in (train, ~train)
    )
    got = fit_sparse_probe(x, y, train)
    assert got == pytest.approx(outside.decision_function(scaled), abs=1e-3)
    assert np.abs(got - other.decision_function(scaled)).max() > 0.1


def test_the_intercept_of_a_rare_class_is_not_penalised():
    """With an uninformative feature, the mean probability is the class's share."""
    rng = np.random.default_rng(0)
    x = rng.random((4000, 1)) * (rng.random((4000, 1)) < 0.5)
    y = rng.random(4000) < 0.01
    everywhere = np.ones(4000, bool)
    sparse = fit_sparse_probe(x, y, everywhere)
    dense = fit_dense_probe(x, y[:, None], everywhere)[:, 0]
    for logits in (sparse, dense):
        assert expit(logits).mean() == pytest.approx(y.mean(), rel=1e-3)
    constant = np.c_[np.ones(4000), x / x.std()]
    penalised = LogisticRegression(C=1.0, fit_intercept=False).fit(constant, y)
    share = expit(penalised.decision_function(constant)).mean()
    assert share > 1.02 * y.mean()  # so that the check can fail


@pytest.fixture
def rows():
    """300 training and 700 held-out rows with one class."""
    y = np.random.default_rng(0).random(1000) < 0.4
    classes = sp.csr_array(y[:, None] * 1.0)
    return RowClasses(classes, np.arange(1000) >= 300, np.arange(1000))


def flipped(rows):
    """Return a column that is the class on training rows and its opposite on held-out rows."""
    y = rows.indicators.toarray()[:, 0] > 0
    return np.where(rows.held, ~y, y) * 1.0


def test_what_a_probe_learnt_on_training_rows_is_measured_on_held_out_rows(rows):
    """The held-out rows are more, so that a probe fitted on all would be right on them."""
    x = flipped(rows)[:, None]
    sparse = sparse_probes(sp.csc_array(x), rows, ks=[1])
    dense = dense_probe(x, rows)
    for measures, k in ((sparse, "1"), (dense, "all")):
        for name in ("f1", "auc", "accuracy"):
            assert measures[f"probe_{name}@{k}"].value == 0
    best, _ = best_features(sp.csc_array(x), rows)
    assert best["best_feature_auc"].value == 0


def test_the_features_of_a_probe_are_chosen_on_the_training_rows(rows):
    rng = np.random.default_rng(1)
    y = rows.indicators.toarray()[:, 0]
    noise = rng.random((1000, 2)) < 0.4
    x = np.column_stack(
        [np.where(rows.held, noise[:, 0], y), np.where(rows.held, y, noise[:, 1])]
    )
    auc = sparse_probes(sp.csc_array(x), rows, ks=[1])["probe_auc@1"].value
    held = rows.held
    assert auc == pytest.approx(roc_auc_score(y[held], x[held, 0]))
    assert auc < 0.6 < roc_auc_score(y[held], x[held, 1])


def test_predictions_of_a_probe_are_what_is_likelier_than_not_and_than_the_rate():
    """One feature, two strengths: p is 0.3 where it is active and 0.05 elsewhere."""
    rng = np.random.default_rng(3)
    x = rng.random(20000) < 0.4
    y = rng.random(20000) < np.where(x, 0.3, 0.05)
    half = np.arange(20000) % 2 == 0
    rows = RowClasses(sp.csr_array(y[:, None] * 1.0), half, np.arange(20000))
    measures = sparse_probes(sp.csc_array(x[:, None] * 1.0), rows, ks=[1])
    # no text is likelier of the class than not
    assert measures["probe_f1@1"].value == 0
    expected = (
        y[half & x].sum() / y[half].sum() + (~y)[half & ~x].sum() / (~y)[half].sum()
    ) / 2
    # 0.15 is the rate
    assert measures["probe_accuracy@1"].value == pytest.approx(expected)
    often = rng.random(20000) < np.where(x, 0.6, 0.05)  # logit 0.4 where active
    rows = RowClasses(sp.csr_array(often[:, None] * 1.0), half, np.arange(20000))
    f1 = sparse_probes(sp.csc_array(x[:, None] * 1.0), rows, ks=[1])["probe_f1@1"].value
    assert f1 == pytest.approx(f1_score(often[half], x[half]))


@pytest.mark.slow
def test_best_features_are_those_of_loops():
    rng = np.random.default_rng(6)
    y = rng.random((400, 3)) < [0.4, 0.8, 0.4]
    y[:, 1] &= y[:, 0]  # both are best told by feature 0
    x = np.column_stack(
        [
            (y[:, 0] | (rng.random(400) < 0.05)) * rng.uniform(0.5, 2, 400),
            (y[:, 1] | (rng.random(400) < 0.4)) * rng.uniform(0.5, 2, 400),
            (y[:, 2] & (rng.random(400) < 0.7)) * 1.0,  # the best F1
            3 + 1.9 * y[:, 2] + rng.normal(size=400),  # the best AUC
        ]
    )
    x = np.round(np.maximum(x, 0), 1)
    held = np.arange(400) % 2 == 0
    rows = RowClasses(sp.csr_array(y * 1.0), held, np.arange(400))
    f1, threshold = np.zeros((4, 3)), np.zeros((4, 3))
    auc = np.zeros((4, 3))
    for j in range(4):
        for class_ in range(3):
            auc[j, class_] = roc_auc_score(y[~held, class_], x[~held, j])
            for value in np.unique(x[~held, j])[::-1]:
                score = f1_score(y[~held, class_], x[~held, j] >= value)
                if value > 0 and score > f1[j, class_]:
                    f1[j, class_], threshold[j, class_] = score, value
    measures, chosen = best_features(sp.csc_array(x), rows)
    best = f1.argmax(0)
    assert chosen["feature"].tolist() == best.tolist()
    assert len(set(best.tolist())) < 3  # one-to-one makes a difference
    assert best[2] != auc[:, 2].argmax()  # and so does AUC

    def on_held(j, class_):
        return f1_score(y[held, class_], x[held, j] >= threshold[j, class_])

    expected = [on_held(j, class_) for class_, j in enumerate(best)]
    assert chosen["f1"] == pytest.approx(expected)
    assert measures["best_feature_f1"].value == pytest.approx(np.mean(expected))
    assert measures["covered"].value == np.mean(np.array(expected) >= 0.5)
    by_auc = [roc_auc_score(y[held, k], x[held, auc[:, k].argmax()]) for k in range(3)]
    assert measures["best_feature_auc"].value == pytest.approx(np.mean(by_auc))
    assigned = [on_held(j, k) for j, k in zip(*linear_sum_assignment(-f1), strict=True)]
    assert measures["one_to_one_f1"].value == pytest.approx(np.mean(assigned))
    assert chosen["auc"] == pytest.approx(
        [roc_auc_score(y[held, k], x[held, best[k]]) for k in range(3)]
    )


def test_classes_without_a_feature_of_their_own_are_not_predicted():
    y = np.eye(3)[np.arange(120) % 3]
    rows = RowClasses(sp.csr_array(y), np.arange(120) >= 60, np.arange(120))
    measures, _ = best_features(sp.csc_array(y[:, :2]), rows)
    assert measures["one_to_one_f1"].value == pytest.approx(2 / 3)
    assert measures["one_to_one_f1"].n == 3


def dense_problem():
    rng = np.random.default_rng(0)
    x = rng.normal(3, 2, (900, 4))
    y = rng.random((900, 1)) < 1 / (1 + np.exp(6 - 2 * x[:, :1]))
    return x, y, np.arange(900) < 600


def sklearn_logits(x, y, train, penalty):
    scaled = (x - x[train].mean(0)) / x[train].std(0)
    fit = LogisticRegression(C=1 / penalty, tol=1e-10).fit(scaled[train], y[train, 0])
    return fit.decision_function(scaled)


def test_a_dense_probe_is_sklearn_s_with_penalty_ten():
    x, y, train = dense_problem()
    got = fit_dense_probe(x, y, train)[:, 0]
    assert got == pytest.approx(sklearn_logits(x, y, train, 10), abs=0.02)
    for other in (1, 100, 1000):  # the comparison can fail
        assert np.abs(got - sklearn_logits(x, y, train, other)).max() > 0.2


def test_a_sparse_probe_takes_the_feature_of_the_largest_standardised_difference():
    """The means of the loud feature differ ten times as much, but it varies even more."""
    rng = np.random.default_rng(0)
    y = rng.random(900) < 0.5
    informative = 1 + 0.5 * y + 0.1 * rng.random(900)
    loud = 100 * rng.random(900) + 5 * y
    classes = sp.csr_array(y[:, None].astype(float))
    rows = RowClasses(
        classes, held=np.arange(900) >= 600, duplicate_group=np.arange(900)
    )
    found = sparse_probes(
        sp.csc_array(np.column_stack([loud, informative])), rows, ks=[1]
    )
    assert found["probe_auc@1"].value == pytest.approx(1)
    alone = sparse_probes(sp.csc_array(loud[:, None]), rows, ks=[1])
    assert alone["probe_auc@1"].value < 0.7


def test_a_feature_that_is_always_active_is_standardised_by_its_own_deviation():
    """Summed in float32, squares near 64 hide a deviation of 0.016."""
    rng = np.random.default_rng(0)
    y = rng.random(20_000) < 0.5
    always = 8 + y / 32
    sometimes = rng.random(20_000) < np.where(y, 0.7, 0.3)
    x = sp.csc_array(np.column_stack([sometimes, always]).astype(np.float32))
    classes = sp.csr_array(y[:, None].astype(float))
    each_alone = np.arange(20_000)
    rows = RowClasses(classes, held=each_alone >= 15_000, duplicate_group=each_alone)
    assert sparse_probes(x, rows, ks=[1])["probe_auc@1"].value == pytest.approx(1)
