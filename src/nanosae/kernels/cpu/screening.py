"""Screened selections on a CPU: 8-bit products rule out most entries, float32 decides the rest.

With x = x̂ + e and w = ŵ + d, where x̂ and ŵ are rounded to 8 bits, a pre-activation obeys

    x·w + b  ≤  x̂·ŵ + ‖e‖‖w‖ + ‖x̂‖‖d‖ + b,

because x·w = x̂·ŵ + e·w + x̂·d, and x̂·ŵ is an integer product times two scales. Entries that
cannot reach the threshold are dropped. The others, about 1.3 to 2 k per row of embeddings, are
computed in float32, one by one. The kept pairs are therefore those of the float32 product, up to
its own rounding at the threshold, and the value of a pair depends only on its row and latent.
"""

from __future__ import annotations

import math

import numba
import numpy as np
import torch
from torch import Tensor

from nanosae.kernels.cpu.capability import multiply_codes
from nanosae.kernels.cpu.compiler import (
    CHUNKS,
    compile_function,
    compile_kernel,
    rows_of_chunk,
)
from nanosae.kernels.cpu.products import keep_pairs, pre_activations
from nanosae.kernels.cpu.rounding import RoundedRows, round_rows
from nanosae.kernels.cpu.tiles import Slots, scratch, select_by_tile
from nanosae.kernels.cpu.topk import count_above, kth_largest, largest_of
from nanosae.kernels.pairs import Pairs

SLOTS_PER_ROW = 128  # initial room for candidates
TILE_ENTRIES = 2**21  # integer products held at once: 8 MiB
MIN_TILE_ROWS, MAX_TILE_ROWS = 256, 1024
ROUNDING_PER_TERM = 2.0**-22  # four times that of float32, for sums in any order
OTHER_TERMS = 64  # roundings outside the sum, counted as terms
ROUNDING_OF_BIAS = 2.0**-21
UNDERFLOW = 1e-28  # exceeds all losses to denormal numbers
# width of the bounds at which about a quarter of all entries are candidates
LARGEST_ERROR = 1.2
HALVINGS = 12  # bisection steps towards a row's threshold
WORD = 8  # marks that are tested at once
# groups of latents per kept entry, whose largest lower bounds are compared
GROUPS_PER_KEPT = 4


@compile_function
def _bounds(product, latent, scale, rest, code_length, latents):
    """Return an approximate product and a bound of its error."""
    middle = np.float32(product) * latents.scales[latent] * scale
    error = rest * latents.lengths[latent] + code_length * latents.rests[latent]
    return middle, error


@compile_function
def _mark(products, row, rows, latents, upper_bias, marks):
    """Mark the latents whose upper bound is positive; `upper_bias` bounds bias − threshold."""
    scale = rows.scales[row]
    rest = rows.rests[row]
    code_length = rows.code_lengths[row]
    for latent in range(len(products)):
        product = products[latent]
        middle, error = _bounds(product, latent, scale, rest, code_length, latents)
        marks[latent] = middle + (error + upper_bias[latent]) > 0


@compile_function
def list_marked(marks, marked_words, found):
    """Write the marked latents; return their number. Marks are padded to whole words.

    The loops have no branches, which would be mispredicted at every mark.
    """
    n_words = np.uint64(0)
    words = marks.view(np.uint64)
    for word in range(np.uint64(len(words))):
        marked_words[n_words] = word
        n_words += np.uint64(words[word] != 0)
    n_found = np.uint64(0)
    for place in range(n_words):
        first = np.uint64(marked_words[place]) * np.uint64(WORD)
        for i in range(np.uint64(WORD)):
            found[n_found] = first + i
            n_found += np.uint64(marks[first + i])
    return n_found


@compile_kernel
def _list_candidates(products, rows, latents, upper_bias, slots):
    """List the entries that may exceed their threshold while there are slots; count all of them."""
    n_rows, width = products.shape
    cols, _values, counts = slots
    slots_per_row = len(cols) // n_rows
    n_words = (width + WORD - 1) // WORD
    for chunk in numba.prange(CHUNKS):
        first_row, end_row = rows_of_chunk(chunk, n_rows)
        end_slot = end_row * slots_per_row
        marks = np.zeros(n_words * WORD, np.uint8)
        marked_words = np.empty(n_words + 1, np.int32)
        found = np.empty(width + WORD, np.int32)
        slot = first_row * slots_per_row
        for row in range(first_row, end_row):
            _mark(products[row], row, rows, latents, upper_bias, marks)
            n_found = np.int64(list_marked(marks, marked_words, found))
            for i in range(min(n_found, end_slot - slot)):
                cols[slot + i] = found[i]
            slot += n_found
            counts[row] = n_found


