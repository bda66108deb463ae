"""Split rows into a training and a held-out part, with no text or near-copy of it on both sides.

Rows form a duplicate group when their texts are equal but for case, digits, punctuation and spaces,
when their embeddings have a cosine above 0.95, or when a given column has equal values. Tokens are
grouped by the text they stand in rather than by cosine. Grouping is transitive, and a whole group
falls on one side, so that held-out scores do not profit from copies.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from nanosae.analysis.columns import is_missing_value
from nanosae.analysis.statistics import unit
from nanosae.codes import Codes
from nanosae.errors import DataError

MIN_COSINE = 0.95  # of near-duplicates
EXACT_ROWS = 50_000  # up to so many rows every pair is compared
SKETCH_WIDTH = 64  # random directions that stand in for the embedding beyond that
SKETCH_BITS = 16  # signs that an order of the rows is made of
SKETCH_ORDERS = 12
BLOCK = 1024  # rows compared at a time


def held_out(duplicate_group: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Hold out whole duplicate groups, in random order, while they fit into a share of the rows.

    Args:
        duplicate_group: Group of each row, as `duplicate_groups` numbers them, (n_rows,).
        share: Share of the rows to hold out, between 0 and 1.
        seed: Seed of the random order.

    Returns:
        True for held-out rows, bool (n_rows,).

    Raises:
        DataError: If either part would be empty.

    Example:
        >>> held_out(np.array([0, 0, 1, 2]), share=0.5, seed=0).tolist()
        [False, False, True, True]
    """
    sizes = np.bincount(duplicate_group)
    room = max(1, round(share * len(duplicate_group)))
    group_held = np.zeros(len(sizes), dtype=bool)
    for group in np.random.default_rng(seed).permutation(len(sizes)).tolist():
        if sizes[group] <= room:
            group_held[group] = True
            room -= sizes[group]
    if not 0 < group_held.sum() < len(sizes):
        raise DataError(
            f"share={share} of {len(duplicate_group)} rows in {len(sizes)} duplicate groups leaves"
            " one side of the split empty.",
            remedy="Give more distinct rows, or another share.",
        )
    return group_held[duplicate_group]


def duplicate_groups(
    codes: Codes, *, groups: str | None = None, rows: Any = None
) -> np.ndarray:
    """Number the duplicate groups of a corpus, which no split may divide.

    Args:
        codes: The corpus; its texts and vectors are used where it has them.
        groups: A metadata column whose equal values belong together (an author, a source, a
            thread); empty cells belong to no group.
        rows: Only these rows; duplicates of duplicates are not looked for elsewhere. All if None.

    Returns:
        Duplicate group of each of these rows, int (len(rows),), from 0 without gaps.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rows = np.arange(codes.n_rows) if rows is None else np.asarray(rows)
    pairs = []
    if groups is not None:
        pairs.append(_equal_pairs(codes.column(groups, rows).tolist()))
    if codes.has_texts:
        pairs.append(_equal_pairs(_normalised(text) for text in codes.texts(rows)))
    if codes.has_tokens:
        pairs.append(_equal_pairs(codes.column("text_index", rows).tolist()))
    elif codes.has_vectors:
        pairs.append(near_pairs(codes, rows))
    if not pairs:
        return np.arange(len(rows))
    first, second = np.concatenate(pairs, axis=1)
    shape = (len(rows), len(rows))
    graph = coo_array((np.ones(len(first), dtype=bool), (first, second)), shape=shape)
    return connected_components(graph, directed=False)[1]


def near_pairs(
    codes: Codes, rows: np.ndarray, exact_rows: int = EXACT_ROWS
) -> np.ndarray:
    """Find pairs of rows whose embeddings have a cosine above 0.95.

    Up to `exact_rows` rows all pairs are compared (43,000 × 384: 10 to 20 s on two cores). Beyond,
    rows are projected to 64 random directions (which blurs a cosine of 0.95 by about 0.012) and
    compared with their next 1,024 to 2,048 rows in twelve orders by random sign bits, a form of
    locality-sensitive hashing (Charikar, STOC 2002): on two corpora 86 and 90 % of the pairs were
    found.

    Args:
        codes: A corpus with vectors.
        rows: Rows to compare.
        exact_rows: Number of rows up to which every pair is compared.

    Returns:
        Places in `rows`, int (2, n_pairs); each place is paired with itself, too.
    """
    if len(rows) <= exact_rows:
        return _near_pairs_exactly(_unit_vectors(codes, rows))
    rng = np.random.default_rng(0)
    width = codes.vectors(np.arange(1)).shape[1]
    directions = rng.standard_normal((width, SKETCH_WIDTH))
    return _near_pairs_by_sketches(_unit_vectors(codes, rows, directions), rng)


def _normalised(text: str) -> str:
    """Reduce a text to its lower-case letters; one without any letters stays as it is."""
    lower = text.lower()
    letters = re.sub(r"[\W\d_]+", " ", lower).strip()
    return letters or lower


def _equal_pairs(keys: Iterable) -> np.ndarray:
    """Pair each key with its first appearance, int (2, n), and a missing one with itself."""
    first_place: dict[Any, int] = {}
    firsts = []
    for place, key in enumerate(keys):
        if is_missing_value(key):
            firsts.append(place)
        else:
            firsts.append(first_place.setdefault(key, place))
    return np.stack([np.arange(len(firsts)), np.array(firsts, dtype=np.int64)])


def _unit_vectors(
    codes: Codes, rows: np.ndarray, directions: np.ndarray | None = None
) -> np.ndarray:
    """Read vectors, projected onto the directions if any are given, at length 1, float32."""
    blocks = []
    for block in np.split(rows, range(16384, len(rows), 16384)):
        vectors = codes.vectors(block)
        if directions is not None:
            vectors = vectors @ directions
        blocks.append(unit(np.asarray(vectors, np.float32)))
    return np.concatenate(blocks)


def _near_pairs_exactly(x: np.ndarray) -> np.ndarray:
    """Compare all unit rows."""
    places = np.arange(len(x))
    found = [_pairs_within(x, places[start:]) for start in range(0, len(x), BLOCK)]
    return np.concatenate(found, axis=1)


def _near_pairs_by_sketches(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Compare unit rows with those that follow in a few orders by random sign bits."""
    found = []
    for _ in range(SKETCH_ORDERS):
        columns = rng.permutation(x.shape[1])[:SKETCH_BITS]
        bits = (x - x.mean(0))[:, columns] > 0
        order = np.lexsort(bits.T)
        windows = (
            order[start : start + 2 * BLOCK] for start in range(0, len(x), BLOCK)
        )
        found += [_pairs_within(x, window) for window in windows]
    return np.concatenate(found, axis=1)


def _pairs_within(x: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Compare the first block of places with all of them, int (2, n_pairs)."""
    cosines = x[places[:BLOCK]] @ x[places].T
    return places[np.argwhere(cosines > MIN_COSINE).T]
