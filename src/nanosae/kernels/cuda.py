"""GPU kernels in Triton: selection, decode, value gradients and both weight gradients.

Every float is written by one program, which adds in a fixed order; only integers are counted by
atomics. So results are the same bits on every run. Nothing but `select_above` waits for the device:
`select_topk` and `select_batchtopk` return B·k pairs, and those from `row_ptr[-1]` on are padding
(value `PADDING`, latent 0), which no kernel reads and whose gradient is zero. Float32 only.
"""

from collections.abc import Iterator
from typing import Any

# pyright: reportOperatorIssue=false
# Triton's constants are typed as objects of its own
import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.language import constexpr

from nanosae.kernels.pairs import Pairs, Plan
from nanosae.kernels.precision import current_precision

TILE, LEAST = 2**25, 512  # pre-activations held at once, and rows of them at least
CHUNK = 4096  # entries that a program holds to find the largest
BLOCK = 1024  # entries that a program scans at once
TERMS = 8192  # elements that a program gathers at once
PADDING = -1e30  # below any threshold, yet no NaN when multiplied by zero


@triton.jit
def _topk(values, cols, n_rows, width, k, out_values, out_cols, ROWS: constexpr, CHUNK: constexpr):
    """Put the k largest positive entries of each row's chunk into its slots, by column."""
    row = (tl.program_id(0) * ROWS + tl.arange(0, ROWS))[:, None]
    col = (tl.program_id(1) * CHUNK + tl.arange(0, CHUNK))[None, :]
    inside = (row < n_rows) & (col < width)
    at = row.to(tl.int64) * width + col
    value = tl.load(values + at, inside, 0.0)
    bits = value.to(tl.int32, bitcast=True)  # of positive floats: in the same order
    # at least k entries reach `low` (or it is 0), fewer than k reach `high`; or just k, and none
    # lies between
    low = tl.zeros([ROWS], tl.int32)
    high = tl.minimum(tl.maximum(tl.max(bits, 1), 0), 0x7FFFFFFE) + 1
    while tl.max(high - low, 0) > 1:
        middle = low + (high - low) // 2
        count = tl.sum((bits >= middle[:, None]).to(tl.int32), 1)
        high = tl.where(count > k, high, tl.where(count == k, middle + 1, middle))
        low = tl.where(count >= k, middle, low)
    over = bits >= high[:, None]
    tie = (bits == low[:, None]) & (bits > 0)
    room = k - tl.sum(over.to(tl.int32), 1)
    keep = over | (tie & (tl.cumsum(tie.to(tl.int32), 1) <= room[:, None]))
    slot = tl.cumsum(keep.to(tl.int32), 1) - 1
    out = (row.to(tl.int64) * tl.num_programs(1) + tl.program_id(1)) * k + slot
    if cols is not None:
        col = tl.load(cols + at, inside, 0)
    tl.store(out_values + out, value, keep)
    tl.store(out_cols + out, col, keep)


@triton.jit
def _count(values, ptr, cut, step, out, BLOCK: constexpr):
    """Count each row's entries above `cut`, equal to it, and positive, (3, n_rows)."""
    row, n_rows = tl.program_id(0), tl.num_programs(0)
    start, end = tl.load(ptr + row), tl.load(ptr + row + 1)
    none = tl.zeros([BLOCK], tl.int32)
    over, equal, positive = none, none, none
    for j in range(start, end, BLOCK):
        at = j + tl.arange(0, BLOCK)
        value = tl.load(values + at, at < end, 0.0)
        least = tl.load(cut + (at - start) * step, at < end, 0.0)
        over += ((value > least) & (at < end)).to(tl.int32)
        equal += ((value == least) & (at < end)).to(tl.int32)
        positive += (value > 0).to(tl.int32)
    tl.store(out + row, tl.sum(over))
    tl.store(out + n_rows + row, tl.sum(equal))
    tl.store(out + 2 * n_rows + row, tl.sum(positive))


