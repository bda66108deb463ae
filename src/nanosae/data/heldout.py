"""The choice of held-out rows: at random, with equal rows on the same side.

Randomness comes from a hash of the row and the seed, so that nearly all rows stay on their side
when others are added: a training continued with more rows is not measured on rows it has seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nanosae.data.blocks import small_blocks


@dataclass(frozen=True)
class DuplicateGroups:
    """Groups of equal rows.

    Attributes:
        group: Group of each row, (n,); groups are numbered in the order of their hashes.
        hashes: Hash of the rows of each group, (n_groups,) uint64, ascending.
        sizes: Number of rows in each group, (n_groups,).
        n_zero: Number of rows that are all zero.
    """

    group: np.ndarray
    hashes: np.ndarray
    sizes: np.ndarray
    n_zero: int

    @property
    def n_copies(self) -> int:
        """Number of rows that equal an earlier one."""
        return len(self.group) - len(self.sizes)

    def first_of_each(self, rows: np.ndarray) -> np.ndarray:
        """Return the first of these rows in each group, in the order of the groups' hashes."""
        _, first = np.unique(self.group[rows], return_index=True)
        return rows[first]


def group_duplicates(x: np.ndarray) -> DuplicateGroups:
    """Find equal rows, (n, width) float32, by their hashes."""
    keys = np.concatenate([hash_rows(block) for block in small_blocks(x)])
    hashes, group, sizes = np.unique(keys, return_inverse=True, return_counts=True)
    return DuplicateGroups(group, hashes, sizes, n_zero=int(np.sum(keys == 0)))


def hash_rows(x: np.ndarray) -> np.ndarray:
    """Hash rows, (n, width) float32, to 64 bits; an all-zero row has hash 0."""
    rng = np.random.default_rng(0)
    factors = rng.integers(1, 2**63, x.shape[1], np.uint64)
    without_negative_zeros = x + np.float32(0)  # −0.0 equals 0.0, but has other bits
    words = without_negative_zeros.view(np.uint32)
    mixed = words ^ (words >> 15)  # because round numbers have zeros in their low bits
    return np.einsum("ij,j->i", mixed, factors)


def choose_heldout(groups: DuplicateGroups, n_wanted: int, seed: int) -> np.ndarray:
    """Choose whole groups of equal rows at random, up to `n_wanted` rows.

    Groups larger than `n_wanted` come last, so that they are chosen only if there is nothing else.
    At least one group is chosen.

    Returns:
        Whether each row is held out, (n,) bool.
    """
    is_too_large = groups.sizes > n_wanted
    order = np.lexsort((_seeded(groups.hashes, seed), is_too_large))
    turn_of_group = np.argsort(order)
    turn = turn_of_group[groups.group]
    first_turn_left = np.sort(turn)[n_wanted]
    return turn < max(1, first_turn_left)


def _seeded(hashes: np.ndarray, seed: int) -> np.ndarray:
    """Mix hashes, uint64, with a seed: the last step of SplitMix64 (Steele, Lea and Flood 2014)."""
    salt = np.random.default_rng([seed, 0]).integers(2**64, dtype=np.uint64)
    mixed = hashes ^ salt
    mixed = (mixed ^ (mixed >> 30)) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> 27)) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> 31)
