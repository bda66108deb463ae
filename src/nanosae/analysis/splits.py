"""Split rows into a training and a held-out part, with near-duplicates on one side.

Rows are in the same duplicate group if their texts are equal up to case, digits, punctuation and
spaces, if a given column has equal values, or if their embeddings are nearer than chance: if the
cosine of the centred rows exceeds both 0.95 and what chance gives in their number of dimensions
(`chance_cosine`). Rows are centred because many embedders have a large common mean, which makes
every raw cosine large; and in 5 dimensions a cosine of 0.95 is common. Tokens are grouped by their
text instead of by cosine.

Grouping is transitive, and a whole group is on one side of the split, so duplicates cannot inflate
held-out scores. Only chains of near rows that would tie more than 5 % of all rows together are cut,
into groups in which each row is near the first one. Where directions are too crowded (many rows in
1 or 2 dimensions), only equal rows count as duplicates.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from numbers import Real
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components
from scipy.special import betaincinv

from nanosae.analysis.columns import is_missing_value, one_hot
from nanosae.analysis.near_rows import N_BITS, all_near_rows, near_rows
from nanosae.analysis.reading import texts_of
from nanosae.analysis.statistics import directions_from
from nanosae.codes import Codes
from nanosae.errors import ConfigError, DataError, counted
from nanosae.lengths import unit
from nanosae.text.tokens import words_of_letters

MIN_COSINE = 0.95  # of near-duplicates, unless chance gives more
# above it, rounding to float16 matters: only equal rows are duplicates
MAX_COSINE = 1 - 1e-5
CHANCE_PAIRS = 0.01  # expected pairs above the bound by chance, per row
MAX_GROUP_SHARE = 0.05  # share of the rows that a chain of near rows may tie together
MIN_CUT = 20  # chains of up to this many rows are never cut
SHARE_TOLERANCE = 0.05  # smaller deviations from the requested share get no note
EXACT_ROWS = 50_000  # up to this many rows all pairs are compared
# the lower-case letters of ASCII, and a space for each other byte
ASCII_LETTERS = bytes(byte if 97 <= byte <= 122 else 32 for byte in range(256))
NEAR_PAIRS = "near pairs of all rows"
MOST_COPIES = 20  # rows looked at for each distinct text that is wanted
READ_BLOCK = 16384  # rows whose vectors are read at a time


def held_out(
    duplicate_group: np.ndarray,
    share: float,
    seed: int,
    strongest: Any = None,
) -> np.ndarray:
    """Hold out whole duplicate groups, in random order, as long as they fit into a share of rows.

    Groups larger than the share stay in the training part, and the share is then taken of all other
    rows: if most texts are "No comment", half of the others are held out rather than all of them.
    At least the smallest group that fits is held out.

    Args:
        duplicate_group: Group of each row, see `duplicate_groups`, (n_rows,).
        share: Share of the rows to hold out, between 0 and 1.
        seed: Seed of the random order.
        strongest: Indicators of the strongest rows of each feature, sparse (n_rows, n_features). Of
            these, too, about this share is held out.

    Returns:
        True for held-out rows, bool (n_rows,). `split_notes` tells whether the share was reached.

    Raises:
        ConfigError: If the share is not between 0 and 1.
        DataError: If either part would be empty.

    Example:
        >>> held_out(np.array([0, 0, 1, 2]), share=0.5, seed=0).tolist()
        [False, False, True, True]
    """
    if not isinstance(share, Real) or not 0 < share < 1:
        raise ConfigError(
            f"A share of {share} of the rows cannot be held out.",
            remedy="Give a number between 0 and 1.",
        )
    sizes = np.bincount(duplicate_group)
    n_rows = len(duplicate_group)
    n_groups = len(sizes)
    is_small_enough = sizes <= max(1, round(share * n_rows))
    n_that_fit = sizes[is_small_enough].sum()
    smallest = sizes[is_small_enough].min(initial=max(n_that_fit, 1))
    room = max(smallest, round(share * n_that_fit))
    group_held = np.zeros(n_groups, dtype=bool)
    order = np.random.default_rng(seed).permutation(n_groups)
    if strongest is not None:
        membership = one_hot(duplicate_group, n_groups)
        of_groups = sp.csr_array(membership.T @ strongest)
        order = _balanced(order, of_groups, is_small_enough, share)
    for group in order.tolist():
        size = sizes[group]
        if size <= room:
            group_held[group] = True
            room -= size
    n_held = group_held.sum()
    if not 0 < n_held < n_groups:
        in_groups = f"{n_rows:,} rows in {counted(n_groups, 'duplicate group')}"
        raise DataError(
            f"Holding out {share:.3g} of {in_groups} leaves one side of the split empty. Texts "
            "that differ only in case, digits or punctuation are duplicates.",
            remedy="Give more distinct rows, or another share.",
        )
    return group_held[duplicate_group]


def _balanced(
    order: np.ndarray, strongest: Any, may_be_held: np.ndarray, share: float
) -> np.ndarray:
    """Return the order in which to hold groups out to balance the features.

    The groups that balance them come first, and then those with no feature's strongest rows. Groups
    are assigned by minimisation (Pocock and Simon 1975), those with the most strongest rows first:
    each to the side that leaves the smaller sum of squared imbalances over the features.

    Args:
        order: The groups in random order.
        strongest: Number of each feature's strongest rows in each group, csr_array (n_groups,
            n_features).
        may_be_held: Whether each group may be held out, bool (n_groups,).
        share: Share of each feature's strongest rows to hold out.
    """
    n_strongest = strongest.sum(axis=1)[order]
    most_first = order[np.argsort(-n_strongest, kind="stable")]
    of_features = most_first[: np.count_nonzero(n_strongest)]
    # of each feature: held-out rows minus the share of all that were assigned so far
    excess = np.zeros(strongest.shape[1])
    is_balancing = np.zeros(len(of_features), dtype=bool)
    for place, group in enumerate(of_features.tolist()):
        start, stop = strongest.indptr[group : group + 2]
        features = strongest.indices[start:stop]
        n_rows = strongest.data[start:stop]
        excess[features] -= share * n_rows
        growth_if_held = (2 * excess[features] + n_rows) @ n_rows
        if may_be_held[group] and growth_if_held < 0:
            is_balancing[place] = True
            excess[features] += n_rows
    balancing = of_features[is_balancing]
    fewest_first = of_features[~is_balancing][::-1]
    return np.concatenate([balancing, order[n_strongest == 0], fewest_first])


def split_notes(held: np.ndarray, share: float) -> list[str]:
    """Return a note if the share of held-out rows differs from the one requested.

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
    """Return the duplicate group of each row; splits keep groups whole.

    Args:
        codes: The corpus; its texts and vectors are used if it has them.
        groups: A metadata column whose equal values belong together, such as an author, a source or
            a thread. Empty cells belong to no group.
        rows: Group only these rows, without chains through others; None: all.

    Returns:
        Group numbers, int (len(rows),), from 0 without gaps.
    """
    all_rows = np.arange(codes.n_rows)
    rows = all_rows if rows is None else np.asarray(rows)
    n_rows = len(rows)
    equal = [np.zeros((2, 0), np.int64)]
    if groups is not None:
        values = codes.series(groups, rows)  # whole numbers stay whole
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
    if not np.array_equal(rows, all_rows):
        return merge_near(group, near_pairs(codes, rows))
    # kept, because `label` and each comparison of all rows need them
    if NEAR_PAIRS not in codes.kept:
        codes.kept[NEAR_PAIRS] = near_pairs(codes, rows)
    return merge_near(group, codes.kept[NEAR_PAIRS])


