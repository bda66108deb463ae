"""Strata: rows that agree in all covariates. Comparisons are made only within strata."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

from nanosae.analysis.columns import as_numbers, one_hot
from nanosae.analysis.reading import texts_of
from nanosae.codes import Codes

TEXT_LENGTH = "length"  # a covariate that need not be a column
LENGTH_STEPS = 8  # per unit of log length: lengths within about 12 % count as equal
ROWS_PER_BIN = 100
MIN_BINS, MAX_BINS = 5, 50  # for a single covariate
MAX_LEVELS = 11  # numeric covariates with more distinct values are cut at quantiles


def strata(codes: Codes, rows: np.ndarray, covariates: Sequence[str]) -> sp.csr_array:
    """Assign rows to strata, within which all covariates are equal.

    Numbers are cut at quantiles: a single covariate into one bin per 100 rows, between 5 and 50
    bins; several covariates into 5 bins each. All other columns are stratified by their values.
    Text lengths are first rounded to multiples of 1/8 on a logarithmic scale: with exact lengths
    a short word in the text would itself determine the stratum.

    Args:
        codes: The corpus.
        rows: Row numbers.
        covariates: Metadata columns, and "length" for the length of the texts.

    Returns:
        Stratum of each row, one-hot, csr_array (len(rows), n_strata).
    """
    n_bins = MIN_BINS
    if len(covariates) == 1:
        n_full_bins = len(rows) // ROWS_PER_BIN
        n_bins = min(max(n_full_bins, MIN_BINS), MAX_BINS)
    stratum = np.zeros(len(rows), dtype=np.int64)
    for name in covariates:
        values = _covariate(codes, rows, name)
        level = _levels(values, n_bins)
        n_levels = level.max() + 1
        combined = stratum * n_levels + level
        stratum = np.unique(combined, return_inverse=True)[1]
    return one_hot(stratum)


def _covariate(codes: Codes, rows: np.ndarray, name: str) -> np.ndarray:
    """Read a covariate; a column named "length" takes precedence over the text length."""
    is_length = isinstance(name, str) and name == TEXT_LENGTH
    if is_length and name not in codes.columns:
        length = np.array([len(text) for text in texts_of(codes, rows)], np.int64)
        return np.round(LENGTH_STEPS * np.log1p(length))
    return codes.column(name, rows)


def _levels(values: np.ndarray, n_bins: int) -> np.ndarray:
    """Return the bin or value of each row as an integer; missing numbers form their own bin."""
    numbers = as_numbers(values)
    comparable = values
    if values.dtype.kind == "O":  # such as lists
        comparable = np.array([str(cell) for cell in values.tolist()])
    level = np.unique(comparable, return_inverse=True)[1]
    if numbers is None or level.max() < MAX_LEVELS:
        return level
    shares = np.arange(1, n_bins) / n_bins
    quantiles = np.nanquantile(numbers, shares)
    edges = np.unique(quantiles)
    number_bin = np.searchsorted(edges, numbers, side="right")
    return number_bin + np.isnan(numbers)
