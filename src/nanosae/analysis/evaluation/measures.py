"""Measures of features that need no classes: coherence, usage, reconstruction."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from nanosae.analysis.describe import DENSE
from nanosae.analysis.evaluation.baselines import Representation
from nanosae.analysis.statistics import Estimate, clustered_mean, mean_estimate
from nanosae.codes import Codes
from nanosae.lengths import unit

MAX_QUERIES = 1000  # rows whose neighbours, or features whose intruders, are looked for
NEIGHBOURS = 10
QUESTIONS = 5  # per feature
STRONGEST = 50  # active rows of a feature that its questions are drawn from
ROUNDING = 1e-5  # of a sum of five cosines
WORD_AXES = 100  # dimensions of the latent semantic space


def text_spaces(codes: Codes, rows: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Return unit rows in two spaces in which the coherence of features can be judged.

    Returns:
        "vectors": the embeddings; "words": latent semantic analysis, a truncated SVD of TF-IDF
        weights. Only what the corpus has, each (len(rows), any).
    """
    spaces = {}
    if codes.has_vectors:
        spaces["vectors"] = unit(codes.vectors(rows))
    if codes.has_texts:
        from sklearn.decomposition import TruncatedSVD
        from sklearn.feature_extraction.text import TfidfVectorizer

        texts = codes.texts(rows, "")
        tf_idf = TfidfVectorizer(sublinear_tf=True)
        try:
            words = tf_idf.fit_transform(texts)
        except ValueError:  # no text contains a word
            return spaces
        n_axes = min(WORD_AXES, *words.shape)
        axes = TruncatedSVD(n_axes, random_state=seed)
        # if all texts are equal, scikit-learn divides by a variance of 0, which is not used here
        with np.errstate(divide="ignore", invalid="ignore"):
            positions = axes.fit_transform(words)
        spaces["words"] = unit(positions)
    return spaces


def intruder_detection(
    activations: Any, points: np.ndarray, rng: np.random.Generator
) -> Estimate:
    """Measure how often an inactive text among four active ones is the least similar to the rest.

    This is word intrusion (Chang et al., Reading Tea Leaves, NIPS 2009) with cosine similarity as
    the judge. Chance is 0.2.

    Args:
        activations: csc_array (n_rows, n_features).
        points: Unit rows in the space of the judge, (n_rows, any).
        rng: Draws features and texts.

    Returns:
        Share of intruders found, averaged over up to 1,000 features with at least four active rows.
    """
    n_active = np.diff(activations.indptr)
    with_four = np.flatnonzero(n_active >= 4)
    drawn_features = rng.permutation(with_four)[:MAX_QUERIES]
    accuracy = []
    for feature in drawn_features:
        five = _questions(activations, feature, rng)
        if len(five):
            accuracy.append(_share_found(points[five]))
    return mean_estimate(accuracy)


def _questions(activations: Any, feature: int, rng: np.random.Generator) -> np.ndarray:
    """Draw four active rows and an inactive one for each question, (up to 5, 5)."""
    start, stop = activations.indptr[feature : feature + 2]
    active = activations.indices[start:stop]
    strength = activations.data[start:stop]
    strongest_first = np.argsort(-strength, kind="stable")
    strongest = active[strongest_first[:STRONGEST]]
    n_rows = activations.shape[0]
    drawn = rng.integers(0, n_rows, 5 * QUESTIONS)
    inactive = np.setdiff1d(drawn, active)
    intruders = rng.permutation(inactive)[:QUESTIONS]
    candidates = np.tile(strongest, (len(intruders), 1))
    four = rng.permuted(candidates, axis=1)[:, :4]
    return np.c_[four, intruders]


def _share_found(five: np.ndarray) -> float:
    """Return how often the last of five points (n, 5, any) is the least similar to the others.

    Of several that are equally dissimilar, such as equal texts, one is named at random.
    """
    similarity = np.einsum("tid,tjd->ti", five, five)
    least = similarity.min(axis=1, keepdims=True)
    is_least = similarity <= least + ROUNDING
    share_found = is_least[:, 4] / is_least.sum(axis=1)
    return share_found.mean()