def same_texts(texts: Iterable[str], n: int) -> np.ndarray:
    """Group n texts that are equal up to case, digits and punctuation, int (n,).

    Example:
        >>> same_texts(["Order 12", "thanks", "order 7!"], 3).tolist()
        [0, 1, 0]
    """
    equal_pairs = _equal_pairs(map(normalised, texts))
    return _components(equal_pairs, n)


def first_of_each(groups: np.ndarray) -> np.ndarray:
    """Return the positions at which each group occurs first, ascending.

    Example:
        >>> first_of_each(np.array([4, 4, 2, 4, 2])).tolist()
        [0, 2]
    """
    _, first = np.unique(groups, return_index=True)
    return np.sort(first)


def distinct_texts(codes: Codes, rows: np.ndarray, n: int) -> np.ndarray:
    """Return the first n of some rows whose texts differ by more than case, digits and punctuation.

    Only the first MOST_COPIES · n rows are looked at. Rows without texts, and tokens, all differ.
    """
    if not codes.has_texts or codes.has_tokens:
        return rows[:n]
    first_rows = rows[: MOST_COPIES * n]
    texts = texts_of(codes, first_rows)
    group = same_texts(texts, len(first_rows))
    return first_rows[first_of_each(group)[:n]]


def near_pairs(
    codes: Codes, rows: np.ndarray, exact_rows: int = EXACT_ROWS
) -> np.ndarray:
    """Find pairs of rows whose centred embeddings are nearer than chance.

    Up to `exact_rows` rows, all pairs are compared (43,000 × 384: 3 to 5 s on one core). Beyond
    that, rows are projected onto 64 random directions, with a standard error of about 0.012 at a
    cosine of 0.95, and compared by `near_rows`, which found 86 and 90 % of the pairs on two
    corpora.

    Args:
        codes: A corpus with vectors.
        rows: Rows to compare.
        exact_rows: Number of rows up to which all pairs are compared.

    Returns:
        Positions in `rows` of two different rows per pair, int (2, n_pairs).
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
    is_small = directions is None
    near = all_near_rows(centred, bound) if is_small else near_rows(centred, bound, rng)
    return np.concatenate([equal, near], axis=1)


def near_bound(x: np.ndarray) -> float:
    """Return the cosine above which centred unit rows are near-duplicates.

    This is 0.95, or the cosine that by chance one pair per hundred rows exceeds, if that is larger.
    """
    dimension = effective_dimension(x)
    n_known = int(np.count_nonzero(x.any(axis=1)))
    by_chance = chance_cosine(dimension, n_known)
    return max(MIN_COSINE, by_chance)


def effective_dimension(x: np.ndarray) -> float:
    """Return the effective number of dimensions of rows: 1 ÷ the mean squared cosine of all pairs.

    For centred unit rows the mean squared cosine is Σλ² ÷ (Σλ)² with the eigenvalues λ of their
    covariance matrix, so this is the participation ratio. It equals the width for isotropic
    directions and is smaller for all others. Zero rows do not count.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(2000, 5))
        >>> round(effective_dimension(unit(x)))
        5
    """
    n_rows = np.count_nonzero(x.any(axis=1))
    if n_rows < 2:
        return 1.0
    # the squared norm of xᵀx is the sum of the squared cosines of all pairs, including i = j
    products = (x.T @ x).astype(np.float64)
    square_norms = np.einsum("ij,ij->i", x, x)
    total = np.sum(products**2) - np.sum(square_norms**2)
    mean_square = float(total) / (n_rows * (n_rows - 1))
    return 1 / max(mean_square, 1e-12)


def chance_cosine(dimension: float, n_rows: int) -> float:
    """Return the cosine that CHANCE_PAIRS · n_rows pairs of random directions exceed on average.

    The cosine c of two random directions in d dimensions has (c + 1) ÷ 2 ~ Beta((d−1)/2, (d−1)/2)
    (Cai, Fan and Jiang, J. Mach. Learn. Res. 14 (2013) 1837).

    Args:
        dimension: Number of dimensions, above 1.
        n_rows: Number of rows; all pairs are compared.

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
    """Merge groups that contain near rows, and cut chains of more than 5 % of all rows.

    Chains are cut by the star cover of Aslam, Pelekhov and Rus (J. Graph Algorithms Appl. 8 (2004)
    95): the group with the most neighbours and its free neighbours become one, and so on with the
    rest. Given groups are never divided.

    Args:
        group: Group of each row, numbered from 0 without gaps, (n_rows,).
        pairs: Pairs of near rows, int (2, n_pairs).

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
    """Divide the chains marked by `is_cut` into stars; return the group of each node."""
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
    """Return the connected component of each node of a graph, (n_nodes,)."""
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
    """Reduce a text to its lower-case letters; texts without letters stay as they are.

    Example:
        >>> normalised("Call 555-0199!"), normalised("हिन्दी 2"), normalised("2024")
        ('call', 'हिन्दी', '2024')
    """
    lower = text.lower()
    if lower.isascii():  # many times as fast as by a pattern
        words = lower.encode().translate(ASCII_LETTERS).split()
        letters = b" ".join(words).decode()
    else:
        letters = " ".join(words_of_letters(lower))
    return letters or lower


def _equal_pairs(keys: Iterable) -> np.ndarray:
    """Pair the position of each repeated key with that of its first occurrence, int (2, n_pairs).

    Missing keys equal no other key. Keys are compared by a 64-bit hash: 10 million texts need 80
    MB, and a collision among them occurs in one of 400,000 corpora.
    """
    hashes = array("q")
    is_missing = bytearray()
    for key in keys:
        hashes.append(_hash(key))
        is_missing.append(is_missing_value(key))
    known = np.flatnonzero(np.array(is_missing, np.uint8) == 0)
    known_hashes = np.array(hashes, np.int64)[known]
    _, first, number = np.unique(known_hashes, return_index=True, return_inverse=True)
    places = np.stack([known, known[first[number]]])
    return places[:, places[0] != places[1]]


def _hash(key: Any) -> int:
    """Return a hash; numbers are hashed as strings, because hash(-1) == hash(-2)."""
    return hash(key) if isinstance(key, str | bytes) else hash(repr(key))


def _row_bytes(codes: Codes, rows: np.ndarray) -> Iterator[bytes | None]:
    """Yield the bytes of each row of vectors; None for zero rows.

    Zero rows are left by failed calls to an embedder and say nothing about the text.
    """
    for vectors in _vector_blocks(codes, rows):
        for vector in vectors:
            yield vector.tobytes() if vector.any() else None


def _vector_blocks(codes: Codes, rows: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the vectors of some rows in blocks, float32."""
    starts = range(READ_BLOCK, len(rows), READ_BLOCK)
    for block in np.split(rows, starts):
        yield np.asarray(codes.vectors(block), np.float32)


def _centred_vectors(
    codes: Codes, rows: np.ndarray, directions: np.ndarray | None
) -> np.ndarray:
    """Return rows projected onto the directions if given, centred, and scaled to length 1, float32.

    Rows are scaled before centring as well, so that no large row dominates the mean. Zero rows
    count in no mean and stay zero, so they are near no other.
    """
    width = codes.vectors(rows[:1]).shape[1]
    if directions is not None:
        width = directions.shape[1]
    centred = np.empty((len(rows), width), np.float32)
    stop = 0
    for vectors in _vector_blocks(codes, rows):
        start, stop = stop, stop + len(vectors)
        projected = unit(vectors)
        if directions is not None:
            projected = projected @ directions
        centred[start:stop] = projected
    n_known = np.count_nonzero(centred.any(axis=1))
    mean = centred.sum(0, dtype=np.float64) / max(n_known, 1)
    for start in range(0, len(rows), READ_BLOCK):
        block = centred[start : start + READ_BLOCK]
        block[:] = directions_from(block, mean.astype(np.float32))
    return centred
