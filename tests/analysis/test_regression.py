"""Regression against sklearn, statsmodels and the dense fit of all columns and strata."""

import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp
import statsmodels.api as sm
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.linear_model import LinearRegression, LogisticRegression

from nanosae.analysis.columns import one_hot
from nanosae.analysis.regression import CONSTANT_RIDGE, RIDGE, fit_in_strata


def fit_without_strata(columns, target, weight, **options):
    """Return the constant and the coefficients."""
    no_strata = sp.csr_array((len(columns), 0))
    fit = fit_in_strata(columns, no_strata, target, weight, **options)
    return np.r_[fit.constant, fit.of_columns]


def test_it_agrees_with_sklearn():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 3))
    y = (rng.random(500) < expit(0.2 + x @ [1, -1, 0])).astype(float)
    weight = rng.integers(1, 4, 500).astype(float)
    outside = LogisticRegression(C=1.0, tol=1e-10, max_iter=1000)
    outside.fit(x, y, sample_weight=weight)
    expected = np.r_[outside.intercept_, outside.coef_[0]]
    beta = fit_without_strata(x, y, weight, linear=False, ridge=1.0)
    assert beta == pytest.approx(expected, abs=1e-4)
    unweighted = fit_without_strata(x, y, np.ones(500), linear=False, ridge=1.0)
    assert np.abs(unweighted - expected).max() > 1e-3
    line = LinearRegression().fit(x, y, sample_weight=weight)
    beta = fit_without_strata(x, y, weight, linear=True)
    assert beta == pytest.approx(np.r_[line.intercept_, line.coef_], abs=1e-4)


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
    beta = fit_without_strata(x[:, 1:], y, weight, linear=False, ridge=1e-16)
    assert beta == pytest.approx(outside.params, rel=1e-4)


def test_separated_classes_have_the_coefficients_that_the_penalty_allows():
    x = 1e3 + np.r_[np.arange(25), np.arange(30, 55)][:, None]
    y = np.repeat([0.0, 1.0], 25)
    constant, slope = fit_without_strata(x, y, np.ones(50), linear=False, ridge=1e-6)
    predicted = constant + x[:, 0] * slope
    assert ((predicted > 0) == y).all()
    error = expit(predicted) - y
    assert abs(error.sum()) < 1e-6
    assert abs(x[:, 0] @ error + 1e-6 * slope) < 1e-6 * x.max()


def dense_fit(x, target, weight, linear, penalty):
    """Return the coefficients that a general optimiser finds."""

    def loss(beta):
        predicted = x @ beta
        logistic = np.logaddexp(0, predicted) - target * predicted
        losses = (target - predicted) ** 2 / 2 if linear else logistic
        return weight @ losses + penalty @ beta**2 / 2

    def gradient(beta):
        mean = x @ beta if linear else expit(x @ beta)
        return x.T @ (weight * (mean - target)) + penalty * beta

    def hessian(beta):
        mean = expit(x @ beta)
        curvature = weight if linear else weight * mean * (1 - mean)
        return (x.T * curvature) @ x + np.diag(penalty)

    start = np.zeros(x.shape[1])
    options = {"gtol": 1e-10}
    fit = minimize(loss, start, (), "trust-exact", gradient, hessian, options=options)
    return fit.x


def drawn(n_rows, n_strata, linear, n_columns=3, seed=0):
    rng = np.random.default_rng(seed)
    stratum = rng.integers(0, n_strata, n_rows)
    # one column is nearly constant, another in other units
    columns = rng.random((n_rows, n_columns)) * [1, 1e-3, 100] + [0, 50, 0]
    signal = 2 * columns[:, 0] + rng.normal(size=n_strata)[stratum]
    noise = rng.normal(size=n_rows)
    target = signal + noise if linear else 1.0 * (signal + noise > 1.5)
    weight = 1 / rng.integers(1, 4, n_rows)
    return columns, one_hot(stratum, n_strata), target, weight


@pytest.mark.parametrize("linear", [True, False])
@pytest.mark.parametrize("n_strata", [1, 2, 40])
def test_it_is_the_dense_fit(linear, n_strata):
    columns, strata, target, weight = drawn(300, n_strata, linear)
    fit = fit_in_strata(columns, strata, target, weight, linear=linear)
    dense = np.column_stack([np.ones(300), strata.toarray(), columns])
    centre = np.average(dense, axis=0, weights=weight)
    centre[0] = 0
    penalty = np.full(dense.shape[1], RIDGE)
    penalty[0] = CONSTANT_RIDGE
    beta = dense_fit(dense - centre, target, weight, linear, penalty)
    np.testing.assert_allclose(fit.of_columns, beta[-3:], rtol=1e-5, atol=1e-7)
    predicted = (dense - centre) @ beta
    np.testing.assert_allclose(fit.predict(columns, strata), predicted, atol=1e-5)
    other = dense_fit(dense - centre, target, weight, linear, np.ones_like(penalty))
    assert not np.allclose(fit.of_columns, other[-3:], rtol=1e-3)


@pytest.mark.parametrize("linear", [True, False])
def test_strata_with_equal_rows_have_equal_intercepts(linear):
    """Else the AUC would depend on the rounding of ties."""
    target = np.tile([0.0, 1, 1, 0, 0], 50)
    strata = one_hot(np.repeat(np.arange(50), 5))
    fit = fit_in_strata(np.zeros((250, 0)), strata, target, np.ones(250), linear=linear)
    assert len(set(fit.of_strata.tolist())) == 1
    expected = 0.4 if linear else np.log(2 / 3)
    assert fit.predict(np.zeros((1, 0)), strata[:1])[0] == pytest.approx(expected)


@pytest.mark.parametrize("linear", [True, False])
def test_a_stratum_without_rows_has_the_constant(linear):
    columns, strata, target, weight = drawn(200, 4, linear)
    strata.resize((200, 5))
    fit = fit_in_strata(columns, strata, target, weight, linear=linear)
    assert fit.of_strata[4] == 0


def test_rows_of_one_class_are_fitted():
    columns, strata, target, weight = drawn(100, 3, linear=False)
    fit = fit_in_strata(columns, strata, target * 0, weight, linear=False)
    assert (fit.predict(columns, strata) < -5).all()


def test_memory_does_not_grow_with_rows_times_strata():
    columns, strata, target, weight = drawn(10_000, 5000, linear=False)
    tracemalloc.start()
    fit_in_strata(columns, strata, target, weight, linear=False)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 0.05 * 8 * 10_000 * 5000
