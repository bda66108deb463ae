"""Pairs: the entries that a selection kept, sorted by row; Plan: the same, sorted by latent."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Pairs(NamedTuple):
    """The kept entries of a batch of B rows, sorted by row, then by latent.

    Entries from `row_ptr[-1]` on are padding, which only the `cuda` backend produces, so that the
    host need not wait for nnz. Their value is below any threshold, their latent is arbitrary, and
    they take no part in decoding or in any gradient.

    Attributes:
        values: Pre-activations, (nnz,).
        cols: Latents, (nnz,) int32.
        row_ptr: Row r owns the pairs `row_ptr[r]:row_ptr[r + 1]`, (B + 1,) int64.
    """

    values: Tensor
    cols: Tensor
    row_ptr: Tensor


class Plan(NamedTuple):
    """Pairs sorted by latent, then by row; shared by all weight gradients of a step.

    Attributes:
        order: Index of the pair at each place of this order, (nnz,) int32.
        rows: Row of the pair at each place, (nnz,) int32.
        starts: Latent f owns the places `starts[f]:starts[f + 1]`, (hidden_size + 1,) int64.
    """

    order: Tensor
    rows: Tensor
    starts: Tensor


def without_padding(pairs: Pairs) -> Pairs:
    """Return the pairs without padding; on a GPU, this waits for the device."""
    nnz = int(pairs.row_ptr[-1])
    return Pairs(pairs.values[:nnz], pairs.cols[:nnz], pairs.row_ptr)


def filter_pairs(pairs: Pairs, keep: Tensor) -> Pairs:
    """Return the pairs marked in `keep`, (nnz,) bool."""
    kept = keep.nonzero().flatten()
    values, cols = pairs.values.index_select(0, kept), pairs.cols.index_select(0, kept)
    return Pairs(values, cols, torch.searchsorted(kept, pairs.row_ptr))


def no_pairs(x: Tensor) -> Pairs:
    """Return the pairs of a selection from x that kept nothing."""
    row_ptr = torch.zeros(len(x) + 1, dtype=torch.int64, device=x.device)
    cols = torch.empty(0, dtype=torch.int32, device=x.device)
    return Pairs(x.new_empty(0), cols, row_ptr)


def segment_ids(starts: Tensor) -> Tensor:
    """Return the row of each pair from `row_ptr`, or the latent of each place from `Plan.starts`.

    Example:
        >>> segment_ids(torch.tensor([0, 2, 2, 3]))
        tensor([0, 0, 2])
    """
    segments = torch.arange(len(starts) - 1, device=starts.device)
    return segments.repeat_interleave(starts.diff())
