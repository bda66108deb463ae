"""Estimates, regression and false discovery rates against outside oracles."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

from nanosae.analysis.statistics import mean_estimate, regress


def test_regression_agrees_with_sklearn():
    rng = np.random.default_rng(0)
    x = np.column_stack([np.ones(500), rng.normal(size=(500, 3))])
    y = (rng.random(500) < 1 / (1 + np.exp(-x @ [0.2, 1, -1, 0]))).astype(float)
    weight = rng.integers(1, 4, 500).astype(float)
    outside = LogisticRegression(C=1.0, fit_intercept=False, tol=1e-10, max_iter=1000)
    outside.fit(x, y, sample_weight=weight)
    beta, _ = regress(x, y, weight, ridge=1.0)
    assert beta == pytest.approx(outside.coef_[0], abs=1e-4)
    unweighted = regress(x, y, np.ones(500), ridge=1.0)[0]
    assert np.abs(unweighted - outside.coef_[0]).max() > 1e-3
    line = LinearRegression(fit_intercept=False).fit(x, y, sample_weight=weight)
    assert regress(x, y, weight, linear=True)[0] == pytest.approx(line.coef_, abs=1e-4)


def test_mean_has_the_usual_interval():
    values = np.random.default_rng(0).normal(size=200)
    summary = mean_estimate(values)
    assert summary.high - summary.value == pytest.approx(1.96 * values.std() / 200**0.5, rel=1e-3)
    assert np.isnan(mean_estimate([]).value)
