"""Near rows among many, by locality-sensitive hashing.

A row becomes 64 bits, the signs of its numbers. Where these are projections to random directions,
two rows at the angle θ differ in a bit with probability θ ÷ π (Charikar, STOC 2002): near rows
differ in few bits. The bits are shuffled and rows sorted by them, read as one number, several
times. Near rows often agree in the first bits, and then stand close together, however many other
rows there are. A row is compared with those that follow it: by bits, and by the cosine only where
few bits differ.

Time grows with rows · log(rows), memory with the rows: a row is paired with at most MOST_NEAR of
those that follow it in an order, so that ten thousand copies of a form letter make no hundred
million pairs. They are connected all the same.
"""

from __future__ import annotations

import numpy as np

from nanosae.progress import tracked

N_BITS = 64
N_ORDERS = 24
WINDOW = 64  # rows with which each is compared in an order
MOST_NEAR = 4  # of them that a row is paired with
SURE = 3.0  # standard deviations of differing bits beyond which rows are not compared
BLOCK = 2**16  # rows of an order that are looked at together
COMPARED = 2**14  # pairs whose cosines are computed together


def near_rows(x: np.ndarray, bound: float, rng: np.random.Generator) -> np.ndarray:
    """Find most pairs of rows whose cosine exceeds a bound.

    Args:
        x: Rows at length one, projected to 64 random directions, (n_rows, 64) float32.
        bound: The cosine.
        rng: Shuffles the bits.

    Returns:
        Places of two different rows, each pair once, the smaller place first, int (2, n_pairs).
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
    """Return the signs of each row's numbers, packed, (n_rows, 8) uint8."""
    packed = np.empty((len(x), N_BITS // 8), np.uint8)
    for start in range(0, len(x), BLOCK):
        block = slice(start, start + BLOCK)
        packed[block] = np.packbits(x[block] > 0, axis=1)
    return packed


def _most_differing_bits(bound: float) -> int:
    """Return how many bits of nearly all pairs of rows with a larger cosine differ at most."""
    share = np.arccos(bound) / np.pi
    deviation = np.sqrt(N_BITS * share * (1 - share))
    return int(np.ceil(N_BITS * share + SURE * deviation))


def _shuffled_order(signature: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Sort rows by their bits, which are shuffled first; equal rows stay in their order."""
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
    """Compare up to BLOCK rows with those that follow each in an order.

    Args:
        x: All rows.
        places: Of the rows in this order, and of WINDOW more that follow.
        signature: Bits of each of these rows, uint64.
        bound: The cosine.
        most_differing: Bits that may differ.

    Returns:
        Places of the near rows, the earlier ones and the later ones.
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
    """Return the products of pairs of rows."""
    products = np.empty(len(one), x.dtype)
    for start in range(0, len(one), COMPARED):
        block = slice(start, start + COMPARED)
        products[block] = np.einsum("ij,ij->i", x[one[block]], x[other[block]])
    return products
