"""Selections on a CPU: by float32 products, or screened by 8-bit products where that is faster.

The choice depends on sizes and processor only, so that a machine reproduces its results.
"""

from __future__ import annotations

import numba
import numpy as np
import torch
from torch import Tensor

from nanosae.kernels.batchtopk import estimate_threshold, select_largest
from nanosae.kernels.cpu.capability import selects_by_screening
from nanosae.kernels.cpu.compiler import (
    CHUNKS,
    compile_function,
    compile_kernel,
    rows_of_chunk,
)
from nanosae.kernels.cpu.screening import (
    WORD,
    list_marked,
    screened_above,
    screened_topk,
)
from nanosae.kernels.cpu.tiles import Slots, scratch, select_by_tile
from nanosae.kernels.cpu.topk import CAUTION, keep_largest, lowered
from nanosae.kernels.pairs import Pairs

TILE_BYTES = 128 << 20  # pre-activations held at once
MIN_TILE_ROWS, MAX_TILE_ROWS = 256, 2048  # small tiles are slow
SLOTS_PER_ROW = 256  # initial room for pairs in a selection by threshold
MIN_TERMS = 2**28  # rows · weights; with fewer, rounding to 8 bits does not pay
MIN_WEIGHTS = 2**20  # with fewer, screening saves less time than its compilation takes
MIN_WIDTH = 2  # PyTorch 2.13 multiplies integer matrices of a single column wrongly
MAX_WIDTH = 2**16  # integer products of wider rows could overflow
LATENTS_PER_KEPT = 8  # with fewer, most entries would be candidates


@compile_function
def _scan(pre_acts, offset, threshold, marks, marked_words, columns):
    """Write the columns with pre_acts + offset > threshold; return their number."""
    for column in range(len(pre_acts)):
        marks[column] = pre_acts[column] + offset[column] > threshold
    return list_marked(marks, marked_words, columns)


@compile_kernel
def _keep_topk(pre_acts, bias, k, initial_thresholds, slots):
    """Keep each row's k largest positive entries, by column; of equal ones the lower columns.

    `initial_thresholds` has one for each chunk: slightly below that of its previous row.
    """
    n_rows, width = pre_acts.shape
    cols, values, counts = slots
    n_words = (width + WORD - 1) // WORD
    caution = pre_acts.dtype.type(CAUTION)
    for chunk in numba.prange(CHUNKS):
        first_row, end_row = rows_of_chunk(chunk, n_rows)
        marks = np.zeros(n_words * WORD, np.uint8)
        marked_words = np.empty(n_words + 1, np.int32)
        candidates = np.empty(width + WORD, np.int32)
        candidate_values = np.empty(width, pre_acts.dtype)
        slot = first_row * k
        threshold = initial_thresholds[chunk]
        for row in range(first_row, end_row):
            n = _scan(pre_acts[row], bias, threshold, marks, marked_words, candidates)
            while n < k and threshold > 0:
                threshold = lowered(threshold)
                n = _scan(
                    pre_acts[row], bias, threshold, marks, marked_words, candidates
                )
            for i in range(n):
                candidate_values[i] = pre_acts[row, candidates[i]] + bias[candidates[i]]
            reached, slot = keep_largest(
                candidates, candidate_values, n, k, threshold, cols, values, slot
            )
            counts[row] = min(n, k)
            threshold = caution * reached
        initial_thresholds[chunk] = threshold


