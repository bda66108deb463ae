"""Rows on which a feature is inactive although they are near to it: hard negatives."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from nanosae.analysis.ranking import largest_in_rows, largest_places
from nanosae.analysis.reading import COLUMNS_WIDTH, feature_columns
from nanosae.analysis.statistics import unit
from nanosae.codes import Codes

PROJECTED = 256  # random directions that stand for the activations, without embeddings
HARD_POOL = 20_000  # rows among which hard inactive ones are looked for
TOP_ROWS = 50  # strongest rows whose mean is a feature's centre


class InactiveRows:
    """A random pool of rows, among which the nearest inactive ones of a feature are found.

    Rows are unit vectors from a centre: their embeddings, or without embeddings their activations,
    projected to PROJECTED random directions.

    Args:
        codes: The corpus.
        rows: Rows to draw from, or their number.
        pool: Rows to draw, at most.
        seed: Seed of the draw and of the directions.
        centre: The point from which directions are measured, (input_size,).

    Attributes:
        rows: The pool, ascending.
        vectors: Their unit vectors, (len(rows), width) float32.
    """

    def __init__(
        self,
        codes: Codes,
        rows: Any,
        pool: int,
        seed: int,
        centre: np.ndarray | float = 0.0,
    ) -> None:
        rng = np.random.default_rng(seed)
        self._codes = codes
        self._centre = centre
        self._projection = None
        if not codes.has_vectors:
            self._projection = rng.standard_normal((codes.n_features, PROJECTED))
        self.rows = np.sort(rng.permutation(rows)[:pool])
        self.vectors = self.unit_vectors(self.rows)
        self._active = sp.csc_array(codes.take(self.rows))

    def unit_vectors(self, rows: np.ndarray) -> np.ndarray:
        """Return any rows of the corpus as unit vectors, (len(rows), width) float32."""
        if self._projection is None:
            vectors = self._codes.vectors(rows)
        else:
            vectors = self._codes.take(rows) @ self._projection
        return unit(vectors - self._centre).astype(np.float32)

    def mean_directions(self, row_lists: list[np.ndarray]) -> np.ndarray:
        """Return the unit mean direction of each list of rows, zero for an empty list."""
        all_rows = np.concatenate([*row_lists, self.rows[:0]])
        distinct, place = np.unique(all_rows, return_inverse=True)
        vectors = self.unit_vectors(distinct)
        ends = np.cumsum([0, *(len(rows) for rows in row_lists)])
        ones = np.ones(len(place), np.float32)
        membership = sp.csr_array(
            (ones, place, ends), shape=(len(row_lists), len(vectors))
        )
        return unit(membership @ vectors)

    def nearest(
        self, features: np.ndarray, directions: np.ndarray, n: int
    ) -> list[np.ndarray]:
        """Return, for each feature, up to n inactive rows of the pool, the nearest first.

        Args:
            features: Which features, (F,).
            directions: Where to look for each, (F, width).
            n: Rows to find for each.
        """
        nearness = directions @ self.vectors.T
        active: Any = self._active[:, features].tocoo()
        nearness[active.col, active.row] = -np.inf
        places, _ = largest_in_rows(nearness, n)
        return [self.rows[few] for few in places]


def hard_inactive(
    codes: Codes, features: np.ndarray, rows: np.ndarray, n: int = 200, seed: int = 0
) -> list[np.ndarray]:
    """Find the inactive rows that are nearest to each feature.

    Near is a large product with the mean of its TOP_ROWS strongest rows, weighted by activation.
    Without embeddings, near rows share most of the other features.

    Args:
        codes: The corpus.
        features: Which features, (F,).
        rows: Rows among which to look: the strongest ones, and the inactive ones among a random
            HARD_POOL of them.
        n: Rows to find for each.
        seed: Seed of the sample and of the random directions.

    Returns:
        For each feature up to `n` rows, the nearest first.
    """
    if not len(features):
        return []
    pool = InactiveRows(codes, rows, HARD_POOL, seed)
    is_given = np.isin(np.arange(codes.n_rows), rows)
    found = []
    for block in np.split(features, range(COLUMNS_WIDTH, len(features), COLUMNS_WIDTH)):
        centres = []
        for active_rows, activations in feature_columns(codes, block):
            weights = activations * is_given[active_rows]
            strongest = largest_places(weights, TOP_ROWS)
            centres.append(
                weights[strongest] @ pool.unit_vectors(active_rows[strongest])
            )
        found += pool.nearest(block, np.array(centres), n)
    return found
