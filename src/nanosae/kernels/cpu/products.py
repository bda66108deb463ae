"""Decode and gradients on a CPU, over flat pairs."""

from __future__ import annotations

import numba
import numpy as np
import torch
from torch import Tensor

from nanosae.kernels.cpu.compiler import (
    CHUNKS,
    compile_function,
    compile_kernel,
    compile_serial_kernel,
    rows_of_chunk,
    use_wide_vectors,
)
from nanosae.kernels.pairs import Pairs, Plan

BLOCK_BYTES = 3 * 2**19  # gathered rows of a block, which should stay in the L2 cache
PAIRS_PER_BLOCK = 8  # per row or latent, on average; blocks with fewer save nothing


@compile_serial_kernel
def _sort_by_latent(cols, row_ptr, order, rows, starts):
    """Counting sort of the pairs by latent; stable in the row."""
    for pair in range(len(cols)):
        starts[cols[pair] + 1] += 1
    for latent in range(len(starts) - 1):
        starts[latent + 1] += starts[latent]
    next_place = starts.copy()
    for row in range(len(row_ptr) - 1):
        for pair in range(row_ptr[row], row_ptr[row + 1]):
            place = next_place[cols[pair]]
            next_place[cols[pair]] += 1
            order[place] = pair
            rows[place] = row


@compile_kernel
def _multiply(cols, row_ptr, x, weight, bias, block, next_pair, values):
    """Compute pre-activations, block by block of latents; `next_pair` is each row's progress."""
    n_rows, width = x.shape
    for first in range(0, max(1, len(weight)), block):
        for chunk in numba.prange(CHUNKS):
            use_wide_vectors()
            first_row, end_row = rows_of_chunk(chunk, n_rows)
            for row in range(first_row, end_row):
                pair = next_pair[row]
                while pair < row_ptr[row + 1] and cols[pair] < first + block:
                    dot = x.dtype.type(0)
                    for j in range(width):
                        dot += x[row, j] * weight[cols[pair], j]
                    values[pair] = dot + bias[cols[pair]]
                    pair += 1
                next_pair[row] = pair


@compile_serial_kernel
def _keep(values, cols, row_ptr, keep, kept_values, kept_cols, kept_row_ptr):
    n_kept = np.uint64(0)
    for row in range(len(row_ptr) - 1):
        for pair in range(row_ptr[row], row_ptr[row + 1]):
            kept_values[n_kept] = values[pair]
            kept_cols[n_kept] = cols[pair]
            n_kept += np.uint64(keep[pair])
        kept_row_ptr[row + 1] = n_kept


@compile_kernel
def _decode(values, cols, row_ptr, weight, bias, block, next_pair, out):
    """Decode, block by block of latents; `next_pair` is each row's progress."""
    n_rows, width = out.shape
    for first in range(0, max(1, len(weight)), block):
        for chunk in numba.prange(CHUNKS):
            use_wide_vectors()
            first_row, end_row = rows_of_chunk(chunk, n_rows)
            for row in range(first_row, end_row):
                if first == 0:
                    # assigning whole rows takes 2 s longer to compile
                    for j in range(width):
                        out[row, j] = bias[j]
                    next_pair[row] = row_ptr[row]
                pair = next_pair[row]
                while pair < row_ptr[row + 1] and cols[pair] < first + block:
                    if values[pair] != 0:
                        for j in range(width):
                            out[row, j] += values[pair] * weight[cols[pair], j]
                    pair += 1
                next_pair[row] = pair


@compile_function
def _chunks_of_latents(starts):
    """Return the first latent of each chunk; pairs plus latents are about equal in all chunks."""
    chunks = np.zeros(CHUNKS + 1, np.int64)
    n_latents = len(starts) - 1
    work = starts[n_latents] + n_latents
    latent = 0
    for chunk in range(1, CHUNKS + 1):
        while latent < n_latents and starts[latent] + latent < chunk * work // CHUNKS:
            latent += 1
        chunks[chunk] = latent
    return chunks


@compile_kernel
def _decode_grads(
    grad,
    values,
    order,
    rows,
    starts,
    weight,
    grad_values,
    grad_weight,
    accumulate,
    block,
    next_place,
):
    """Work by blocks of rows; `next_place` holds where each latent has got to."""
    n_rows, width = grad.shape
    chunks = _chunks_of_latents(starts)
    for first in range(0, max(1, n_rows), block):
        for chunk in numba.prange(CHUNKS):
            use_wide_vectors()
            for latent in range(chunks[chunk], chunks[chunk + 1]):
                if first == 0 and not accumulate:
                    for j in range(width):
                        grad_weight[latent, j] = 0
                place = next_place[latent]
                while place < starts[latent + 1] and rows[place] < first + block:
                    row = rows[place]
                    value = values[order[place]]
                    dot = grad.dtype.type(0)
                    for j in range(width):
                        dot += grad[row, j] * weight[latent, j]
                        grad_weight[latent, j] += value * grad[row, j]
                    grad_values[order[place]] = dot
                    place += 1
                next_place[latent] = place


