"""AUC and F1: of every feature with every label, and of scores with intervals.

The AUC is Mann and Whitney's U ÷ (positives × negatives), ties counting one half (Hanley and
McNeil, Radiology 143 (1982) 29).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from nanosae.analysis.statistics import Estimate, clustered_mean


@dataclass(frozen=True)
class SingleFeatureScores:
    """How well each feature alone tells each label, with F features and L labels.

    Attributes:
        auc: AUC, (F, L); NaN for a label that all rows have, or none.
        f1: The best F1 of "activation ≥ threshold" with a threshold above 0, (F, L).
        threshold: That threshold, (F, L); infinite where feature and label never meet.
    """

    auc: np.ndarray
    f1: np.ndarray
    threshold: np.ndarray


@dataclass(frozen=True)
class _SortedEntries:
    """Stored entries of a csc matrix by column, in each from strong to weak.

    `n_above` counts the rows of the column that are as strong or stronger; `mid_rank` is the rank
    from the top, 1 first, the same for equal values.
    """

    row: np.ndarray
    column: np.ndarray
    value: np.ndarray
    n_above: np.ndarray
    mid_rank: np.ndarray


def single_feature_scores(activations: Any, labels: Any) -> SingleFeatureScores:
    """Compute AUC and best F1 of every feature with every label from one sort.

    Args:
        activations: csc_array (n, F), not negative, without explicit zeros.
        labels: Indicators, csr_array (n, L).

    Example:
        >>> x = sp.csc_array([[2.0], [1.0], [0.0]])
        >>> found = single_feature_scores(x, sp.csr_array([[1.0], [0.0], [0.0]]))
        >>> found.auc.tolist(), found.f1.tolist(), found.threshold.tolist()
        ([[1.0]], [[1.0]], [[2.0]])
    """
    entries = _sort_entries(activations)
    f1, threshold = _best_f1(entries, labels, n_columns=activations.shape[1])
    return SingleFeatureScores(
        _auc_of_columns(entries, activations, labels), f1, threshold
    )


def _sort_entries(columns: Any) -> _SortedEntries:
    start = columns.indptr
    column = np.repeat(np.arange(columns.shape[1]), np.diff(start))
    order = np.lexsort((-columns.data, column))
    value = columns.data[order]
    row = columns.indices[order]

    same_value = value[1:] == value[:-1]
    same_column = column[1:] == column[:-1]
    ties_previous = same_value & same_column
    first_of_tie = np.flatnonzero(np.r_[True, ~ties_previous])
    last_of_tie = np.flatnonzero(np.r_[~ties_previous, True])
    tie = np.cumsum(np.r_[0, ~ties_previous])[: len(column)]
    n_above = last_of_tie[tie] + 1 - start[column]
    mid_rank = (first_of_tie[tie] + last_of_tie[tie]) / 2 + 1 - start[column]
    return _SortedEntries(row, column, value, n_above, mid_rank)


def _auc_of_columns(entries: _SortedEntries, columns: Any, labels: Any) -> np.ndarray:
    """Return AUC, (F, L), from sums of ranks; zeros are ties of the lowest rank."""
    n_rows, n_columns = columns.shape
    n_positive = labels.sum(0)
    n_active = np.diff(columns.indptr)
    mid_rank_of_zeros = (n_active + 1 + n_rows) / 2
    # only stored entries are summed: their ranks relative to those of the zeros
    relative_rank = entries.mid_rank - mid_rank_of_zeros[entries.column]
    by_column = (relative_rank, (entries.column, entries.row))
    relative_sums: Any = sp.csr_array(by_column, shape=(n_columns, n_rows)) @ labels
    rank_sums = relative_sums.toarray() + np.outer(mid_rank_of_zeros, n_positive)
    negatives_above = rank_sums - n_positive * (n_positive + 1) / 2
    with np.errstate(invalid="ignore"):
        return 1 - negatives_above / (n_positive * (n_rows - n_positive))


def _best_f1(
    entries: _SortedEntries, labels: Any, n_columns: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the best F1 and its threshold, each (F, L).

    Going down a column, F1 can peak only at a row with the label, so that only these are looked at.
    """
    n_labels = labels.shape[1]
    n_positive = labels.sum(0)
    # each entry once per label of its row
    labels_of_entry = np.diff(labels.indptr)[entries.row]
    entry = np.repeat(np.arange(len(entries.row)), labels_of_entry)
    first_copy = np.cumsum(labels_of_entry) - labels_of_entry
    copy = np.arange(len(entry)) - np.repeat(first_copy, labels_of_entry)
    label = labels.indices[labels.indptr[entries.row[entry]] + copy]

    cell = entries.column[entry] * n_labels + label
    order = np.argsort(cell, kind="stable")
    cell, entry = cell[order], entry[order]
    n_hits = np.arange(len(cell)) - np.searchsorted(cell, cell) + 1
    score = 2 * n_hits / (entries.n_above[entry] + n_positive[cell % n_labels])
    by_score = np.lexsort((score, cell))
    best = by_score[np.searchsorted(cell, np.unique(cell), "right") - 1]

    f1 = np.zeros(n_columns * n_labels)
    threshold = np.full(n_columns * n_labels, np.inf)
    f1[cell[best]] = score[best]
    threshold[cell[best]] = entries.value[entry[best]]
    return f1.reshape(n_columns, n_labels), threshold.reshape(n_columns, n_labels)


def f1_scores(
    predicted: np.ndarray, truth: np.ndarray, cluster: np.ndarray
) -> tuple[np.ndarray, Estimate]:
    """Compute F1 of every column, and their mean with its interval.

    Args:
        predicted: Bool (n, n_columns).
        truth: Bool (n, n_columns).
        cluster: Which rows are not independent of each other, int (n,).
    """
    hits = predicted & truth
    size = np.maximum(predicted.sum(0) + truth.sum(0), 1)
    f1 = 2 * hits.sum(0) / size
    influence = (2.0 * hits - f1 * (1.0 * predicted + truth)) / size
    return f1, clustered_mean(f1, influence, cluster)


def auc_scores(
    scores: Any, truth: np.ndarray, cluster: np.ndarray
) -> tuple[np.ndarray, Estimate]:
    """Compute AUC of every column, and their mean with its interval.

    The influence of a row is its placement, the share of the other class that it beats (DeLong,
    DeLong and Clarke-Pearson, Biometrics 44 (1988) 837). Of yes-or-no scores, the AUC is the
    balanced accuracy.

    Args:
        scores: Numbers or bools, (n, n_columns).
        truth: Bool (n, n_columns).
        cluster: Which rows are not independent of each other, int (n,).
    """
    from scipy.stats import rankdata

    n_rows = len(truth)
    n_positive = truth.sum(0)
    n_negative = n_rows - n_positive
    rank = rankdata(scores, axis=0)
    # positives are lifted above all negatives, which are then subtracted again
    rank_in_class = rankdata(rank + truth * (2.0 * n_rows), axis=0) - truth * n_negative
    placement = (rank - rank_in_class) / np.where(truth, n_negative, n_positive)
    auc = (placement * truth).sum(0) / n_positive
    beaten = np.where(truth, placement, 1 - placement)
    influence = (beaten - auc) / np.where(truth, n_positive, n_negative)
    return auc, clustered_mean(auc, influence, cluster)
