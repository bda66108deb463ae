"""Effects of features on a target, each with its interval and p, from the sums of one part."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import scipy.sparse as sp
from scipy.special import chdtrc

from nanosae.analysis.classification import single_feature_scores
from nanosae.analysis.columns import one_hot
from nanosae.analysis.feature_sums import FeatureSums, dense_column
from nanosae.analysis.log_odds import LogOdds, fit_log_odds
from nanosae.analysis.statistics import Z95, two_sided_p
from nanosae.codes import Codes

Kind = Literal["groups", "numeric", "trend"]
NO_AND_YES = np.array([0.0, 1.0])  # levels of membership of a group


def effects(
    sums: FeatureSums, kind: Kind, features: np.ndarray, targets: np.ndarray
) -> dict[str, np.ndarray]:
    """Estimate the effect of each pair of feature and target.

    Args:
        sums: Sums over the rows to report on.
        kind: What the targets are: membership of groups, a number, or a time.
        features: Feature of each pair, (K,).
        targets: Column of the target of each pair, (K,).

    Returns:
        `effect, low, high, p`; but for numbers `odds_ratio, odds_low, odds_high`; for groups
        `share, share_rest, risk_difference`; each (K,).
    """
    if kind == "numeric":
        return _mean_differences(sums, features)
    if kind == "trend":
        return _log_odds_effects(_fit_trends(sums, features, targets))
    ratios = _log_odds_effects(_fit_groups(sums, features, targets))
    return ratios | _shares(sums, features, targets)


def cliffs_delta(
    codes: Codes,
    sums: FeatureSums,
    features: np.ndarray,
    targets: np.ndarray,
    wanted: np.ndarray,
) -> np.ndarray:
    """Compute P(stronger in the group) − P(weaker), of activations, for the pairs that are wanted.

    Cliff, Psychol. Bull. 114 (1993) 494; it is 2 AUC − 1.

    Args:
        codes: The corpus.
        sums: Sums over the rows to report on; its targets are groups.
        features: Feature of each pair, (K,).
        targets: Column of the target of each pair, (K,).
        wanted: Bool (K,); the others are NaN.
    """
    delta = np.full(len(features), np.nan)
    for target in np.unique(targets[wanted]):
        pairs = np.flatnonzero(wanted & (targets == target))
        activations = codes.features(features[pairs]).tocsr()[sums.rows]
        scores = single_feature_scores(
            sp.csc_array(activations), sums.target[:, [target]]
        )
        delta[pairs] = 2 * scores.auc[:, 0] - 1
    return delta


def _mean_differences(sums: FeatureSums, features: np.ndarray) -> dict[str, np.ndarray]:
    """Fit the number by least squares on "is active" and the strata; Wald's test and interval."""
    active_squares = sums.active_squares[features].sum(1)
    effect = sums.co_deviation[features, 0] / active_squares
    explained = effect * sums.co_deviation[features, 0]
    residual_squares = np.maximum(sums.target_squares.sum() - explained, 0)
    degrees_of_freedom = max(sums.n_rows.sum() - len(sums.n_rows) - 1, 1)
    error = np.sqrt(residual_squares / degrees_of_freedom / active_squares)
    interval = {"low": effect - Z95 * error, "high": effect + Z95 * error}
    return {"effect": effect} | interval | {"p": two_sided_p(effect / error)}


def _fit_groups(
    sums: FeatureSums, features: np.ndarray, targets: np.ndarray
) -> LogOdds:
    """Fit log odds of membership against all other rows."""
    outside = sums.n_rows[:, None] - sums.target_sum
    n_rows = np.stack([outside, sums.target_sum], -1)  # (S, C, 2)
    n_rows = n_rows[:, targets].swapaxes(0, 1)
    active_in_group = sums.active_target_sum[features, targets]
    return fit_log_odds(active_in_group, sums.n_active[features], n_rows, NO_AND_YES)


def _fit_trends(
    sums: FeatureSums, features: np.ndarray, targets: np.ndarray
) -> LogOdds:
    """Fit log odds that are linear in time."""
    times, level = np.unique(dense_column(sums.target, 0), return_inverse=True)
    weighted_levels = one_hot(level).multiply(sums.weight[:, None])
    n_rows = (sums.strata.T @ weighted_levels).toarray()  # (S, L)
    active_time_sum = sums.active_target_sum[features, targets]
    return fit_log_odds(active_time_sum, sums.n_active[features], n_rows, times)


def _log_odds_effects(fit: LogOdds) -> dict[str, np.ndarray]:
    low = fit.slope - Z95 * fit.error
    high = fit.slope + Z95 * fit.error
    return {
        "effect": fit.slope,
        "low": low,
        "high": high,
        "p": chdtrc(1, fit.likelihood_ratio),
        "odds_ratio": _odds(fit.slope),
        "odds_low": _odds(low),
        "odds_high": _odds(high),
    }


def _odds(log_odds: np.ndarray) -> np.ndarray:
    """Undo the logarithm without overflow."""
    return np.exp(np.clip(log_odds, -500, 500))


def _shares(
    sums: FeatureSums, features: np.ndarray, targets: np.ndarray
) -> dict[str, Any]:
    """Compare the shares of rows on which a feature is active, strata pooled."""
    n_group = sums.target_sum.sum(0)[targets]
    active_in_group = sums.active_target_sum[features, targets]
    active_outside = sums.n_active[features].sum(1) - active_in_group
    share = active_in_group / n_group
    share_rest = active_outside / (sums.n_rows.sum() - n_group)
    return {
        "share": share,
        "share_rest": share_rest,
        "risk_difference": share - share_rest,
    }
