"""What can be measured of features without labels: coherence, use, reconstruction."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from nanosae.analysis.baselines import Representation
from nanosae.analysis.describe import DENSE
from nanosae.analysis.statistics import Estimate, clustered_mean, mean_estimate, unit
from nanosae.codes import Codes

MAX_QUERIES = (
    1000  # rows asked for their neighbours; features asked for their intruders
)
NEIGHBOURS = 10
QUESTIONS = 5  # per feature
STRONGEST = 50  # rows of a feature that its questions are drawn from
WORD_AXES = 100  # dimensions of the space of words


def text_spaces(codes: Codes, rows: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Return unit rows to judge features in: their own embedding, and words.

    The space of words is latent semantic analysis: a truncated SVD of TF-IDF weights.

    Args:
        codes: The corpus.
        rows: Which rows.
        seed: Seed of the SVD.

    Returns:
        "vectors" and "words", where the corpus has them, (len(rows), any).
    """
    spaces = {}
    if codes.has_vectors:
        spaces["vectors"] = unit(codes.vectors(rows))
    if codes.has_texts:
        from sklearn.decomposition import TruncatedSVD
        from sklearn.feature_extraction.text import TfidfVectorizer

        try:
            words = TfidfVectorizer(sublinear_tf=True).fit_transform(
                codes.texts(rows, "")
            )
        except ValueError:  # there is no word in any text
            return spaces
        axes = TruncatedSVD(min(WORD_AXES, *words.shape), random_state=seed)
        spaces["words"] = unit(axes.fit_transform(words))
    return spaces


def intruder_detection(
    activations: Any, points: np.ndarray, rng: np.random.Generator
) -> Estimate:
    """Ask which of five texts lies farthest from the others: the inactive one among four active?

    Word intrusion (Chang et al., Reading Tea Leaves, NIPS 2009) with cosines as the judge. Chance
    is 0.2.

    Args:
        activations: csc_array (n_rows, n_features).
        points: Unit rows of the space to judge in, (n_rows, any).
        rng: Draws features and texts.

    Returns:
        Share of right answers, averaged over up to 1,000 features with four active rows or more.
    """
    n_active = np.diff(activations.indptr)
    right = []
    for feature in rng.permutation(np.flatnonzero(n_active >= 4))[:MAX_QUERIES]:
        entries = slice(activations.indptr[feature], activations.indptr[feature + 1])
        active = activations.indices[entries]
        strongest_first = np.argsort(-activations.data[entries], kind="stable")
        strongest = active[strongest_first[:STRONGEST]]
        drawn = rng.integers(0, activations.shape[0], 5 * QUESTIONS)
        intruders = np.setdiff1d(drawn, active)[:QUESTIONS]
        candidates = np.tile(strongest, (len(intruders), 1))
        four = rng.permuted(candidates, axis=1)[:, :4]
        if len(intruders):
            right.append(_share_found(points[np.c_[four, intruders]]))
    return mean_estimate(right)


def _share_found(five: np.ndarray) -> float:
    """Return how often the last of five points is the least similar to all, (questions, 5, any)."""
    similarity = np.einsum("tid,tjd->ti", five, five)
    return (similarity.argmin(1) == 4).mean()


def usage(representation: Representation) -> dict[str, Estimate]:
    """Measure how evenly features are used, and how alike their directions are.

    Args:
        representation: Activations, and perhaps directions.

    Returns:
        `l0`, `dead`, `dense` (shares of features), `gini` (of the densities) and, with directions,
        `redundancy`: the mean cosine of an active feature with the one most like it.
    """
    n_active = np.diff(representation.activations.indptr)
    n_features = len(n_active)
    density = np.sort(n_active / max(representation.activations.shape[0], 1))
    order_weights = 2 * np.arange(1, n_features + 1) - n_features - 1
    values = {
        "l0": density.sum(),
        "dead": (density == 0).mean(),
        "dense": (density > DENSE).mean(),
        "gini": order_weights @ density / max(n_features * density.sum(), 1e-12),
    }
    measures = {}
    for name, value in values.items():
        measures[name] = Estimate(float(value), np.nan, np.nan, n_features)
    if representation.directions is not None:
        distances, _ = _nearest(representation.directions[n_active > 0], 1)
        measures["redundancy"] = mean_estimate(1 - distances[:, 1])
    return measures


def reconstruction_measures(
    x: np.ndarray, reconstruction: np.ndarray, rng: np.random.Generator
) -> dict[str, Estimate]:
    """Compare rows with their reconstruction.

    Args:
        x: Rows, (n, width).
        reconstruction: Their reconstructions, (n, width).
        rng: Draws up to 1,000 rows whose neighbours are compared.

    Returns:
        `fvu`, `cosine`, and `recall@10`: the share of a row's ten nearest neighbours that are its
        reconstruction's among all reconstructions.
    """
    error = ((x - reconstruction) ** 2).sum(1)
    spread = ((x - x.mean(0)) ** 2).sum(1)
    fvu = np.array([error.sum() / spread.sum()])
    influence = ((error - fvu * spread) / spread.sum())[:, None]
    fvu_estimate = clustered_mean(fvu, influence, np.arange(len(x)))
    norms = np.linalg.norm(x, axis=1) * np.linalg.norm(reconstruction, axis=1)
    cosine = (x * reconstruction).sum(1) / (norms + 1e-9)

    queries = rng.permutation(len(x))[:MAX_QUERIES]
    _, before = _nearest(x, NEIGHBOURS, queries)
    _, after = _nearest(reconstruction, NEIGHBOURS, queries)
    recall = [
        len((set(own) & set(reconstructed)) - {row}) / NEIGHBOURS
        for row, own, reconstructed in zip(queries, before, after, strict=True)
    ]
    return {
        "fvu": replace(fvu_estimate, n=len(x)),
        "cosine": mean_estimate(cosine),
        f"recall@{NEIGHBOURS}": mean_estimate(recall),
    }


def _nearest(
    x: np.ndarray, n: int, queries: Any = slice(None)
) -> tuple[np.ndarray, np.ndarray]:
    """Return cosine distances and numbers of each queried row itself and its n nearest rows."""
    from sklearn.neighbors import NearestNeighbors

    n = min(n + 1, len(x))
    return (
        NearestNeighbors(n_neighbors=n, metric="cosine").fit(x).kneighbors(x[queries])
    )
