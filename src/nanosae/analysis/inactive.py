"""Hard negatives: rows near a feature on which it is inactive."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import scipy.sparse as sp

from nanosae.analysis.ranking import largest_in_rows, largest_places
from nanosae.analysis.reading import COLUMNS_WIDTH, distinct_rows, feature_columns
from nanosae.analysis.statistics import directions_from
from nanosae.codes import Codes
from nanosae.lengths import unit

PROJECTED = 256  # random directions that replace embeddings
HARD_POOL = 20_000  # sampled rows among which hard inactive ones are searched
TOP_ROWS = 50  # strongest rows whose weighted mean is the direction of a feature


class InactiveRows:
    """A random pool of rows in which the nearest inactive rows of a feature are found.

    Rows are represented by unit vectors from a centre: by their embeddings or, without embeddings,
    by their activations projected onto PROJECTED random directions.

    Args:
        codes: The corpus.
        rows: Rows to sample from, or their number.
        pool: Maximum number of sampled rows.
        seed: Seed of the sample and of the directions.
        centre: The origin of the directions, (input_size,).

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
        """Return rows of the corpus as unit vectors, (len(rows), width) float32."""
        if self._projection is None:
            vectors = self._codes.vectors(rows)
        else:
            vectors = self._codes.take(rows) @ self._projection
        return directions_from(vectors, self._centre).astype(np.float32)

    def of_lists(
        self, row_lists: list[np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the unit vectors of the `distinct_rows` of lists, their places, and the ends."""
        distinct, place, ends = distinct_rows(row_lists)
        return self.unit_vectors(distinct), place, ends

    def mean_directions(self, row_lists: list[np.ndarray]) -> np.ndarray:
        """Return the unit mean direction of each list of rows, zero for an empty list."""
        vectors, place, ends = self.of_lists(row_lists)
        ones = np.ones(len(place), np.float32)
        membership = sp.csr_array(
            (ones, place, ends), shape=(len(row_lists), len(vectors))
        )
        return unit(membership @ vectors)

    def nearest(
        self, features: np.ndarray, directions: np.ndarray, n: int
    ) -> list[np.ndarray]:
        """Return up to n inactive rows of the pool for each feature, the nearest first.

        Args:
            features: The features, (F,).
            directions: The direction of each, (F, width).
            n: Maximum number of rows for each.
        """
        similarity = directions @ self.vectors.T
        active: Any = self._active[:, features].tocoo()
        similarity[active.col, active.row] = -np.inf
        places, _ = largest_in_rows(similarity, n)
        return [self.rows[few] for few in places]


def hard_inactive(
    codes: Codes, features: np.ndarray, rows: np.ndarray, n: int = 200, seed: int = 0
) -> list[np.ndarray]:
    """Find the inactive rows nearest to each feature.

    The direction of a feature is the mean of its TOP_ROWS strongest rows, weighted by activation.
    Without embeddings, rows are near if they share other features with these.

    Args:
        codes: The corpus.
        features: The features, (F,).
        rows: The rows to use: the strongest rows are taken from all of them, the inactive ones from
            a random sample of HARD_POOL.
        n: Maximum number of rows for each feature.
        seed: Seed of the sample and of the random directions.

    Returns:
        Up to `n` rows for each feature, the nearest first.
    """
    if not len(features):
        return []
    pool = InactiveRows(codes, rows, HARD_POOL, seed)
    is_given = np.isin(np.arange(codes.n_rows), rows)
    found = []
    for block in np.split(features, range(COLUMNS_WIDTH, len(features), COLUMNS_WIDTH)):
        strongest_rows, weights_of_rows = [], []
        for active_rows, activations in feature_columns(codes, block):
            weights = activations * is_given[active_rows]
            strongest = largest_places(weights, TOP_ROWS)
            strongest_rows.append(active_rows[strongest])
            weights_of_rows.append(weights[strongest])
        vectors, place, ends = pool.of_lists(strongest_rows)
        directions = []
        for weights, (start, stop) in zip(weights_of_rows, pairwise(ends), strict=True):
            directions.append(weights @ vectors[place[start:stop]])
        found += pool.nearest(block, np.array(directions), n)
    return found
