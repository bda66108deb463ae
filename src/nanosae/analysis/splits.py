"""Split rows into a training and a held-out part, with no text or near-copy of it on both sides.

Rows form a duplicate group when their texts are equal but for case, digits, punctuation and spaces,
when a given column has equal values, or when their embeddings are nearer than chance: when the
cosine of the centred rows is above 0.95, and above what chance gives in so few dimensions
(`chance_cosine`). A common mean, which many encoders have, makes every raw cosine large, and in 5
dimensions a cosine of 0.95 is ordinary. Tokens are grouped by the text they stand in rather than by
cosine.

Grouping is transitive, and a whole group falls on one side, so that held-out scores do not profit
from copies. Only chains of near rows that would tie more than 5 % of all rows together are cut:
into groups in which each row is near the first one. Where every direction is crowded (many rows in
1 or 2 dimensions), only equal rows are copies.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components
from scipy.special import betaincinv

from nanosae.analysis.columns import is_missing_value
from nanosae.analysis.near_rows import N_BITS, near_rows
from nanosae.analysis.reading import texts_of
from nanosae.analysis.statistics import unit
from nanosae.codes import Codes
from nanosae.errors import DataError

MIN_COSINE = 0.95  # of near-duplicates, where chance gives less
MAX_COSINE = 1 - 1e-5  # beyond, rounding to float16 decides: only equal rows are copies
CHANCE_PAIRS = 0.01  # pairs nearer than the bound by chance, per row
MAX_GROUP_SHARE = 0.05  # of the rows that chains of near rows may tie together
MIN_CUT = 20  # rows up to which such a chain is never cut
SHARE_TOLERANCE = 0.05  # difference of the share held out that is not worth a note
EXACT_ROWS = 50_000  # up to so many rows every pair is compared
BLOCK = 1024  # rows compared at a time
READ_BLOCK = 16384  # rows whose vectors are read at a time


def held_out(duplicate_group: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Hold out whole duplicate groups, in random order, while they fit into a share of the rows.

    Args:
        duplicate_group: Group of each row, as `duplicate_groups` numbers them, (n_rows,).
        share: Share of the rows to hold out, between 0 and 1.
        seed: Seed of the random order.

    Returns:
        True for held-out rows, bool (n_rows,). `split_notes` says whether the share was reached.

    Raises:
        DataError: If either part would be empty.

    Example:
        >>> held_out(np.array([0, 0, 1, 2]), share=0.5, seed=0).tolist()
        [False, False, True, True]
    """
    sizes = np.bincount(duplicate_group)
    n_rows = len(duplicate_group)
    n_groups = len(sizes)
    room = max(1, round(share * n_rows))
    group_held = np.zeros(n_groups, dtype=bool)
    random_order = np.random.default_rng(seed).permutation(n_groups)
    for group in random_order.tolist():
        size = sizes[group]
        if size <= room:
            group_held[group] = True
            room -= size
    n_held = group_held.sum()
    if not 0 < n_held < n_groups:
        raise DataError(
            f"share={share} of {n_rows} rows in {n_groups} duplicate groups leaves"
            " one side of the split empty.",
            remedy="Give more distinct rows, or another share.",
        )
    return group_held[duplicate_group]


def split_notes(held: np.ndarray, share: float) -> list[str]:
    """Say by how much the share held out differs from the one asked for, if it does.

    Example:
        >>> split_notes(np.array([True, False, False, False]), share=0.5)
        ['25 % of the rows are held out instead of 50 %: large groups of near-duplicates or of \
equal values stay together.']
    """
    reached = held.mean()
    difference = abs(reached - share)
    if difference <= SHARE_TOLERANCE:
        return []
    note = (
        f"{reached:.0%} of the rows are held out instead of {share:.0%}: large groups of"
        " near-duplicates or of equal values stay together."
    )
    return [note.replace("%", " %")]


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
    rows = np.arange(codes.n_rows) if rows is None else np.asarray(rows)
    n_rows = len(rows)
    equal = [np.zeros((2, 0), np.int64)]
    if groups is not None:
        values = codes.column(groups, rows)
        equal.append(_equal_pairs(values.tolist()))
    if codes.has_texts:
        equal.append(_equal_pairs(map(normalised, texts_of(codes, rows))))
    if codes.has_tokens:
        text_of_token = codes.column("text_index", rows)
        equal.append(_equal_pairs(text_of_token.tolist()))
    equal_pairs = np.concatenate(equal, axis=1)
    group = _components(equal_pairs, n_rows)
    if codes.has_tokens or not codes.has_vectors:
        return group
    return merge_near(group, near_pairs(codes, rows))


def same_texts(codes: Codes, rows: np.ndarray) -> np.ndarray:
    """Number the groups of texts that differ in case, digits and punctuation alone, int (n,)."""
    equal_pairs = _equal_pairs(map(normalised, texts_of(codes, rows)))
    return _components(equal_pairs, len(rows))


