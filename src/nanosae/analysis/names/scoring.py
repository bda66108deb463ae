"""How well a name, and a query of a feature's keywords, find the feature's held-out texts.

A name is scored only by what it says: by its words, as precision, recall and F1 of the held-out
texts that have one of its terms; and by its meaning, as the area under the ROC curve of rows along
its direction. Without embeddings that area is of a BM25 search for its terms.

A query of keywords is a BM25 search in which each word is weighted by its log-odds instead of its
rarity (the relevance weights of Robertson and Spärck Jones). Intervals of areas are Wilson
intervals with DeLong's variance (1988).
"""

from __future__ import annotations

import numpy as np

from nanosae.analysis.statistics import Z95

SCORES = ["label_auc", "label_auc_low", "label_auc_high"]
SCORES += ["label_f1", "label_precision", "label_recall", "label_n"]
# "acceptable discrimination" (Hosmer, Lemeshow and Sturdivant 2013, §5.2.4)
SURE_AUC = 0.7
SURE_SHARE = 0.2  # of a feature's strongest texts with one of the label's words
SURE_F1 = 0.1  # from which on fewer of the strongest texts may have one


def can_be_scored(
    rows: np.ndarray, labelling_rows: np.ndarray, held: np.ndarray, min_texts: int
) -> bool:
    """Return whether a label can be scored on held-out rows.

    Args:
        rows: Active rows of the feature, (n,).
        labelling_rows: Those from which its label was chosen; none may be held out.
        held: Whether a row is held out for scores, bool (n_rows,).
        min_texts: Minimum number of held-out active rows, and of labelling rows; at least one
            inactive row must be held out as well.
    """
    n_held = int(held[rows].sum())
    is_unseen = not held[labelling_rows].any()
    has_enough = min(n_held, len(labelling_rows)) >= min_texts
    has_inactive = n_held < held.sum()
    return is_unseen and has_enough and has_inactive


def is_doubtful(
    auc_low: float, recall: float, f1: float, share_of_strongest: float
) -> bool:
    """Return whether a label is doubtful: by its meaning, by its words, or for lack of texts.

    Args:
        auc_low: Lower end of the AUC's 95 % interval, NaN for a label without a score. A label is
            doubtful unless this is at least 0.7.
        recall: Share of the feature's held-out texts with one of the label's words. A label whose
            words are in none of them is doubtful, whatever its AUC.
        f1: F1 of these words on held-out texts.
        share_of_strongest: Share of the feature's strongest texts, held out or not, with one of the
            words. Below 0.2, a label with an F1 below 0.1 is doubtful.

    Example:
        >>> is_doubtful(0.8, 0.1, 0.1, 0.1), is_doubtful(0.6, 0.1, 0.1, 0.1)
        (False, True)
        >>> is_doubtful(0.8, 0.0, 0.0, 0.5), is_doubtful(0.8, 0.1, 0.05, 0.1)
        (True, True)
        >>> is_doubtful(*[float("nan")] * 4)
        True
    """
    finds_none = share_of_strongest < SURE_SHARE and f1 < SURE_F1
    is_sure = auc_low >= SURE_AUC and recall > 0 and not finds_none
    return not is_sure


def word_scores(
    has_word: np.ndarray, rows: np.ndarray, held: np.ndarray
) -> dict[str, float]:
    """Return precision, recall and F1 of the held-out texts with a name's words.

    Args:
        has_word: Whether each text has one of the words, bool (n_rows,).
        rows: Active rows of the feature, (n,).
        held: Whether a row is held out, bool (n_rows,).
    """
    held_rows = rows[held[rows]]
    n_active = len(held_rows)
    n_found = int(has_word[held_rows].sum())
    n_predicted = int((has_word & held).sum())
    f1 = 2 * n_found / max(n_predicted + n_active, 1)
    precision = n_found / n_predicted if n_predicted else np.nan
    recall = n_found / max(n_active, 1)
    return {"label_f1": f1, "label_precision": precision, "label_recall": recall}


def area(scores: np.ndarray, is_active: np.ndarray) -> float:
    """Return the area under the ROC curve, NaN if a group is empty."""
    if is_active.all() or not is_active.any():
        return np.nan
    won = _shares_won(scores[is_active], scores[~is_active])
    return float(won.mean())


def area_with_interval(
    scores: np.ndarray, is_active: np.ndarray, duplicate_group: np.ndarray
) -> tuple[float, float, float]:
    """Return the area under the ROC curve and its interval, NaN if a group is empty."""
    if is_active.all() or not is_active.any():
        return np.nan, np.nan, np.nan
    return auc_interval(
        scores[is_active],
        scores[~is_active],
        duplicate_group[is_active],
        duplicate_group[~is_active],
    )


def auc_interval(
    active: np.ndarray,
    inactive: np.ndarray,
    active_group: np.ndarray | None = None,
    inactive_group: np.ndarray | None = None,
) -> tuple[float, float, float]:
    """Return the area under the ROC curve and its 95 % interval.

    The variance is DeLong's (1988). The interval is Wilson's for the number of trials that has this
    variance, which is also valid if all texts are ranked correctly and the variance is 0. A single
    text has no variance; it counts as one trial.

    Args:
        active: Scores of active texts, (n,).
        inactive: Scores of inactive texts, (m,).
        active_group: Duplicate groups of active texts, whose texts count as one for the interval,
            int (n,); None: there are no duplicates.
        inactive_group: The same of inactive texts, (m,).

    Example:
        >>> [round(x, 2) for x in auc_interval(np.array([1.0, 3.0]), np.array([0.0, 2.0]))]
        [0.75, 0.16, 0.98]
    """
    if active_group is None:
        active_group = np.arange(len(active))
    if inactive_group is None:
        inactive_group = np.arange(len(inactive))
    won = _shares_won(active, inactive)
    won_from = 1 - _shares_won(inactive, active)

    auc = float(won.mean())
    n_rarer = min(_count_distinct(active_group), _count_distinct(inactive_group))
    size = n_rarer
    if n_rarer > 1:
        variance_of_active = _variance_of_mean(won, active_group)
        variance = variance_of_active + _variance_of_mean(won_from, inactive_group)
        size = auc * (1 - auc) / variance if variance > 0 else n_rarer
    low, high = wilson_interval(auc, size)
    return auc, low, high


def _count_distinct(group: np.ndarray) -> int:
    return int(np.count_nonzero(np.bincount(group)))


def _variance_of_mean(values: np.ndarray, group: np.ndarray) -> float:
    """Estimate the variance of the mean of values that depend on each other within groups."""
    deviations = np.bincount(group, values - values.mean())
    n_groups = _count_distinct(group)
    square_sum = n_groups / (n_groups - 1) * (deviations**2).sum()
    return square_sum / len(values) ** 2


def _shares_won(scores: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the share of the others below each score; ties count half."""
    ascending = np.sort(others)
    n_below = np.searchsorted(ascending, scores, "left")
    n_below_or_equal = np.searchsorted(ascending, scores, "right")
    return (n_below + n_below_or_equal) / 2 / len(others)


def wilson_interval(share: float, size: float) -> tuple[float, float]:
    """Return the 95 % Wilson interval (1927) of a share of `size` independent trials.

    Example:
        >>> [round(bound, 3) for bound in wilson_interval(0.5, 10)]
        [0.237, 0.763]
    """
    z2 = Z95**2 / size
    variance = share * (1 - share)
    middle = share + z2 / 2
    half_width = np.sqrt(z2 * (variance + z2 / 4))
    low = (middle - half_width) / (1 + z2)
    high = (middle + half_width) / (1 + z2)
    return float(low), float(high)
