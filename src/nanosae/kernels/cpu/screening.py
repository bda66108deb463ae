"""Selections on a CPU by 8-bit products, which tell what cannot be kept; the rest is computed.

With x = x̂ + e and w = ŵ + d, where x̂ and ŵ are rounded to 8 bits, a pre-activation obeys

    x·w + b  ≤  x̂·ŵ + ‖e‖‖w‖ + ‖x̂‖‖d‖ + b,

because x·w = x̂·ŵ + e·w + x̂·d, and x̂·ŵ is a product of integers times two scales. What cannot
reach the threshold is left out; the rest, about 1.3 to 2 k of a row of embeddings, is computed in
float32, each entry by itself. So the kept pairs are those of the float32 product, up to its own
rounding at the threshold, and a pair's value depends on nothing but its row and its latent.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numba
import numpy as np
import torch
from torch import Tensor

from nanosae.kernels.cpu.capability import multiply_codes
from nanosae.kernels.cpu.compiler import CHUNKS, compile_function, compile_kernel
from nanosae.kernels.cpu.rounding import RoundedRows, round_rows
from nanosae.kernels.cpu.tiles import Slots, scratch, select_by_tile
from nanosae.kernels.cpu.topk import CAUTION, keep_largest, lowered
from nanosae.kernels.pairs import Pairs

SLOTS_PER_ROW = 128  # of a selection by threshold, at first
TILE_ENTRIES = 2**21  # integer products held at once: 8 MiB
MIN_TILE_ROWS, MAX_TILE_ROWS = 256, 1024
ROUNDING_PER_TERM = 2.0**-22  # four times that of float32: of any sum, in any order
OTHER_TERMS = 64  # roundings beside those of the sum
ROUNDING_OF_BIAS = 2.0**-21
UNDERFLOW = 1e-28  # more than all that denormal numbers lose
LARGEST_ERROR = (
    1.2  # of bounds; with wider ones, about a quarter of all would be candidates
)
HALVINGS = 12  # of the interval that the k-th largest lower bound lies in
WORD = 8  # marks that are looked at together


class Offsets(NamedTuple):
    """What is added to the products: the bias, less the threshold, plus all that rounding adds.

    Attributes:
        bias: (hidden_size,).
        thresholds: What values must exceed, (hidden_size,); zeros for a selection by order.
        slack: More than the rounding of bias and threshold, (hidden_size,).
    """

    bias: Tensor
    thresholds: Tensor
    slack: Tensor


@compile_function
def _bounds(product, latent, row, rows, latents):
    """Return a product and how much that of the exact factors may differ from it."""
    middle = np.float32(product) * latents.scales[latent] * rows.scales[row]
    error = (
        rows.rests[row] * latents.lengths[latent]
        + rows.code_lengths[row] * latents.rests[latent]
    )
    return middle, error


@compile_function
def _mark(products, row, rows, latents, highest, threshold, marks):
    """Mark the latents whose upper bound exceeds the threshold."""
    for latent in range(len(products)):
        middle, error = _bounds(products[latent], latent, row, rows, latents)
        marks[latent] = middle + (error + highest[latent]) > threshold


@compile_function
def _list_marked(marks, found):
    """Write the marked latents; return their number. Marks are padded to whole words."""
    n_found = np.uint64(0)
    words = marks.view(np.uint64)
    for word in range(np.uint64(len(words))):
        if words[word] != 0:
            first = np.uint64(word) * np.uint64(WORD)
            for i in range(np.uint64(WORD)):
                found[n_found] = first + i
                n_found += np.uint64(marks[first + i])
    return n_found


@compile_function
def _dot(row, weight):
    total = row.dtype.type(0)
    for j in range(len(row)):
        total += row[j] * weight[j]
    return total


@compile_function
def _raise_threshold(lower_bounds, n_bounds, k, threshold):
    """Return a number that k lower bounds exceed, not much below the largest such number.

    Where fewer than k exceed the threshold, it is returned as it is.
    """
    if n_bounds < k:
        return threshold
    low = threshold
    high = np.max(lower_bounds[:n_bounds])
    for _ in range(HALVINGS):
        middle = np.float32(0.5) * (low + high)
        n_above = np.int32(0)
        for i in range(n_bounds):
            n_above += lower_bounds[i] > middle
        if n_above >= k:
            low = middle
        else:
            high = middle
    return low


@compile_function
def _find_largest(
    products, row, rows, latents, offsets, highest, k, threshold, marks, found, uppers
):
    """List the latents that may be among a row's k largest positive ones.

    The search begins at `threshold`, which is lowered until k lower bounds exceed it. `found` and
    `uppers` are filled with latents and their upper bounds.

    Returns:
        Their number, and a threshold that the k largest exceed, if so many are positive.
    """
    lowers = np.empty(len(products), np.float32)
    while True:
        _mark(products, row, rows, latents, highest, threshold, marks)
        n_found = _list_marked(marks, found)
        n_surely_above = np.uint64(0)
        for i in range(n_found):
            latent = found[i]
            middle, error = _bounds(products[latent], latent, row, rows, latents)
            uppers[i] = middle + (error + highest[latent])
            lower = middle - error + (offsets.bias[latent] - offsets.slack[latent])
            lowers[n_surely_above] = lower
            n_surely_above += np.uint64(lower > threshold)
        if n_surely_above >= k or threshold == 0:
            break
        threshold = lowered(threshold)
    return n_found, _raise_threshold(lowers, n_surely_above, k, threshold)


@compile_function
def _compute(row, found, uppers, n_found, rows, latents, bias, threshold, values):
    """Compute the entries whose upper bound exceeds the threshold; keep those that do, too.

    Returns:
        The number of those that are kept, in front in `found` and `values`.
    """
    n_kept = np.uint64(0)
    for i in range(n_found):
        if uppers[i] > threshold:
            latent = found[i]
            value = _dot(rows.exact[row], latents.exact[latent]) + bias[latent]
            found[n_kept] = latent
            values[n_kept] = value
            n_kept += np.uint64(value > threshold)
    return n_kept


@compile_kernel
def _keep_topk(products, rows, latents, offsets, highest, k, guesses, slots):
    """Keep each row's k largest positive entries, by column; of equal ones the lower columns.

    `guesses` holds where the search of each chunk begins: a share of the last row's threshold.
    """
    n_rows, width = products.shape
    cols, values, counts = slots
    for chunk in numba.prange(CHUNKS):
        first_row = chunk * n_rows // CHUNKS
        end_row = (chunk + 1) * n_rows // CHUNKS
        marks = np.zeros((width + WORD - 1) // WORD * WORD, np.uint8)
        found = np.empty(width + WORD, np.int32)
        uppers = np.empty(width, np.float32)
        found_values = np.empty(width + 1, np.float32)
        slot = first_row * k
        guess = guesses[chunk]
        for row in range(first_row, end_row):
            n_found, threshold = _find_largest(
                products[row],
                row,
                rows,
                latents,
                offsets,
                highest,
                k,
                guess,
                marks,
                found,
                uppers,
            )
            n = _compute(
                row,
                found,
                uppers,
                n_found,
                rows,
                latents,
                offsets.bias,
                threshold,
                found_values,
            )
            threshold, slot = keep_largest(
                found, found_values, n, k, threshold, cols, values, slot
            )
            counts[row] = min(n, k)
            guess = np.float32(CAUTION) * threshold
        guesses[chunk] = guess


@compile_kernel
def _keep_above(products, rows, latents, offsets, highest, slots):
    """Keep the entries above their latent's threshold, as far as a chunk has slots; count all."""
    n_rows, width = products.shape
    cols, values, counts = slots
    slots_per_row = len(cols) // n_rows
    for chunk in numba.prange(CHUNKS):
        first_row = chunk * n_rows // CHUNKS
        end_row = (chunk + 1) * n_rows // CHUNKS
        end_slot = end_row * slots_per_row
        marks = np.zeros((width + WORD - 1) // WORD * WORD, np.uint8)
        found = np.empty(width + WORD, np.int32)
        slot = first_row * slots_per_row
        for row in range(first_row, end_row):
            _mark(products[row], row, rows, latents, highest, np.float32(0), marks)
            n_found = _list_marked(marks, found)
            n_kept = 0
            for i in range(n_found):
                latent = found[i]
                value = _dot(rows.exact[row], latents.exact[latent])
                value += offsets.bias[latent]
                if value > offsets.thresholds[latent]:
                    if slot < end_slot:
                        cols[slot] = latent
                        values[slot] = value
                        slot += 1
                    n_kept += 1
            counts[row] = n_kept


def screened_topk(x: Tensor, weight: Tensor, bias: Tensor, k: int) -> Pairs | None:
    """Keep the k largest positive entries of each row; None if bounds would be of no use."""
    guesses = torch.zeros(CHUNKS)

    def keep(products, rows, latents, offsets, highest, slots):
        _keep_topk(products, rows, latents, offsets, highest, k, guesses, slots)

    return _select(x, weight, bias, torch.zeros_like(bias), k, keep)


def screened_above(
    x: Tensor, weight: Tensor, bias: Tensor, thresholds: Tensor
) -> Pairs | None:
    """Keep the entries above their latent's threshold; None if bounds would be of no use."""
    return _select(x, weight, bias, thresholds, SLOTS_PER_ROW, _keep_above)


def _select(x, weight, bias, thresholds, slots_per_row, keep) -> Pairs | None:
    x, weight = x.contiguous(), weight.contiguous()
    rows, latents = with_rounding(round_rows(x)), round_rows(weight)
    offsets = _offsets(bias, thresholds)
    highest = bias - thresholds + offsets.slack
    can_be_bounded = rows.can_be_bounded() and latents.can_be_bounded()
    if not can_be_bounded or bool(highest.isnan().any()):
        return None
    if _typical_error(rows, latents) > LARGEST_ERROR:
        return None

    def multiply(first: int, end: int) -> Tensor:
        n_products = (end - first) * len(weight)
        products = scratch("integers", n_products, torch.int32)
        products = products.view(end - first, len(weight))
        codes = rows.codes[first:end]
        return multiply_codes(codes, latents.codes, products)

    def keep_of_tile(products: Tensor, first: int, end: int, slots: Slots) -> None:
        keep(products, rows.slice(first, end), latents, offsets, highest, slots)

    tile_rows = max(MIN_TILE_ROWS, min(MAX_TILE_ROWS, TILE_ENTRIES // len(weight)))
    return select_by_tile(
        len(x), tile_rows, slots_per_row, x.dtype, multiply, keep_of_tile
    )


def _typical_error(rows: RoundedRows, latents: RoundedRows) -> float:
    """Return the width of the bounds, in standard deviations of products of random rows."""
    share_lost = rows.mean_share_lost() + latents.mean_share_lost()
    return share_lost * math.sqrt(rows.codes.shape[1])


def with_rounding(rows: RoundedRows) -> RoundedRows:
    """Add to the rests what sums in float32 may be off, so that bounds include it."""
    n_terms = rows.codes.shape[1] + OTHER_TERMS
    # twice, because codes are at most twice as long as what they are made of
    off = 4 * ROUNDING_PER_TERM * n_terms * rows.lengths
    return rows._replace(rests=rows.rests + off)


def _offsets(bias: Tensor, thresholds: Tensor) -> Offsets:
    slack = ROUNDING_OF_BIAS * (bias.abs() + thresholds.abs()) + UNDERFLOW
    slack = torch.where(slack.isfinite(), slack, 0.0)
    return Offsets(bias, thresholds, slack)
