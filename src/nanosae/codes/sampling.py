"""Samples of a corpus, for results that do not need all rows."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp

from nanosae.codes.places import indices
from nanosae.codes.reader import Codes
from nanosae.codes.shard import Shard

BLOCK = 2**16  # rows read at once
LEAST_ACTIVE = 200  # active rows per feature in a sample, if the corpus has as many


def sampled_rows(
    codes: Codes, n: int, seed: int = 0, least: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Draw rows at random, and add further rows on which rare features are active.

    Args:
        codes: The corpus.
        n: Number of rows to draw at random; all rows, if there are no more.
        seed: Seed of the draw.
        least: Active rows that each feature should have, if the corpus has as many; missing ones
            are drawn at random from those of the feature. By default 200, or fewer if more than
            `n` rows would be added.

    Returns:
        The rows, ascending, and a mask of those that are a random sample of the corpus.
    """
    least = LEAST_ACTIVE if least is None else least
    if codes.n_rows <= n:
        return np.arange(codes.n_rows), np.ones(codes.n_rows, bool)
    order = np.random.default_rng(seed).permutation(codes.n_rows)
    drawn = np.sort(order[:n])
    place_in_order = np.empty(codes.n_rows, np.int64)
    place_in_order[order] = np.arange(codes.n_rows)
    n_active = excerpt(codes, drawn).counts
    least = _affordable(least, n_active, codes.counts, most_added=n)
    lacks_rows = (n_active < least) & (codes.counts > n_active)
    chosen = [drawn]
    for feature in np.flatnonzero(lacks_rows).tolist():
        rows, _ = codes.feature(feature)
        first = np.argsort(place_in_order[rows])[:least]
        chosen.append(rows[first])
    rows = np.unique(np.concatenate(chosen))
    return rows, place_in_order[rows] < n


def _affordable(
    least: int, n_active: np.ndarray, counts: np.ndarray, most_added: int
) -> int:
    """Lower `least` until at most `most_added` rows are missing.

    Args:
        least: Active rows that each feature should have, if the corpus has as many.
        n_active: Active rows that each feature has in the sample, (n_features,).
        counts: Active rows that each feature has in the corpus, (n_features,).
        most_added: Maximal number of missing rows over all features.
    """

    def n_added(least: int) -> int:
        wanted = np.minimum(counts, least)
        missing = np.maximum(wanted - n_active, 0)
        return int(missing.sum())

    return bisect_right(range(least + 1), most_added, key=n_added) - 1


def sample_notes(what: str, rows: np.ndarray, codes: Codes) -> list[str]:
    """Return a note that a result is based on a sample, if it is.

    Example:
        >>> sample_notes("Labels are", np.arange(2), codes)  # doctest: +SKIP
        ['Labels are based on a sample of 2 of 5,000 rows.']
    """
    if len(rows) == codes.n_rows:
        return []
    return [f"{what} based on a sample of {len(rows):,} of {codes.n_rows:,} rows."]


def excerpt(codes: Codes, rows: np.ndarray) -> Codes:
    """Return some rows of a corpus as a corpus, numbered from 0, without copying.

    Args:
        codes: The corpus.
        rows: Its rows, ascending.
    """
    if len(rows) == codes.n_rows:
        return codes
    return _Excerpt(codes, rows)


class _Excerpt(Codes):
    """Some rows of a corpus.

    Args:
        codes: The corpus.
        rows: Its rows, ascending.
    """

    def __init__(self, codes: Codes, rows: np.ndarray) -> None:
        super().__init__(codes.path, codes.manifest)
        self._corpus = codes
        self._rows = rows
        self._place = np.full(codes.n_rows, -1, np.int32)
        self._place[rows] = np.arange(len(rows))
        self.n_rows = len(rows)
        self.nnz = int(self.counts.sum())

    @cached_property
    def counts(self) -> np.ndarray:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Number of rows on which each feature is active, (n_features,) int64."""
        counts = np.zeros(self.n_features, np.int64)
        for _, block in self.shards():
            counts += np.bincount(block.indices, minlength=self.n_features)
        return counts

    def features(self, js: Any) -> sp.csc_array:
        """Return the columns of some features, (n_rows, len(js)) float32."""
        columns = self._corpus.features(js)
        place = self._place[columns.indices]
        is_kept = place >= 0
        n_kept_before = np.concatenate([[0], np.cumsum(is_kept)])
        ends = n_kept_before[columns.indptr]
        entries = (columns.data[is_kept], place[is_kept], ends)
        return sp.csc_array(entries, shape=(self.n_rows, len(ends) - 1))

    def top(self, j: int, n: int = 100) -> tuple[np.ndarray, np.ndarray]:
        """Return the `n` strongest rows of feature `j`, strongest first; ties: lower row first."""
        rows, activations = self.feature(j)
        strongest = np.argsort(-activations, kind="stable")[: max(n, 0)]
        return rows[strongest], activations[strongest]

    def shards(self, values: bool = True) -> Iterator[tuple[int, sp.csr_array]]:
        """Yield (first row, csr_array) block by block; if not `values`, values are int8 ones."""
        for start in range(0, self.n_rows, BLOCK):
            block = self.rows(start, start + BLOCK)
            if not values:
                block = sp.csr_array(block.astype(bool).astype(np.int8))
            yield start, block

    def scan(self, size: int = 2**11) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (first row, float32 embeddings) for all rows, block by block."""
        for start in range(0, self.n_rows, size):
            stop = min(start + size, self.n_rows)
            yield start, self.vectors(np.arange(start, stop))

    def _gather(
        self, rows: Any, read: Callable[[Shard, np.ndarray], Any]
    ) -> tuple[list[Any], np.ndarray]:
        rows = indices(rows, self.n_rows, "row")
        return self._corpus._gather(self._rows[rows], read)
