"""Effects of features on a target with standard errors and p-values, from sums over rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp
from scipy.special import chdtrc, ndtri, stdtr, stdtrit

from nanosae.analysis.classification import single_feature_auc
from nanosae.analysis.columns import one_hot
from nanosae.analysis.comparisons.compared import Compared
from nanosae.analysis.comparisons.feature_sums import (
    FeatureSums,
    dense_column,
    sums_where_active,
)
from nanosae.analysis.comparisons.log_odds import LogOdds, fit_log_odds, joined
from nanosae.analysis.statistics import Z95, two_sided_p

Kind = Literal["groups", "numeric", "trend"]
NO_AND_YES = np.array([0.0, 1.0])  # levels of membership of a group
MIN_ONE_MINUS_LEVERAGE = 1e-6  # for rows that determine their own prediction
TINY = 1e-300
BLOCK_CELLS = 2**22  # entries of candidates × strata × levels that are fitted at once
ROUNDING = 1e-9  # relative error of a count: smaller differences count as 0


@dataclass(frozen=True)
class Candidates:
    """Features or topics (columns of `Compared`), and the target of each, (K,)."""

    features: np.ndarray
    targets: np.ndarray


@dataclass(frozen=True)
class Effects:
    """Estimates for K candidates, not corrected for selection, each (K,).

    Attributes:
        effect: Log-odds ratio, log odds per unit of time, or difference in means.
        error: Its standard error; effect ± 1.96 · error is the usual 95 % interval.
        p: Two-sided p-value of "no effect".
        z: The standard normal score with this p-value and the sign of the effect.
        difference: What findings are ordered by: the difference in shares, their change over time,
            or the correlation.
        descriptive: Columns for the table: `share, share_rest, risk_difference` for groups,
            `share_change` for trends.
    """

    effect: np.ndarray
    error: np.ndarray
    p: np.ndarray
    z: np.ndarray
    difference: np.ndarray
    descriptive: dict[str, np.ndarray]


def effects(
    compared: Compared, sums: FeatureSums, kind: Kind, candidates: Candidates
) -> Effects:
    """Estimate the effect of each candidate, and test it."""
    if kind == "numeric":
        return _mean_differences(compared, sums, candidates.features)
    if kind == "trend":
        change = _share_changes(sums, candidates)
        fit = _fit_trends(sums, candidates)
        return _of_log_odds(fit, change, {"share_change": change})
    shares = _shares(sums, candidates)
    fit = _fit_groups(sums, candidates)
    return _of_log_odds(fit, shares["risk_difference"], shares)


def cliffs_delta(
    compared: Compared, sums: FeatureSums, candidates: Candidates, wanted: np.ndarray
) -> np.ndarray:
    """Compute Cliff's δ of activations: P(stronger in the group) − P(weaker).

    It equals 2 AUC − 1 (Cliff, Psychol. Bull. 114 (1993) 494); rows count by their weights. NaN for
    candidates that are not wanted.
    """
    delta = np.full(len(candidates.features), np.nan)
    for target in np.unique(candidates.targets[wanted]):
        of_target = candidates.targets == target
        places = np.flatnonzero(wanted & of_target)
        in_group = sums.target[:, [target]]
        blocks = compared.column_blocks(candidates.features[places])
        areas = [_areas(sums, columns, in_group) for columns in blocks]
        auc = np.concatenate(areas)
        delta[places] = 2 * auc - 1
    return delta


def _areas(sums: FeatureSums, columns: sp.csc_array, in_group: Any) -> np.ndarray:
    """Return the area under the ROC curve of each feature's activations for a group."""
    of_corpus = columns.tocsr()
    activations = sp.csc_array(of_corpus[sums.rows])
    return single_feature_auc(activations, in_group, sums.weight)[:, 0]


