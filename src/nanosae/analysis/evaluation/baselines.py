"""A corpus' codes, and four baselines that need no trained SAE, in one form.

The baselines are the dense vectors, their principal components (of both, an axis and its opposite
are a feature each), k-means clusters (one-hot), and an SAE with random directions (encoder =
transpose of the decoder, one threshold for the same L0). Random dictionaries do well on many
measures (arXiv 2602.14111), so that a score alone says little.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from nanosae.analysis.columns import one_hot
from nanosae.analysis.reading import run_model
from nanosae.analysis.statistics import unit
from nanosae.codes import Codes

ROWS_PER_CLUSTER = 50
THRESHOLD_ROWS = 1000  # rows on which the random SAE's threshold is set
BLOCK = 4096  # rows encoded at a time


@dataclass(frozen=True, eq=False)
class Representation:
    """Rows as activations of features.

    Attributes:
        activations: csc_array (n_rows, n_features), not negative.
        original: What is to be reconstructed: the rows, or a transcoder's targets; None where
            nothing is.
        reconstruction: What the activations make of it, of the same shape.
        directions: Unit direction of each feature, (n_features, width); None where there are none.
    """

    activations: Any
    original: np.ndarray | None = None
    reconstruction: np.ndarray | None = None
    directions: np.ndarray | None = None


def representations(
    codes: Codes,
    rows: np.ndarray,
    baselines: bool,
    rng: np.random.Generator,
    targets: np.ndarray | None = None,
) -> Iterator[tuple[str, Representation]]:
    """Yield the codes of some rows, and the baselines on the same rows.

    They come one by one because dense ones are large: let each go before the next is asked for.

    Args:
        codes: The corpus.
        rows: Rows to represent.
        baselines: Whether to make the baselines; they need vectors.
        rng: Draws the random directions.
        targets: What a transcoder is to make of these rows, (len(rows), output_size).

    Yields:
        "codes", and with `baselines` "dense", "pca", "k-means" and "random", each with its
        representation.
    """
    dense = codes.vectors(rows) if codes.has_vectors else None
    of_codes = _codes(codes, rows, dense, targets)
    l0 = of_codes.activations.nnz / len(rows)
    yield "codes", of_codes
    del of_codes
    if dense is None or not baselines:
        return
    mean = dense.mean(0)
    centred = dense - mean
    yield "dense", Representation(_both_signs(centred))
    yield "pca", _principal_components(dense, centred, mean, l0)
    yield "k-means", _clusters(dense, codes.n_features)
    yield "random", _random_sae(dense, centred, mean, codes.n_features, l0, rng)


def _codes(
    codes: Codes,
    rows: np.ndarray,
    dense: np.ndarray | None,
    targets: np.ndarray | None,
) -> Representation:
    """Return the codes; a transcoder's are compared with its targets, where these are given."""
    activations = sp.csc_array(codes.take(rows))
    model = None if dense is None else run_model(codes)
    if dense is None or model is None:
        return Representation(activations)
    original = dense
    if model.is_transcoder:
        original = targets
    if original is None:
        return Representation(activations, directions=model.directions())
    reconstruction = model.decode(activations.tocsr()) + model.skip(dense)
    return Representation(activations, original, reconstruction, model.directions())


def _both_signs(x: np.ndarray) -> sp.csc_array:
    """Make two features of each column: what lies above 0, and what lies below."""
    above = sp.csc_array(np.maximum(x, 0))
    below = sp.csc_array(np.maximum(-x, 0))
    return sp.csc_array(sp.hstack([above, below], format="csc"))


def _principal_components(
    dense: np.ndarray, centred: np.ndarray, mean: np.ndarray, l0: float
) -> Representation:
    """Take all components as features, and reconstruct from the first L0."""
    _, ascending_axes = np.linalg.eigh(centred.T @ centred)
    axes = ascending_axes[:, ::-1]
    kept = axes[:, : max(1, round(l0))]
    projected = centred @ kept @ kept.T + mean
    return Representation(_both_signs(centred @ axes), dense, projected)


def _clusters(dense: np.ndarray, n_features: int) -> Representation:
    """Cluster by k-means; a row is active in its cluster and reconstructed as its centre."""
    from sklearn.cluster import MiniBatchKMeans

    n_clusters = max(2, min(n_features, len(dense) // ROWS_PER_CLUSTER))
    k_means: Any = MiniBatchKMeans(n_clusters, n_init="auto", random_state=0)
    cluster = k_means.fit_predict(dense)
    centres = k_means.cluster_centers_[cluster]
    return Representation(sp.csc_array(one_hot(cluster)), dense, centres)


def _random_sae(
    dense: np.ndarray,
    centred: np.ndarray,
    mean: np.ndarray,
    n_features: int,
    l0: float,
    rng: np.random.Generator,
) -> Representation:
    """Encode with random directions and the threshold that gives the same L0."""
    normal = rng.normal(size=(n_features, centred.shape[1]))
    directions = unit(normal.astype(np.float32))
    sample = centred[rng.permutation(len(centred))[:THRESHOLD_ROWS]]
    share_inactive = 1 - l0 / n_features
    threshold = max(0, np.quantile(sample @ directions.T, share_inactive))
    blocks = []
    for block in np.split(centred, range(BLOCK, len(centred), BLOCK)):
        pre_activations = block @ directions.T
        active = pre_activations > threshold
        blocks.append(sp.csr_array(np.where(active, pre_activations, 0)))
    activations = sp.vstack(blocks)
    decoded = activations @ directions
    # decoded rows scaled by least squares
    decoded *= (decoded * centred).sum() / max((decoded * decoded).sum(), 1e-12)
    return Representation(sp.csc_array(activations), dense, decoded + mean, directions)
