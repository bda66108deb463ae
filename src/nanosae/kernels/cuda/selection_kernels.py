"""Triton kernels that select entries: the largest of each row, or those above a threshold."""

# pyright: reportOperatorIssue=false
# Triton types its constants as objects of its own
import triton
import triton.language as tl
from triton.language import constexpr


@triton.jit
def topk(
    values,
    cols,
    n_rows,
    width,
    k,
    out_values,
    out_cols,
    ROWS: constexpr,
    CHUNK: constexpr,
):
    """Write the k largest positive entries of each chunk of a row to its slots, by column.

    The k-th largest is found by bisection of the bits, as positive floats sort like integers.
    """
    row = (tl.program_id(0) * ROWS + tl.arange(0, ROWS))[:, None]
    col = (tl.program_id(1) * CHUNK + tl.arange(0, CHUNK))[None, :]
    inside = (row < n_rows) & (col < width)
    place = row.to(tl.int64) * width + col
    value = tl.load(values + place, inside, 0.0)
    bits = value.to(tl.int32, bitcast=True)
    # at least k entries reach `low` (or it is 0), and fewer than k reach `high`; or exactly k do,
    # and none lies between
    low = tl.zeros([ROWS], tl.int32)
    high = tl.minimum(tl.maximum(tl.max(bits, 1), 0), 0x7FFFFFFE) + 1
    while tl.max(high - low, 0) > 1:
        middle = low + (high - low) // 2
        count = tl.sum((bits >= middle[:, None]).to(tl.int32), 1)
        lower = tl.where(count == k, middle + 1, middle)
        high = tl.where(count > k, high, lower)
        low = tl.where(count >= k, middle, low)
    above = bits >= high[:, None]
    is_tie = (bits == low[:, None]) & (bits > 0)
    n_ties = k - tl.sum(above.to(tl.int32), 1)
    tie_number = tl.cumsum(is_tie.to(tl.int32), 1)
    keep = above | (is_tie & (tie_number <= n_ties[:, None]))
    slot = tl.cumsum(keep.to(tl.int32), 1) - 1
    chunk_of_row = row.to(tl.int64) * tl.num_programs(1) + tl.program_id(1)
    out = chunk_of_row * k + slot
    if cols is not None:
        col = tl.load(cols + place, inside, 0)
    tl.store(out_values + out, value, keep)
    tl.store(out_cols + out, col, keep)


@triton.jit
def count(values, row_ptr, thresholds, stride, out, BLOCK: constexpr):
    """Count each row's entries above its threshold, equal to it, and positive: (3, n_rows).

    The threshold of an entry is at its place in the row times `stride`, which is 1 for one
    threshold per latent and 0 for a single threshold.
    """
    row = tl.program_id(0)
    n_rows = tl.num_programs(0)
    start = tl.load(row_ptr + row)
    end = tl.load(row_ptr + row + 1)
    n_above = tl.zeros([BLOCK], tl.int32)
    n_equal = tl.zeros([BLOCK], tl.int32)
    n_positive = tl.zeros([BLOCK], tl.int32)
    for block in range(start, end, BLOCK):
        place = block + tl.arange(0, BLOCK)
        inside = place < end
        value = tl.load(values + place, inside, 0.0)
        threshold = tl.load(thresholds + (place - start) * stride, inside, 0.0)
        n_above += ((value > threshold) & inside).to(tl.int32)
        n_equal += ((value == threshold) & inside).to(tl.int32)
        n_positive += (value > 0).to(tl.int32)
    tl.store(out + row, tl.sum(n_above))
    tl.store(out + n_rows + row, tl.sum(n_equal))
    tl.store(out + 2 * n_rows + row, tl.sum(n_positive))


@triton.jit
def copy_above(
    values,
    cols,
    row_ptr,
    thresholds,
    stride,
    ties,
    out_row_ptr,
    out_size,
    out_values,
    out_cols,
    BLOCK: constexpr,
):
    """Copy each row's entries above the threshold, and its first `ties` equal to it."""
    row = tl.program_id(0)
    start = tl.load(row_ptr + row)
    end = tl.load(row_ptr + row + 1)
    next_out = tl.load(out_row_ptr + row)
    ties_left = tl.zeros([], tl.int64)
    if ties is not None:
        ties_left = tl.load(ties + row)
    for block in range(start, end, BLOCK):
        place = block + tl.arange(0, BLOCK)
        inside = place < end
        value = tl.load(values + place, inside, 0.0)
        threshold = tl.load(thresholds + (place - start) * stride, inside, 0.0)
        is_tie = (value == threshold) & inside
        keep = is_tie & (tl.cumsum(is_tie.to(tl.int32), 0) <= ties_left)
        keep = keep | ((value > threshold) & inside)
        out = next_out + tl.cumsum(keep.to(tl.int32), 0) - 1
        col = (place - start).to(tl.int32)
        if cols is not None:
            col = tl.load(cols + place, inside, 0)
        fits = keep & (out < out_size)
        tl.store(out_values + out, value, fits)
        tl.store(out_cols + out, col, fits)
        ties_left -= tl.sum(is_tie.to(tl.int32), 0)
        next_out += tl.sum(keep.to(tl.int32), 0)


@triton.jit
def histogram(
    values, size, state, out, SHIFT: constexpr, WIDTH: constexpr, BLOCK: constexpr
):
    """Histogram the digit of WIDTH bits at bit SHIFT, of values whose higher bits match `state`."""
    n_values = tl.load(size)
    last_bin = (1 << WIDTH) - 1
    prefix = tl.load(state) >> (SHIFT + WIDTH)
    counts = tl.zeros([1 << WIDTH], tl.int32)
    for block in range(tl.program_id(0) * BLOCK, n_values, tl.num_programs(0) * BLOCK):
        place = block + tl.arange(0, BLOCK)
        bits = tl.load(values + place, place < n_values, 0.0).to(tl.int32, bitcast=True)
        match = (bits > 0) & ((bits >> (SHIFT + WIDTH)) == prefix)
        # values that do not match go to bin 0, whose count is not used
        digit = tl.where(match, (bits >> SHIFT) & last_bin, 0)
        counts += tl.histogram(digit, 1 << WIDTH)
    tl.atomic_add(out + tl.arange(0, 1 << WIDTH), counts)


@triton.jit
def next_digit(counts, state, total, SHIFT: constexpr, WIDTH: constexpr):
    """Set the digit of the total-th largest value in `state`; update the count of larger values."""
    bins = tl.arange(0, 1 << WIDTH)
    n_larger = tl.load(state + 1)
    reach = n_larger + tl.cumsum(tl.load(counts + bins), 0, reverse=True)
    digit = tl.max(tl.where(reach >= total, bins, 0), 0)
    tl.store(state, tl.load(state) | (digit << SHIFT))
    reach_beyond = tl.where(bins > digit, reach, n_larger)
    tl.store(state + 1, tl.max(reach_beyond, 0))
