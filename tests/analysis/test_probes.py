"""Probes against sklearn."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from nanosae.analysis.probes import fit_sparse_probe


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
