"""Estimates, regression and false discovery rates against outside oracles."""

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.special import expit
from scipy.stats import norm
from sklearn.linear_model import LinearRegression, LogisticRegression
from statsmodels.stats.weightstats import DescrStatsW

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


def hard_design(case, rng, n=400):
    """Return columns and coefficients for which plain Newton steps are too long."""
    one, a, b = np.ones(n), rng.normal(size=n), rng.normal(size=n)
    if case == "nearly separated":
        return np.c_[one, a], [0.0, 12.0]
    if case == "correlated":
        return np.c_[one, a, a + 1e-3 * b], [0.0, 2.0, 1.0]
    if case == "unequal scales":
        return np.c_[one, 1e4 * a, 1e-4 * b], [0.3, 2e-4, 1e4]
    if case == "far from 0":
        return np.c_[one, 1e7 + 1e6 * a], [-30.0, 3e-6]
    rare = (np.arange(n) < 20).astype(float)
    return np.c_[one, rare, a], [-3.5, 6.0, 0.5]


@pytest.mark.parametrize(
    "case", ["nearly separated", "correlated", "unequal scales", "far from 0", "rare"]
)
def test_hard_logistic_regressions_agree_with_statsmodels(case):
    rng = np.random.default_rng(0)
    x, coefficients = hard_design(case, rng)
    y = (rng.random(len(x)) < expit(x @ coefficients)).astype(float)
    weight = rng.integers(1, 4, len(x)).astype(float)
    outside = sm.GLM(y, x, sm.families.Binomial(), freq_weights=weight)
    outside = outside.fit(maxiter=200, tol=1e-12)
    assert outside.converged
    beta, error = regress(x, y, weight, ridge=1e-16)
    assert beta == pytest.approx(outside.params, rel=1e-4)
    assert error == pytest.approx(outside.bse, rel=1e-4)


def test_separated_classes_have_the_coefficients_that_the_penalty_allows():
    x = np.c_[np.ones(50), 1e3 + np.r_[np.arange(25), np.arange(30, 55)]]
    y = np.repeat([0.0, 1.0], 25)
    ridge = np.array([1e-9, 1e-6])
    beta, _ = regress(x, y, np.ones(50), ridge=ridge)
    assert ((x @ beta > 0) == y).all()
    slope_of_loss = x.T @ (expit(x @ beta) - y) + ridge * beta
    deviations = np.array([1.0, x[:, 1].max()])
    assert np.abs(slope_of_loss / deviations).max() < 1e-6


@pytest.mark.parametrize("n", [2, 5, 200])
def test_mean_has_the_usual_interval(n):
    values = np.random.default_rng(0).normal(size=n)
    summary = mean_estimate(values)
    expected = DescrStatsW(values).tconfint_mean()
    assert (summary.low, summary.high) == pytest.approx(expected)


def test_no_value_and_one_value_have_no_interval():
    assert np.isnan(mean_estimate([]).value)
    single = mean_estimate([3.0])
    assert single.value == 3
    assert np.isnan([single.low, single.high]).all()


@pytest.mark.parametrize("n_clusters", [4, 60])
def test_the_interval_of_clustered_rows_agrees_with_statsmodels(n_clusters):
    rng = np.random.default_rng(0)
    cluster = rng.integers(0, n_clusters, 300)
    values = rng.normal(size=n_clusters)[cluster] + rng.normal(size=300)
    influence = (values - values.mean())[:, None] / 300
    ours = clustered_mean(np.array([values.mean()]), influence, cluster)
    model = sm.OLS(values, np.ones(300))
    outside = model.fit(cov_type="cluster", cov_kwds={"groups": cluster}, use_t=True)
    assert (ours.low, ours.high) == pytest.approx(outside.conf_int()[0])


def test_intervals_of_few_values_cover_the_mean():
    rng = np.random.default_rng(0)
    samples = rng.normal(size=(2000, 5))
    estimates = [mean_estimate(sample) for sample in samples]
    covered = np.mean([estimate.low <= 0 <= estimate.high for estimate in estimates])
    assert 0.935 <= covered <= 0.965
    normal = 1.96 * samples.std(1) / 5**0.5  # too narrow
    assert np.mean(np.abs(samples.mean(1)) <= normal) < 0.85


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
