"""Similarities between the features of two SAEs, a block of features at a time.

For two sets of directions in the same input space this is the cosine; for two codes of the same
rows (of any two SAEs, even with different widths or embedders) the Pearson correlation of
activations.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from nanosae.codes import Codes
from nanosae.errors import DataError, DataTypeError
from nanosae.lengths import unit
from nanosae.model.weights import Weights

BLOCK = 512  # features compared with all others at a time


def opened(side: Any) -> Any:
    """Return the weights of a run folder, a model folder or an `Analysis`; all else unchanged."""
    if isinstance(side, str | Path):
        return Weights.load(side)
    return side.codes.weights() if hasattr(side, "codes") else side


def is_codes(side: Any) -> bool:
    """Return whether one side of a match is codes rather than weights or directions."""
    return hasattr(side, "shards")


def n_features(side: Any) -> int:
    """Return the number of features of codes, a model, weights, or an array of directions."""
    if is_codes(side):
        return side.n_features
    return len(directions_of(side))


def unit_directions(side: Any) -> np.ndarray:
    """Return decoder rows at unit length, (n_features, width) float32; zero rows stay zero."""
    return unit(directions_of(side))


def directions_of(side: Any) -> np.ndarray:
    """Return decoder rows, (n_features, width) float32.

    Args:
        side: An SAEModel, Weights, or an array of directions.

    Raises:
        DataTypeError: If it is none of these.
        DataError: If there are no directions, or some are not finite.
    """
    has_decoder = hasattr(side, "W_dec")
    directions = side.W_dec if has_decoder else side
    try:
        directions = as_float32(directions)
    except (TypeError, ValueError) as error:
        raise DataTypeError(
            f"{type(side).__name__} cannot be read as directions: {str(error).rstrip('.')}.",
            remedy="Give a model, weights, an array (n_features, width), or codes.",
        ) from None
    if directions.ndim != 2:
        raise DataTypeError(
            f"{type(side).__name__} of shape {directions.shape} is not a matrix of directions.",
            remedy="Give a model, weights, an array (n_features, width), or codes.",
        )
    if not directions.size or not np.isfinite(directions).all():
        raise DataError(
            f"directions of shape {directions.shape} are empty, or hold NaN or infinite values.",
            remedy="Give one row of finite numbers per feature.",
        )
    return directions


def directions_of_features(codes: Codes, directions: Any) -> np.ndarray:
    """Return the given directions of the features of codes, or those of the run's model.

    Raises:
        DataError: If there is not one for each feature.
    """
    if directions is None:
        return codes.weights().directions()
    directions = directions_of(directions)
    if len(directions) != codes.n_features:
        raise DataError(
            f"there are {len(directions)} directions for {codes.n_features} features.",
            remedy="Give one direction per feature.",
        )
    return directions


def as_float32(matrix: Any) -> np.ndarray:
    """Return an array, or a tensor of any type on any device, as float32."""
    if hasattr(matrix, "detach"):
        matrix = matrix.detach().cpu().float().numpy()  # numpy has no bfloat16
    with np.errstate(over="ignore"):
        return np.asarray(matrix, np.float32)


def similarities(a: Any, b: Any) -> Iterator[tuple[int, np.ndarray]]:
    """Compare the features of `a` with all features of `b`.

    Args:
        a: A model, weights or directions; or codes.
        b: Likewise.

    Yields:
        The first feature of a block of `a`, and the block's similarities, (features of the block,
        features of `b`); 0 for features that are dead or constant.

    Raises:
        DataTypeError: If one is codes and the other is not.
        DataError: If widths or numbers of rows differ.
    """
    if is_codes(a) != is_codes(b):
        raise DataTypeError(
            "cannot match codes with directions: give two codes, or two models, weights or arrays."
        )
    if is_codes(a):
        yield from _correlations(a, b)
    else:
        yield from _cosines(a, b)


def _cosines(a: Any, b: Any) -> Iterator[tuple[int, np.ndarray]]:
    x = unit_directions(a)
    y = unit_directions(b)
    width_x = x.shape[1]
    width_y = y.shape[1]
    if width_x != width_y:
        raise DataError(
            f"directions have different widths: {width_x} and {width_y}.",
            remedy="Match codes of the same rows instead.",
        )
    for start in range(0, len(x), BLOCK):
        block = x[start : start + BLOCK]
        cosines = block @ y.T
        yield start, np.clip(cosines, -1, 1, out=cosines)  # rounding exceeds 1


def _correlations(a: Codes, b: Codes) -> Iterator[tuple[int, np.ndarray]]:
    if a.n_rows != b.n_rows:
        raise DataError(
            f"the codes have different numbers of rows: {a.n_rows} and {b.n_rows}.",
            remedy="Encode the same rows with both SAEs, in the same order.",
        )
    mean_a, deviation_a = _moments(a)
    mean_b, deviation_b = _moments(b)
    n_rows = max(a.n_rows, 1)
    for start in range(0, a.n_features, BLOCK):
        stop = min(start + BLOCK, a.n_features)
        block = np.arange(start, stop)
        mean_product = _sums_of_products(a, block, b) / n_rows
        covariance = mean_product - np.outer(mean_a[block], mean_b)
        scale = np.outer(deviation_a[block], deviation_b)
        zeros = np.zeros_like(covariance)
        correlation = np.divide(covariance, scale, out=zeros, where=scale > 0)
        yield start, np.clip(correlation, -1, 1, out=correlation)


def _sums_of_products(a: Codes, block: np.ndarray, b: Codes) -> np.ndarray:
    """Sum the products of activations over all rows, (len(block), b.n_features)."""
    by_feature = a.features(block).T
    activations_a: Any = sp.csr_array(by_feature).astype(np.float64)
    sums = np.zeros((len(block), b.n_features))
    for first, activations_b in b.shards():
        n_rows = len(activations_b.indptr) - 1
        same_rows = activations_a[:, first : first + n_rows]
        products = same_rows @ activations_b.astype(np.float64)
        sums += products.toarray()
    return sums


def _moments(codes: Codes) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of each feature over all rows."""
    n_features = codes.n_features
    total = np.zeros(n_features)
    total_square = np.zeros(n_features)
    for _, rows in codes.shards():
        squares = rows.data.astype(np.float64) ** 2
        total += np.bincount(rows.indices, rows.data, n_features)
        total_square += np.bincount(rows.indices, squares, n_features)
    n_rows = max(codes.n_rows, 1)
    mean = total / n_rows
    mean_square = total_square / n_rows
    variance = mean_square - mean**2
    deviation = np.sqrt(np.maximum(variance, 0))
    return mean, deviation