def _mean_differences(
    compared: Compared, sums: FeatureSums, features: np.ndarray
) -> Effects:
    """Regress the number on each feature's indicator and the strata, with HC3 standard errors.

    HC3 allows unequal variances (MacKinnon and White, J. Econometrics 29 (1985) 305; Long and
    Ervin, Am. Stat. 54 (2000) 217): residual e_i counts as e_i ÷ (1 − h_i), with leverage h_i.
    The variance on the few rows of a rare feature is estimated from these rows alone, so p comes
    from Student's t with Welch's degrees of freedom (Biometrika 34 (1947) 28). If these few rows
    agree by chance, their variance is underestimated; the score test, which uses the variance of
    all rows, is immune to that. p is the larger of the two.
    """
    active_squares = sums.active_squares[features].sum(1)
    co_deviation = sums.co_deviation[features, 0]
    effect = co_deviation / active_squares
    active, inactive = _error_squares(compared, sums, features, effect)
    n_active = sums.n_active[features].sum(1)
    n_inactive = sums.n_independent - n_active
    degrees = _welch_degrees(active, inactive, n_active, n_inactive)
    student_error = np.sqrt(active + inactive) / active_squares
    t = np.abs(effect) / np.maximum(student_error, TINY)
    welch_p = 2 * stdtr(degrees, -t)
    score_p = two_sided_p(sums.z[features, 0])
    p = np.maximum(welch_p, score_p)
    student_quantile = stdtrit(degrees, 0.975)
    error = student_error * student_quantile / Z95
    size = np.minimum(_normal_size(t, degrees), np.abs(sums.z[features, 0]))
    z = np.sign(effect) * size
    correlation = sums.r[features, 0]
    return Effects(effect, error, p, z, correlation, {})


def _normal_size(t: np.ndarray, degrees: np.ndarray) -> np.ndarray:
    """Return the absolute normal scores with the same p-values as Student's t, (K,).

    Where p underflows, by the approximation of Wallace (Ann. Math. Stat. 30 (1959) 1121).
    """
    p = 2 * stdtr(degrees, -t)
    exact = -ndtri(np.maximum(p, TINY) / 2)
    correction = (8 * degrees + 1) / (8 * degrees + 3)
    approximate = correction * np.sqrt(degrees * np.log1p(t**2 / degrees))
    return np.where(p > TINY, exact, approximate)


def _welch_degrees(
    active: np.ndarray,
    inactive: np.ndarray,
    n_active: np.ndarray,
    n_inactive: np.ndarray,
) -> np.ndarray:
    """Return the Welch-Satterthwaite degrees of freedom from both sums of squared errors, (K,)."""
    active_term = active**2 / (n_active - 1)
    inactive_term = inactive**2 / (n_inactive - 1)
    total = active + inactive
    return total**2 / np.maximum(active_term + inactive_term, TINY)


