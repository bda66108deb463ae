"""Regression with an intercept for each stratum against the dense fit of all its columns."""

import tracemalloc

import numpy as np
import pytest

from nanosae.analysis.columns import one_hot
from nanosae.analysis.comparisons.strata_fit import (
    CONSTANT_RIDGE,
    RIDGE,
    fit_in_strata,
)
from nanosae.analysis.statistics import regress


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
    ridge = np.full(dense.shape[1], RIDGE)
    ridge[0] = CONSTANT_RIDGE
    beta, _ = regress(dense - centre, target, weight, linear=linear, ridge=ridge)
    np.testing.assert_allclose(fit.of_columns, beta[-3:], rtol=1e-5, atol=1e-7)
    predicted = (dense - centre) @ beta
    np.testing.assert_allclose(fit.predict(columns, strata), predicted, atol=1e-5)
    no_penalty, _ = regress(dense - centre, target, weight, linear=linear, ridge=1.0)
    assert not np.allclose(fit.of_columns, no_penalty[-3:], rtol=1e-3)


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
