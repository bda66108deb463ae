"""Estimates with confidence intervals, p-values, and false discovery rates.

Intervals have a confidence level of 95 %.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtr, stdtrit

from nanosae.analysis.columns import one_hot
from nanosae.lengths import unit

UPPER = 0.975  # level of the upper end of an interval
Z95 = 1.959964  # 97.5 % quantile of the standard normal distribution


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval.

    Attributes:
        value: The mean.
        low: Lower end of the interval; NaN if there is none.
        high: Upper end of the interval; NaN if there is none.
        n: Number of values (labels, features or rows) that were averaged.
    """

    value: float
    low: float
    high: float
    n: int


def directions_from(x: np.ndarray, centre: np.ndarray | float) -> np.ndarray:
    """Return the unit direction of each row from a centre; rows of zeros have none and stay zero.

    Rows of zeros come from embedders that are given nothing, such as an empty text.

    Example:
        >>> directions_from(np.array([[4.0, 4.0], [0.0, 0.0]]), np.array([1.0, 0.0])).tolist()
        [[0.6, 0.8], [0.0, 0.0]]
    """
    is_known = x.any(axis=1, keepdims=True)
    return unit(np.where(is_known, x - centre, 0))


def mean_row(x: np.ndarray) -> np.ndarray:
    """Return the mean of the rows that are not zero, (width,); zeros if there are none.

    Example:
        >>> mean_row(np.array([[1.0, 4.0], [0.0, 0.0], [3.0, 0.0]])).tolist()
        [2.0, 2.0]
    """
    n_known = np.count_nonzero(x.any(axis=1))
    return x.sum(axis=0) / max(n_known, 1)


def two_sided_p(z: np.ndarray) -> np.ndarray:
    """Return the two-sided p-values of standard normal scores.

    Example:
        >>> two_sided_p(np.array([0.0, -1.959964])).round(3).tolist()
        [1.0, 0.05]
    """
    return 2 * ndtr(-np.abs(z))


def false_discovery(p: Any) -> np.ndarray:
    """Return q-values: the lowest false discovery rate at which each hypothesis is rejected.

    Uses the step-up procedure of Benjamini and Hochberg (J. R. Stat. Soc. B 57 (1995) 289).

    Example:
        >>> false_discovery([0.01, 0.5]).tolist()
        [0.02, 0.5]
    """
    from scipy.stats import false_discovery_control

    if len(p) == 0:
        return np.zeros(0)
    return false_discovery_control(p)


def mean_estimate(values: Any) -> Estimate:
    """Average independent values, with an interval from Student's distribution; NaN for none.

    Example:
        >>> mean_estimate([1, 1, 4]).value, mean_estimate([3]).high
        (2.0, nan)
    """
    if len(values) == 0:
        values = [np.nan]
    values = np.asarray(values, dtype=np.float64)
    n_values = len(values)
    deviation = values - values.mean()
    influence = deviation[:, None] / n_values
    each_alone = np.arange(n_values)
    return clustered_mean(values, influence, each_alone)


def clustered_mean(
    values: np.ndarray, influence: np.ndarray, cluster: np.ndarray
) -> Estimate:
    """Average statistics of the same rows, with an interval that accounts for clusters of rows.

    The variance is that of the infinitesimal jackknife, the sum over clusters of the squared
    influence, to which the bootstrap over clusters converges (Efron, The Jackknife, the Bootstrap
    and Other Resampling Plans, 1982, ch. 6). As n clusters may be few, it is multiplied by
    n / (n − 1), and the interval has Student's distribution with n − 1 degrees of freedom (Cameron
    and Miller, Journal of Human Resources 50 (2015) 317). A single cluster has no interval.

    Args:
        values: One statistic per column, (n_columns,).
        influence: Influence of each row on each statistic, divided by the number of rows,
            (n_rows, n_columns).
        cluster: Cluster of each row, int (n_rows,); rows of different clusters are independent.
    """
    cluster = np.unique(cluster, return_inverse=True)[1]
    cluster_influence = one_hot(cluster).T @ influence.mean(1)
    n_clusters = len(cluster_influence)
    margin = np.nan
    if n_clusters > 1:
        variance = (cluster_influence**2).sum() * n_clusters / (n_clusters - 1)
        margin = stdtrit(n_clusters - 1, UPPER) * float(np.sqrt(variance))
    value = float(values.mean())
    return Estimate(
        value=value,
        low=value - margin,
        high=value + margin,
        n=len(values),
    )
