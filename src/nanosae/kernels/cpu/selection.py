"""Selections on a CPU: tiles of pre-activations, of which numba kernels keep a few entries."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numba
import numpy as np
import torch
from torch import Tensor

from nanosae.kernels.batchtopk import estimate_threshold, select_largest
from nanosae.kernels.cpu.compiler import CHUNKS, compile_function, compile_kernel, lock
from nanosae.kernels.pairs import Pairs

# columns that are compared together before any one of them is looked at
BLOCK = np.uint64(64)
TILE_BYTES = 128 << 20  # pre-activations held at once
MIN_TILE_ROWS, MAX_TILE_ROWS = 256, 2048  # small tiles are slow
SLOTS_PER_ROW = 256  # of a selection by threshold, at first
LOWERING = 0.7  # what a threshold that proved too high is multiplied by
NEGLIGIBLE = 1e-6  # a threshold below it is lowered to zero
CAUTION = 0.88  # the first threshold of a row, as a share of that of the row before


@compile_function
def _scan(pre_acts, offset, threshold, columns):
    """Write the columns with pre_acts + offset > threshold; return their number.

    `columns` has room for one more than there are, because the next is written in advance.
    """
    n_found = np.uint64(0)  # unsigned: no index is taken for a negative one
    width = np.uint64(len(pre_acts))
    for block in range(width // BLOCK):
        start = np.uint64(block) * BLOCK
        n_above = np.int32(0)
        for i in range(BLOCK):
            n_above += pre_acts[start + i] + offset[start + i] > threshold
        if n_above:
            for i in range(BLOCK):
                columns[n_found] = start + i
                n_found += np.uint64(
                    pre_acts[start + i] + offset[start + i] > threshold
                )
    for column in range(width // BLOCK * BLOCK, width):
        columns[n_found] = column
        n_found += np.uint64(pre_acts[column] + offset[column] > threshold)
    return n_found


@compile_function
def _kth_largest(values, n_values, k, low):
    """Return the k-th largest of the first n values, or a number between it and the next one.

    All are greater than `low`. The interval that it lies in is halved until k values are above it:
    counting is a loop without branches, as sorting is not.
    """
    half = values.dtype.type(0.5)
    high = np.max(values[:n_values])
    n_above_low = n_values
    while n_above_low != k:
        middle = half * (low + high)
        n_above_middle = np.int32(0)
        for i in range(n_values):
            n_above_middle += values[i] > middle
        if not low < middle < high:  # equal ones
            return high
        if n_above_middle >= k:
            low = middle
            n_above_low = np.uint64(n_above_middle)
        else:
            high = middle
    return low


@compile_kernel
def _keep_topk(pre_acts, bias, k, cols, values, counts):
    """Keep each row's k largest positive entries, by column; of equal ones the lower columns."""
    n_rows, width = pre_acts.shape
    zero = pre_acts.dtype.type(0)
    lowering = pre_acts.dtype.type(LOWERING)
    caution = pre_acts.dtype.type(CAUTION)
    for chunk in numba.prange(CHUNKS):
        first_row = chunk * n_rows // CHUNKS
        end_row = (chunk + 1) * n_rows // CHUNKS
        candidates = np.empty(width + 1, np.int32)
        candidate_values = np.empty(width, pre_acts.dtype)
        slot = first_row * k
        initial_threshold = zero
        for row in range(first_row, end_row):
            n = _scan(pre_acts[row], bias, initial_threshold, candidates)
            while n < k and initial_threshold > 0:
                if initial_threshold > NEGLIGIBLE:
                    initial_threshold = lowering * initial_threshold
                else:
                    initial_threshold = zero
                n = _scan(pre_acts[row], bias, initial_threshold, candidates)
            for i in range(n):
                candidate_values[i] = pre_acts[row, candidates[i]] + bias[candidates[i]]
            threshold = initial_threshold
            if n > k:
                threshold = _kth_largest(candidate_values, n, k, initial_threshold)
            n_ties = k - np.sum(candidate_values[:n] > threshold)
            counts[row] = min(n, k)
            for i in range(n):
                value = candidate_values[i]
                if value > threshold or (value == threshold and n_ties > 0):
                    n_ties -= value == threshold
                    cols[slot] = candidates[i]
                    values[slot] = value
                    slot += 1
            initial_threshold = caution * threshold


