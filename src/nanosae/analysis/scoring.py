"""How well the keywords of a feature find its texts among held-out ones.

A feature's keywords are a BM25 query in which each word weighs its log-odds instead of its rarity
(Robertson and Spärck Jones' relevance weights). The area under the ROC curve has DeLong's variance
(1988) in Wilson's interval; F1 is that at the threshold which was best on the training part.
"""

from __future__ import annotations

from typing import Any

import numpy as np

SCORES = ["label_auc", "label_auc_low", "label_auc_high", "label_f1", "label_n"]
NORMAL_95 = 1.96  # the normal distribution's two-sided 95 % quantile


def keyword_scores(
    score: np.ndarray, rows: np.ndarray, held: np.ndarray, min_texts: int
) -> dict[str, float]:
    """Score a query by how well it finds the held-out rows of a feature.

    Args:
        score: The query's score of each row, not negative, (n_rows,).
        rows: Active rows of the feature, ascending.
        held: Whether a row is held out, bool (n_rows,).
        min_texts: Active rows needed on either side of the split.

    Returns:
        AUC with its interval, F1, and `label_n`, the number of held-out active rows; NaN for all
        but the last where either side has too few active rows, or no inactive one is held out.
    """
    held_rows = rows[held[rows]]
    n_held = len(held_rows)
    n_train = len(rows) - n_held
    if min(n_held, n_train) < min_texts or n_held == held.sum():
        return dict(zip(SCORES, [np.nan] * 4 + [n_held], strict=True))
    is_active = np.isin(np.arange(len(score)), rows)
    found = np.flatnonzero(score)
    found_train = found[~held[found]]
    found_held = found[held[found]]

    threshold = best_f1_threshold(score[found_train], is_active[found_train], n_train)
    is_predicted = score[found_held] >= threshold
    n_correct = (is_predicted & is_active[found_held]).sum()
    f1 = 2 * n_correct / (is_predicted.sum() + n_held)

    inactive_found = found_held[~is_active[found_held]]
    inactive_scores = score[inactive_found]
    n_zeros = int(held.sum()) - n_held - len(inactive_scores)
    interval = auc_interval(score[held_rows], inactive_scores, n_zeros)
    return dict(zip(SCORES, [*interval, float(f1), n_held], strict=True))


def best_f1_threshold(scores: np.ndarray, is_active: np.ndarray, n_active: int) -> float:
    """Return the score from which on predicting "active" gives the best F1, ∞ without scores.

    Args:
        scores: Scores above 0, (n,); rows that are left out have none and are predicted inactive.
        is_active: Whether each is of an active row, (n,).
        n_active: Number of active rows, those that are left out among them.

    Example:
        >>> best_f1_threshold(np.array([3.0, 1, 2, 1]), np.array([True, False, True, False]), 3)
        2.0
    """
    if not len(scores):
        return np.inf
    order = np.argsort(-scores, kind="stable")
    scores = scores[order]
    n_correct = np.cumsum(is_active[order])
    n_predicted = np.arange(len(scores)) + 1
    f1 = 2 * n_correct / (n_predicted + n_active)
    is_same_as_next = scores[1:] == scores[:-1]
    f1[:-1][is_same_as_next] = 0  # equal scores are predicted together
    return float(scores[np.argmax(f1)])


def auc_interval(active: Any, inactive: Any, zeros: int = 0) -> tuple[float, float, float]:
    """Return the area under the ROC curve and its 95 % interval, from scores that are not negative.

    The variance is DeLong's (1988), the interval Wilson's for as many texts as give that variance,
    which also holds where all texts are ranked right and the variance is 0.

    Args:
        active: Scores of active texts, (n,).
        inactive: Scores of inactive texts, (m,).
        zeros: Further inactive texts, whose score is 0.

    Example:
        >>> [round(x, 2) for x in auc_interval(np.array([1.0, 3.0]), np.array([2.0]), 1)]
        [0.75, 0.16, 0.98]
    """
    n_active = len(active)
    n_inactive = len(inactive) + zeros
    # The share of inactive texts below each active one; ties, also with the zeros, count half.
    twice_below = _twice_rank(inactive, active) + zeros * (1 + np.sign(active))
    won = twice_below / 2 / n_inactive
    # The share of active texts below each inactive one; the last stands for all zeros.
    with_zero = np.append(inactive, 0)
    lost = _twice_rank(active, with_zero) / 2 / n_active
    multiplicity = np.append(np.ones(len(inactive)), zeros)

    auc = float(won.mean())
    squares_active = ((won - auc) ** 2).sum()
    squares_inactive = multiplicity @ (1 - lost - auc) ** 2
    variance = squares_active / max(n_active - 1, 1) / n_active
    variance += squares_inactive / max(n_inactive - 1, 1) / n_inactive
    size = auc * (1 - auc) / variance if variance > 0 else min(n_active, n_inactive)
    low, high = wilson_interval(auc, size)
    return auc, low, high


def _twice_rank(scores: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Return twice the number of scores below each given one, plus the number equal to it."""
    ascending = np.sort(scores)
    below = np.searchsorted(ascending, given)
    return below + np.searchsorted(ascending, given, "right")


def wilson_interval(share: float, size: float) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share of `size` independent trials (1927).

    Example:
        >>> [round(bound, 3) for bound in wilson_interval(0.5, 10)]
        [0.237, 0.763]
    """
    z2 = NORMAL_95**2 / size
    variance = share * (1 - share)
    half_width = np.sqrt(z2 * (variance + z2 / 4))
    low = (share + z2 / 2 - half_width) / (1 + z2)
    high = (share + z2 / 2 + half_width) / (1 + z2)
    return float(low), float(high)
