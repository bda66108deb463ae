"""Describe each feature by its activations on a corpus.

Statistics and example rows come from the codes, neighbours from the decoder if the run has a model,
near misses and hard negatives from the embeddings if there are any, and monosemanticity from a
second space (TF-IDF vectors of the texts).

Features are processed in blocks, so no matrix of features × features is ever held. Labels are made
elsewhere (`names`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain, pairwise
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from nanosae.analysis.coactivation import coactive_features, shared_rows
from nanosae.analysis.columns import is_missing, one_per_row
from nanosae.analysis.inactive import InactiveRows
from nanosae.analysis.monosemanticity import monosemanticity, tfidf
from nanosae.analysis.ranking import largest_in_rows, middles_of_bands
from nanosae.analysis.reading import TEXTS, distinct_rows, run_model
from nanosae.analysis.splits import first_of_each, same_texts
from nanosae.codes import Codes, Corpus, as_codes, excerpt, sample_notes, sampled_rows
from nanosae.errors import require_whole
from nanosae.model.weights import Weights

MOST_TEXTS = 500_000  # sample on which monosemanticity is measured
BINS = 20  # of the activation histogram, between 0 and the feature's maximum
DENSE = 0.2  # density above which a feature is dense
# cosine or Jaccard similarity from which on the rarer of two features is a duplicate
DUPLICATE = 0.95


def describe(
    codes: Corpus,
    texts: Any = True,
    *,
    features: Any = None,
    n: int = 10,
    pool: int = 20000,
    seed: int = 0,
) -> pd.DataFrame:
    """Describe features by statistics, example rows and related features.

    Args:
        codes: The corpus, or its run folder, or an `Analysis` of it.
        texts: Texts of the rows. True: those of the corpus. False: leave out `top_texts` and
            `monosemanticity`. In corpora of more than 500,000 rows monosemanticity is measured on
            a sample of that size (plus up to 200 active rows of each rarer feature, but no more
            than a million rows in total).
        features: The features; all by default.
        n: Length of the lists of rows, neighbours and coactive features.
        pool: Number of randomly drawn rows among which inactive rows are searched.
        seed: Seed of this sample.

    Returns:
        A frame with one row per feature: `feature, density, n_active, mean_activation,
        std_activation, max_activation, histogram, top_rows`; `quantile_rows` (the middle of each of
        n equal bands of ranks); `coactive, coactive_count, coactive_lift, coactive_npmi` (of the
        features that share at least 5 rows, and more than by chance, those with the largest NPMI);
        `duplicate_of` (a more frequent feature with a decoder cosine of at least 0.95 or, if they
        share so many rows, such a Jaccard similarity of active rows; −1: none); and `health` (ok,
        dead, dense: density above 0.2, or duplicate). With the run's model also `nearest,
        nearest_cosine, opposite, opposite_cosine`; with embeddings `near_misses` (the inactive rows
        nearest to the decoder direction) and `hard_negatives` (those nearest to the mean of the top
        rows); with texts `top_texts` and `monosemanticity`. Of texts that are equal up to case,
        digits and punctuation, one is listed.

    Raises:
        ConfigError: If `n`, `pool` or `seed` is no whole number of at least 0.
        DataError: If a feature does not exist, or there is not one given text per row.
    """
    codes = as_codes(codes)
    require_whole(0, n=n, pool=pool, seed=seed)
    model = run_model(codes)
    directions = None if model is None else model.directions()
    texts_of = _text_reader(codes, texts)
    text_group = _text_groups(codes, texts_of)
    inactive = None
    if codes.has_vectors:
        centre = _centre(codes, model)
        distinct = first_of_each(text_group)
        inactive = InactiveRows(codes, distinct, pool, seed, centre)
    frames = []
    for block, shared in shared_rows(codes, features):
        facts = _facts(codes, block, shared, n, text_group, directions, inactive)
        frames.append(pd.DataFrame(facts))
    frame = pd.concat(frames, ignore_index=True)
    if texts_of is not None:
        frame["top_texts"] = _texts_of_lists(texts_of, frame["top_rows"])
        rows, _ = sampled_rows(codes, MOST_TEXTS, seed)
        second_space = tfidf(texts_of(rows))
        frame["monosemanticity"] = monosemanticity(
            excerpt(codes, rows), features, second_space
        )
        frame.attrs["notes"] = sample_notes("Monosemanticity is", rows, codes)
    return frame


def _text_reader(codes: Codes, texts: Any) -> Callable[[np.ndarray], np.ndarray] | None:
    """Return a function that reads the texts of rows, or None if texts are absent or unwanted."""
    if isinstance(texts, bool | np.bool_):
        if not texts or not codes.has_texts:
            return None
        return lambda rows: codes.texts(rows, marks="")
    given = one_per_row(codes, texts)
    strings = np.where(is_missing(given), "", given)
    return lambda rows: strings[rows]


def _text_groups(
    codes: Codes, texts_of: Callable[[np.ndarray], np.ndarray] | None
) -> np.ndarray:
    """Return a group of each row: equal texts are one, but each token is its own, (n_rows,)."""
    rows = np.arange(codes.n_rows)
    if texts_of is None or codes.has_tokens:
        return rows
    blocks = np.split(rows, range(TEXTS, len(rows), TEXTS))
    return same_texts(chain.from_iterable(map(texts_of, blocks)), len(rows))


def _texts_of_lists(
    texts_of: Callable[[np.ndarray], np.ndarray], row_lists: Iterable[np.ndarray]
) -> list[list[str]]:
    """Return the texts of lists of rows; each text is read only once."""
    distinct, place, ends = distinct_rows(row_lists)
    texts = texts_of(distinct)[place]
    return [texts[start:stop].tolist() for start, stop in pairwise(ends)]


def _centre(codes: Codes, model: Weights | None) -> np.ndarray:
    """Return the origin of directions: the decoder's bias, or else the mean of non-zero rows."""
    if model is not None:
        return model.b_dec
    total, n_known = np.zeros(1), 0
    for _, vectors in codes.scan():
        total = total + vectors.sum(0, dtype=np.float64)
        n_known += np.count_nonzero(vectors.any(axis=1))
    return total / max(n_known, 1)


def _facts(
    codes: Codes,
    block: np.ndarray,
    shared: np.ndarray,
    n: int,
    text_group: np.ndarray,
    directions: np.ndarray | None,
    inactive: InactiveRows | None,
) -> dict[str, Any]:
    """Return the columns of the frame for a block of features."""
    counts = codes.counts
    columns = codes.features(block)
    density = counts[block] / max(codes.n_rows, 1)
    facts: dict[str, Any] = {"feature": block, "density": density}
    facts |= _activations(columns, n, text_group)
    coactive, duplicates = coactive_features(codes, block, shared, n, DUPLICATE)
    facts |= coactive
    if directions is not None:
        facts |= _neighbours(directions, counts, block, n)
        for i, nearest in enumerate(facts["nearest"]):
            is_near = facts["nearest_cosine"][i] >= DUPLICATE
            same_direction = nearest[is_near]
            duplicates[i] = np.concatenate([duplicates[i], same_direction])
    if inactive is not None:
        means = inactive.mean_directions(facts["top_rows"])
        towards = means if directions is None else directions[block]
        facts["near_misses"] = inactive.nearest(block, towards, n)
        facts["hard_negatives"] = inactive.nearest(block, means, n)
    duplicate_of = _duplicate_of(counts, block, duplicates)
    facts["duplicate_of"] = duplicate_of
    is_dead = counts[block] == 0
    is_dense = density > DENSE
    is_duplicate = duplicate_of >= 0
    conditions = [is_dead, is_dense, is_duplicate]
    facts["health"] = np.select(conditions, ["dead", "dense", "duplicate"], "ok")
    return facts


def _activations(
    columns: sp.csc_array, n: int, text_group: np.ndarray
) -> dict[str, Any]:
    """Return statistics of each column's activations, and example rows."""
    ends = columns.indptr
    n_active = np.diff(ends)
    n_columns = len(n_active)
    activations = columns.data.astype(np.float64)
    column = np.repeat(np.arange(n_columns), n_active)

    mean = _mean_of_columns(activations, column, n_active)
    deviations = activations - mean[column]
    variance = _mean_of_columns(deviations**2, column, n_active)
    peak = np.zeros(n_columns)
    np.maximum.at(peak, column, activations)
    share_of_peak = activations / peak[column]
    histograms = _histograms(share_of_peak, column, n_columns)

    order = _strongest_first(columns, column)
    rows = columns.indices[order].astype(np.int64)
    ranked = []
    for start, stop in pairwise(ends):
        active_rows = rows[start:stop]
        ranked.append(active_rows[first_of_each(text_group[active_rows])])
    return {
        "n_active": n_active.astype(np.int64),
        "mean_activation": mean,
        "std_activation": np.sqrt(variance),
        "max_activation": peak,
        "histogram": list(histograms),
        "top_rows": [few[:n] for few in ranked],
        "quantile_rows": [middles_of_bands(few, n) for few in ranked],
    }


def _mean_of_columns(
    values: np.ndarray, column: np.ndarray, n_active: np.ndarray
) -> np.ndarray:
    """Return the mean of each column's values, 0 for empty columns, (n_columns,)."""
    sums = np.bincount(column, values, len(n_active))
    return sums / np.maximum(n_active, 1)


def _histograms(
    share_of_peak: np.ndarray, column: np.ndarray, n_columns: int
) -> np.ndarray:
    """Count each column's values in equal bins up to its maximum, (n_columns, BINS)."""
    position = share_of_peak * BINS
    own_bin = np.minimum(position, BINS - 1).astype(np.int64)
    first_bin = column * BINS
    counts = np.bincount(first_bin + own_bin, minlength=n_columns * BINS)
    return counts.reshape(n_columns, BINS)


def _strongest_first(columns: sp.csc_array, column: np.ndarray) -> np.ndarray:
    """Return the entries sorted by column, then decreasing activation, then increasing row.

    Codes have 11 significant bits, so the upper 18 bits of an activation determine its order.
    Column, activation and position then fit into one integer, and integers sort fast.
    """
    bits = columns.data.view(np.int32)
    upper_bits = bits >> 13
    ascending = upper_bits.astype(np.int64)
    descending = 2**18 - ascending
    position = np.arange(len(column))
    key = (column << 49) | (descending << 30) | position
    position_mask = 2**30 - 1
    return np.sort(key) & position_mask


def _neighbours(
    directions: np.ndarray, counts: np.ndarray, block: np.ndarray, n: int
) -> dict[str, Any]:
    """Return the live features with the nearest and the most opposite decoder directions."""
    alive = np.flatnonzero(counts)
    cosine = directions[block] @ directions[alive].T
    is_alive = np.isin(block, alive)
    place = np.flatnonzero(is_alive)
    own_column = np.searchsorted(alive, block[place])
    facts = {}
    for name, sign in (("nearest", 1), ("opposite", -1)):
        score = sign * cosine
        score[place, own_column] = -np.inf
        columns, values = largest_in_rows(score, n)
        facts[name] = [alive[few] for few in columns]
        facts[f"{name}_cosine"] = [sign * value for value in values]
    return facts


def _duplicate_of(
    counts: np.ndarray, block: np.ndarray, duplicates: list[np.ndarray]
) -> np.ndarray:
    """Return the first more frequent duplicate of each feature, −1 if there is none.

    Of two equally frequent features, the one with the lower number counts as more frequent.
    """
    original = np.full(len(block), -1)
    for i, feature in enumerate(block.tolist()):
        if counts[feature] == 0:
            continue
        own_rank = (-counts[feature], feature)
        for other in duplicates[i].tolist():
            other_rank = (-counts[other], other)
            if other_rank < own_rank:
                original[i] = other
                break
    return original
