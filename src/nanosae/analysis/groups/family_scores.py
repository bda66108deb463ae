"""How much more the members of a family overlap than chance would have it."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp


def block_ratios(
    overlaps: Any, blocks: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Compare overlaps inside each family with those across its border.

    The block ratio and R of O'Neill et al. (arXiv 2408.00657).

    Args:
        overlaps: C ÷ min(f_i, f_j), symmetric with an empty diagonal, csr_array (n, n).
        blocks: Places of the members of each family, its root first.

    Returns:
        Mean overlap of two members ÷ mean overlap of a member with another feature; and mean
        overlap of the root with a child ÷ that of two children; each (n_blocks,), NaN where the
        denominator is 0.
    """
    n_features = overlaps.shape[0]
    n_blocks = len(blocks)
    number = np.arange(n_blocks)
    size = np.array([len(block) for block in blocks])
    root = np.array([block[0] for block in blocks])
    member = np.concatenate(blocks)
    block_of_member = np.repeat(number, size)
    ones = np.ones(len(member))
    entries = (ones, (member, block_of_member))
    membership = sp.csr_array(entries, shape=(n_features, n_blocks))

    overlap_with_block = overlaps @ membership
    # of each member with all members of its own block
    member_sums = sp.csr_array(overlap_with_block * membership)
    inside = member_sums.sum(0)
    inside_and_across = membership.T @ overlaps.sum(1)
    across = inside_and_across - inside
    root_sum = member_sums[root, number]
    among_children = inside - 2 * root_sum
    across[across < 1e-9] = np.nan
    among_children[among_children < 1e-9] = np.nan
    # the counts of ordered pairs, divided by size: size − 1 inside, n − size across
    n_outside = np.maximum(n_features - size, 1)
    inside_of_member = inside / (size - 1)
    block_ratio = inside_of_member * n_outside / across
    r = root_sum * (size - 2) / among_children
    return block_ratio, r