@compile_kernel
def _keep_above(pre_acts, bias, bias_less_threshold, slots):
    """Keep the entries above their latent's threshold while there are slots; count all of them."""
    n_rows, width = pre_acts.shape
    cols, values, counts = slots
    n_words = (width + WORD - 1) // WORD
    slots_per_row = len(cols) // n_rows
    zero = pre_acts.dtype.type(0)
    for chunk in numba.prange(CHUNKS):
        first_row, end_row = rows_of_chunk(chunk, n_rows)
        end_slot = end_row * slots_per_row
        slot = first_row * slots_per_row
        marks = np.zeros(n_words * WORD, np.uint8)
        marked_words = np.empty(n_words + 1, np.int32)
        found = np.empty(width + WORD, np.int32)
        for row in range(first_row, end_row):
            n_found = _scan(
                pre_acts[row], bias_less_threshold, zero, marks, marked_words, found
            )
            counts[row] = n_found
            for i in range(min(counts[row], end_slot - slot)):
                cols[slot + i] = found[i]
                values[slot + i] = pre_acts[row, found[i]] + bias[found[i]]
            slot += counts[row]


def select_topk(x: Tensor, weight: Tensor, bias: Tensor, k: int) -> Pairs:
    """Keep the k largest positive entries of each row."""
    if k >= len(weight):
        return select_above(x, weight, bias, torch.zeros_like(bias))
    if is_screened(len(x), weight) and k * LATENTS_PER_KEPT <= len(weight):
        pairs = screened_topk(x, weight, bias, k)
        if pairs is not None:
            return pairs
    initial_thresholds = torch.zeros(CHUNKS, dtype=x.dtype)

    def keep(pre_acts: Tensor, first: int, end: int, slots: Slots) -> None:
        _keep_topk(pre_acts, bias, k, initial_thresholds, slots)

    return _select(x, weight, k, keep)


def select_above(x: Tensor, weight: Tensor, bias: Tensor, thresholds: Tensor) -> Pairs:
    """Keep the entries greater than their latent's threshold; `thresholds` is (hidden_size,)."""
    if is_screened(len(x), weight):
        pairs = screened_above(x, weight, bias, thresholds)
        if pairs is not None:
            return pairs
    bias_less_threshold = bias - thresholds

    def keep(pre_acts: Tensor, first: int, end: int, slots: Slots) -> None:
        _keep_above(pre_acts, bias, bias_less_threshold, slots)

    return _select(x, weight, SLOTS_PER_ROW, keep)


def select_batchtopk(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    total: int,
    initial_threshold: float | None = None,
) -> Pairs:
    """Keep the `total` largest positive entries of all rows together.

    Any `initial_threshold` gives the same pairs; one just below the smallest kept value is fastest.
    If None, it is estimated from some of the rows.
    """
    if initial_threshold is None:
        initial_threshold = estimate_threshold(x, weight, bias, total)

    def above(threshold: float) -> Pairs:
        return select_above(x, weight, bias, torch.full_like(bias, threshold))

    return select_largest(above, total, initial_threshold).pairs


def is_screened(n_rows: int, weight: Tensor) -> bool:
    """Return whether selections of this size are screened by 8-bit products on this processor."""
    n_weights = weight.numel()
    is_large = n_weights >= MIN_WEIGHTS and n_rows * n_weights >= MIN_TERMS
    has_width = MIN_WIDTH <= weight.shape[1] <= MAX_WIDTH
    can_be_rounded = has_width and weight.dtype == torch.float32
    return is_large and can_be_rounded and selects_by_screening()


def _select(x: Tensor, weight: Tensor, slots_per_row: int, keep) -> Pairs:
    """Compute pre-activations tile by tile in reused memory, and let `keep` fill the slots."""
    hidden_size = len(weight)

    def multiply(first: int, end: int) -> Tensor:
        pre_acts = scratch("pre_acts", (end - first) * hidden_size, x.dtype)
        pre_acts = pre_acts.view(end - first, hidden_size)
        return torch.mm(x[first:end], weight.T, out=pre_acts)

    rows_that_fit = TILE_BYTES // (hidden_size * x.element_size())
    tile_rows = min(MAX_TILE_ROWS, max(MIN_TILE_ROWS, rows_that_fit))
    return select_by_tile(len(x), tile_rows, slots_per_row, x.dtype, multiply, keep)