def near_pairs(
    codes: Codes, rows: np.ndarray, exact_rows: int = EXACT_ROWS
) -> np.ndarray:
    """Find pairs of rows whose centred embeddings are nearer than chance.

    Up to `exact_rows` rows all pairs are compared (43,000 × 384: 10 to 20 s on two cores). Beyond,
    rows are projected to 64 random directions, which blurs a cosine of 0.95 by about 0.012, and
    compared as `near_rows` says: on two corpora 86 and 90 % of the pairs were found.

    Args:
        codes: A corpus with vectors.
        rows: Rows to compare.
        exact_rows: Number of rows up to which every pair is compared.

    Returns:
        Places in `rows`, two different ones a pair, int (2, n_pairs).
    """
    rng = np.random.default_rng(0)
    equal = _equal_pairs(_row_bytes(codes, rows))
    directions = None
    if len(rows) > exact_rows:
        first_vector = codes.vectors(np.arange(1))
        width = first_vector.shape[1]
        directions = rng.standard_normal((width, N_BITS))
    centred = _centred_vectors(codes, rows, directions)
    bound = near_bound(centred)
    if bound > MAX_COSINE:
        return equal
    if directions is None:
        near = _near_pairs_exactly(centred, bound)
    else:
        near = near_rows(centred, bound, rng)
    return np.concatenate([equal, near], axis=1)


def near_bound(x: np.ndarray) -> float:
    """Return the cosine above which centred rows of length 1 are near-duplicates.

    It is 0.95, or what fewer than one row in a hundred exceeds by chance, whichever is larger.
    """
    dimension = effective_dimension(x)
    by_chance = chance_cosine(dimension, len(x))
    return max(MIN_COSINE, by_chance)


def effective_dimension(x: np.ndarray) -> float:
    """Return in how many dimensions rows vary: 1 ÷ the mean squared cosine of all pairs.

    For centred rows of length 1 the mean squared cosine is Σλ² ÷ (Σλ)² with the eigenvalues λ of
    their covariance, so that this is the participation ratio. It equals the width for directions
    without preference and is smaller for any others.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(2000, 5))
        >>> round(effective_dimension(unit(x)))
        5
    """
    n_rows = len(x)
    if n_rows < 2:
        return 1.0
    # its squared norm is the sum of all rows' squared cosines, own ones too
    products = x.T @ x
    own_squares = np.einsum("ij,ij->i", x, x) ** 2
    total = np.sum(products.astype(np.float64) ** 2) - np.sum(own_squares)
    mean_square = float(total) / (n_rows * (n_rows - 1))
    return 1 / max(mean_square, 1e-12)


def chance_cosine(dimension: float, n_rows: int) -> float:
    """Return the cosine that CHANCE_PAIRS · n_rows pairs of unrelated directions exceed.

    The cosine c of two random directions in d dimensions has (c + 1) ÷ 2 ~ Beta((d−1)/2, (d−1)/2)
    (Cai, Fan and Jiang, J. Mach. Learn. Res. 14 (2013) 1837).

    Args:
        dimension: In how many dimensions the directions vary, above 1.
        n_rows: Number of rows, of which every pair is compared.

    Example:
        >>> [round(chance_cosine(d, 10_000), 4) for d in (5, 20, 100)]
        [0.9984, 0.8259, 0.4406]
    """
    n_others = max(n_rows - 1, 1)
    tail = min(2 * CHANCE_PAIRS / n_others, 0.5)
    shape = max(dimension - 1, 1e-3) / 2
    quantile = betaincinv(shape, shape, tail)
    return float(1 - 2 * quantile)


