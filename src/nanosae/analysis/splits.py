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
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components
from scipy.special import betaincinv

from nanosae.analysis.columns import is_missing_value
from nanosae.analysis.statistics import unit
from nanosae.codes import Codes
from nanosae.errors import DataError

MIN_COSINE = 0.95  # of near-duplicates, where chance gives less
MAX_COSINE = 1 - 1e-5  # beyond, rounding to float16 decides: only equal rows are copies
CHANCE_PAIRS = 0.01  # pairs nearer than the bound by chance, per row
SAMPLED_PAIRS = 100_000  # that the effective dimension is estimated from
MAX_GROUP_SHARE = 0.05  # of the rows that chains of near rows may tie together
MIN_CUT = 20  # rows up to which such a chain is never cut
SHARE_TOLERANCE = 0.05  # difference of the share held out that is not worth a note
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
        True for held-out rows, bool (n_rows,). `split_notes` says whether the share was reached.

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


def split_notes(held: np.ndarray, share: float) -> list[str]:
    """Say by how much the share held out differs from the one asked for, if it does.

    Args:
        held: The split, as `held_out` returns it.
        share: The share asked for.

    Example:
        >>> split_notes(np.array([True, False, False, False]), share=0.5)
        ['25 % of the rows are held out instead of 50 %: large groups of near-duplicates or of \
equal values stay together.']
    """
    reached = held.mean()
    if abs(reached - share) <= SHARE_TOLERANCE:
        return []
    return [
        f"{reached:.0%} of the rows are held out instead of {share:.0%}: large groups of"
        " near-duplicates or of equal values stay together.".replace("%", " %")
    ]


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
    equal = [np.stack([np.arange(len(rows))] * 2)]
    if groups is not None:
        equal.append(_equal_pairs(codes.column(groups, rows).tolist()))
    if codes.has_texts:
        equal.append(_equal_pairs(_normalised(text) for text in codes.texts(rows)))
    if codes.has_tokens:
        equal.append(_equal_pairs(codes.column("text_index", rows).tolist()))
    group = _components(np.concatenate(equal, axis=1), len(rows))
    if codes.has_tokens or not codes.has_vectors:
        return group
    return merge_near(group, near_pairs(codes, rows))