@triton.jit
def _pack(values, cols, ptr, cut, step, ties, row_ptr, room, to_values, to_cols, BLOCK: constexpr):
    """Copy each row's entries above `cut`, and its first `ties` equal to it, to `row_ptr` on."""
    row = tl.program_id(0)
    start, end = tl.load(ptr + row), tl.load(ptr + row + 1)
    first, left = tl.load(row_ptr + row), tl.zeros([], tl.int64)
    if ties is not None:
        left = tl.load(ties + row)
    for j in range(start, end, BLOCK):
        at = j + tl.arange(0, BLOCK)
        value = tl.load(values + at, at < end, 0.0)
        least = tl.load(cut + (at - start) * step, at < end, 0.0)
        tie = (value == least) & (at < end)
        keep = tie & (tl.cumsum(tie.to(tl.int32), 0) <= left)
        keep = keep | ((value > least) & (at < end))
        place = first + tl.cumsum(keep.to(tl.int32), 0) - 1
        col = (at - start).to(tl.int32)
        if cols is not None:
            col = tl.load(cols + at, at < end, 0)
        tl.store(to_values + place, value, keep & (place < room))
        tl.store(to_cols + place, col, keep & (place < room))
        left -= tl.sum(tie.to(tl.int32), 0)
        first += tl.sum(keep.to(tl.int32), 0)


@triton.jit
def _histogram(values, size, state, out, SHIFT: constexpr, WIDTH: constexpr, BLOCK: constexpr):
    """Count by WIDTH bits from bit SHIFT on the positive values whose higher bits are `state`'s."""
    bins, size = 1 << WIDTH, tl.load(size)
    prefix = tl.load(state) >> (SHIFT + WIDTH)
    counts = tl.zeros([1 << WIDTH], tl.int32)
    for j in range(tl.program_id(0) * BLOCK, size, tl.num_programs(0) * BLOCK):
        at = j + tl.arange(0, BLOCK)
        bits = tl.load(values + at, at < size, 0.0).to(tl.int32, bitcast=True)
        match = (bits > 0) & ((bits >> (SHIFT + WIDTH)) == prefix)
        # what does not match goes to bin 0, whose count nobody needs
        counts += tl.histogram(tl.where(match, (bits >> SHIFT) & (bins - 1), 0), 1 << WIDTH)
    tl.atomic_add(out + tl.arange(0, 1 << WIDTH), counts)


@triton.jit
def _descend(counts, state, total, SHIFT: constexpr, WIDTH: constexpr):
    """Add to `state` the digit of the total-th largest value; keep the count of larger ones."""
    bins, before = tl.arange(0, 1 << WIDTH), tl.load(state + 1)
    reach = before + tl.cumsum(tl.load(counts + bins), 0, reverse=True)
    digit = tl.max(tl.where(reach >= total, bins, 0), 0)
    tl.store(state, tl.load(state) | (digit << SHIFT))
    tl.store(state + 1, tl.max(tl.where(bins > digit, reach, before), 0))


@triton.jit
def _dot(grad, weight, order, rows, latents, last, out, size, width, N: constexpr, W: constexpr):
    """Write the product of each pair's row of `grad` and latent; zero for padding."""
    at = tl.program_id(0) * N + tl.arange(0, N)
    there = at < tl.load(last)
    row = tl.load(rows + at, there, 0).to(tl.int64)
    latent = tl.load(latents + at, there, 0).to(tl.int64)
    total = tl.zeros([N], tl.float32)
    for j in range(0, width, W):
        col = j + tl.arange(0, W)
        inside = there[:, None] & (col < width)[None, :]
        left = tl.load(grad + row[:, None] * width + col[None, :], inside, 0.0)
        right = tl.load(weight + latent[:, None] * width + col[None, :], inside, 0.0)
        total += tl.sum(left * right, 1)
    tl.store(out + tl.load(order + at, at < size, 0), total, at < size)


