"""Effects that are reported because they are large, put right for that.

Of many effects the few that pass a test look larger than they are (the winner's curse), and their
usual intervals miss too often. But it is known how they were chosen: the procedure of Benjamini and
Hochberg rejects R of m hypotheses, and those are the ones with p ≤ R · rate ÷ m, so that a test
statistic z was reported because |z| exceeded a cutoff. Given that, z follows a normal distribution
without its middle. Estimates and intervals from this conditional distribution are right among what
is reported, whatever the true effects are (Zhong and Prentice, Biostatistics 9 (2008) 621;
Weinstein, Fithian and Benjamini, J. Am. Stat. Assoc. 108 (2013) 165). This holds for each finding,
where the wider intervals of Benjamini and Yekutieli (J. Am. Stat. Assoc. 100 (2005) 71) hold for
findings on average, and leave the estimate as it is. A z far above the cutoff is hardly changed;
one just above it is drawn towards 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import log_ndtr, ndtri

BISECTIONS = 60
# how far below |z| a centre is looked for; beyond it nothing changes any more
REACH = 45.0
TAIL = 0.025  # on each side of an interval


def rejection_cutoff(
    p: np.ndarray, rejected: np.ndarray, n_tested: int, fdr: float, weight: Any = 1.0
) -> Any:
    """Return the |z| above which Benjamini and Hochberg's procedure rejected, ∞ if nothing.

    Args:
        p: p-values, (n,).
        rejected: Which were rejected, bool (n,).
        n_tested: Number of hypotheses, n or more.
        fdr: False discovery rate that was controlled.
        weight: Of each hypothesis, of mean 1, (n,): p ÷ weight was what the procedure saw.

    Returns:
        One number; (n,) with weights.

    Example:
        >>> p = np.array([0.001, 0.02, 0.9])
        >>> float(rejection_cutoff(p, p < 0.03, n_tested=3, fdr=0.05).round(3))
        2.128
    """
    if not rejected.any():
        return np.inf
    n_rejected = rejected.sum()
    bound = fdr * n_rejected / n_tested
    weighted_p = p / weight
    largest_rejected = weighted_p[rejected].max()
    largest_weighted_p = max(bound, largest_rejected)
    largest_p = np.minimum(weight * largest_weighted_p, 1)
    return -ndtri(largest_p / 2)


def given_selected(
    z: np.ndarray, cutoff: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Estimate the mean of normal scores that were reported because |z| > cutoff.

    Args:
        z: Scores of variance 1, all of them beyond the cutoff, (n,).
        cutoff: Below it on either side nothing is reported; one number, or (n,).

    Returns:
        The median-unbiased estimate (as likely too large as too small) and the ends of the 95 %
        interval with equal tails, each (n,).

    Example:
        >>> centre, low, high = given_selected(np.array([3.1, 9.0]), cutoff=3.0)
        >>> centre.round(2).tolist(), low.round(2).tolist(), high.round(2).tolist()
        ([0.12, 9.0], [-0.5, 7.04], [4.15, 10.96])
    """
    size = np.abs(z)
    sign = np.sign(z)
    centre = _mean_with_share_below(size, cutoff, 0.5)
    lower = _mean_with_share_below(size, cutoff, 1 - TAIL)
    upper = _mean_with_share_below(size, cutoff, TAIL)
    ends = np.stack([sign * lower, sign * upper])
    low, high = np.sort(ends, axis=0)
    return sign * centre, low, high


def _mean_with_share_below(size: np.ndarray, cutoff: Any, share: float) -> np.ndarray:
    """Find the mean under which a reported score is below `size` with a given probability.

    The probability falls in the mean, so that bisection finds it.
    """
    low = size - REACH
    high = size + REACH
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        share_below = _share_below(size, middle, cutoff)
        too_small = share_below > share
        low = np.where(too_small, middle, low)
        high = np.where(too_small, high, middle)
    return (low + high) / 2


def _share_below(size: np.ndarray, mean: np.ndarray, cutoff: Any) -> np.ndarray:
    """Return P(z ≤ size | |z| > cutoff) of a normal score with a mean, from its three tails."""
    below = log_ndtr(-cutoff - mean)
    above = log_ndtr(mean - cutoff)
    beyond = log_ndtr(mean - size)
    reported = np.logaddexp(below, above)
    return -np.expm1(beyond - reported)