@compile_function
def _find_reached(values, k):
    """Return a number ≥ 0 that at least k of the values reach, or 0 if fewer than k are positive.

    It is slightly below the largest such number.
    """
    low = np.float32(0)
    high = largest_of(values, len(values))
    for _ in range(HALVINGS):
        middle = np.float32(0.5) * (low + high)
        if count_above(values, len(values), middle) >= k:
            low = middle
        else:
            high = middle
    return low


@compile_function
def _bound(
    products, row, rows, latents, lower_bias, upper_bias, lower_bounds, upper_bounds
):
    """Write the lower and upper bounds of a row's entries."""
    scale = rows.scales[row]
    rest = rows.rests[row]
    code_length = rows.code_lengths[row]
    for latent in range(len(products)):
        product = products[latent]
        middle, error = _bounds(product, latent, scale, rest, code_length, latents)
        lower_bounds[latent] = middle - error + lower_bias[latent]
        upper_bounds[latent] = middle + (error + upper_bias[latent])


@compile_function
def _mark_above(values, threshold, marks):
    for i in range(len(values)):
        marks[i] = values[i] > threshold


@compile_function
def _raise_maxima(values, maxima):
    for group in range(len(maxima)):
        maxima[group] = max(maxima[group], values[group])


@compile_function
def _bound_kth_largest(lower_bounds, k, maxima):
    """Return a number that at least k entries reach, or 0 if fewer than k are surely positive.

    The largest lower bounds of disjoint groups of latents belong to different latents, and the k-th
    largest of them is only slightly smaller than that of all latents. `maxima` is scratch space
    for one value per group.
    """
    n_groups = len(maxima)
    for group in range(n_groups):
        maxima[group] = 0
    for first in range(0, len(lower_bounds) - n_groups + 1, n_groups):
        _raise_maxima(lower_bounds[first : first + n_groups], maxima)
    return _find_reached(maxima, k)


@compile_kernel
def _list_largest(
    products, rows, latents, lower_bias, upper_bias, k, thresholds, slots
):
    """List the entries that may be among a row's k largest, like `_list_candidates`.

    `thresholds` receives, for each row, a number that at least k of its entries reach, or 0.
    """
    n_rows, width = products.shape
    cols, _values, counts = slots
    slots_per_row = len(cols) // n_rows
    n_words = (width + WORD - 1) // WORD
    n_groups = min(GROUPS_PER_KEPT * k, width)
    for chunk in numba.prange(CHUNKS):
        first_row, end_row = rows_of_chunk(chunk, n_rows)
        end_slot = end_row * slots_per_row
        lower_bounds = np.empty(width, np.float32)
        upper_bounds = np.empty(width, np.float32)
        maxima = np.empty(n_groups, np.float32)
        marks = np.zeros(n_words * WORD, np.uint8)
        marked_words = np.empty(n_words + 1, np.int32)
        found = np.empty(width + WORD, np.int32)
        slot = first_row * slots_per_row
        for row in range(first_row, end_row):
            _bound(
                products[row],
                row,
                rows,
                latents,
                lower_bias,
                upper_bias,
                lower_bounds,
                upper_bounds,
            )
            threshold = _bound_kth_largest(lower_bounds, k, maxima)
            _mark_above(upper_bounds, threshold, marks)
            n_found = np.int64(list_marked(marks, marked_words, found))
            for i in range(min(n_found, end_slot - slot)):
                cols[slot + i] = found[i]
            slot += n_found
            counts[row] = n_found
            thresholds[row] = threshold


