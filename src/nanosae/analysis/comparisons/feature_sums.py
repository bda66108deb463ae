"""Sufficient statistics of a comparison, and the score test computed from them.

One sparse product gives the sums over rows for all features, strata and targets. Features enter as
indicators: only whether a feature is active counts, not how strongly.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp

from nanosae.analysis.comparisons.compared import Compared
from nanosae.progress import tracked

BLOCK = 1 << 17  # rows read at a time
TINY = 1e-300  # avoids division by zero for features that never vary
ROUNDING = 1e-11  # relative error of a sum: smaller differences count as 0


@dataclass(frozen=True, eq=False)
class FeatureSums:
    """Sums over rows, with F features (and topics), S strata and C targets.

    Rows are weighted so that each duplicate group counts as one row.

    Attributes:
        rows: The rows, (n,).
        target: Values of the targets, csr_array (n, C).
        strata: Stratum of each row, one-hot, csr_array (n, S).
        weight: Weight of each row, (n,).
        n_rows: Weighted number of rows by stratum, (S,).
        n_active: Weighted number of rows on which each feature is active, by stratum, csr_array
            (F, S): with many strata, each has few of the features.
        target_sum: Weighted sum of the targets by stratum, (S, C).
        active_target_sum: Weighted sum of the targets over the rows on which each feature is
            active, (F, C).
        target_squares: Weighted squared deviations of the targets from the stratum means, (S, C).
    """

    rows: np.ndarray
    target: Any
    strata: Any
    weight: np.ndarray
    n_rows: np.ndarray
    n_active: sp.csr_array
    target_sum: np.ndarray
    active_target_sum: np.ndarray
    target_squares: np.ndarray

    @property
    def n_independent(self) -> float:
        """Number of rows, each duplicate group counted once."""
        return self.n_rows.sum()

    @cached_property
    def active_squares(self) -> sp.csr_array:
        """Squared deviations of the feature indicators from the stratum means, csr_array (F, S).

        Exactly 0 in strata in which a feature is active on all rows or on none.
        """
        n_active = self.n_active.data
        n_rows = self.n_rows[self.n_active.indices]
        n_inactive = n_rows - n_active
        varies = n_inactive > ROUNDING * n_rows
        squares = np.where(varies, n_active * n_inactive / n_rows, 0)
        entries = (squares, self.n_active.indices, self.n_active.indptr)
        return sp.csr_array(entries, shape=self.n_active.shape)

    @cached_property
    def co_deviation(self) -> np.ndarray:
        """Sum over rows of the product of the indicator's and the target's deviations, (F, C)."""
        target_mean = self.target_sum / self.n_rows[:, None]
        return self.active_target_sum - self.n_active @ target_mean

    @cached_property
    def z(self) -> np.ndarray:
        """Score statistic of each feature against each target, (F, C).

        `co_deviation` divided by its standard error under permutation of the rows within strata:
        Mantel's score test (J. Am. Stat. Assoc. 58 (1963) 690), which for groups is the
        Cochran-Mantel-Haenszel test. 0 where in every stratum the feature or the target is
        constant.
        """
        degrees_of_freedom = np.maximum(self.n_rows - 1, 1)
        target_variance = self.target_squares / degrees_of_freedom[:, None]
        variance = self.active_squares @ target_variance
        score = self.co_deviation / np.sqrt(variance + TINY)
        return np.where(variance > 0, score, 0)

    @cached_property
    def r(self) -> np.ndarray:
        """Correlation of the feature indicators with the targets within strata, (F, C)."""
        active_squares = self.active_squares.sum(1)
        target_squares = self.target_squares.sum(0)
        both_squares = np.outer(active_squares, target_squares)
        return self.co_deviation / np.sqrt(both_squares + TINY)


def feature_sums(
    compared: Compared,
    rows: np.ndarray,
    target: Any,
    strata: Any,
    weight: np.ndarray,
) -> FeatureSums:
    """Compute the sums for all features; see `FeatureSums` for the arguments."""
    weighted_strata: Any = strata.multiply(weight[:, None]).tocsr()
    weighted_target = target.multiply(weight[:, None])
    counted: Any = sp.hstack([weighted_strata, weighted_target], format="csr")
    sums = sums_where_active(compared, rows, counted)
    n_strata = strata.shape[1]
    n_rows = np.maximum(weighted_strata.sum(0), 1e-9)
    target_sum = (weighted_strata.T @ target).toarray()
    target_mean = target_sum / n_rows[:, None]
    raw_squares = (weighted_strata.T @ target.power(2)).toarray()
    target_squares = raw_squares - target_sum * target_mean
    varies = target_squares > ROUNDING * raw_squares
    return FeatureSums(
        rows=rows,
        target=target,
        strata=strata,
        weight=weight,
        n_rows=n_rows,
        n_active=sp.csr_array(sums[:, :n_strata]),
        target_sum=target_sum,
        active_target_sum=sums[:, n_strata:].toarray(),
        target_squares=np.where(varies, target_squares, 0),
    )


def active_indicators(compared: Compared, columns: np.ndarray) -> Any:
    """Return indicators of features or topics on all rows, csr_array (n_rows, n) of 0.0 and 1.0."""
    activations = compared.columns(columns).tocsr()
    return activations.astype(bool).astype(np.float64)


def dense_column(matrix: Any, column: int) -> np.ndarray:
    """Return one column of a sparse matrix as a dense vector."""
    return matrix[:, [column]].toarray()[:, 0]


def sums_where_active(compared: Compared, rows: np.ndarray, values: Any) -> Any:
    """Sum columns of `values` over the rows on which each feature is active.

    Returns:
        The sums, csr_array (F, columns).
    """
    sums: Any = sp.csr_array((compared.n_columns, values.shape[1]))
    for start in tracked(range(0, len(rows), BLOCK), "test features"):
        activations = compared.take(rows[start : start + BLOCK])
        active: Any = activations.astype(bool).astype(np.float64)
        sums = sums + sp.csr_array(active.T @ values[start : start + BLOCK])
    return sums
