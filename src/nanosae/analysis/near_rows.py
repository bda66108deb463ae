"""Pairs of near rows: all of them, or most of those among many by locality-sensitive hashing.

To find all, rows are first compared by sketches: their coordinates along the first principal axes
and the length of what is left. By the Cauchy–Schwarz inequality, the product of two sketches is at
least that of the rows, so only few pairs are left to compare.

To find most, a row is hashed to 64 bits, the signs of its projections onto random directions. Two
rows at the angle θ differ in each bit with probability θ ÷ π (Charikar, STOC 2002), so near rows
differ in few bits. The rows are sorted several times by the bits, read as one number, in a random
order of bits. Near rows often agree in the leading bits and are then close in the sorted order,
however many other rows there are. Each row is compared with those that follow it, first by bits,
and by the cosine only if few bits differ.

With hashing, time is O(n log n) and memory O(n) in the number of rows: in each order a row is
paired with at most MOST_NEAR following rows, so ten thousand copies of a form letter do not give a
hundred million pairs, but are still connected.
"""

from __future__ import annotations

from itertools import combinations_with_replacement

import numpy as np

from nanosae.progress import tracked

N_BITS = 64
N_ORDERS = 24
WINDOW = 64  # following rows with which each row is compared
MOST_NEAR = 4  # of these rows that a row is paired with
SURE = 3.0  # standard deviations above the expected number of differing bits
BLOCK = 2**16  # rows of an order that are processed together
COMPARED = 2**14  # pairs whose cosines are computed together
LEFT_OUT = 0.5  # share of the variance that sketches leave to one length
TILE = 512  # rows whose sketches are compared with those of as many others at a time
ROUNDING = 1e-4  # bound on the rounding error of a product of two sketches or rows
MANY = 0.02  # share of the pairs of two tiles from which on all their rows are compared


def all_near_rows(x: np.ndarray, bound: float) -> np.ndarray:
    """Find all pairs of rows whose cosine exceeds a bound.

    Args:
        x: Rows of length 1 or 0, float32 (n_rows, width).
        bound: The bound on the cosine.

    Returns:
        The distinct pairs of different rows, the smaller number first, int (2, n_pairs).
    """
    sketches = _sketches(x)
    least = bound - ROUNDING
    found = [np.zeros((2, 0), np.int64)]
    starts = range(0, len(x), TILE)
    for start, other_start in combinations_with_replacement(starts, 2):
        tile = slice(start, start + TILE)
        other_tile = slice(other_start, other_start + TILE)
        may_be_near = sketches[tile] @ sketches[other_tile].T > least
        n_candidates = np.count_nonzero(may_be_near)
        if n_candidates == 0:
            continue
        if n_candidates > MANY * may_be_near.size:
            may_be_near = x[tile] @ x[other_tile].T > least
        one, other = np.nonzero(may_be_near)
        one += start
        other += other_start
        is_near = _cosines(x, one, other) > bound
        is_first = one < other
        found.append(np.stack([one, other])[:, is_near & is_first])
    return np.concatenate(found, axis=1)


def _sketches(x: np.ndarray) -> np.ndarray:
    """Return the first principal coordinates of rows and the length of what is left of each."""
    variances, axes = np.linalg.eigh(x.T @ x)
    is_left_out = np.cumsum(variances) <= LEFT_OUT * variances.sum()
    coordinates = x @ axes[:, ~is_left_out]
    squares = np.einsum("ij,ij->i", x, x)
    squares_left = squares - np.einsum("ij,ij->i", coordinates, coordinates)
    lengths_left = np.sqrt(np.maximum(squares_left, 0))
    return np.column_stack([coordinates, lengths_left])


