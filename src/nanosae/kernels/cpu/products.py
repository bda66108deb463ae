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
)
from nanosae.kernels.pairs import Pairs, Plan


@compile_serial_kernel
def _sort_by_latent(cols, row_ptr, order, rows, starts):
    """Sort by counting; stable in the row."""
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
def _decode(values, cols, row_ptr, weight, bias, out):
    n_rows, width = out.shape
    for chunk in numba.prange(CHUNKS):
        first_row = chunk * n_rows // CHUNKS
        end_row = (chunk + 1) * n_rows // CHUNKS
        for row in range(first_row, end_row):
            out[row] = bias
            for pair in range(row_ptr[row], row_ptr[row + 1]):
                if values[pair] != 0:
                    for j in range(width):
                        out[row, j] += values[pair] * weight[cols[pair], j]


@compile_function
def _chunks_of_latents(starts):
    """Return the first latent of each chunk; chunks have about equal pairs plus latents."""
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
):
    width = grad.shape[1]
    chunks = _chunks_of_latents(starts)
    for chunk in numba.prange(CHUNKS):
        for latent in range(chunks[chunk], chunks[chunk + 1]):
            if not accumulate:
                grad_weight[latent] = 0
            for place in range(starts[latent], starts[latent + 1]):
                row = rows[place]
                value = values[order[place]]
                dot = grad.dtype.type(0)
                for j in range(width):
                    dot += grad[row, j] * weight[latent, j]
                    grad_weight[latent, j] += value * grad[row, j]
                grad_values[order[place]] = dot


@compile_kernel
def _encode_grads(
    grad_values, order, rows, starts, x, grad_weight, grad_bias, accumulate
):
    width = x.shape[1]
    chunks = _chunks_of_latents(starts)
    for chunk in numba.prange(CHUNKS):
        for latent in range(chunks[chunk], chunks[chunk + 1]):
            if not accumulate:
                grad_weight[latent] = 0
            for place in range(starts[latent], starts[latent + 1]):
                row = rows[place]
                value = grad_values[order[place]]
                grad_bias[latent] += value
                for j in range(width):
                    grad_weight[latent, j] += value * x[row, j]


def make_plan(pairs: Pairs, hidden_size: int) -> Plan:
    """Order the pairs by latent, rows ascending within each."""
    order = torch.empty_like(pairs.cols)
    rows = torch.empty_like(pairs.cols)
    starts = torch.zeros(hidden_size + 1, dtype=torch.int64)
    _sort_by_latent(pairs.cols, pairs.row_ptr, order, rows, starts)
    return Plan(order, rows, starts)


def decode(values: Tensor, pairs: Pairs, weight: Tensor, bias: Tensor) -> Tensor:
    """Return bias + the sum of each row's values × decoder rows."""
    n_rows = len(pairs.row_ptr) - 1
    out = weight.new_empty(n_rows, weight.shape[1])
    _decode(values, pairs.cols, pairs.row_ptr, weight, bias, out)
    return out


def decode_grads(
    grad: Tensor,
    values: Tensor,
    plan: Plan,
    weight: Tensor,
    grad_weight: Tensor,
    accumulate: bool,
) -> Tensor:
    """Write the decoder's gradient, or add to it; return that of the values."""
    grad_values = torch.empty_like(values)
    _decode_grads(grad, values, *plan, weight, grad_values, grad_weight, accumulate)
    return grad_values


def encode_grads(
    grad_values: Tensor, plan: Plan, x: Tensor, grad_weight: Tensor, accumulate: bool
) -> Tensor:
    """Write the encoder's gradient, or add to it; return that of its bias."""
    grad_bias = x.new_zeros(len(grad_weight))
    _encode_grads(grad_values, *plan, x, grad_weight, grad_bias, accumulate)
    return grad_bias
