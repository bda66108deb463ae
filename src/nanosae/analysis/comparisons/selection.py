"""Estimates and confidence intervals corrected for selection.

Effects that are reported because they are significant look larger than they are (the winner's
curse), and their usual confidence intervals cover too rarely. The selection rule is known, however:
the Benjamini-Hochberg procedure rejects R of m hypotheses, those with p ≤ R · rate ÷ m, so a test
statistic z is reported exactly when |z| exceeds a cutoff. Conditional on that, z follows a normal
distribution truncated to the two tails, and estimates and intervals from this conditional
distribution are valid whatever the true effects are (Zhong and Prentice, Biostatistics 9 (2008)
621; Weinstein, Fithian and Benjamini, J. Am. Stat. Assoc. 108 (2013) 165). They cover for each
finding; the wider intervals of Benjamini and Yekutieli (J. Am. Stat. Assoc. 100 (2005) 71) cover
only on average over the findings and leave the estimate biased. A z far above the cutoff hardly
changes; one just above it shrinks towards 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import log_ndtr, ndtri

BISECTIONS = 60
SEARCH_RADIUS = 45.0  # the mean is looked for within this distance of |z|
TAIL = 0.025  # probability beyond each end of an interval


def rejection_cutoff(
    p: np.ndarray, rejected: np.ndarray, n_tested: int, fdr: float, weight: Any = 1.0
) -> Any:
    """Return the |z| above which the Benjamini-Hochberg procedure rejects; ∞ if it rejects nothing.

    Args:
        p: p-values, (n,).
        rejected: Which hypotheses were rejected, bool (n,).
        n_tested: Number of hypotheses, at least n.
        fdr: The false discovery rate that was controlled.
        weight: Weights of the hypotheses, with mean 1, (n,): the procedure ran on p ÷ weight.

    Returns:
        A scalar; with weights one cutoff per hypothesis, (n,).

    Example:
        >>> p = np.array([0.001, 0.02, 0.9])
        >>> float(rejection_cutoff(p, p < 0.03, n_tested=3, fdr=0.05).round(3))
        2.128
    """
    if not rejected.any():
        return np.inf
    n_rejected = rejected.sum()
    step_up_threshold = fdr * n_rejected / n_tested
    weighted_p = p / weight
    largest_rejected = weighted_p[rejected].max()
    threshold = max(step_up_threshold, largest_rejected)
    largest_p = np.minimum(weight * threshold, 1)
    return -ndtri(largest_p / 2)


def given_selected(
    z: np.ndarray, cutoff: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Estimate the means of normal scores, given that each was reported because |z| > cutoff.

    Args:
        z: Scores with unit variance, all beyond the cutoff, (n,).
        cutoff: Scores with a smaller absolute value are not reported; a scalar or (n,).

    Returns:
        The median-unbiased estimate and the lower and upper ends of the equal-tailed 95 %
        confidence interval, each (n,).

    Example:
        >>> centre, low, high = given_selected(np.array([3.1, 9.0]), cutoff=3.0)
        >>> centre.round(2).tolist(), low.round(2).tolist(), high.round(2).tolist()
        ([0.12, 9.0], [-0.5, 7.04], [4.15, 10.96])
    """
    size = np.abs(z)
    sign = np.sign(z)
    centre = _mean_for_probability(size, cutoff, 0.5)
    lower = _mean_for_probability(size, cutoff, 1 - TAIL)
    upper = _mean_for_probability(size, cutoff, TAIL)
    ends = np.stack([sign * lower, sign * upper])
    low, high = np.sort(ends, axis=0)
    return sign * centre, low, high


def _mean_for_probability(
    size: np.ndarray, cutoff: Any, probability: float
) -> np.ndarray:
    """Return the mean for which a reported score is at most `size` with a given probability.

    The probability decreases in the mean, so bisection finds it.
    """
    low = size - SEARCH_RADIUS
    high = size + SEARCH_RADIUS
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        too_small = _conditional_cdf(size, middle, cutoff) > probability
        low = np.where(too_small, middle, low)
        high = np.where(too_small, high, middle)
    return (low + high) / 2


def _conditional_cdf(size: np.ndarray, mean: np.ndarray, cutoff: Any) -> np.ndarray:
    """Return P(z ≤ size | |z| > cutoff) for a normal z with unit variance; size ≥ cutoff."""
    log_below = log_ndtr(-cutoff - mean)
    log_above = log_ndtr(mean - cutoff)
    log_beyond_size = log_ndtr(mean - size)
    log_reported = np.logaddexp(log_below, log_above)
    return -np.expm1(log_beyond_size - log_reported)
