"""Strata: rows that are equal in the covariates, within which alone a comparison is made."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

from nanosae.analysis.columns import as_numbers, one_hot
from nanosae.analysis.reading import texts_of
from nanosae.codes import Codes

TEXT_LENGTH = "length"  # the covariate that need not be a column
LENGTH_STEPS = 8  # steps of length in a factor of e: 12 % longer is as long
ROWS_PER_BIN = 100
MIN_BINS, MAX_BINS = 5, 50  # of a single covariate
MAX_LEVELS = 11  # numbers with more different values are cut at quantiles


def strata(codes: Codes, rows: np.ndarray, covariates: Sequence[str]) -> sp.csr_array:
    """Put rows that are equal in all covariates into one stratum.

    Numbers are cut at quantiles: a single covariate into one bin per 100 rows, at least 5 and at
    most 50, several into 5 each. Everything else goes by its values. Lengths of texts are rounded
    to steps of an eighth first: a letter more or less makes no two texts unlike, and must not
    stand for the word that it belongs to.

    Args:
        codes: The corpus.
        rows: Which rows.
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
    """Read a covariate; a column named "length" goes before the length of the texts."""
    if name == TEXT_LENGTH and name not in codes.columns:
        length = np.array([len(text) for text in texts_of(codes, rows)], np.int64)
        return np.round(LENGTH_STEPS * np.log1p(length))
    return codes.column(name, rows)


def _levels(values: np.ndarray, n_bins: int) -> np.ndarray:
    """Number the bins or values of a covariate; missing numbers are a bin of their own."""
    numbers = as_numbers(values)
    comparable = values if values.dtype.kind in "biuf" else values.astype(str)
    level = np.unique(comparable, return_inverse=True)[1]
    if numbers is None or level.max() < MAX_LEVELS:
        return level
    shares = np.arange(1, n_bins) / n_bins
    quantiles = np.nanquantile(numbers, shares)
    edges = np.unique(quantiles)
    number_bin = np.searchsorted(edges, numbers, side="right")
    return number_bin + np.isnan(numbers)
