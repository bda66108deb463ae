"""AUC and F1 of every feature for every class, and of scores with confidence intervals.

The AUC is the Mann-Whitney U ÷ (positives × negatives), with ties counting one half (Hanley and
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
    """How well each of F features alone predicts each of C classes.

    Attributes:
        auc: AUC, (F, C); NaN for classes of all rows, or of none.
        f1: The best F1 of "activation ≥ threshold" over positive thresholds, (F, C).
        threshold: That threshold, (F, C); infinite if feature and class share no row.
    """

    auc: np.ndarray
    f1: np.ndarray
    threshold: np.ndarray


@dataclass(frozen=True)
class _SortedEntries:
    """Stored entries of a csc matrix, by column and in decreasing order within each.

    `n_above` counts the entries of the column that are at least as large, and `n_larger` those that
    are larger.
    """

    row: np.ndarray
    column: np.ndarray
    value: np.ndarray
    n_above: np.ndarray
    n_larger: np.ndarray


def single_feature_scores(activations: Any, classes: Any) -> SingleFeatureScores:
    """Compute the AUC and the best F1 of every feature for every class from one sort.

    Args:
        activations: Non-negative csc_array (n, F) without explicit zeros.
        classes: Indicators, csr_array (n, C).

    Example:
        >>> x = sp.csc_array([[2.0], [1.0], [0.0]])
        >>> found = single_feature_scores(x, sp.csr_array([[1.0], [0.0], [0.0]]))
        >>> found.auc.tolist(), found.f1.tolist(), found.threshold.tolist()
        ([[1.0]], [[1.0]], [[2.0]])
    """
    entries = _sort_entries(activations)
    f1, threshold = _best_f1(entries, classes, n_columns=activations.shape[1])
    each_counts_once = np.ones(activations.shape[0])
    auc = _auc_of_columns(entries, activations, classes, each_counts_once)
    return SingleFeatureScores(auc, f1, threshold)


def single_feature_auc(activations: Any, labels: Any, weight: np.ndarray) -> np.ndarray:
    """Return the AUC of `single_feature_scores`, (F, L), with a weight for each row, (n,)."""
    entries = _sort_entries(activations)
    return _auc_of_columns(entries, activations, labels, weight)


def _sort_entries(columns: Any) -> _SortedEntries:
    n_columns = columns.shape[1]
    n_active = np.diff(columns.indptr)
    column = np.repeat(np.arange(n_columns), n_active)
    order = np.lexsort((-columns.data, column))
    value = columns.data[order]
    row = columns.indices[order]

    same_value = value[1:] == value[:-1]
    same_column = column[1:] == column[:-1]
    differs_from_previous = ~(same_value & same_column)
    is_first_of_tie = np.r_[True, differs_from_previous]
    is_last_of_tie = np.r_[differs_from_previous, True]
    first_of_tie = np.flatnonzero(is_first_of_tie)
    last_of_tie = np.flatnonzero(is_last_of_tie)
    n_ties_before = np.cumsum(np.r_[0, differs_from_previous])
    tie = n_ties_before[: len(column)]

    first = first_of_tie[tie]
    last = last_of_tie[tie]
    start = columns.indptr[column]
    n_above = last + 1 - start
    n_larger = first - start
    return _SortedEntries(row, column, value, n_above, n_larger)


def _auc_of_columns(
    entries: _SortedEntries, columns: Any, classes: Any, weight: np.ndarray
) -> np.ndarray:
    """Return the AUC, (F, C), from sums of ranks; all zeros are tied at the lowest rank.

    The rank of a row is the weight of the rows above it and half the weight of those tied with it,
    itself included.
    """
    n_rows, n_columns = columns.shape
    weighted_classes = classes.multiply(weight[:, None]).tocsr()
    positive = weighted_classes.sum(0)
    total = weight.sum()
    weight_before = np.concatenate([[0], np.cumsum(weight[entries.row])])
    start = columns.indptr[entries.column]
    larger = weight_before[start + entries.n_larger] - weight_before[start]
    above = weight_before[start + entries.n_above] - weight_before[start]
    active = np.diff(weight_before[columns.indptr])
    rank_of_zeros = (active + total) / 2
    # ranks relative to those of the zeros, so that only stored entries need to be summed
    relative_rank = (larger + above) / 2 - rank_of_zeros[entries.column]
    places = (entries.column, entries.row)
    by_column = sp.csr_array((relative_rank, places), shape=(n_columns, n_rows))
    relative_sums: Any = by_column @ weighted_classes
    sums_of_zeros = np.outer(rank_of_zeros, positive)
    rank_sums = relative_sums.toarray() + sums_of_zeros
    # the positives alone have half the square of their weight
    negatives_above = rank_sums - positive**2 / 2
    with np.errstate(invalid="ignore"):
        return 1 - negatives_above / (positive * (total - positive))


def _best_f1(
    entries: _SortedEntries, classes: Any, n_columns: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the best F1 and its threshold, each (F, C).

    As the threshold decreases, F1 rises only at rows of the class, so only these are considered.
    """
    n_classes = classes.shape[1]
    n_positive = classes.sum(0)
    entry, class_ = _copies_per_class(entries.row, classes)
    cell = entries.column[entry] * n_classes + class_
    order = np.argsort(cell, kind="stable")
    cell = cell[order]
    entry = entry[order]

    first_of_cell = np.searchsorted(cell, cell)
    n_hits = np.arange(len(cell)) - first_of_cell + 1
    n_above = entries.n_above[entry]
    n_in_class = n_positive[cell % n_classes]
    score = 2 * n_hits / (n_above + n_in_class)
    by_score = np.lexsort((score, cell))
    cell_ends = np.searchsorted(cell, np.unique(cell), "right")
    best = by_score[cell_ends - 1]
    best_cell = cell[best]
    best_entry = entry[best]

    shape = (n_columns, n_classes)
    f1 = np.zeros(n_columns * n_classes)
    threshold = np.full(n_columns * n_classes, np.inf)
    f1[best_cell] = score[best]
    threshold[best_cell] = entries.value[best_entry]
    return f1.reshape(shape), threshold.reshape(shape)


