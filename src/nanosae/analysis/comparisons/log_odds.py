"""Stratified logistic regression of feature indicators, fitted to counts for many features at once.

In stratum s and at level z of the target, the odds that a feature is active are exp(α_s + β z).
β is the log-odds ratio if z is membership of a group (0 or 1), and the slope if z is a time. Each
stratum has its own intercept α_s, so β compares like with like, as in the Cochran-Mantel-Haenszel
test (Agresti, Categorical Data Analysis, 2002, §6.3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

MAX_NEWTON_STEPS = 50
TINY = 1e-300  # avoids division by zero in empty strata


@dataclass(frozen=True)
class LogOdds:
    """Fitted log-odds models of K features.

    Attributes:
        slope: β, (K,).
        error: Its standard error, (K,).
        likelihood_ratio: Likelihood-ratio statistic against β = 0, (K,): χ² with 1 degree of
            freedom under the null hypothesis.
    """

    slope: np.ndarray
    error: np.ndarray
    likelihood_ratio: np.ndarray


def joined(fits: Sequence[LogOdds]) -> LogOdds:
    """Concatenate the models of several blocks of features."""
    return LogOdds(
        slope=np.concatenate([fit.slope for fit in fits]),
        error=np.concatenate([fit.error for fit in fits]),
        likelihood_ratio=np.concatenate([fit.likelihood_ratio for fit in fits]),
    )


def fit_log_odds(
    target_sum: np.ndarray, active: np.ndarray, n_rows: np.ndarray, levels: np.ndarray
) -> LogOdds:
    """Fit log odds(active) = α_s + β z to counts.

    For β and its error, half a row is added to each cell, distributed over the strata by size.
    With one stratum this gives exactly the Haldane-Anscombe log-odds ratio (Haldane, Ann. Hum.
    Genet. 20 (1956) 309; Anscombe, Biometrika 43 (1956) 461) and Woolf's standard error (Ann. Hum.
    Genet. 19 (1955) 251). For the likelihood ratio, the sum is moved by half a row towards no
    effect, a continuity correction (Yates, Suppl. J. R. Stat. Soc. 1 (1934) 217) that makes the
    test about as strict as Fisher's exact test; the score test is far too liberal for rare features
    in small groups.

    Args:
        target_sum: Σ z over the rows on which each feature is active, (K,).
        active: Number of rows on which each feature is active, by stratum, (K, S).
        n_rows: Number of rows by stratum and level, (K, S, L), or (S, L) for all features.
        levels: The values of z, (L,).

    Example:
        >>> n = np.array([[[90.0, 60.0]]])
        >>> fit = fit_log_odds(np.array([7.0]), np.array([[20.0]]), n, np.array([0.0, 1.0]))
        >>> float(fit.slope[0].round(4)), float(np.log(7.5 * 77.5 / (13.5 * 53.5)).round(4))
        (-0.2172, -0.2172)
    """
    centre = levels.mean()
    scale = max(levels.std(), 1e-12)
    levels = (levels - centre) / scale
    n_active = active.sum(1)
    centred_sum = target_sum - centre * n_active
    target_sum = centred_sum / scale

    stratum_rows = n_rows.sum(-1)
    all_rows = stratum_rows.sum(-1, keepdims=True)
    stratum_share = stratum_rows / all_rows
    added_per_level = 2 / len(levels)
    added_rows = added_per_level * stratum_share[..., None]
    padded_active = active + stratum_share
    padded_rows = n_rows + added_rows
    beta, information, _ = _maximise(target_sum, padded_active, padded_rows, levels)

    level_sum = n_rows @ levels
    mean_level = level_sum / np.maximum(stratum_rows, 1e-9)
    expected = (mean_level * active).sum(1)
    excess = target_sum - expected
    smallest_step = np.diff(levels).min(initial=2)
    half_a_row = smallest_step / 2
    corrected_size = np.maximum(np.abs(excess) - half_a_row, 0)
    corrected_excess = np.sign(excess) * corrected_size
    corrected_sum = expected + corrected_excess
    _, _, likelihood_ratio = _maximise(corrected_sum, active, n_rows, levels)

    error = 1 / np.sqrt(information)
    return LogOdds(beta / scale, error / scale, likelihood_ratio)


def _maximise(
    target_sum: np.ndarray, active: np.ndarray, n_rows: np.ndarray, levels: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Maximise the likelihood by Newton's method.

    Returns:
        β, its information, and the likelihood-ratio statistic against β = 0, each (K,).
    """
    stratum_rows = n_rows.sum(-1)
    active_share = active / np.maximum(stratum_rows, 1e-9)
    interior_share = np.clip(active_share, 1e-12, 1 - 1e-12)
    alpha = logit(interior_share)
    beta = np.zeros(len(target_sum))
    information = np.ones(len(target_sum))
    start = _log_likelihood(alpha, beta, target_sum, active, n_rows, levels)
    for _ in range(MAX_NEWTON_STEPS):
        probability = expit(_log_odds(alpha, beta, levels))
        alpha_step, beta_step, information = _newton_step(
            probability, target_sum, active, n_rows, levels
        )
        alpha += alpha_step
        beta += beta_step
        largest_step = np.abs(beta_step).max(initial=0)
        if largest_step < 1e-9:
            break
    end = _log_likelihood(alpha, beta, target_sum, active, n_rows, levels)
    likelihood_ratio = 2 * (end - start)
    return beta, information, np.maximum(likelihood_ratio, 0)


def _newton_step(
    probability: np.ndarray,
    target_sum: np.ndarray,
    active: np.ndarray,
    n_rows: np.ndarray,
    levels: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the Newton steps of α, (K, S), and β, (K,), and the information of β, (K,).

    The intercepts are eliminated by the Schur complement of their diagonal block.
    """
    expected = n_rows * probability
    variance = n_rows * probability * (1 - probability)
    alpha_gradient = active - expected.sum(2)
    alpha_information = variance.sum(2) + TINY
    cross_information = variance @ levels

    explained = cross_information**2 / alpha_information
    full_information = (variance @ levels**2).sum(1)
    information = np.maximum(full_information - explained.sum(1), 1e-12)

    expected_sum = expected.sum(1) @ levels
    explained_gradient = cross_information * alpha_gradient / alpha_information
    beta_gradient = target_sum - expected_sum - explained_gradient.sum(1)
    beta_step = np.clip(beta_gradient / information, -1, 1)

    remaining_gradient = alpha_gradient - cross_information * beta_step[:, None]
    alpha_step = np.clip(remaining_gradient / alpha_information, -2, 2)
    return alpha_step, beta_step, information


def _log_odds(alpha: np.ndarray, beta: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Return α_s + β z, (K, S, L)."""
    intercept = alpha[:, :, None]
    slope = beta[:, None, None]
    return intercept + slope * levels


def _log_likelihood(
    alpha: np.ndarray,
    beta: np.ndarray,
    target_sum: np.ndarray,
    active: np.ndarray,
    n_rows: np.ndarray,
    levels: np.ndarray,
) -> np.ndarray:
    """Return the log-likelihood of each feature's counts, (K,)."""
    log_odds = _log_odds(alpha, beta, levels)
    normaliser = n_rows * np.logaddexp(0, log_odds)
    slope_part = target_sum * beta
    intercept_part = (active * alpha).sum(1)
    return slope_part + intercept_part - normaliser.sum((1, 2))
