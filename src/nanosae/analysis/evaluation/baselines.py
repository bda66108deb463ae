"""The codes of a corpus and four baselines that need no trained SAE, in one form.

The baselines are the dense vectors and their principal components (each axis gives two features,
its positive and its negative part), k-means clusters (one-hot), and an SAE with random directions
(the encoder is the transposed decoder, with one threshold that gives the same L0). Random
dictionaries do well on many measures (arXiv 2602.14111), so a score by itself says little.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from nanosae.analysis.columns import one_hot
from nanosae.analysis.reading import run_model
from nanosae.codes import Codes
from nanosae.lengths import unit

ROWS_PER_CLUSTER = 50
THRESHOLD_ROWS = 1000  # sample on which the threshold of the random SAE is set
BLOCK = 4096  # rows encoded at a time


@dataclass(frozen=True, eq=False)
class Representation:
    """Rows as activations of features.

    Attributes:
        activations: Non-negative csc_array (n_rows, n_features).
        original: What is reconstructed: the rows, or the targets of a transcoder; None if nothing
            is.
        reconstruction: The reconstruction from the activations, of the same shape.
        directions: Unit direction of each feature, (n_features, width); None if there are none.
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
    """Yield the codes of some rows and the baselines on the same rows.

    Dense representations are large: release each one before asking for the next.

    Args:
        codes: The corpus.
        rows: Row numbers.
        baselines: Whether to make the baselines; they need vectors.
        rng: Draws the random directions.
        targets: Targets of a transcoder for these rows, (len(rows), output_size).

    Yields:
        "codes" and, with `baselines`, "dense", "pca", "k-means" and "random", each with its
        representation.
    """
    dense = codes.vectors(rows) if codes.has_vectors else None
    codes_representation = _codes(codes, rows, dense, targets)
    l0 = codes_representation.activations.nnz / len(rows)
    yield "codes", codes_representation
    del codes_representation
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
    """Represent rows by their codes; a transcoder reconstructs its targets, if they are given."""
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
    """Make two features of each column: its positive part and its negative part."""
    positive = sp.csc_array(np.maximum(x, 0))
    negative = sp.csc_array(np.maximum(-x, 0))
    return sp.csc_array(sp.hstack([positive, negative], format="csc"))


def _principal_components(
    dense: np.ndarray, centred: np.ndarray, mean: np.ndarray, l0: float
) -> Representation:
    """Use all principal components as features, and reconstruct from the first L0 of them."""
    _, ascending_axes = np.linalg.eigh(centred.T @ centred)
    axes = ascending_axes[:, ::-1]
    kept = axes[:, : max(1, round(l0))]
    projected = centred @ kept @ kept.T + mean
    return Representation(_both_signs(centred @ axes), dense, projected)


def _clusters(dense: np.ndarray, n_features: int) -> Representation:
    """Cluster by k-means; a row is active in its cluster and reconstructed by the centroid."""
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
    """Encode with random directions and a threshold that gives the same L0.

    Reconstructions are scaled by least squares.
    """
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
    projection = (decoded * centred).sum()
    square_norm = (decoded * decoded).sum()
    decoded *= projection / max(square_norm, 1e-12)
    return Representation(sp.csc_array(activations), dense, decoded + mean, directions)