@compile_kernel
def _keep_above(pre_acts, bias, bias_less_threshold, cols, values, counts):
    """Keep the entries above their latent's threshold, as far as a chunk has slots; count all."""
    n_rows, width = pre_acts.shape
    slots_per_row = len(cols) // n_rows
    for chunk in numba.prange(CHUNKS):
        first_row = chunk * n_rows // CHUNKS
        end_row = (chunk + 1) * n_rows // CHUNKS
        end_slot = end_row * slots_per_row
        slot = first_row * slots_per_row
        found = np.empty(width + 1, np.int32)
        for row in range(first_row, end_row):
            counts[row] = _scan(
                pre_acts[row], bias_less_threshold, pre_acts.dtype.type(0), found
            )
            for i in range(min(counts[row], end_slot - slot)):
                cols[slot + i] = found[i]
                values[slot + i] = pre_acts[row, found[i]] + bias[found[i]]
            slot += counts[row]


def select_topk(x: Tensor, weight: Tensor, bias: Tensor, k: int) -> Pairs:
    """Keep the k largest positive entries of each row."""

    def keep(pre_acts: Tensor, cols: Tensor, values: Tensor, counts: Tensor) -> None:
        _keep_topk(pre_acts, bias, k, cols, values, counts)

    return _select(x, weight, k, keep)


def select_above(x: Tensor, weight: Tensor, bias: Tensor, thresholds: Tensor) -> Pairs:
    """Keep the entries greater than their latent's threshold; `thresholds` is (hidden_size,)."""
    bias_less_threshold = bias - thresholds

    def keep(pre_acts: Tensor, cols: Tensor, values: Tensor, counts: Tensor) -> None:
        _keep_above(pre_acts, bias, bias_less_threshold, cols, values, counts)

    return _select(x, weight, SLOTS_PER_ROW, keep)


def select_batchtopk(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    total: int,
    initial_threshold: float | None = None,
) -> Pairs:
    """Keep the `total` largest positive entries of all rows together.

    Any `initial_threshold` gives the same pairs; just below the smallest kept value it saves time.
    None estimates it from some of the rows.
    """
    if initial_threshold is None:
        initial_threshold = estimate_threshold(x, weight, bias, total)

    def above(threshold: float) -> Pairs:
        return select_above(x, weight, bias, torch.full_like(bias, threshold))

    return select_largest(above, total, initial_threshold).pairs


def _select(x: Tensor, weight: Tensor, slots_per_row: int, keep: Callable) -> Pairs:
    """Compute pre-activations tile by tile in the same memory, and let `keep` fill the slots."""
    n_rows = _tile_rows(x, weight)
    row_ptr = torch.zeros(len(x) + 1, dtype=torch.int64)
    counts = row_ptr[1:]
    kept = []
    with lock:
        memory = _tile_memory(n_rows, len(weight), x.dtype)
        for tile, tile_counts in zip(
            x.split(n_rows), counts.split(n_rows), strict=True
        ):
            pre_acts = torch.mm(tile, weight.T, out=memory[: len(tile)])
            pieces = _keep_of_tile(pre_acts, slots_per_row, keep, tile_counts)
            while pieces is None:
                slots_per_row *= 2
                pieces = _keep_of_tile(pre_acts, slots_per_row, keep, tile_counts)
            kept += pieces
    values, cols = (torch.cat(pieces) for pieces in zip(*kept, strict=True))
    return Pairs(values, cols, row_ptr.cumsum(0))


def _keep_of_tile(
    pre_acts: Tensor, slots_per_row: int, keep: Callable, counts: Tensor
) -> list[tuple[Tensor, Tensor]] | None:
    """Return the values and columns that each chunk of rows keeps; None if its slots are too few.

    `counts` is filled with the number of kept entries of each row in any case.
    """
    n_rows = len(pre_acts)
    cols = torch.empty(n_rows * slots_per_row, dtype=torch.int32)
    values = torch.empty(n_rows * slots_per_row, dtype=pre_acts.dtype)
    keep(pre_acts, cols, values, counts)
    row_of_chunk = torch.arange(CHUNKS + 1) * n_rows // CHUNKS
    n_kept_before = torch.nn.functional.pad(counts.cumsum(0), (1, 0))
    n_kept = n_kept_before[row_of_chunk].diff()
    if (n_kept > slots_per_row * row_of_chunk.diff()).any():
        return None
    starts = slots_per_row * row_of_chunk[:-1]
    ends = starts + n_kept
    return [
        (values[start:end], cols[start:end])
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
    ]


def _tile_rows(x: Tensor, weight: Tensor) -> int:
    rows_that_fit = TILE_BYTES // (len(weight) * x.element_size())
    return min(len(x), MAX_TILE_ROWS, max(MIN_TILE_ROWS, rows_that_fit))


@functools.lru_cache(maxsize=1)
def _tile_memory(n_rows: int, width: int, dtype: torch.dtype) -> Tensor:
    return torch.empty(n_rows, width, dtype=dtype)
