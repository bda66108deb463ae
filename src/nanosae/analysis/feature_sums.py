"""Sums over rows, for all features, strata and targets, and the score test on them.

They are all that a comparison needs of the rows, and come from one sparse product. Only whether a
feature is active counts, not how strongly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from nanosae.analysis.compared import Compared
from nanosae.progress import tracked

BLOCK = 1 << 17  # rows read at a time
TINY = 1e-300  # keeps a feature that never varies from dividing by zero


@dataclass(frozen=True, eq=False)
class FeatureSums:
    """Sums over rows, with F features (topics are some, too), S strata and C targets.

    Every row counts with its weight: a duplicate group counts as one row.

    Attributes:
        rows: The rows, (n,).
        target: Values of the targets, csr_array (n, C).
        strata: Stratum of each row, one-hot, csr_array (n, S).
        weight: Weight of each row, (n,).
        n_rows: Weighted rows by stratum, (S,).
        n_active: Weighted rows on which each feature is active, (F, S).
        target_sum: Weighted sum of the targets by stratum, (S, C).
        active_target_sum: The same over the rows on which a feature is active, (F, C).
        target_squares: Squared deviations of the targets from their stratum's mean, (S, C).
        active_squares: Squared deviations of "is active", (F, S).
        co_deviation: Sum of the products of both deviations, over all strata, (F, C).
        z: co_deviation over its standard error when the rows of a stratum are shuffled, (F, C).
        r: Correlation of "is active" with the target within strata, (F, C).
    """

    rows: np.ndarray
    target: Any
    strata: Any
    weight: np.ndarray
    n_rows: np.ndarray
    n_active: np.ndarray
    target_sum: np.ndarray
    active_target_sum: np.ndarray
    target_squares: np.ndarray
    active_squares: np.ndarray
    co_deviation: np.ndarray
    z: np.ndarray
    r: np.ndarray

    @property
    def n_independent(self) -> float:
        """Number of rows, a duplicate group counted as one."""
        return self.n_rows.sum()


def feature_sums(
    compared: Compared,
    rows: np.ndarray,
    target: Any,
    strata: Any,
    weight: np.ndarray,
) -> FeatureSums:
    """Sum over rows for every feature, and test each against each target.

    The score test is Mantel's (J. Am. Stat. Assoc. 58 (1963) 690); for classes it is that of
    Cochran, Mantel and Haenszel.

    Args:
        compared: Features and topics.
        rows: The rows, (n,).
        target: One or more targets, csr_array (n, C).
        strata: Stratum of each row, one-hot, csr_array (n, S).
        weight: 1 ÷ size of each row's duplicate group, (n,).
    """
    weighted_strata: Any = strata.multiply(weight[:, None]).tocsr()
    weighted_target = target.multiply(weight[:, None])
    counted: Any = sp.hstack([weighted_strata, weighted_target], format="csr")
    sums = sums_where_active(compared, rows, counted)
    n_strata = strata.shape[1]
    n_active = sums[:, :n_strata]
    active_target_sum = sums[:, n_strata:]

    n_rows = np.maximum(weighted_strata.sum(0), 1e-9)
    target_sum = (weighted_strata.T @ target).toarray()
    target_mean = target_sum / n_rows[:, None]
    raw_squares = (weighted_strata.T @ target.power(2)).toarray()
    target_squares = np.maximum(raw_squares - target_sum * target_mean, 0)
    active_squares = n_active * (n_rows - n_active) / n_rows

    co_deviation = active_target_sum - n_active @ target_mean
    target_variance = target_squares / np.maximum(n_rows - 1, 1)[:, None]
    z = co_deviation / np.sqrt(active_squares @ target_variance + TINY)
    both_squares = np.outer(active_squares.sum(1), target_squares.sum(0))
    r = co_deviation / np.sqrt(both_squares + TINY)
    return FeatureSums(
        rows=rows,
        target=target,
        strata=strata,
        weight=weight,
        n_rows=n_rows,
        n_active=n_active,
        target_sum=target_sum,
        active_target_sum=active_target_sum,
        target_squares=target_squares,
        active_squares=active_squares,
        co_deviation=co_deviation,
        z=z,
        r=r,
    )


def active_indicators(compared: Compared, columns: np.ndarray) -> Any:
    """Return which rows have features or topics, csr_array (n_rows, n) of float64 0 and 1."""
    activations = compared.columns(columns).tocsr()
    return activations.astype(bool).astype(np.float64)


def dense_column(matrix: Any, column: int) -> np.ndarray:
    """Return one column of a sparse matrix, dense."""
    return matrix[:, [column]].toarray()[:, 0]


def sums_where_active(compared: Compared, rows: np.ndarray, values: Any) -> np.ndarray:
    """Sum columns of values over the rows on which each feature is active, (F, columns)."""
    sums = np.zeros((compared.n_columns, values.shape[1]))
    for start in tracked(range(0, len(rows), BLOCK), "test features"):
        activations = compared.take(rows[start : start + BLOCK])
        active: Any = activations.astype(bool).astype(np.float64)
        sums += (active.T @ values[start : start + BLOCK]).toarray()
    return sums
