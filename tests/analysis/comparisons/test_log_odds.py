"""Log-odds models against Haldane, Woolf, Fisher and logistic regressions."""

import numpy as np
import pytest
from scipy.stats import chi2, fisher_exact, hypergeom
from scipy.stats.contingency import odds_ratio
from sklearn.linear_model import LogisticRegression

from nanosae.analysis.comparisons.log_odds import fit_log_odds

LEVELS = np.array([0.0, 1.0])


def first_of(fit):
    """Slope, error and likelihood ratio of the first feature."""
    return float(fit.slope[0]), float(fit.error[0]), float(fit.likelihood_ratio[0])


def fit(a, m, n1, n0):
    """One feature, one cell: on in `a` of `n1` rows of the group, in `m` rows in all."""
    n = np.array([[[n0, n1]]], float)
    return first_of(fit_log_odds(np.array([a]), np.array([[m]]), n, LEVELS))


@pytest.mark.parametrize(
    ("a", "m", "n1", "n0"), [(7, 20, 60, 90), (0, 12, 40, 50), (9, 9, 30, 30)]
)
def test_one_cell_is_haldane_anscombe_and_woolf(a, m, n1, n0):
    beta, error, _ = fit(a, m, n1, n0)
    cells = np.array([a, m - a, n1 - a, n0 - (m - a)]) + 0.5
    assert beta == pytest.approx(
        np.log(cells[0] * cells[3] / (cells[1] * cells[2])), rel=1e-6
    )
    assert error == pytest.approx(np.sqrt((1 / cells).sum()), rel=1e-5)


def test_the_correction_is_small_beside_the_conditional_estimate():
    a, m, n1, n0 = 40, 60, 200, 300
    outside = odds_ratio([[a, m - a], [n1 - a, n0 - (m - a)]])
    low, high = outside.confidence_interval(0.95)
    beta, error, _ = fit(a, m, n1, n0)
    assert beta == pytest.approx(np.log(outside.statistic), abs=0.03)
    assert beta - 1.96 * error == pytest.approx(np.log(low), abs=0.1)
    assert beta + 1.96 * error == pytest.approx(np.log(high), abs=0.1)


@pytest.mark.parametrize(
    ("n1", "n0", "m"), [(500, 500, 10), (50, 950, 30), (20, 9980, 100)]
)
def test_p_is_never_bold_and_close_to_fisher(n1, n0, m):
    """Size of the test under the exact null distribution; the score test is the bold twin."""
    a = np.arange(max(0, m - n0), min(m, n1) + 1)
    n = np.broadcast_to([[n0, n1]], (len(a), 1, 2)).astype(float)
    fitted = fit_log_odds(a.astype(float), np.full((len(a), 1), float(m)), n, LEVELS)
    p = chi2.sf(fitted.likelihood_ratio, 1)
    weight = hypergeom.pmf(a, n0 + n1, m, n1)
    expected, variance = m * n1 / (n0 + n1), hypergeom.var(n0 + n1, m, n1)
    score = chi2.sf((a - expected) ** 2 / variance, 1)
    bold = []
    for level in (0.05, 1e-3, 1e-5):
        assert weight[p <= level].sum() <= level
        bold.append(weight[score <= level].sum() > level)
    assert any(bold) or n1 == n0
    fisher = [fisher_exact([[x, m - x], [n1 - x, n0 - m + x]])[1] for x in a]
    tail = (a > expected) & (np.array(fisher) > 1e-9)
    assert (np.abs(np.log10(p[tail]) - np.log10(np.array(fisher)[tail])) < 1.2).all()


def test_several_cells_are_a_logistic_regression_with_cells():
    rng = np.random.default_rng(0)
    cell, group = rng.integers(0, 4, 4000), rng.random(4000) < 0.4
    on = rng.random(4000) < 1 / (1 + np.exp(2 - 0.5 * cell - 0.8 * group))
    x = np.column_stack([group, np.eye(4)[cell]])
    outside = LogisticRegression(
        C=np.inf, fit_intercept=False, max_iter=1000, tol=1e-8
    ).fit(x, on)
    p = outside.predict_proba(x)[:, 1]
    error = np.sqrt(np.linalg.inv((x.T * (p * (1 - p))) @ x)[0, 0])
    null = LogisticRegression(
        C=np.inf, fit_intercept=False, max_iter=1000, tol=1e-8
    ).fit(x[:, 1:], on)
    q = null.predict_proba(x[:, 1:])[:, 1]
    ratio = 2 * (np.log(np.where(on, p, 1 - p)) - np.log(np.where(on, q, 1 - q))).sum()

    active = np.array([[(on & (cell == s)).sum() for s in range(4)]], float)
    n = np.array(
        [
            [
                [(~group & (cell == s)).sum(), (group & (cell == s)).sum()]
                for s in range(4)
            ]
        ]
    )
    total = np.array([(on & group).sum()], float)
    beta, got_error, got_ratio = first_of(fit_log_odds(total, active, n * 1.0, LEVELS))
    assert beta == pytest.approx(outside.coef_[0, 0], abs=0.01)
    assert got_error == pytest.approx(error, rel=0.01)
    # half a text moved towards no effect
    assert got_ratio == pytest.approx(ratio, rel=0.03)
    crude = fit(total[0], active.sum(), n[..., 1].sum(), n[..., 0].sum())[0]
    assert abs(crude - outside.coef_[0, 0]) < 0.2  # cells are balanced here


def test_ignoring_cells_is_rejected_where_they_matter():
    """Simpson's paradox: in each cell the odds are equal, pooled they are not."""
    active, n = np.array([[90.0, 10.0]]), np.array([[[20.0, 160.0], [160.0, 20.0]]])
    beta, error, ratio = first_of(fit_log_odds(np.array([81.0]), active, n, LEVELS))
    assert abs(beta) < 0.1 * error * 10
    assert chi2.sf(ratio, 1) > 0.5
    pooled = fit(81, 100, 180, 180)
    assert chi2.sf(pooled[2], 1) < 1e-6


def test_trend_is_a_logistic_regression_on_time():
    rng = np.random.default_rng(1)
    time = rng.integers(0, 6, 5000).astype(float)
    on = rng.random(5000) < 1 / (1 + np.exp(3 - 0.3 * time))
    outside = LogisticRegression(C=np.inf, max_iter=1000, tol=1e-8).fit(
        time[:, None], on
    )
    n = np.bincount(time.astype(int)).astype(float)[None, None]
    active, total = np.array([[on.sum()]], float), np.array([time[on].sum()])
    beta, error, _ = first_of(fit_log_odds(total, active, n, np.arange(6.0)))
    assert beta == pytest.approx(outside.coef_[0, 0], abs=0.003)
    assert 0.3 - 3 * error < beta < 0.3 + 3 * error
