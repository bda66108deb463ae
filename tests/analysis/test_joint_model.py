"""The joint model: chosen on the training rows, fitted and scored on the held-out ones."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import r2_score, roc_auc_score

from nanosae.analysis.contrast import contrast
from nanosae.analysis.explain import explain
from nanosae.analysis.splits import held_out
from small_corpora import active_with_target

HELD = held_out(np.arange(2000), 0.5, 0)


@pytest.fixture
def active():
    return np.random.default_rng(0).random((2000, 12)) < 0.25


def test_of_a_number_it_is_least_squares_on_the_held_out_rows(tmp_path, active):
    y = active @ np.r_[1.0, -1.0, 0.5, np.zeros(9)] + np.random.default_rng(1).uniform(
        size=2000
    )
    result = explain(active_with_target(tmp_path, active, y), "y")
    chosen = result.model["feature"].to_numpy()
    assert {0, 1, 2} <= set(chosen)
    y = np.clip(y, *np.quantile(y, [0.01, 0.99]))
    x = active[:, chosen].astype(float)
    fit = LinearRegression().fit(x[HELD], y[HELD])
    np.testing.assert_allclose(result.model["coefficient"], fit.coef_, atol=1e-5)
    score = result.scores.iloc[0]
    other = LinearRegression().fit(x[~HELD], y[~HELD])
    assert np.abs(other.coef_ - fit.coef_).max() > 1e-3  # the parts can be told apart
    assert score["features"] == pytest.approx(
        r2_score(y[HELD], other.predict(x[HELD])), abs=1e-5
    )
    assert score["n_features"] == len(chosen)


def test_of_a_group_it_is_logistic_regression_on_the_held_out_rows(tmp_path, active):
    logit = active @ np.r_[2.0, -2.0, 1.0, np.zeros(9)] - 0.5
    y = np.random.default_rng(2).random(2000) < 1 / (1 + np.exp(-logit))
    result = contrast(active_with_target(tmp_path, active, y), True, by="y")
    chosen = result.model["feature"].to_numpy()
    x = active[:, chosen].astype(float)
    fit, other = (
        LogisticRegression(C=np.inf, tol=1e-9, max_iter=1000).fit(x[part], y[part])
        for part in (HELD, ~HELD)
    )
    np.testing.assert_allclose(
        result.model["coefficient"], fit.coef_[0], rtol=0.01, atol=1e-3
    )
    p = fit.predict_proba(x[HELD])[:, 1]
    design = np.column_stack([np.ones(HELD.sum()), x[HELD]])
    error = np.sqrt(np.diag(np.linalg.inv((design.T * (p * (1 - p))) @ design)))[1:]
    width = result.model["high"] - result.model["low"]
    np.testing.assert_allclose(width, 2 * 1.959964 * error, rtol=0.01)
    auc = roc_auc_score(y[HELD], other.decision_function(x[HELD]))
    assert result.scores.iloc[0]["features"] == pytest.approx(auc, abs=1e-3)
    assert result.scores.iloc[0]["covariates"] == 0.5


def test_it_has_at_most_so_many_features(tmp_path, active):
    y = active[:, :8].sum(1) + np.random.default_rng(1).uniform(size=2000)
    result = explain(active_with_target(tmp_path, active, y), "y", n_select=3)
    assert len(result.findings) == 8
    assert result.scores.iloc[0]["n_features"] == len(result.model) == 3


def within(values, stratum):
    """Deviations from the stratum's mean."""
    means = np.array([values[stratum == s].mean() for s in (0, 1)])
    return values - means[stratum]


def test_its_first_feature_correlates_most_within_strata(tmp_path):
    """The stratum decides feature 0 almost alone, so that little of its variance is within."""
    rng = np.random.default_rng(3)
    stratum = rng.integers(0, 2, 2000)
    active = np.zeros((2000, 2))
    active[:, 0] = rng.random(2000) < np.where(stratum, 0.95, 0.05)
    active[:, 1] = rng.random(2000) < 0.5
    y = 5 * stratum + 1.6 * active[:, 0] + 0.6 * active[:, 1] + rng.uniform(size=2000)
    codes = active_with_target(tmp_path, active, y, stratum=stratum.astype(str))
    result = explain(codes, "y", covariates=["stratum"], n_select=1)
    part = ~HELD
    y = within(np.clip(y, *np.quantile(y, [0.01, 0.99]))[part], stratum[part])
    x = np.column_stack([within(column[part], stratum[part]) for column in active.T])
    r = np.abs([np.corrcoef(column, y)[0, 1] for column in x.T])
    crude = np.abs(x.T @ y) / np.sqrt(active[part].var(0))
    assert r.argmax() != crude.argmax()  # strata make the difference
    assert result.model["feature"].tolist() == [r.argmax()]
