"""Probes against sklearn."""

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.linear_model import LogisticRegression

from nanosae.analysis.probes import LabelledRows, fit_dense_probe, fit_sparse_probe, sparse_probes


def test_a_sparse_probe_is_sklearns_logistic_regression():
    rng = np.random.default_rng(0)
    x = rng.random((900, 3)) * (rng.random((900, 3)) < 0.2)
    y = rng.random(900) < np.where(x[:, 0] > 0, 0.8, 0.1)
    train = np.arange(900) < 600
    scaled = np.column_stack([np.ones(900), x / x[train].std(0)])
    outside, other = (
        LogisticRegression(C=1.0, fit_intercept=False, tol=1e-10).fit(scaled[rows], y[rows])
        for rows in (train, ~train)
    )
    got = fit_sparse_probe(x, y, train)
    assert got == pytest.approx(outside.decision_function(scaled), abs=1e-3)
    assert np.abs(got - other.decision_function(scaled)).max() > 0.1


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
    labels = sp.csr_array(y[:, None].astype(float))
    rows = LabelledRows(labels, held=np.arange(900) >= 600, duplicate_group=np.arange(900))
    found = sparse_probes(sp.csc_array(np.column_stack([loud, informative])), rows, ks=[1])
    assert found["probe_auc@1"].value == pytest.approx(1)
    alone = sparse_probes(sp.csc_array(loud[:, None]), rows, ks=[1])
    assert alone["probe_auc@1"].value < 0.7