def usage(representation: Representation) -> dict[str, Estimate]:
    """Measure how evenly features are used, and how similar their directions are.

    Returns:
        `l0`; `dead` and `dense` (shares of the features); `gini` (of the densities); and, if there
        are directions, `redundancy`: the mean cosine of an active feature with its nearest one.
    """
    activations = representation.activations
    directions = representation.directions
    n_active = np.diff(activations.indptr)
    n_features = len(n_active)
    n_rows = max(activations.shape[0], 1)
    density = np.sort(n_active / n_rows)
    values = {
        "l0": density.sum(),
        "dead": (density == 0).mean(),
        "dense": (density > DENSE).mean(),
        "gini": _gini(density),
    }
    measures = {}
    for name, value in values.items():
        measures[name] = Estimate(float(value), np.nan, np.nan, n_features)
    if directions is not None:
        is_active = n_active > 0
        measures["redundancy"] = _redundancy(directions[is_active])
    return measures


def _redundancy(directions: np.ndarray) -> Estimate:
    """Return the mean cosine of a direction with its nearest one; NaN for fewer than two."""
    if len(directions) < 2:
        return mean_estimate([])
    distances, _ = _nearest(directions, 1)
    to_nearest = distances[:, 1]
    return mean_estimate(1 - to_nearest)


def _gini(density: np.ndarray) -> float:
    """Return the Gini coefficient of densities in ascending order; 0 if all are equal."""
    n_features = len(density)
    rank = np.arange(1, n_features + 1)
    rank_weights = 2 * rank - n_features - 1
    scale = max(n_features * density.sum(), 1e-12)
    return rank_weights @ density / scale


def reconstruction_measures(
    x: np.ndarray, reconstruction: np.ndarray, rng: np.random.Generator
) -> dict[str, Estimate]:
    """Compare rows with their reconstruction, each (n, width).

    Returns:
        `fvu` (NaN if all rows are equal), `cosine`, and for up to 1,000 rows `recall@10`: the share
        of a row's ten nearest rows whose reconstructions are also the ten nearest to its own.
    """
    cosine = (unit(x) * unit(reconstruction)).sum(1)
    recall = _recall(x, reconstruction, rng)
    return {
        "fvu": _fvu(x, reconstruction),
        "cosine": mean_estimate(cosine),
        f"recall@{NEIGHBOURS}": mean_estimate(recall),
    }


def _fvu(x: np.ndarray, reconstruction: np.ndarray) -> Estimate:
    """Return the fraction of variance unexplained over all rows."""
    n_rows = len(x)
    x = x.astype(np.float64)
    error = ((x - reconstruction) ** 2).sum(1)
    spread = ((x - x.mean(0)) ** 2).sum(1)
    total_spread = spread.sum() or np.nan
    fvu = np.array([error.sum() / total_spread])
    influence = (error - fvu * spread) / total_spread
    each_row = np.arange(n_rows)
    estimate = clustered_mean(fvu, influence[:, None], each_row)
    return replace(estimate, n=n_rows)


def _recall(
    x: np.ndarray, reconstruction: np.ndarray, rng: np.random.Generator
) -> list[float]:
    """Return the share of nearest neighbours that each queried row keeps after reconstruction."""
    queries = rng.permutation(len(x))[:MAX_QUERIES]
    _, before = _nearest(x, NEIGHBOURS, queries)
    _, after = _nearest(reconstruction, NEIGHBOURS, queries)
    n_neighbours = min(NEIGHBOURS, len(x) - 1)
    if n_neighbours < 1:
        return []
    recall = []
    for row, own, reconstructed in zip(queries, before, after, strict=True):
        # if rows are equal, a row need not come first among its own neighbours
        own_others = own[own != row][:n_neighbours]
        others = reconstructed[reconstructed != row][:n_neighbours]
        n_common = len(np.intersect1d(own_others, others))
        recall.append(n_common / n_neighbours)
    return recall


def _nearest(
    x: np.ndarray, n: int, queries: Any = slice(None)
) -> tuple[np.ndarray, np.ndarray]:
    """Return cosine distances and row numbers of each queried row and its n nearest rows."""
    from sklearn.neighbors import NearestNeighbors

    n_with_itself = min(n + 1, len(x))
    neighbours = NearestNeighbors(n_neighbors=n_with_itself, metric="cosine")
    directions = unit(x)
    neighbours.fit(directions)
    return neighbours.kneighbors(directions[queries])