@triton.jit
def _sum(values, order, picks, starts, dense, out, sums, width, add, N: constexpr, W: constexpr):
    """Write (or add) Σ value · picked row of `dense` over each segment of pairs; write Σ value."""
    segment, col = tl.program_id(0), tl.program_id(1) * W + tl.arange(0, W)
    start, end = tl.load(starts + segment), tl.load(starts + segment + 1)
    out += segment.to(tl.int64) * width
    total = tl.load(out + col, col < width * add, 0.0)
    summed = tl.zeros([N], tl.float32)
    for j in range(start, end, N):
        at = j + tl.arange(0, N)
        row = tl.load(picks + at, at < end, 0).to(tl.int64)
        place = at
        if order is not None:
            place = tl.load(order + at, at < end, 0).to(tl.int64)
        value = tl.load(values + place, at < end, 0.0)
        inside = (at < end)[:, None] & (col < width)[None, :]
        part = tl.load(dense + row[:, None] * width + col[None, :], inside, 0.0)
        total += tl.sum(value[:, None] * part, 0)
        summed += value
    tl.store(out + col, total, col < width)
    if tl.program_id(1) == 0:
        tl.store(sums + segment, tl.sum(summed, 0))


def _launch(kernel: Any, grid: tuple[int, ...], *args: Any, warps: int = 4) -> None:
    """Start a kernel on the device of its first argument."""
    if 0 not in grid:
        with torch.cuda.device_of(args[0]):
            kernel[grid](*args, num_warps=warps)


def _gather(width: int) -> tuple[int, int]:
    """Return how many rows (N), and how many of their columns (W), a program gathers at once."""
    cols = min(512, triton.next_power_of_2(width))
    return TERMS // cols, cols


def _sums(
    values: Tensor, order: Any, picks: Tensor, starts: Tensor, dense: Tensor, out: Tensor, add: bool
) -> Tensor:
    """Fill `out`, (segments, width); return the sums of the values, (segments,)."""
    sums, width = values.new_empty(len(out)), out.shape[1]
    sizes = width, int(add), *_gather(width)
    grid = len(out), triton.cdiv(width, sizes[-1])
    _launch(_sum, grid, values, order, picks, starts, dense, out, sums, *sizes)
    return sums


