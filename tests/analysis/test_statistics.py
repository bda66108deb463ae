"""Estimates, regression and false discovery rates against outside oracles."""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.linear_model import LinearRegression, LogisticRegression

from nanosae.analysis.statistics import (
    clustered_mean,
    false_discovery,
    mean_estimate,
    regress,
    two_sided_p,
)


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
    assert summary.high - summary.value == pytest.approx(
        1.96 * values.std() / 200**0.5, rel=1e-3
    )
    assert np.isnan(mean_estimate([]).value)
    single = mean_estimate([3.0])
    assert single.value == 3
    assert np.isnan([single.low, single.high]).all()


def test_p_is_two_sided():
    z = np.array([-3.0, -1.0, 0.0, 0.5, 4.0])
    assert two_sided_p(z) == pytest.approx(2 * norm.sf(np.abs(z)))


def test_q_is_the_step_up_procedure_by_hand():
    """Rejected are the i smallest p, with the largest i for which p_(i) ≤ i q ÷ n."""
    n = 40
    p = np.random.default_rng(0).random(n) ** 3
    rank = np.arange(1, n + 1)
    for level in (0.01, 0.05, 0.2):
        passes = np.flatnonzero(np.sort(p) <= level * rank / n)
        n_rejected = passes.max() + 1 if len(passes) else 0
        assert (false_discovery(p) <= level).sum() == n_rejected
    scaled = np.sort(p) * n / rank
    expected = [scaled[place:].min() for place in range(n)]
    assert np.sort(false_discovery(p)) == pytest.approx(expected)
    assert len(false_discovery([])) == 0


def test_clusters_widen_the_interval_as_much_as_they_repeat():
    values = np.random.default_rng(0).normal(size=100)
    alone = mean_estimate(values)
    influence = (np.repeat(values, 4) - values.mean())[:, None] / 400
    clustered = clustered_mean(
        np.array([values.mean()]), influence, np.repeat(np.arange(100), 4)
    )
    assert clustered.high - clustered.value == pytest.approx(alone.high - alone.value)
