"""Decode and gradients on a GPU, over flat pairs."""

from typing import NamedTuple

import torch
import triton
from torch import Tensor

from nanosae.kernels.cuda import product_kernels
from nanosae.kernels.cuda.launch import launch
from nanosae.kernels.pairs import Pairs, Plan

GATHERED = 8192  # elements that a program gathers at once
MAX_COLUMNS = 512  # of each row


class _Block(NamedTuple):
    """How many rows, and how many of their columns, a program gathers at once."""

    rows: int
    cols: int


def make_plan(pairs: Pairs, hidden_size: int) -> Plan:
    """Sort the pairs by latent, then by row; padding comes last."""
    places = torch.arange(len(pairs.cols), device=pairs.cols.device)
    rows = torch.searchsorted(pairs.row_ptr[1:-1], places, right=True)
    is_pair = places < pairs.row_ptr[-1]
    latents, order = torch.where(is_pair, pairs.cols, hidden_size).sort(stable=True)
    every_latent = torch.arange(
        hidden_size + 1, device=latents.device, dtype=latents.dtype
    )
    return Plan(
        order.int(), rows[order].int(), torch.searchsorted(latents, every_latent)
    )


def decode(values: Tensor, pairs: Pairs, weight: Tensor, bias: Tensor) -> Tensor:
    """Return, for each row, bias + Σ value × decoder row over its pairs."""
    n_rows = len(pairs.row_ptr) - 1
    out = bias.repeat(n_rows, 1)
    _segment_sums(values, None, pairs.cols, pairs.row_ptr, weight, out, accumulate=True)
    return out


def decode_grads(
    grad: Tensor,
    values: Tensor,
    plan: Plan,
    weight: Tensor,
    grad_weight: Tensor,
    accumulate: bool,
) -> Tensor:
    """Write (or accumulate) the gradient of the decoder; return that of the values."""
    _segment_sums(
        values, plan.order, plan.rows, plan.starts, grad, grad_weight, accumulate
    )
    return _pair_dots(grad, plan, weight)


def value_grads(grad: Tensor, pairs: Pairs, plan: Plan, weight: Tensor) -> Tensor:
    """Return the gradient of the values, for a frozen decoder."""
    return _pair_dots(grad, plan, weight)


def _pair_dots(grad: Tensor, plan: Plan, weight: Tensor) -> Tensor:
    size, width = len(plan.order), grad.shape[1]
    places = torch.arange(size, device=grad.device)
    latents = torch.searchsorted(plan.starts[1:-1], places, right=True)
    nnz = plan.starts[-1:]
    grad_values = grad.new_empty(size)
    block = _block(width)
    launch(
        product_kernels.pair_dots,
        (triton.cdiv(size, block.rows),),
        grad,
        weight,
        plan.order,
        plan.rows,
        latents,
        nnz,
        grad_values,
        size,
        width,
        *block,
        warps=8,
    )
    return grad_values


def encode_grads(
    grad_values: Tensor, plan: Plan, x: Tensor, grad_weight: Tensor, accumulate: bool
) -> Tensor:
    """Write (or accumulate) the gradient of the encoder; return that of its bias."""
    rows = x.contiguous()
    return _segment_sums(
        grad_values, plan.order, plan.rows, plan.starts, rows, grad_weight, accumulate
    )


def _segment_sums(
    values: Tensor,
    order: Tensor | None,
    picks: Tensor,
    starts: Tensor,
    dense: Tensor,
    out: Tensor,
    accumulate: bool,
) -> Tensor:
    """Write (or add) Σ value · gathered row of `dense` for each segment; return Σ value.

    Args:
        values: (nnz,).
        order: Index of the value at each place, (nnz,); None if that is the place itself.
        picks: Row of `dense` gathered at each place, (nnz,).
        starts: First place of each segment, (segments + 1,).
        dense: (rows, width).
        out: (segments, width).
        accumulate: Whether to add to `out`.
    """
    n_segments, width = out.shape
    value_sums = values.new_empty(n_segments)
    block = _block(width)
    launch(
        product_kernels.segment_sums,
        (n_segments, triton.cdiv(width, block.cols)),
        values,
        order,
        picks,
        starts,
        dense,
        out,
        value_sums,
        width,
        int(accumulate),
        *block,
    )
    return value_sums


def _block(width: int) -> _Block:
    cols = min(MAX_COLUMNS, triton.next_power_of_2(width))
    return _Block(GATHERED // cols, cols)