def _encode(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return x · weightᵀ + bias, (B, hidden_size); only the factors may be rounded further."""
    precision = current_precision()
    if precision == "bfloat16" and x.is_cuda:
        return torch.mm(x.bfloat16(), weight.bfloat16().T, out_dtype=torch.float32).add_(bias)
    flags = torch.backends.cuda.matmul
    before, flags.fp32_precision = flags.fp32_precision, "tf32" if precision == "tf32" else "ieee"
    try:
        return torch.addmm(bias, x, weight.T)
    finally:
        flags.fp32_precision = before


def _tiles(x: Tensor, weight: Tensor, bias: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the pre-activations of some rows at a time, and where each row of them starts."""
    for tile in x.split(max(LEAST, TILE // len(weight))):
        z = _encode(tile, weight, bias)
        yield z, torch.arange(0, z.numel() + 1, len(weight), device=x.device)


def _ends(before: Tensor, counts: Tensor) -> Tensor:
    """Extend row pointers by rows of these lengths."""
    return torch.cat([before, before[-1] + counts.cumsum(0)])


def _counts(values: Tensor, ptr: Tensor, cut: Tensor) -> Tensor:
    """Return each row's number of entries above `cut`, equal to it, and positive, (3, n_rows)."""
    out = torch.empty(3, len(ptr) - 1, dtype=torch.int64, device=values.device)
    _launch(_count, (len(ptr) - 1,), values, ptr, cut, int(len(cut) > 1), out, BLOCK)
    return out


def _keep(values: Tensor, cols: Any, ptr: Tensor, cut: Tensor, ties: Any, *to: Tensor) -> None:
    """Copy the entries above `cut`, and each row's first `ties` equal to it.

    Args:
        values: Entries of rows.
        cols: Their latents; None where rows hold one of each.
        ptr: Where each row starts.
        cut: (1,) or, for each latent, (hidden_size,).
        ties: None for none.
        to: Where each row's entries go, in what values and what latents.
    """
    args = cut, int(len(cut) > 1), ties, to[0], len(to[1]), *to[1:], BLOCK
    _launch(_pack, (len(ptr) - 1,), values, cols, ptr, *args)


def _room(x: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Return values and latents of padding, (size,)."""
    cols = torch.zeros(size, dtype=torch.int32, device=x.device)
    return torch.full_like(cols, PADDING, dtype=torch.float32), cols


def _largest(values: Tensor, cols: Tensor | None, k: int) -> tuple[Tensor, Tensor]:
    """Return the k largest positive entries of each row, (n_rows, k), zeros where they are fewer.

    They are those of each chunk of a row, then those of these, until a row is one chunk.
    """
    n_rows, width = values.shape
    chunk = min(max(CHUNK, triton.next_power_of_2(2 * k)), triton.next_power_of_2(width))
    pieces, rows = triton.cdiv(width, chunk), max(1, CHUNK // chunk)
    slots = values.new_zeros(n_rows, pieces * k)
    slot_cols = torch.zeros_like(slots, dtype=torch.int32)
    args = n_rows, width, k, slots, slot_cols, rows, chunk
    _launch(_topk, (triton.cdiv(n_rows, rows), pieces), values, cols, *args, warps=8)
    return (slots, slot_cols) if pieces == 1 else _largest(slots, slot_cols, k)


def select_topk(x: Tensor, weight: Tensor, bias: Tensor, k: int) -> Pairs:
    """Keep the k largest positive entries of each row; the pairs end in padding."""
    parts = [_largest(z, None, k) for z, _ in _tiles(x, weight, bias)]
    slots, cols = (torch.cat(part) for part in zip(*parts, strict=True))
    ptr, out = torch.arange(0, slots.numel() + 1, k, device=x.device), _room(x, slots.numel())
    row_ptr = _ends(torch.zeros_like(ptr[:1]), (slots > 0).sum(1))
    _keep(slots, cols, ptr, slots.new_zeros(1), None, row_ptr, *out)
    return Pairs(*out, row_ptr)


def select_above(x: Tensor, weight: Tensor, bias: Tensor, cut: Tensor, room: int = 0) -> Pairs:
    """Keep the entries greater than their latent's `cut`, (hidden_size,); waits for their number.

    There is memory for `room` of them at first; where that is not enough, all is done again.
    """
    out = _room(x, room or len(x) * min(len(weight), 1024))
    row_ptr = torch.zeros(1, dtype=torch.int64, device=x.device)
    for z, ptr in _tiles(x, weight, bias):
        done, row_ptr = len(row_ptr) - 1, _ends(row_ptr, _counts(z, ptr, cut)[0])
        _keep(z, None, ptr, cut, None, row_ptr[done:], *out)
    if (total := int(row_ptr[-1])) > len(out[0]):
        return select_above(x, weight, bias, cut, total)
    return Pairs(out[0][:total], out[1][:total], row_ptr)


def select_batchtopk(
    x: Tensor, weight: Tensor, bias: Tensor, total: int, hint: float | None = None
) -> Pairs:
    """Keep the `total` largest positive entries of all rows; the pairs end in padding.

    Entries above a level are candidates, of which the exact `total` largest stay. A tile's level is
    the smallest that stayed so far; at first one that some rows suggest, or zero should it prove
    too high. `hint` is for other backends.
    """
    row_ptr = torch.zeros(1, dtype=torch.int64, device=x.device)
    kept, level = _room(x, total), x.new_zeros(1)
    for z, ptr in _tiles(x, weight, bias):
        if (done := len(row_ptr) - 1) == 0:
            some = z[:: max(1, z.numel() >> 20)].flatten()
            rank = min(len(some), 1 + 5 * total * len(some) // (4 * z.numel()))
            level = some.topk(rank).values[-1:].clamp_min(0)
        over, _, positive = _counts(z, ptr, level)
        enough = row_ptr[-1] + over.sum() >= total
        level, row_ptr = level.where(enough, 0.0), _ends(row_ptr, over.where(enough, positive))
        found = [torch.cat([old, old.new_empty(z.numel())]) for old in kept]
        _keep(z, None, ptr, level, None, row_ptr[done:], *found)
        level = _kth_largest(found[0], row_ptr[-1:], total)
        over, equal, _ = _counts(found[0], row_ptr, level)
        ties = (total - over.sum() - equal.cumsum(0) + equal).clamp_min(0).minimum(equal)
        ends, kept = _ends(row_ptr[:1], over + ties), _room(x, total)
        _keep(*found, row_ptr, level, ties, ends, *kept)
        row_ptr = ends
    return Pairs(*kept, row_ptr)


def _kth_largest(values: Tensor, size: Tensor, k: int) -> Tensor:
    """Return the k-th largest of the first `size` values, all positive; 0 if they are fewer."""
    state = torch.zeros(2, dtype=torch.int32, device=values.device)
    bins = state.new_zeros(3, 2048)
    for counts, shift, width in zip(bins, (20, 10, 0), (11, 10, 10), strict=True):
        grid = (min(256, triton.cdiv(len(values), 4096)),)
        _launch(_histogram, grid, values, size, state, counts, shift, width, 2048)
        _launch(_descend, (1,), counts, state, k, shift, width)
    return state[:1].view(torch.float32)


def make_plan(pairs: Pairs, hidden_size: int) -> Plan:
    """Order the pairs by latent, rows ascending within each; padding comes last."""
    places = torch.arange(len(pairs.cols), device=pairs.cols.device)
    rows = torch.searchsorted(pairs.row_ptr[1:-1], places, right=True)
    real = places < pairs.row_ptr[-1]
    cols, order = torch.where(real, pairs.cols, hidden_size).sort(stable=True)
    latents = torch.arange(hidden_size + 1, device=cols.device, dtype=cols.dtype)
    return Plan(order.int(), rows[order].int(), torch.searchsorted(cols, latents))


def decode(values: Tensor, pairs: Pairs, weight: Tensor, bias: Tensor) -> Tensor:
    """Return bias + the sum of each row's values × decoder rows."""
    out = bias.repeat(len(pairs.row_ptr) - 1, 1)
    _sums(values, None, pairs.cols, pairs.row_ptr, weight, out, True)
    return out


def decode_grads(
    grad: Tensor, values: Tensor, plan: Plan, weight: Tensor, grad_weight: Tensor, add: bool
) -> Tensor:
    """Write (or add) the decoder's gradient; return that of the values."""
    _sums(values, *plan, grad, grad_weight, add)
    places = torch.arange(len(values), device=values.device)
    latents = torch.searchsorted(plan.starts[1:-1], places, right=True)
    out, sizes = torch.empty_like(values), (len(values), grad.shape[1], *_gather(grad.shape[1]))
    args = plan.order, plan.rows, latents, plan.starts[-1:], out, *sizes
    _launch(_dot, (triton.cdiv(len(out), sizes[2]),), grad, weight, *args, warps=8)
    return out


def encode_grads(
    grad_values: Tensor, plan: Plan, x: Tensor, grad_weight: Tensor, add: bool
) -> Tensor:
    """Write (or add) the encoder's gradient; return that of its bias."""
    return _sums(grad_values, *plan, x.contiguous(), grad_weight, add)
