"""Selections on a GPU: Triton kernels keep a few entries of each tile of pre-activations."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
import triton
from torch import Tensor

from nanosae.kernels.cuda import selection_kernels
from nanosae.kernels.cuda.launch import launch
from nanosae.kernels.pairs import Pairs, no_pairs
from nanosae.kernels.precision import current_precision

TILE = 2**25  # pre-activations held at once
MIN_TILE_ROWS = 512
CHUNK = 4096  # entries among which a program finds the largest
BLOCK = 1024  # entries that a program scans at once
SCANNED = 4096  # entries per program that counts digits; at most 256 programs
SAMPLE = 2**20  # pre-activations for the first estimate of the threshold
SLOTS_PER_ROW = 1024  # initial room for pairs in a selection by threshold
PADDING = -1e30  # below any threshold, but zero when multiplied by zero
DIGITS = ((20, 11), (10, 10), (0, 10))  # first bit and number of bits, of 31


class _Entries(NamedTuple):
    """Entries by row: row r owns `row_ptr[r]:row_ptr[r + 1]`; cols is None if rows are complete."""

    values: Tensor
    cols: Tensor | None
    row_ptr: Tensor


class _Counts(NamedTuple):
    """How many entries of each row are above a threshold, equal to it, and positive."""

    above: Tensor
    equal: Tensor
    positive: Tensor


def select_topk(x: Tensor, weight: Tensor, bias: Tensor, k: int) -> Pairs:
    """Keep the k largest positive entries of each row; the pairs end in padding."""
    tiles = [_largest(tile.values, None, k) for tile in _tiles(x, weight, bias)]
    slots = torch.cat([values for values, _ in tiles])
    slot_cols = torch.cat([cols for _, cols in tiles])
    slot_ptr = torch.arange(0, slots.numel() + 1, k, device=x.device)
    n_kept = (slots > 0).sum(1)
    row_ptr = _extended(torch.zeros_like(slot_ptr[:1]), n_kept)
    kept = Pairs(*_padding(x, slots.numel()), row_ptr)
    zero = slots.new_zeros(1)
    _copy_above(_Entries(slots, slot_cols, slot_ptr), zero, None, kept)
    return kept


def select_above(
    x: Tensor, weight: Tensor, bias: Tensor, thresholds: Tensor, n_slots: int = 0
) -> Pairs:
    """Keep the entries greater than their latent's threshold; waits for their number.

    Args:
        x: Rows, (B, input_size).
        weight: Encoder, latent-major, (hidden_size, input_size).
        bias: Encoder bias, (hidden_size,).
        thresholds: (hidden_size,).
        n_slots: Room for pairs; if it is not enough, the selection is repeated with more.
    """
    if n_slots == 0:
        n_slots = len(x) * min(len(weight), SLOTS_PER_ROW)
    values, cols = _padding(x, n_slots)
    row_ptr = torch.zeros(1, dtype=torch.int64, device=x.device)
    for tile in _tiles(x, weight, bias):
        n_rows_before = len(row_ptr) - 1
        row_ptr = _extended(row_ptr, _counts(tile, thresholds).above)
        _copy_above(
            tile, thresholds, None, Pairs(values, cols, row_ptr[n_rows_before:])
        )
    nnz = int(row_ptr[-1])
    if nnz > n_slots:
        return select_above(x, weight, bias, thresholds, nnz)
    return Pairs(values[:nnz], cols[:nnz], row_ptr)


def select_batchtopk(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    total: int,
    initial_threshold: float | None = None,
) -> Pairs:
    """Keep the `total` largest positive entries of all rows; the pairs end in padding.

    Entries above a threshold are candidates, of which the `total` largest are kept. The threshold
    of a tile is the smallest value kept so far. That of the first tile is estimated from a sample,
    and zero if the estimate is too high. `initial_threshold` is unused; it is for other backends.
    """
    if len(x) == 0:
        return no_pairs(x)
    row_ptr = torch.zeros(1, dtype=torch.int64, device=x.device)
    kept = Pairs(*_padding(x, total), row_ptr)
    threshold = None
    for tile in _tiles(x, weight, bias):
        if threshold is None:
            threshold = _estimated_threshold(tile.values, total)
        candidates = _with_entries_above(kept, tile, threshold, total)
        threshold = _kth_largest(candidates.values, candidates.row_ptr[-1:], total)
        kept = _largest_candidates(candidates, threshold, total)
    return kept


def _estimated_threshold(pre_acts: Tensor, total: int) -> Tensor:
    """Return a threshold, (1,), that slightly more than `total` entries should exceed."""
    stride = max(1, pre_acts.numel() // SAMPLE)
    sample = pre_acts[::stride].flatten()
    n_expected = 5 * total * len(sample) // (4 * pre_acts.numel())
    largest = sample.topk(min(len(sample), 1 + n_expected)).values
    return largest[-1:].clamp_min(0)


def _with_entries_above(
    kept: Pairs, tile: _Entries, threshold: Tensor, total: int
) -> Pairs:
    """Append a tile's entries above the threshold, or all positive ones if these are too few."""
    counts = _counts(tile, threshold)
    is_enough = kept.row_ptr[-1] + counts.above.sum() >= total
    threshold = threshold.where(is_enough, 0.0)
    n_candidates = counts.above.where(is_enough, counts.positive)
    row_ptr = _extended(kept.row_ptr, n_candidates)
    n_rows_before = len(kept.row_ptr) - 1
    size = tile.values.numel()
    values = torch.cat([kept.values, kept.values.new_empty(size)])
    cols = torch.cat([kept.cols, kept.cols.new_empty(size)])
    _copy_above(tile, threshold, None, Pairs(values, cols, row_ptr[n_rows_before:]))
    return Pairs(values, cols, row_ptr)