@compile_kernel
def _encode_grads(
    grad_values,
    order,
    rows,
    starts,
    x,
    grad_weight,
    grad_bias,
    accumulate,
    block,
    next_place,
):
    """Work by blocks of rows; `next_place` holds where each latent has got to."""
    n_rows, width = x.shape
    chunks = _chunks_of_latents(starts)
    for first in range(0, max(1, n_rows), block):
        for chunk in numba.prange(CHUNKS):
            use_wide_vectors()
            for latent in range(chunks[chunk], chunks[chunk + 1]):
                if first == 0 and not accumulate:
                    for j in range(width):
                        grad_weight[latent, j] = 0
                place = next_place[latent]
                while place < starts[latent + 1] and rows[place] < first + block:
                    row = rows[place]
                    value = grad_values[order[place]]
                    grad_bias[latent] += value
                    for j in range(width):
                        grad_weight[latent, j] += value * x[row, j]
                    place += 1
                next_place[latent] = place


def _block_size(gathered: Tensor, n_pairs: int, n_groups: int) -> int:
    """Return how many of the gathered rows make a block.

    Args:
        gathered: The rows, (n, width).
        n_pairs: Number of pairs, each of which gathers one row.
        n_groups: Number of rows or latents that the pairs are grouped by.
    """
    row_bytes = gathered.shape[1] * gathered.element_size()
    n_that_fit = BLOCK_BYTES // row_bytes
    n_of_several = PAIRS_PER_BLOCK * len(gathered) * n_groups // max(1, n_pairs)
    return max(1, n_that_fit, n_of_several)


def make_plan(pairs: Pairs, hidden_size: int) -> Plan:
    """Sort the pairs by latent, then by row."""
    order = torch.empty_like(pairs.cols)
    rows = torch.empty_like(pairs.cols)
    starts = torch.zeros(hidden_size + 1, dtype=torch.int64)
    _sort_by_latent(pairs.cols, pairs.row_ptr, order, rows, starts)
    return Plan(order, rows, starts)


def pre_activations(pairs: Pairs, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return the pre-activations of the pairs, (nnz,), each from its row and latent alone."""
    values = x.new_empty(len(pairs.cols))
    block = _block_size(weight, len(values), len(x))
    next_pair = pairs.row_ptr.clone()
    _multiply(pairs.cols, pairs.row_ptr, x, weight, bias, block, next_pair, values)
    return values


def keep_pairs(pairs: Pairs, keep: Tensor) -> Pairs:
    """Return the pairs marked in `keep`, (nnz,) bool; a faster `filter_pairs`."""
    # every pair is written, and overwritten by the next one if it is not kept
    values = pairs.values.new_empty(len(pairs.values) + 1)
    cols = pairs.cols.new_empty(len(pairs.cols) + 1)
    row_ptr = torch.zeros_like(pairs.row_ptr)
    _keep(*pairs, keep, values, cols, row_ptr)
    n_kept = int(row_ptr[-1])
    return Pairs(values[:n_kept], cols[:n_kept], row_ptr)


def decode(values: Tensor, pairs: Pairs, weight: Tensor, bias: Tensor) -> Tensor:
    """Return, for each row, bias + Σ value × decoder row over its pairs."""
    n_rows = len(pairs.row_ptr) - 1
    out = weight.new_empty(n_rows, weight.shape[1])
    block = _block_size(weight, len(values), n_rows)
    next_pair = torch.empty_like(pairs.row_ptr)
    _decode(values, pairs.cols, pairs.row_ptr, weight, bias, block, next_pair, out)
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
    grad_values = torch.empty_like(values)
    block = _block_size(grad, len(values), len(weight))
    next_place = plan.starts.clone()
    _decode_grads(
        grad,
        values,
        *plan,
        weight,
        grad_values,
        grad_weight,
        accumulate,
        block,
        next_place,
    )
    return grad_values


def value_grads(grad: Tensor, pairs: Pairs, plan: Plan, weight: Tensor) -> Tensor:
    """Return the gradient of the values, for a frozen decoder."""
    return pre_activations(pairs, grad, weight, weight.new_zeros(len(weight)))


def encode_grads(
    grad_values: Tensor, plan: Plan, x: Tensor, grad_weight: Tensor, accumulate: bool
) -> Tensor:
    """Write (or accumulate) the gradient of the encoder; return that of its bias."""
    grad_bias = x.new_zeros(len(grad_weight))
    block = _block_size(x, len(grad_values), len(grad_weight))
    next_place = plan.starts.clone()
    _encode_grads(
        grad_values,
        *plan,
        x,
        grad_weight,
        grad_bias,
        accumulate,
        block,
        next_place,
    )
    return grad_bias
