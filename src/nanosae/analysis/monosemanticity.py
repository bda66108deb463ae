"""Monosemanticity: how much more similar the texts of a feature are than random texts.

Similarity is measured between TF-IDF vectors of the texts or in another second space; in the SAE's
own space the measure would be circular.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from nanosae.analysis.reading import feature_blocks
from nanosae.codes import Codes

HASHES = 2**18  # of words


def monosemanticity(
    codes: Codes, features: Any = None, space: Any = None
) -> np.ndarray:
    """Return how much more similar the texts of each feature are than random texts.

    This is the activation-weighted mean similarity of two different active rows,
    (‖Σ aᵢeᵢ‖² − Σ aᵢ²‖eᵢ‖²) ÷ ((Σ aᵢ)² − Σ aᵢ²), minus the mean similarity of all pairs of rows.

    Args:
        codes: The corpus.
        features: The features; all by default.
        space: Unit rows eᵢ of a second space, (n_rows, any), dense or sparse; by default TF-IDF
            vectors of the texts.

    Returns:
        (len(features),) float64: 0 is chance, about 1 equal texts; NaN for fewer than two active
        rows.
    """
    if space is None:
        space = tfidf(codes.texts(marks=""))
    square_norms = _row_sums(space * space)
    chance = _mean_similarity(space, square_norms)
    scores = []
    for block in feature_blocks(codes, features):
        activations = codes.features(block)
        weights: Any = sp.csr_array(activations.T, dtype=np.float64)
        square_weights = weights.power(2)
        weighted_sum = weights @ space
        self_similarity = square_weights @ square_norms
        similarity = _row_sums(weighted_sum * weighted_sum) - self_similarity
        all_pairs = weights.sum(axis=1) ** 2
        pair_weight = all_pairs - square_weights.sum(axis=1)
        n_active = np.diff(weights.indptr)
        pair_weight[n_active < 2] = np.nan
        mean_similarity = similarity / pair_weight
        scores.append(mean_similarity - chance)
    return np.concatenate(scores)


def tfidf(texts: np.ndarray) -> sp.csr_array:
    """Return texts as unit rows of TF-IDF with sublinear term frequency and hashed words."""
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

    if not len(texts):  # which scikit-learn refuses
        return sp.csr_array((0, HASHES))
    no_norm: Any = None
    words = HashingVectorizer(n_features=HASHES, alternate_sign=False, norm=no_norm)
    counts = words.transform(texts)
    weighting = TfidfTransformer(sublinear_tf=True)
    return sp.csr_array(weighting.fit_transform(counts))


def _mean_similarity(space: Any, square_norms: np.ndarray) -> float:
    """Return the mean similarity of two different rows."""
    n_rows = space.shape[0]
    total = np.asarray(space.sum(axis=0)).ravel()
    all_pairs = (total**2).sum()
    similarity = all_pairs - square_norms.sum()
    n_pairs = n_rows**2 - n_rows
    return similarity / max(n_pairs, 1)


def _row_sums(matrix: Any) -> np.ndarray:
    sums = matrix.sum(axis=1)
    return np.asarray(sums).ravel()
