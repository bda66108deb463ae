"""Pairs regrouped for Matryoshka SAEs, by the group of latents between two prefixes."""

from __future__ import annotations

import torch
from torch import Tensor

from nanosae.kernels import Pairs


def split_by_prefix(
    pairs: Pairs, prefixes: Tensor, first_latent: int
) -> tuple[Tensor, Pairs]:
    """Sort pairs by group of latents, then by row, so that one decode serves all groups.

    Row r of group g becomes row g · B + r. The cumulative sums of the groups' reconstructions are
    then those of the prefixes.

    Args:
        pairs: The pairs of B rows.
        prefixes: Growing prefix sizes, (n_prefixes,); the last is the number of all latents.
        first_latent: Offset of the pairs' latents among all.

    Returns:
        The previous place of each pair, (nnz,), and the pairs of n_prefixes · B rows.
    """
    device = prefixes.device
    n_rows, n_prefixes = len(pairs.row_ptr) - 1, len(prefixes)
    places = torch.arange(len(pairs.cols), device=device)
    rows = torch.searchsorted(pairs.row_ptr[1:], places, right=True)
    group = torch.bucketize(pairs.cols + first_latent, prefixes, right=True)
    is_padding = rows == n_rows
    group = torch.where(is_padding, n_prefixes - 1, group)  # padding stays at the end
    rows += n_rows * group
    rows, order = rows.sort(stable=True)
    row_ptr = torch.searchsorted(
        rows, torch.arange(n_prefixes * n_rows + 1, device=device)
    )
    return order, Pairs(pairs.values.detach()[order], pairs.cols[order], row_ptr)