def near_pairs(
    codes: Codes, rows: np.ndarray, exact_rows: int = EXACT_ROWS
) -> np.ndarray:
    """Find pairs of rows whose centred embeddings are nearer than chance.

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
    rng = np.random.default_rng(0)
    equal = _equal_pairs(_row_hashes(codes, rows))
    directions = None
    if len(rows) > exact_rows:
        width = codes.vectors(np.arange(1)).shape[1]
        directions = rng.standard_normal((width, SKETCH_WIDTH))
    x = _centred_vectors(codes, rows, directions)
    bound = near_bound(x)
    if bound > MAX_COSINE:
        return equal
    if directions is None:
        near = _near_pairs_exactly(x, bound)
    else:
        near = _near_pairs_by_sketches(x, bound, rng)
    return np.concatenate([equal, near], axis=1)


def near_bound(x: np.ndarray) -> float:
    """Return the cosine above which centred rows are near-duplicates.

    It is 0.95, or what fewer than one row in a hundred exceeds by chance, whichever is larger.

    Args:
        x: Centred rows of length 1, (n_rows, width).
    """
    return max(MIN_COSINE, chance_cosine(effective_dimension(x), len(x)))


def effective_dimension(x: np.ndarray) -> float:
    """Estimate in how many dimensions rows vary: 1 ÷ the mean squared cosine of random pairs.

    For centred rows of length 1 the mean squared cosine is Σλ² ÷ (Σλ)² with the eigenvalues λ of
    their covariance, so that this is the participation ratio. It equals the width for directions
    without preference and is smaller for any others.

    Args:
        x: Centred rows of length 1, (n_rows, width).

    Example:
        >>> x = np.random.default_rng(0).normal(size=(2000, 5))
        >>> round(effective_dimension(unit(x)))
        5
    """
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, len(x), (2, SAMPLED_PAIRS))
    different = first != second
    cosines = np.einsum("ij,ij->i", x[first[different]], x[second[different]])
    return 1 / max(float(np.mean(cosines**2)), 1e-12) if len(cosines) else 1.0


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
    tail = min(2 * CHANCE_PAIRS / max(n_rows - 1, 1), 0.5)
    shape = max(dimension - 1, 1e-3) / 2
    return float(1 - 2 * betaincinv(shape, shape, tail))


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
    chain_of_group = _components(group[pairs], n_groups)
    chain_sizes = np.bincount(chain_of_group[group])
    most = max(MIN_CUT, MAX_GROUP_SHARE * len(group))
    is_cut = chain_sizes[chain_of_group] > most
    if is_cut.any():
        chain_of_group = _cut_into_stars(chain_of_group, is_cut, group[pairs])
    return chain_of_group[group]


def _cut_into_stars(
    chain: np.ndarray, is_cut: np.ndarray, pairs: np.ndarray
) -> np.ndarray:
    """Give each node of the chains to be cut to a neighbour of many neighbours, or to itself."""
    n_nodes = len(chain)
    ones = np.ones(pairs.shape[1], dtype=bool)
    graph = sp.coo_array((ones, pairs), shape=(n_nodes, n_nodes)).tocsr()
    neighbours: Any = (graph + graph.T).tocsr()
    n_neighbours = np.diff(neighbours.indptr)
    to_cut = np.flatnonzero(is_cut)
    most_first = to_cut[np.argsort(-n_neighbours[to_cut], kind="stable")]
    star = chain.max() + 1 + np.arange(n_nodes)
    is_free = is_cut.copy()
    for centre in most_first.tolist():
        if not is_free[centre]:
            continue
        start, stop = neighbours.indptr[centre], neighbours.indptr[centre + 1]
        near = neighbours.indices[start:stop]
        members = np.append(near[is_free[near]], centre)
        star[members] = star[centre]
        is_free[members] = False
    return np.unique(np.where(is_cut, star, chain), return_inverse=True)[1]


def _components(pairs: np.ndarray, n_nodes: int) -> np.ndarray:
    """Number the connected components of a graph, (n_nodes,)."""
    ones = np.ones(pairs.shape[1], dtype=bool)
    graph = sp.coo_array((ones, (pairs[0], pairs[1])), shape=(n_nodes, n_nodes))
    return connected_components(graph, directed=False)[1]


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


def _row_hashes(codes: Codes, rows: np.ndarray) -> Iterator[int | None]:
    """Yield a hash of each row of vectors, equal for equal rows; None for a row of zeros.

    Zeros are what a failed call to an encoder leaves: they say nothing about the text.
    """
    for block in np.split(rows, range(16384, len(rows), 16384)):
        for vector in np.asarray(codes.vectors(block), np.float32):
            yield hash(vector.tobytes()) if vector.any() else None


def _centred_vectors(
    codes: Codes, rows: np.ndarray, directions: np.ndarray | None = None
) -> np.ndarray:
    """Read vectors, projected onto the directions if any, centred and at length 1, float32.

    Each counts for the mean at length 1, so that no giant row decides it.
    """
    blocks = []
    for block in np.split(rows, range(16384, len(rows), 16384)):
        vectors = unit(np.asarray(codes.vectors(block), np.float32))
        if directions is not None:
            vectors = vectors @ directions
        blocks.append(np.asarray(vectors, np.float32))
    x = np.concatenate(blocks)
    is_zero = ~x.any(axis=1)
    x -= x.mean(0, dtype=np.float64).astype(np.float32)
    x[is_zero] = 0  # near nothing
    return unit(x)


def _near_pairs_exactly(x: np.ndarray, bound: float) -> np.ndarray:
    """Compare all unit rows."""
    places = np.arange(len(x))
    starts = range(0, len(x), BLOCK)
    found = [_pairs_within(x, places[start:], bound) for start in starts]
    return np.concatenate(found, axis=1)


def _near_pairs_by_sketches(
    x: np.ndarray, bound: float, rng: np.random.Generator
) -> np.ndarray:
    """Compare unit rows with those that follow in a few orders by random sign bits."""
    found = []
    for _ in range(SKETCH_ORDERS):
        columns = rng.permutation(x.shape[1])[:SKETCH_BITS]
        bits = x[:, columns] > 0
        order = np.lexsort(bits.T)
        for start in range(0, len(x), BLOCK):
            window = order[start : start + 2 * BLOCK]
            found.append(_pairs_within(x, window, bound))
    return np.concatenate(found, axis=1)


def _pairs_within(x: np.ndarray, places: np.ndarray, bound: float) -> np.ndarray:
    """Compare the first block of places with all of them, int (2, n_pairs)."""
    cosines = x[places[:BLOCK]] @ x[places].T
    return places[np.argwhere(cosines > bound).T]
