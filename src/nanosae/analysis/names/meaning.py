"""Meanings of terms and features: directions in the space of the corpus' embeddings.

The direction of a term is the one that best separates the rows whose texts have it from all rows
(Fisher's linear discriminant, 1936): the difference of means times the inverse covariance matrix,
estimated with Ledoit-Wolf shrinkage (2004). The difference alone would follow the directions in
which all texts vary most. If the embedder is available, the direction of a term is its embedding.
Rows are first centred on the corpus' mean and normalised, because most embeddings share a large
common component; terms are centred on the mean of all terms, because short phrases share another
one. Rows of zeros have no direction and count in no mean.

How well a direction separates a feature's rows from others is estimated under the assumption of
normal scores: the area under the ROC curve is then Φ(difference of means ÷ √(sum of variances))
(Green and Swets, Signal Detection Theory, 1966, §2.6).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.special import ndtr

from nanosae.analysis.reading import text_prompt
from nanosae.analysis.statistics import directions_from, mean_row
from nanosae.codes import Codes
from nanosae.errors import DataError
from nanosae.lengths import unit
from nanosae.text.embedders import find_embedder
from nanosae.text.words import Words

MAX_ROWS = 50_000  # rows from which directions are estimated
ROUNDING = 1e-4  # regularisation of variances, relative to their mean
SURE_Z = 4.0  # minimum z of the agreement between the meanings of terms in two halves of the rows

Encode = Callable[[list[str]], Any]  # texts to embeddings, (n, width)


@dataclass(frozen=True)
class Meaning:
    """The space of a corpus' embeddings, estimated from some of its rows.

    Attributes:
        rows: These rows, ascending, (n,).
        directions: Their embeddings, centred and normalised, (n, width).
        centre: Mean of the embeddings, (width,).
        mean_direction: Mean of `directions`, (width,).
        second_moments: Second moments of `directions`, (width, width).
        precision: Inverse of their shrunk covariance matrix, (width, width).
    """

    rows: np.ndarray
    directions: np.ndarray
    centre: np.ndarray
    mean_direction: np.ndarray
    second_moments: np.ndarray
    precision: np.ndarray

    def directions_of(self, vectors: np.ndarray) -> np.ndarray:
        """Return embeddings as directions, centred and normalised."""
        return directions_from(vectors, self.centre)

    def of_terms(self, presence: sp.csr_array) -> np.ndarray:
        """Return the direction of each term, (terms, width); zero for terms in no text.

        Args:
            presence: Indicators of the terms in `rows`, (n, terms).
        """
        n_texts = presence.sum(axis=0)
        sums = presence.T @ self.directions
        differences = sums - n_texts[:, None] * self.mean_direction
        return unit(differences @ self.precision)

    def has_rows(self, rows: np.ndarray) -> np.ndarray:
        """Return which of the given rows are in `self.rows`, bool."""
        places = np.searchsorted(self.rows, rows)
        inside = np.minimum(places, len(self.rows) - 1)
        return self.rows[inside] == rows

    def of_each(self, rows: np.ndarray) -> np.ndarray:
        """Return the directions of the given rows, which must be in `self.rows`, (n, width)."""
        return self.directions[np.searchsorted(self.rows, rows)]

    def of_rows(self, rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Return the weighted mean direction of rows minus the mean direction of all, (width,)."""
        mean = weights @ self.of_each(rows) / weights.sum()
        return mean - self.mean_direction


@dataclass(frozen=True)
class TermMeaning:
    """The meanings of some terms.

    Attributes:
        terms: Positions in `Words.terms`, ascending, (t,).
        directions: Their directions, with unit length or zero, (t, width).
    """

    terms: np.ndarray
    directions: np.ndarray

    def directions_of(self, terms: Sequence[int]) -> np.ndarray:
        """Return the directions of the given terms."""
        return self.directions[np.searchsorted(self.terms, terms)]