@compile_kernel
def _choose_largest(values, row_ptr, thresholds, k, keep):
    """Mark the k largest of each row's entries above its threshold; of equal entries, the first."""
    n_rows = len(row_ptr) - 1
    for chunk in numba.prange(CHUNKS):
        first_row, end_row = rows_of_chunk(chunk, n_rows)
        above = np.empty(row_ptr[end_row] - row_ptr[first_row] + 1, values.dtype)
        for row in range(first_row, end_row):
            threshold = thresholds[row]
            n_above = np.uint64(0)
            for pair in range(row_ptr[row], row_ptr[row + 1]):
                above[n_above] = values[pair]
                n_above += np.uint64(values[pair] > threshold)
            smallest_kept = threshold
            if n_above > k:
                smallest_kept = kth_largest(above, n_above, k, threshold)
            n_ties = k - count_above(above, n_above, smallest_kept)
            for pair in range(row_ptr[row], row_ptr[row + 1]):
                value = values[pair]
                is_tie = value == smallest_kept and value > threshold and n_ties > 0
                keep[pair] = value > smallest_kept or is_tie
                n_ties -= is_tie


def screened_topk(x: Tensor, weight: Tensor, bias: Tensor, k: int) -> Pairs | None:
    """Keep the k largest positive entries of each row; None if the bounds would be useless."""
    thresholds = torch.empty(len(x))
    rounding = _rounding(bias, torch.zeros_like(bias))
    lower_bias, upper_bias = bias - rounding, bias + rounding

    def keep(products, rows, latents, first, end, slots):
        of_tile = thresholds[first:end]
        _list_largest(
            products, rows, latents, lower_bias, upper_bias, k, of_tile, slots
        )

    slots_per_row = max(SLOTS_PER_ROW, 2 * k)
    pairs = _candidates(x, weight, bias, upper_bias, slots_per_row, keep)
    if pairs is None:
        return None
    chosen = torch.empty(len(pairs.values), dtype=torch.bool)
    _choose_largest(pairs.values, pairs.row_ptr, thresholds, k, chosen)
    return keep_pairs(pairs, chosen)


def screened_above(
    x: Tensor, weight: Tensor, bias: Tensor, thresholds: Tensor
) -> Pairs | None:
    """Keep the entries above their latent's threshold; None if the bounds would be useless."""
    upper_bias = bias - thresholds + _rounding(bias, thresholds)

    def keep(products, rows, latents, first, end, slots):
        _list_candidates(products, rows, latents, upper_bias, slots)

    pairs = _candidates(x, weight, bias, upper_bias, SLOTS_PER_ROW, keep)
    if pairs is None:
        return None
    return keep_pairs(pairs, pairs.values > thresholds.index_select(0, pairs.cols))


def _candidates(x, weight, bias, upper_bias, slots_per_row, keep) -> Pairs | None:
    """Return the pairs that `keep` lists from their bounds, with exact pre-activations."""
    x, weight = x.contiguous(), weight.contiguous()
    rows, latents = with_rounding(round_rows(x)), round_rows(weight)
    can_be_bounded = rows.can_be_bounded() and latents.can_be_bounded()
    if not can_be_bounded or bool(upper_bias.isnan().any()):
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
        keep(products, rows.slice(first, end), latents, first, end, slots)

    tile_rows = max(MIN_TILE_ROWS, min(MAX_TILE_ROWS, TILE_ENTRIES // len(weight)))
    pairs = select_by_tile(
        len(x), tile_rows, slots_per_row, x.dtype, multiply, keep_of_tile
    )
    return pairs._replace(values=pre_activations(pairs, x, weight, bias))


def _typical_error(rows: RoundedRows, latents: RoundedRows) -> float:
    """Return the typical width of the bounds, in standard deviations of products of random rows."""
    share_lost = rows.mean_share_lost() + latents.mean_share_lost()
    return share_lost * math.sqrt(rows.codes.shape[1])


def with_rounding(rows: RoundedRows) -> RoundedRows:
    """Add the rounding errors of float32 sums to the rests, so that the bounds cover them."""
    n_terms = rows.codes.shape[1] + OTHER_TERMS
    # doubled, because a rounded row is at most twice as long as the row
    sum_error = 4 * ROUNDING_PER_TERM * n_terms * rows.lengths
    return rows._replace(rests=rows.rests + sum_error)


def _rounding(bias: Tensor, thresholds: Tensor) -> Tensor:
    """Bound the float32 rounding errors of bias and threshold, (hidden_size,)."""
    error = ROUNDING_OF_BIAS * (bias.abs() + thresholds.abs()) + UNDERFLOW
    return torch.where(error.isfinite(), error, 0.0)
