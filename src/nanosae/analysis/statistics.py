"""Small things that several verbs share: labels as matrices, ranks, regression."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from nanosae.codes import Codes


def unit(x: np.ndarray) -> np.ndarray:
    """Return rows at length 1; zero rows stay zero."""
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.where(norms > 0, norms, 1)


def one_per_row(codes: Codes, y: Any) -> np.ndarray:
    """Return a metadata column, or the given values, which must be one per row."""
    values = codes.column(y) if isinstance(y, str) else np.asarray(y, dtype=object)
    if len(values) != codes.n_rows:
        raise ValueError(f"given are {len(values)} values, the corpus {codes.n_rows} rows.")
    return values


def is_missing_value(value: Any) -> bool:
    """Say whether a cell is empty: None, "" or NaN."""
    return value is None or value != value or value == ""


def is_missing(values: np.ndarray) -> np.ndarray:
    """Return which values are None, "" or NaN, bool (n,)."""
    return np.array([is_missing_value(value) for value in values.tolist()], dtype=bool)


def label_matrix(values: np.ndarray) -> tuple[list[str], sp.csr_array]:
    """Turn cells of labels, joined by "|", into names and a 0/1 matrix.

    Args:
        values: One cell per row; missing ones give an empty row.

    Returns:
        The sorted names, and who has which, csr_array (n, names) of float64.

    Example:
        >>> label_matrix(np.array(["b|a", "", "a"], dtype=object))[1].toarray().tolist()
        [[1.0, 1.0], [0.0, 0.0], [1.0, 0.0]]
    """
    from sklearn.preprocessing import MultiLabelBinarizer

    none, binarizer = is_missing(values), MultiLabelBinarizer(sparse_output=True)
    cells = [[] if gone else str(v).split("|") for v, gone in zip(values, none, strict=True)]
    matrix = sp.csr_array(binarizer.fit_transform(cells), dtype=np.float64)
    return binarizer.classes_.tolist(), matrix


def pair_scores(columns: Any, labels: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return AUC, best F1 and its threshold for every pair of column and label, in one sort.

    Zeros are ties of the lowest rank; equal strengths are never parted. Going down a column, F1
    can peak only where the label is on, so that stored entries are all that is looked at.

    Args:
        columns: Strengths, csc_array (n, F), not negative, without explicit zeros.
        labels: 0/1, csr_array (n, L).

    Returns:
        AUC, NaN for a label that all rows have, or none; the best F1 of "strength ≥ threshold" with
        a threshold above 0; that threshold, infinite where they never meet: each (F, L).
    """
    (n, m), width, ptr = columns.shape, labels.shape[1], columns.indptr
    of = np.repeat(np.arange(m), np.diff(ptr))
    order = np.lexsort((-columns.data, of))
    value, row = columns.data[order], columns.indices[order]
    same = (value[1:] == value[:-1]) & (of[1:] == of[:-1])
    first, last = np.flatnonzero(np.r_[True, ~same]), np.flatnonzero(np.r_[~same, True])
    tie = np.cumsum(np.r_[0, ~same])[: len(of)]
    above = last[tie] + 1 - ptr[of]  # rows at or above, in this column

    positive, silent = labels.sum(0), (np.diff(ptr) + 1 + n) / 2  # mean rank of the zeros
    lift = (first[tie] + last[tie]) / 2 + 1 - ptr[of] - silent[of]
    lifted: Any = sp.csr_array((lift, (of, row)), shape=(m, n)) @ labels
    ranks = lifted.toarray() + np.outer(silent, positive)  # from the top
    with np.errstate(invalid="ignore"):
        auc = 1 - (ranks - positive * (positive + 1) / 2) / (positive * (n - positive))

    copies = np.diff(labels.indptr)[row]  # each entry once per label of its row
    entry = np.repeat(np.arange(len(of)), copies)
    place = np.arange(len(entry)) - np.repeat(np.cumsum(copies) - copies, copies)
    pair = of[entry] * width + labels.indices[labels.indptr[row[entry]] + place]
    order = np.argsort(pair, kind="stable")
    pair, entry = pair[order], entry[order]
    hits = np.arange(len(pair)) - np.searchsorted(pair, pair) + 1
    score = 2 * hits / (above[entry] + positive[pair % width])
    top = np.lexsort((score, pair))[np.searchsorted(pair, np.unique(pair), "right") - 1]
    f1, threshold = np.zeros(m * width), np.full(m * width, np.inf)
    f1[pair[top]], threshold[pair[top]] = score[top], value[entry[top]]
    return auc, f1.reshape(m, width), threshold.reshape(m, width)


def one_hot(index: np.ndarray) -> sp.csr_array:
    """Return the 0/1 matrix with a single 1 per row, in the column given."""
    index = np.asarray(index, dtype=np.int64)
    parts = (np.ones(len(index)), index, np.arange(len(index) + 1))
    return sp.csr_array(parts, shape=(len(index), int(index.max(initial=-1)) + 1))


def regress(
    x: np.ndarray, y: np.ndarray, weight: np.ndarray, *, linear: bool = False, ridge: float = 1e-3
) -> tuple[np.ndarray, np.ndarray]:
    """Fit weighted least squares or logistic regression by Newton's method.

    Args:
        x: Design, (n, d); a constant is a column like any other.
        y: Outcome, (n,); 0/1 if logistic.
        weight: What each row counts, (n,).
        linear: Least squares instead of logistic.
        ridge: Penalty ridge ÷ 2 · ‖β‖²; a small one keeps a column finite that never varies.

    Returns:
        β and its standard errors, each (d,).
    """
    from scipy.special import expit

    beta, penalty = np.zeros(x.shape[1]), ridge * np.eye(x.shape[1])
    inverse, spread = penalty, 1.0
    for _ in range(2 if linear else 50):
        mean = x @ beta if linear else expit(x @ beta)
        curve = weight if linear else weight * mean * (1 - mean)
        inverse = np.linalg.inv((x.T * curve) @ x + penalty)
        step = inverse @ (x.T @ (weight * (y - mean)) - ridge * beta)
        beta += step if linear else np.clip(step, -5, 5)
        if np.abs(step).max() < 1e-6:
            break
    if linear:
        spread = (weight * (y - x @ beta) ** 2).sum() / max(weight.sum() - x.shape[1], 1)
    return beta, np.sqrt(spread * np.diag(inverse))


def false_discovery(p: Any) -> np.ndarray:
    """Return Benjamini and Hochberg's q of some p values; of none, none."""
    from scipy.stats import false_discovery_control

    return false_discovery_control(p) if len(p) else np.zeros(0)
