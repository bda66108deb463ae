"""Kernels in plain PyTorch, for any device and float type; the other backends are tested on them.

`select_topk` and `select_batchtopk` keep positive entries only. Of equal entries, those of lower
rows win, then those of lower latents.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from nanosae.kernels.pairs import Pairs, Plan, segment_ids

TILE_ROWS = 1024  # rows encoded at once


class _Entries(NamedTuple):
    values: Tensor
    rows: Tensor
    cols: Tensor


def select_topk(x: Tensor, weight: Tensor, bias: Tensor, k: int) -> Pairs:
    """Keep the k largest positive entries of each row."""
    kept = []
    for first_row, pre_acts in _tiles(x, weight, bias):
        largest = pre_acts.sort(dim=1, descending=True, stable=True).indices[:, :k]
        is_largest = torch.zeros_like(pre_acts, dtype=torch.bool).scatter_(
            1, largest, True
        )
        kept.append(_entries(first_row, pre_acts, is_largest & (pre_acts > 0)))
    return _as_pairs(_concatenated(kept), len(x))


def select_batchtopk(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    total: int,
    initial_threshold: float | None = None,
) -> Pairs:
    """Keep the `total` largest positive entries of all rows.

    Args:
        x: Rows, (B, input_size).
        weight: Encoder, latent-major, (hidden_size, input_size).
        bias: Encoder bias, (hidden_size,).
        total: Number of entries to keep.
        initial_threshold: Unused here; other backends start their search from it.
    """
    positive = []
    for first_row, pre_acts in _tiles(x, weight, bias):
        positive.append(_entries(first_row, pre_acts, pre_acts > 0))
    values, rows, cols = _concatenated(positive)
    largest = values.sort(descending=True, stable=True).indices[:total]
    keep = largest.sort().values
    return _as_pairs(_Entries(values[keep], rows[keep], cols[keep]), len(x))


def select_above(x: Tensor, weight: Tensor, bias: Tensor, thresholds: Tensor) -> Pairs:
    """Keep the entries greater than their latent's threshold; `thresholds` is (hidden_size,)."""
    kept = []
    for first_row, pre_acts in _tiles(x, weight, bias):
        kept.append(_entries(first_row, pre_acts, pre_acts > thresholds))
    return _as_pairs(_concatenated(kept), len(x))


def make_plan(pairs: Pairs, hidden_size: int) -> Plan:
    """Sort the pairs by latent, then by row."""
    rows = segment_ids(pairs.row_ptr)
    order = pairs.cols.sort(stable=True).indices
    return Plan(order.int(), rows[order].int(), _starts(pairs.cols, hidden_size))


def decode(values: Tensor, pairs: Pairs, weight: Tensor, bias: Tensor) -> Tensor:
    """Return, for each row, bias + Σ value × decoder row over its pairs."""
    n_rows = len(pairs.row_ptr) - 1
    out = bias.expand(n_rows, -1).clone()
    terms = values[:, None] * weight[pairs.cols]
    return out.index_add_(0, segment_ids(pairs.row_ptr), terms)


def decode_grads(
    grad: Tensor,
    values: Tensor,
    plan: Plan,
    weight: Tensor,
    grad_weight: Tensor,
    accumulate: bool,
) -> Tensor:
    """Write (or accumulate) the gradient of the decoder; return that of the values."""
    if not accumulate:
        grad_weight.zero_()
    latents = segment_ids(plan.starts)
    grad_of_pairs = grad[plan.rows]
    grad_weight.index_add_(0, latents, values[plan.order][:, None] * grad_of_pairs)
    grad_values = torch.empty_like(values)
    grad_values[plan.order] = (grad_of_pairs * weight[latents]).sum(1)
    return grad_values


def value_grads(grad: Tensor, pairs: Pairs, plan: Plan, weight: Tensor) -> Tensor:
    """Return the gradient of the values, for a frozen decoder."""
    return (grad[segment_ids(pairs.row_ptr)] * weight[pairs.cols]).sum(1)


def encode_grads(
    grad_values: Tensor, plan: Plan, x: Tensor, grad_weight: Tensor, accumulate: bool
) -> Tensor:
    """Write (or accumulate) the gradient of the encoder; return that of its bias."""
    if not accumulate:
        grad_weight.zero_()
    latents = segment_ids(plan.starts)
    grad_by_latent = grad_values[plan.order]
    grad_weight.index_add_(0, latents, grad_by_latent[:, None] * x[plan.rows])
    grad_bias = grad_by_latent.new_zeros(len(grad_weight))
    return grad_bias.index_add_(0, latents, grad_by_latent)


def _tiles(x: Tensor, weight: Tensor, bias: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Yield the pre-activations of a few rows at a time, with the number of the first row."""
    first_row = 0
    for rows in x.split(TILE_ROWS):  # an empty x gives one empty tile
        yield first_row, torch.addmm(bias, rows, weight.T)
        first_row += len(rows)


def _entries(first_row: int, pre_acts: Tensor, keep: Tensor) -> _Entries:
    rows, cols = keep.nonzero(as_tuple=True)
    return _Entries(pre_acts[rows, cols], rows + first_row, cols)


def _concatenated(tiles: list[_Entries]) -> _Entries:
    return _Entries(*(torch.cat(parts) for parts in zip(*tiles, strict=True)))


def _as_pairs(kept: _Entries, n_rows: int) -> Pairs:
    return Pairs(kept.values, kept.cols.int(), _starts(kept.rows, n_rows))


def _starts(segments: Tensor, n_segments: int) -> Tensor:
    """Return the start of each segment, (n_segments + 1,), from the segment of each entry."""
    starts = torch.zeros(n_segments + 1, dtype=torch.int64, device=segments.device)
    starts[1:] = torch.bincount(segments, minlength=n_segments).cumsum(0)
    return starts