def merge_near(group: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Merge groups that hold near rows, and cut chains of more than 5 % of all rows.

    A cut is made at the row with the most near ones that are still free: these and itself become a
    group, and so on with the rest, as in the cover by stars of Aslam, Pelekhov and Rus (J. Graph
    Algorithms Appl. 8 (2004) 95). Groups that came in are never divided.

    Args:
        group: Group of each row, numbered from 0 without gaps, (n_rows,).
        pairs: Near rows, int (2, n_pairs).

    Returns:
        Group of each row, numbered from 0 without gaps, (n_rows,).

    Example:
        >>> merge_near(np.array([0, 1, 2, 3]), np.array([[0, 1], [1, 2]])).tolist()
        [0, 0, 0, 1]
    """
    n_groups = int(group.max(initial=-1)) + 1
    group_pairs = group[pairs]
    chain_of_group = _components(group_pairs, n_groups)
    chain_of_row = chain_of_group[group]
    chain_sizes = np.bincount(chain_of_row)
    most = max(MIN_CUT, MAX_GROUP_SHARE * len(group))
    is_cut = chain_sizes[chain_of_group] > most
    if is_cut.any():
        chain_of_group = _cut_into_stars(chain_of_group, is_cut, group_pairs)
    return chain_of_group[group]


def _cut_into_stars(
    chain: np.ndarray, is_cut: np.ndarray, pairs: np.ndarray
) -> np.ndarray:
    """Give each node of the chains to be cut to a neighbour of many neighbours, or to itself."""
    n_nodes = len(chain)
    graph = _graph(pairs, n_nodes).tocsr()
    neighbours: Any = (graph + graph.T).tocsr()
    starts = neighbours.indptr
    n_neighbours = np.diff(starts)
    to_cut = np.flatnonzero(is_cut)
    most_first = to_cut[np.argsort(-n_neighbours[to_cut], kind="stable")]
    first_star = chain.max() + 1
    star = first_star + np.arange(n_nodes)
    is_free = is_cut.copy()
    for centre in most_first.tolist():
        if not is_free[centre]:
            continue
        near = neighbours.indices[starts[centre] : starts[centre + 1]]
        near_and_free = near[is_free[near]]
        members = np.append(near_and_free, centre)
        star[members] = star[centre]
        is_free[members] = False
    star_or_chain = np.where(is_cut, star, chain)
    _, without_gaps = np.unique(star_or_chain, return_inverse=True)
    return without_gaps


def _components(pairs: np.ndarray, n_nodes: int) -> np.ndarray:
    """Number the connected components of a graph, (n_nodes,)."""
    graph = _graph(pairs, n_nodes)
    _, component = connected_components(graph, directed=False)
    return component


def _graph(pairs: np.ndarray, n_nodes: int) -> sp.coo_array:
    """Return the adjacency matrix of a graph, bool (n_nodes, n_nodes)."""
    n_pairs = pairs.shape[1]
    ones = np.ones(n_pairs, dtype=bool)
    row, column = pairs
    return sp.coo_array((ones, (row, column)), shape=(n_nodes, n_nodes))


def normalised(text: str) -> str:
    """Reduce a text to its lower-case letters; one without any letters stays as it is.

    Example:
        >>> normalised("Call 555-0199!"), normalised("2024")
        ('call', '2024')
    """
    lower = text.lower()
    letters = re.sub(r"[\W\d_]+", " ", lower).strip()
    return letters or lower


def _equal_pairs(keys: Iterable) -> np.ndarray:
    """Pair each key with its first appearance, if that is another place, int (2, n_pairs).

    Missing keys are equal to none. Keys are told apart by 64 bits of a hash: 10 million texts need
    80 MB, and chance makes any two of them equal once in 400,000 corpora.
    """
    hashes = array("q")
    is_missing = bytearray()
    for key in keys:
        hashes.append(_hash(key))
        is_missing.append(is_missing_value(key))
    known = np.flatnonzero(np.array(is_missing, np.uint8) == 0)
    of_known = np.array(hashes, np.int64)[known]
    _, first, number = np.unique(of_known, return_index=True, return_inverse=True)
    places = np.stack([known, known[first[number]]])
    return places[:, places[0] != places[1]]


def _hash(key: Any) -> int:
    """Return Python's hash, but of numbers as they are written: that of −1 is that of −2."""
    return hash(key) if isinstance(key, str | bytes) else hash(repr(key))


def _row_bytes(codes: Codes, rows: np.ndarray) -> Iterator[bytes | None]:
    """Yield the bytes of each row of vectors; None for a row of zeros.

    Zeros are what a failed call to an encoder leaves: they say nothing about the text.
    """
    for vectors in _vector_blocks(codes, rows):
        for vector in vectors:
            yield vector.tobytes() if vector.any() else None


def _vector_blocks(codes: Codes, rows: np.ndarray) -> Iterator[np.ndarray]:
    """Read the vectors of some rows, a block at a time, float32."""
    starts = range(READ_BLOCK, len(rows), READ_BLOCK)
    for block in np.split(rows, starts):
        yield np.asarray(codes.vectors(block), np.float32)


def _centred_vectors(
    codes: Codes, rows: np.ndarray, directions: np.ndarray | None = None
) -> np.ndarray:
    """Read vectors, projected onto the directions if any, centred and at length 1, float32.

    Each counts for the mean at length 1, so that no giant row decides it.
    """
    width = codes.vectors(rows[:1]).shape[1] if directions is None else N_BITS
    centred = np.empty((len(rows), width), np.float32)
    stop = 0
    for vectors in _vector_blocks(codes, rows):
        start, stop = stop, stop + len(vectors)
        projected = unit(vectors)
        if directions is not None:
            projected = projected @ directions
        centred[start:stop] = projected
    mean = centred.mean(0, dtype=np.float64)
    for start in range(0, len(rows), READ_BLOCK):
        block = centred[start : start + READ_BLOCK]
        is_zero = ~block.any(axis=1)
        block -= mean.astype(np.float32)
        block[is_zero] = 0  # near nothing
        block[:] = unit(block)
    return centred


def _near_pairs_exactly(x: np.ndarray, bound: float) -> np.ndarray:
    """Compare all unit rows."""
    places = np.arange(len(x))
    starts = range(0, len(x), BLOCK)
    found = [_pairs_within(x, places[start:], bound) for start in starts]
    return np.concatenate(found, axis=1)


def _pairs_within(x: np.ndarray, places: np.ndarray, bound: float) -> np.ndarray:
    """Compare the first block of places with all of them, int (2, n_pairs)."""
    candidates = x[places]
    cosines = candidates[:BLOCK] @ candidates.T
    first, second = np.nonzero(cosines > bound)
    is_other = first != second
    return np.stack([places[first[is_other]], places[second[is_other]]])
