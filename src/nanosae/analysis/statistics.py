"""Estimates with intervals, regression and false discovery rates, as the analyses need them.

Intervals hold 95 %. Everything is float64 and takes many columns at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit, ndtr

from nanosae.analysis.columns import one_hot

Z95 = 1.959964  # 97.5 % quantile of the standard normal distribution
MAX_NEWTON_STEPS = 50


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval.

    Attributes:
        value: The mean.
        low: Lower end of the interval; NaN if it has none.
        high: Upper end.
        n: Number of values (labels, features, rows) that it is the mean of.
    """

    value: float
    low: float
    high: float
    n: int


def unit(x: np.ndarray) -> np.ndarray:
    """Scale rows to length 1; zero rows stay zero.

    Example:
        >>> unit(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
        [[0.6, 0.8], [0.0, 0.0]]
    """
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.where(norms > 0, norms, 1)


def two_sided_p(z: np.ndarray) -> np.ndarray:
    """Return the two-sided p of standard normal scores (Wald's test).

    Example:
        >>> two_sided_p(np.array([0.0, -1.959964])).round(3).tolist()
        [1.0, 0.05]
    """
    return 2 * ndtr(-np.abs(z))


def false_discovery(p: Any) -> np.ndarray:
    """Return q, the false discovery rate at which each hypothesis is rejected.

    The step-up procedure of Benjamini and Hochberg, J. R. Stat. Soc. B 57 (1995) 289.

    Args:
        p: p-values, (n,); n may be 0.

    Returns:
        q, (n,).

    Example:
        >>> false_discovery([0.01, 0.5]).tolist()
        [0.02, 0.5]
    """
    from scipy.stats import false_discovery_control

    return false_discovery_control(p) if len(p) else np.zeros(0)


def regress(
    x: np.ndarray,
    y: np.ndarray,
    weight: np.ndarray,
    *,
    linear: bool = False,
    ridge: float | np.ndarray = 1e-3,
) -> tuple[np.ndarray, np.ndarray]:
    """Fit weighted least squares, or logistic regression by Newton's method.

    Newton's method for the logistic likelihood is iteratively reweighted least squares (McCullagh
    and Nelder, Generalized Linear Models, 1989, §2.5).

    Args:
        x: Design matrix, (n, d); a constant is a column like any other.
        y: Outcome, (n,); 0 or 1 if logistic.
        weight: How often each row counts, (n,).
        linear: Least squares instead of logistic regression.
        ridge: Penalty Σ ridge ÷ 2 · β², one for all coefficients or one for each, (d,); a small one
            keeps the coefficient of a constant column finite.

    Returns:
        Coefficients β and their standard errors, each (d,).
    """
    if linear:
        return _least_squares(x, y, weight, ridge)
    return _logistic(x, y, weight, ridge)


def _least_squares(
    x: np.ndarray, y: np.ndarray, weight: np.ndarray, ridge: float | np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Solve the normal equations, with one step of iterative refinement."""
    n_columns = x.shape[1]
    inverse = np.linalg.inv((x.T * weight) @ x + ridge * np.eye(n_columns))
    beta = np.zeros(n_columns)
    for _ in range(2):
        step = inverse @ (x.T @ (weight * (y - x @ beta)) - ridge * beta)
        beta += step
        if np.abs(step).max() < 1e-6:
            break
    degrees_of_freedom = max(weight.sum() - n_columns, 1)
    residual_variance = (weight * (y - x @ beta) ** 2).sum() / degrees_of_freedom
    return beta, np.sqrt(residual_variance * np.diag(inverse))


def _logistic(
    x: np.ndarray, y: np.ndarray, weight: np.ndarray, ridge: float | np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Maximise the penalised likelihood by Newton steps of at most 5 in any coefficient."""
    penalty = ridge * np.eye(x.shape[1])
    beta = np.zeros(x.shape[1])
    inverse = penalty
    for _ in range(MAX_NEWTON_STEPS):
        mean = expit(x @ beta)
        information = (x.T * (weight * mean * (1 - mean))) @ x + penalty
        inverse = np.linalg.inv(information)
        step = inverse @ (x.T @ (weight * (y - mean)) - ridge * beta)
        beta += np.clip(step, -5, 5)
        if np.abs(step).max() < 1e-6:
            break
    return beta, np.sqrt(np.diag(inverse))


def mean_estimate(values: Any) -> Estimate:
    """Average independent values, with the interval of the normal approximation.

    Args:
        values: Numbers, (n,); of none the mean is NaN.

    Example:
        >>> mean_estimate([1, 1, 4]).value
        2.0
    """
    if len(values) == 0:
        values = [np.nan]
    values = np.asarray(values, dtype=np.float64)
    influence = (values - values.mean())[:, None] / len(values)
    return clustered_mean(values, influence, np.arange(len(values)))


def clustered_mean(
    values: np.ndarray, influence: np.ndarray, cluster: np.ndarray
) -> Estimate:
    """Average statistics of the same rows, with an interval that respects clusters of rows.

    The variance is that of the infinitesimal jackknife (Efron, The Jackknife, the Bootstrap and
    Other Resampling Plans, 1982, ch. 6), to which the bootstrap over clusters converges: the sum
    over clusters of the squared influence.

    Args:
        values: One statistic per column, (n_columns,).
        influence: Influence of each row on each statistic, already divided by the number of rows,
            (n_rows, n_columns).
        cluster: Which rows are not independent of each other, int (n_rows,).
    """
    cluster = np.unique(cluster, return_inverse=True)[1]
    cluster_influence = one_hot(cluster).T @ influence.mean(1)
    value = float(values.mean())
    margin = Z95 * float(np.sqrt((cluster_influence**2).sum()))
    return Estimate(value, value - margin, value + margin, len(values))