def _error_squares(
    compared: Compared, sums: FeatureSums, features: np.ndarray, effect: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Sum (x e ÷ (1 − h))² over the rows with each feature and over all others, each (K,).

    x is the feature's indicator minus its stratum mean. Within a stratum, x and h take one value on
    the rows with the feature and another on the rest, so the sums follow from sums of the number
    and its square.
    """
    deviations = _deviations_where_active(compared, sums)
    size = max(1, BLOCK_CELLS // len(sums.n_rows))
    with_feature, without = [np.zeros(0)], [np.zeros(0)]
    for start in range(0, len(features), size):
        block = slice(start, start + size)
        squares = _error_squares_of(sums, deviations, features[block], effect[block])
        with_feature.append(squares[0])
        without.append(squares[1])
    return np.concatenate(with_feature), np.concatenate(without)


def _error_squares_of(
    sums: FeatureSums,
    deviations: tuple[Any, Any],
    features: np.ndarray,
    effect: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return what `_error_squares` does for a block of features, each (K,)."""
    active_sum, active_squares = (of_all[features].toarray() for of_all in deviations)
    n_active = sums.n_active[features].toarray()  # (K, S)
    mean = n_active / sums.n_rows
    all_squares = sums.target_squares[:, 0]
    x_squares = sums.active_squares[features].sum(1)[:, None]
    slope = effect[:, None]
    # near-duplicates may be in different strata: less than two texts are parts of several
    largest_part = np.minimum(1, sums.n_rows / 2)

    def hc3_squares(x: Any, total: Any, squares: Any, n_rows: Any) -> np.ndarray:
        cross_products = 2 * slope * x * total
        fitted_squares = (slope * x) ** 2 * n_rows
        residual_squares = squares - cross_products + fitted_squares
        leverage = largest_part * (1 / sums.n_rows + x**2 / x_squares)
        scale = x / np.maximum(1 - leverage, MIN_ONE_MINUS_LEVERAGE)
        by_stratum = scale**2 * np.maximum(residual_squares, 0)
        return by_stratum.sum(1)

    with_feature = hc3_squares(1 - mean, active_sum, active_squares, n_active)
    rest_squares = all_squares - active_squares
    n_rest = sums.n_rows - n_active
    without = hc3_squares(-mean, -active_sum, rest_squares, n_rest)
    return with_feature, without


def _deviations_where_active(compared: Compared, sums: FeatureSums) -> tuple[Any, Any]:
    """Sum the number's deviations from the stratum means, and their squares, over active rows.

    Returns:
        Weighted sums by feature and stratum, each csr_array (F, S).
    """
    stratum_sum = sums.target_sum[:, 0]
    stratum_mean = stratum_sum / sums.n_rows
    number = dense_column(sums.target, 0)
    deviation = number - sums.strata @ stratum_mean
    column = deviation[:, None]
    by_stratum = sums.strata.multiply(sums.weight[:, None])
    deviations = by_stratum.multiply(column)
    squares = by_stratum.multiply(column**2)
    values = sp.hstack([deviations, squares], format="csr")
    of_features = sums_where_active(compared, sums.rows, values)
    n_strata = len(sums.n_rows)
    active_sum = of_features[:, :n_strata]
    active_squares = of_features[:, n_strata:]
    return active_sum, active_squares


def _fit_groups(sums: FeatureSums, candidates: Candidates) -> LogOdds:
    """Fit log-odds ratios of each group against all other rows."""
    inside = sums.target_sum
    outside = sums.n_rows[:, None] - inside
    by_target = np.stack([outside, inside], -1)  # (S, C, 2)
    fits = []
    for block in _blocks(candidates, n_cells=2 * len(sums.n_rows)):
        of_block = by_target[:, block.targets]  # (S, K, 2)
        n_rows = of_block.swapaxes(0, 1)
        active_in_group = sums.active_target_sum[block.features, block.targets]
        n_active = sums.n_active[block.features].toarray()
        fits.append(fit_log_odds(active_in_group, n_active, n_rows, NO_AND_YES))
    return joined(fits)


def _fit_trends(sums: FeatureSums, candidates: Candidates) -> LogOdds:
    """Fit log odds linear in time."""
    time = dense_column(sums.target, 0)
    times, level = np.unique(time, return_inverse=True)
    levels = one_hot(level)
    weighted_levels = levels.multiply(sums.weight[:, None])
    n_rows = (sums.strata.T @ weighted_levels).toarray()  # (S, L)
    fits = []
    for block in _blocks(candidates, n_cells=n_rows.size):
        active_time_sum = sums.active_target_sum[block.features, block.targets]
        n_active = sums.n_active[block.features].toarray()
        fits.append(fit_log_odds(active_time_sum, n_active, n_rows, times))
    return joined(fits)


def _blocks(candidates: Candidates, n_cells: int) -> Iterator[Candidates]:
    """Yield blocks of bounded memory, at least one; each candidate needs `n_cells`."""
    size = max(1, BLOCK_CELLS // n_cells)
    n_candidates = len(candidates.features)
    for start in range(0, max(n_candidates, 1), size):
        stop = start + size
        features = candidates.features[start:stop]
        targets = candidates.targets[start:stop]
        yield Candidates(features, targets)


def _of_log_odds(
    fit: LogOdds, difference: np.ndarray, descriptive: dict[str, np.ndarray]
) -> Effects:
    """Convert fitted log odds to effects; z is the signed root of the likelihood ratio."""
    size = np.sqrt(fit.likelihood_ratio)
    z = np.sign(fit.slope) * size
    p = chdtrc(1, fit.likelihood_ratio)
    return Effects(fit.slope, fit.error, p, z, difference, descriptive)


def _share_changes(sums: FeatureSums, candidates: Candidates) -> np.ndarray:
    """Return the change of each feature's share from first to last time, on a fitted line."""
    times = dense_column(sums.target, 0)
    squares = sums.target_squares.sum(0)
    time_squares = squares[candidates.targets]
    co_deviation = sums.co_deviation[candidates.features, candidates.targets]
    slope = co_deviation / time_squares
    return slope * np.ptp(times)


def _shares(sums: FeatureSums, candidates: Candidates) -> dict[str, Any]:
    """Return the share of active rows in each group and outside it, over all strata."""
    group_sizes = sums.target_sum.sum(0)
    n_group = group_sizes[candidates.targets]
    n_rest = sums.n_rows.sum() - n_group
    active_in_group = sums.active_target_sum[candidates.features, candidates.targets]
    n_active = sums.n_active[candidates.features].sum(1)
    active_outside = n_active - active_in_group
    is_rounding = active_outside < ROUNDING * n_active
    active_outside = np.where(is_rounding, 0, active_outside)
    share = _share(active_in_group, n_group)
    share_rest = _share(active_outside, n_rest)
    return {
        "share": share,
        "share_rest": share_rest,
        "risk_difference": share - share_rest,
    }


def _share(n_active: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Return the share of active rows, which is 1 if all are active but for rounding."""
    share = n_active / n
    return np.where(np.isclose(share, 1, rtol=0, atol=ROUNDING), 1.0, share)