def _copies_per_class(row: np.ndarray, classes: Any) -> tuple[np.ndarray, np.ndarray]:
    """Repeat each entry once per class of its row; return the entry and the class of each copy."""
    classes_of_row = np.diff(classes.indptr)
    n_copies = classes_of_row[row]
    entry = np.repeat(np.arange(len(row)), n_copies)
    first_copy = np.cumsum(n_copies) - n_copies
    first_of_entry = np.repeat(first_copy, n_copies)
    place_among_copies = np.arange(len(entry)) - first_of_entry
    first_class = classes.indptr[row[entry]]
    class_ = classes.indices[first_class + place_among_copies]
    return entry, class_


def f1_scores(
    predicted: np.ndarray, truth: np.ndarray, cluster: np.ndarray
) -> tuple[np.ndarray, Estimate]:
    """Compute the F1 of every column, and their mean with its interval.

    Takes the arguments of `auc_scores`, with bool predictions in place of scores.
    """
    hits = predicted & truth
    n_predicted = predicted.sum(0)
    n_positive = truth.sum(0)
    denominator = np.maximum(n_predicted + n_positive, 1)
    f1 = 2 * hits.sum(0) / denominator
    denominator_terms = 1.0 * predicted + truth
    influence = (2.0 * hits - f1 * denominator_terms) / denominator
    return f1, clustered_mean(f1, influence, cluster)


def auc_scores(
    scores: Any, truth: np.ndarray, cluster: np.ndarray
) -> tuple[np.ndarray, Estimate]:
    """Compute the AUC of every column, and their mean with its interval.

    The influence of a row is its placement, the share of the other class that it beats (DeLong,
    DeLong and Clarke-Pearson, Biometrics 44 (1988) 837). The AUC of bool scores is their balanced
    accuracy.

    Args:
        scores: Numbers or bools, (n, n_columns).
        truth: Bool (n, n_columns).
        cluster: Cluster of each row, int (n,); rows of different clusters are independent.
    """
    from scipy.stats import rankdata

    n_rows = len(truth)
    n_positive = truth.sum(0)
    n_negative = n_rows - n_positive
    rank = rankdata(scores, axis=0)
    # ranks within each class: shift positives above all negatives, then subtract their number
    shifted = rank + truth * (2.0 * n_rows)
    rank_in_class = rankdata(shifted, axis=0) - truth * n_negative
    n_other_class = np.where(truth, n_negative, n_positive)
    n_own_class = np.where(truth, n_positive, n_negative)
    placement = (rank - rank_in_class) / n_other_class
    auc = (placement * truth).sum(0) / n_positive
    beaten = np.where(truth, placement, 1 - placement)
    influence = (beaten - auc) / n_own_class
    return auc, clustered_mean(auc, influence, cluster)