def near_rows(x: np.ndarray, bound: float, rng: np.random.Generator) -> np.ndarray:
    """Find most pairs of rows whose cosine exceeds a bound.

    Args:
        x: Unit rows, projected onto 64 random directions, (n_rows, 64) float32.
        bound: The bound on the cosine.
        rng: Shuffles the bits.

    Returns:
        The distinct pairs of different rows, the smaller number first, int (2, n_pairs).
    """
    n_rows = len(x)
    signature = _signatures(x)
    most_differing = _most_differing_bits(bound)
    found = np.zeros(0, np.int64)
    for _ in tracked(range(N_ORDERS), "look for near-duplicates"):
        order = _shuffled_order(signature, rng)
        in_order = signature[order].view(np.uint64)[:, 0]
        parts = [found]
        for start in range(0, n_rows, BLOCK):
            block = slice(start, start + BLOCK + WINDOW)
            one, other = _near_in_order(
                x, order[block], in_order[block], bound, most_differing
            )
            smaller = np.minimum(one, other)
            larger = np.maximum(one, other)
            parts.append(smaller * n_rows + larger)
        found = np.unique(np.concatenate(parts))
    return np.stack(np.divmod(found, max(n_rows, 1)))


def _signatures(x: np.ndarray) -> np.ndarray:
    """Return the signs of each row as packed bits, (n_rows, 8) uint8."""
    packed = np.empty((len(x), N_BITS // 8), np.uint8)
    for start in range(0, len(x), BLOCK):
        block = slice(start, start + BLOCK)
        packed[block] = np.packbits(x[block] > 0, axis=1)
    return packed


def _most_differing_bits(bound: float) -> int:
    """Return a bound on the differing bits of nearly all pairs with a larger cosine."""
    share = np.arccos(bound) / np.pi
    deviation = np.sqrt(N_BITS * share * (1 - share))
    return int(np.ceil(N_BITS * share + SURE * deviation))


def _shuffled_order(signature: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Sort rows by their bits in a random order of bits; the sort is stable."""
    place_of_bit = rng.permutation(N_BITS).astype(np.uint64)
    value_of_bit = np.uint64(1) << place_of_bit
    every_byte = np.arange(256, dtype=np.uint8)
    bits_of_byte = np.unpackbits(every_byte[:, None], axis=1).astype(np.uint64)
    number = np.zeros(len(signature), np.uint64)
    for byte, values in enumerate(np.split(value_of_bit, N_BITS // 8)):
        value_of_byte = bits_of_byte @ values
        number |= value_of_byte[signature[:, byte]]
    return np.argsort(number, kind="stable")


def _near_in_order(
    x: np.ndarray,
    places: np.ndarray,
    signature: np.ndarray,
    bound: float,
    most_differing: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Compare up to BLOCK rows with the rows that follow each in an order.

    Args:
        x: All rows.
        places: The rows in this order, and WINDOW following ones.
        signature: Bits of each of these rows, uint64.
        bound: The bound on the cosine.
        most_differing: Maximum number of differing bits.

    Returns:
        The earlier and the later row of each near pair.
    """
    n_near = np.zeros(BLOCK, np.int64)
    is_open = np.ones(BLOCK, bool)
    earlier = [places[:0]]
    later = [places[:0]]
    for distance in range(1, min(WINDOW + 1, len(places))):
        n_compared = min(BLOCK, len(places) - distance)
        followers = signature[distance : distance + n_compared]
        differing = np.bitwise_count(signature[:n_compared] ^ followers)
        is_candidate = differing <= most_differing
        candidate = np.flatnonzero(is_candidate & is_open[:n_compared])
        cosines = _cosines(x, places[candidate], places[candidate + distance])
        near = candidate[cosines > bound]
        n_near[near] += 1
        is_open[near] = n_near[near] < MOST_NEAR
        earlier.append(places[near])
        later.append(places[near + distance])
    return np.concatenate(earlier), np.concatenate(later)


def _cosines(x: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the inner product of each pair of rows."""
    products = np.empty(len(one), x.dtype)
    for start in range(0, len(one), COMPARED):
        block = slice(start, start + COMPARED)
        first = x[one[block]]
        second = x[other[block]]
        products[block] = np.einsum("ij,ij->i", first, second)
    return products