def _largest_candidates(candidates: Pairs, smallest_kept: Tensor, total: int) -> Pairs:
    """Return the candidates above the smallest kept value, and the first of those equal to it."""
    counts = _counts(_Entries(*candidates), smallest_kept)
    n_equal_before = counts.equal.cumsum(0) - counts.equal
    n_ties_left = total - counts.above.sum() - n_equal_before
    n_ties = n_ties_left.clamp_min(0).minimum(counts.equal)
    row_ptr = _extended(candidates.row_ptr[:1], counts.above + n_ties)
    kept = Pairs(*_padding(candidates.values, total), row_ptr)
    _copy_above(_Entries(*candidates), smallest_kept, n_ties, kept)
    return kept


def _kth_largest(values: Tensor, size: Tensor, k: int) -> Tensor:
    """Return the k-th largest of the first `size` values, all positive; 0 if there are fewer.

    This is a radix select on the bits of the floats, which sort as integers if positive.
    """
    state = torch.zeros(2, dtype=torch.int32, device=values.device)
    counts_of_digits = state.new_zeros(len(DIGITS), 2048)
    grid = (min(256, triton.cdiv(len(values), SCANNED)),)
    for counts, (shift, width) in zip(counts_of_digits, DIGITS, strict=True):
        launch(
            selection_kernels.histogram,
            grid,
            values,
            size,
            state,
            counts,
            shift,
            width,
            2048,
        )
        launch(selection_kernels.next_digit, (1,), counts, state, k, shift, width)
    return state[:1].view(torch.float32)


def _largest(values: Tensor, cols: Tensor | None, k: int) -> tuple[Tensor, Tensor]:
    """Return the k largest positive entries of each row, (n_rows, k), padded with zeros.

    Each chunk of a row is reduced to its k largest entries, until a row is a single chunk.
    """
    n_rows, width = values.shape
    chunk = min(
        max(CHUNK, triton.next_power_of_2(2 * k)), triton.next_power_of_2(width)
    )
    chunks_per_row = triton.cdiv(width, chunk)
    rows_per_program = max(1, CHUNK // chunk)
    slots = values.new_zeros(n_rows, chunks_per_row * k)
    slot_cols = torch.zeros_like(slots, dtype=torch.int32)
    launch(
        selection_kernels.topk,
        (triton.cdiv(n_rows, rows_per_program), chunks_per_row),
        values,
        cols,
        n_rows,
        width,
        k,
        slots,
        slot_cols,
        rows_per_program,
        chunk,
        warps=8,
    )
    if chunks_per_row == 1:
        return slots, slot_cols
    return _largest(slots, slot_cols, k)


def _counts(entries: _Entries, thresholds: Tensor) -> _Counts:
    """Compare each row's entries with one threshold, (1,), or each latent's, (hidden_size,)."""
    n_rows = len(entries.row_ptr) - 1
    out = torch.empty(3, n_rows, dtype=torch.int64, device=thresholds.device)
    launch(
        selection_kernels.count,
        (n_rows,),
        entries.values,
        entries.row_ptr,
        thresholds,
        int(len(thresholds) > 1),
        out,
        BLOCK,
    )
    return _Counts(*out)


def _copy_above(
    entries: _Entries, thresholds: Tensor, ties: Tensor | None, out: Pairs
) -> None:
    """Copy the entries above a threshold, and each row's first ones equal to it.

    Args:
        entries: Entries to copy from.
        thresholds: (1,) or, for each latent, (hidden_size,).
        ties: How many entries equal to the threshold to copy per row, (n_rows,); None for none.
        out: Pairs to write to; entries that do not fit are dropped.
    """
    n_rows = len(entries.row_ptr) - 1
    launch(
        selection_kernels.copy_above,
        (n_rows,),
        entries.values,
        entries.cols,
        entries.row_ptr,
        thresholds,
        int(len(thresholds) > 1),
        ties,
        out.row_ptr,
        len(out.values),
        out.values,
        out.cols,
        BLOCK,
    )


def _padding(like: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Return the values and latents of padding, (size,) each."""
    cols = torch.zeros(size, dtype=torch.int32, device=like.device)
    return torch.full_like(cols, PADDING, dtype=torch.float32), cols


def _extended(row_ptr: Tensor, counts: Tensor) -> Tensor:
    """Append rows of these lengths to row pointers."""
    return torch.cat([row_ptr, row_ptr[-1] + counts.cumsum(0)])


def _tiles(x: Tensor, weight: Tensor, bias: Tensor) -> Iterator[_Entries]:
    """Yield the pre-activations of a few rows at a time, (rows, hidden_size)."""
    hidden_size = len(weight)
    for rows in x.split(max(MIN_TILE_ROWS, TILE // hidden_size)):
        pre_acts = _pre_activations(rows, weight, bias)
        row_ptr = torch.arange(0, pre_acts.numel() + 1, hidden_size, device=x.device)
        yield _Entries(pre_acts, None, row_ptr)


def _pre_activations(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return x · weightᵀ + bias, (B, hidden_size) float32; see `encoder_precision`."""
    precision = current_precision()
    if precision == "bfloat16" and x.is_cuda:
        product = torch.mm(x.bfloat16(), weight.bfloat16().T, out_dtype=torch.float32)
        return product.add_(bias)
    flags = torch.backends.cuda.matmul
    before = flags.fp32_precision
    flags.fp32_precision = "tf32" if precision == "tf32" else "ieee"
    try:
        return torch.addmm(bias, x, weight.T)
    finally:
        flags.fp32_precision = before