def is_about_texts(meaning: Meaning, words: Words, terms: np.ndarray) -> bool:
    """Return whether embeddings depend on the texts: whether two halves of the rows agree on terms.

    If they do not depend on them, the cosine of a term's two directions has mean 0 and variance
    1 ÷ the effective dimension of the embeddings (the participation ratio of their second moments).
    `terms` are the positions in `words.terms` of the terms to compare.
    """
    presence = words.presence[meaning.rows][:, terms]
    directions = []
    is_known = np.ones(len(terms), dtype=bool)
    for half in (slice(0, None, 2), slice(1, None, 2)):
        own = presence[half]
        n_texts = own.sum(axis=0)
        sums = own.T @ meaning.directions[half]
        directions.append(unit(sums - n_texts[:, None] * meaning.mean_direction))
        is_known &= n_texts > 0
    one, other = directions
    cosines = (one * other).sum(axis=1)[is_known]
    variance = np.square(meaning.second_moments).sum()  # 1 ÷ the effective dimension
    expected_spread = np.sqrt(len(cosines) * variance)
    return bool(cosines.sum() > SURE_Z * expected_spread)


def terms_by_corpus(meaning: Meaning, words: Words, terms: np.ndarray) -> TermMeaning:
    """Return the meanings of terms, estimated from the texts that have them."""
    presence = words.presence[meaning.rows][:, terms]
    return TermMeaning(terms, meaning.of_terms(presence))


def terms_by_embedder(encode: Encode, words: Words, terms: np.ndarray) -> TermMeaning:
    """Return the meanings of terms, by their embeddings."""
    embeddings = encode(words.terms[terms].tolist())
    return TermMeaning(terms, unit(embeddings - embeddings.mean(axis=0)))


def encode_like_rows(codes: Codes, embedder: Any) -> Encode:
    """Return the function that embeds words like the rows of a corpus.

    An embedder given by name gets the run's prompt of texts.

    Raises:
        DataError: If its embeddings have another width than those of the rows, or are not finite;
            when the function is called.
    """
    prompt = text_prompt(codes) if isinstance(embedder, str | Path) else ""
    embed = find_embedder(embedder, prompt=prompt).encode
    if not codes.has_vectors:
        return embed
    width = codes.vectors([0]).shape[1]

    def encode(texts: list[str]) -> np.ndarray:
        embeddings = embed(texts)
        own_width = embeddings.shape[1]
        if own_width != width:
            raise DataError(
                f"The embedder's vectors have width {own_width}; those of the rows have width "
                f"{width}.",
                remedy="Give the embedder of the rows.",
            )
        if not np.isfinite(embeddings).all():
            raise DataError("The embedder returned NaN or infinite numbers for a word.")
        return embeddings

    return encode


def corpus_meaning(codes: Codes, rows: np.ndarray, seed: int = 0) -> Meaning:
    """Estimate the space of a corpus' embeddings from a sample of some rows."""
    if len(rows) > MAX_ROWS:
        rows = np.random.default_rng(seed).choice(rows, MAX_ROWS, replace=False)
    rows = np.sort(rows)
    vectors = codes.vectors(rows)
    centre = mean_row(vectors)
    directions = directions_from(vectors, centre)
    known = directions[directions.any(axis=1)]
    mean_direction = mean_row(known)
    return Meaning(
        rows=rows,
        directions=directions,
        centre=centre,
        mean_direction=mean_direction,
        second_moments=known.T @ known / max(len(known), 1),
        precision=_precision(known - mean_direction),
    )


def _precision(centred: np.ndarray) -> np.ndarray:
    """Return the inverse of the shrunk covariance of centred rows, (width, width) float32."""
    from sklearn.covariance import ledoit_wolf

    width = centred.shape[1]
    if not centred.any():
        return np.eye(width, dtype=np.float32)
    covariance, _ = ledoit_wolf(centred, assume_centered=True)
    mean_variance = np.trace(covariance) / width
    rounding = ROUNDING * mean_variance * np.eye(width)
    return np.linalg.inv(covariance + rounding).astype(np.float32)


def normal_auc(mean_difference: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Return the area under the ROC curve of two normal groups with the same variance.

    Example:
        >>> normal_auc(np.array([0.0, 1.0]), np.array([1.0, 0.5])).round(3).tolist()
        [0.5, 0.841]
    """
    return ndtr(mean_difference / np.sqrt(2 * np.maximum(variance, 1e-12)))
