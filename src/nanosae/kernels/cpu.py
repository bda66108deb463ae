"""CPU kernels in numba: selection, decode, and both weight gradients over flat pairs.

Every output element is written by one loop iteration in a fixed order, and no scalar is reduced
over threads, so that results are the same bits on every run. Rows and latents are cut into `CHUNKS`
pieces of about equal work, whatever the number of threads. Nothing here looks for NaN.
"""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Callable

import numba
import numpy as np
import torch
from torch import Tensor

from nanosae.kernels import Pairs, Plan, trim

CHUNKS = 64  # pieces of work of a parallel loop: many for balance, few for overhead
BLOCK = np.uint64(64)  # columns that are compared together before any one of them is looked at
TILE_BYTES = 128 << 20  # pre-activations held at once
_FAST = {"nnan", "nsz", "contract", "reassoc"}
MAX_THREADS = numba.get_num_threads()
_lock = threading.RLock()  # numba's threading layers may not be entered by two threads at once


def _compile(function: Callable, parallel: bool = False) -> Callable:
    """Compile on first call, cached on disk where a folder for it is writable."""
    compile_ = functools.partial(numba.njit, parallel=parallel, fastmath=_FAST, error_model="numpy")
    try:
        return compile_(cache=True)(function)
    except RuntimeError:
        return compile_()(function)


def _jit(function: Callable, parallel: bool = True) -> Callable:
    """Compile to be called with tensors, by one thread at a time."""
    compiled = _compile(function, parallel)

    def locked(*args):
        arrays = [a.numpy() if isinstance(a, Tensor) else a for a in args]
        with _lock:
            numba.set_num_threads(min(torch.get_num_threads(), MAX_THREADS))
            compiled(*arrays)

    return locked


@_compile
def _scan(row, add, bound, found):
    """Write the columns with row + add > bound to `found`, (columns + 1,); return their number."""
    n, width = np.uint64(0), np.uint64(len(row))  # unsigned: no index is taken for a negative one
    for block in range(width // BLOCK):
        start, over = np.uint64(block) * BLOCK, np.int32(0)
        for i in range(BLOCK):
            over += row[start + i] + add[start + i] > bound
        if over:
            for i in range(BLOCK):
                found[n] = start + i
                n += np.uint64(row[start + i] + add[start + i] > bound)
    for j in range(width // BLOCK * BLOCK, width):
        found[n] = j
        n += np.uint64(row[j] + add[j] > bound)
    return n


@_compile
def _kth(values, n, k, low):
    """Return the k-th largest of the first n values, or a number between it and the next one.

    All are greater than `low`. The interval that it lies in is halved until k values are above it:
    counting is a loop without branches, as sorting is not.
    """
    half, high, over = values.dtype.type(0.5), np.max(values[:n]), n
    while over != k:
        middle, more = half * (low + high), np.int32(0)
        for i in range(n):
            more += values[i] > middle
        if not low < middle < high:  # equal ones
            return high
        if more >= k:
            low, over = middle, np.uint64(more)
        else:
            high = middle
    return low


@_jit
def _topk(z, bias, k, cols, vals, counts):
    """Keep each row's k largest positive z + bias, by column; of equal ones the lower columns."""
    rows, width = z.shape
    zero = z.dtype.type(0)
    for chunk in numba.prange(CHUNKS):
        first, last = chunk * rows // CHUNKS, (chunk + 1) * rows // CHUNKS
        found, values = np.empty(width + 1, np.int32), np.empty(width, z.dtype)
        slot, guess = first * k, zero  # a little below the k-th largest of the row before
        for r in range(first, last):
            n = _scan(z[r], bias, guess, found)
            while n < k and guess > 0:
                guess = z.dtype.type(0.7) * guess if guess > 1e-6 else zero
                n = _scan(z[r], bias, guess, found)
            for i in range(n):
                values[i] = z[r, found[i]] + bias[found[i]]
            low = _kth(values, n, k, guess) if n > k else guess
            ties, counts[r] = k - np.sum(values[:n] > low), min(n, k)
            for i in range(n):
                if values[i] > low or (values[i] == low and ties > 0):
                    ties -= values[i] == low
                    cols[slot], vals[slot] = found[i], values[i]
                    slot += 1
            guess = z.dtype.type(0.88) * low


@_jit
def _above(z, bias, add, cols, vals, counts):
    """Keep entries with z + add > 0 as z + bias, as far as a chunk has slots; count all of them."""
    rows, width = z.shape
    room = len(cols) // rows
    for chunk in numba.prange(CHUNKS):
        first, last = chunk * rows // CHUNKS, (chunk + 1) * rows // CHUNKS
        slot, found = first * room, np.empty(width + 1, np.int32)
        for r in range(first, last):
            counts[r] = _scan(z[r], add, z.dtype.type(0), found)
            for i in range(min(counts[r], last * room - slot)):
                cols[slot + i] = found[i]
                vals[slot + i] = z[r, found[i]] + bias[found[i]]
            slot += counts[r]


@functools.partial(_jit, parallel=False)
def _plan(cols, row_ptr, order, rows, starts):
    """Sort by latent, counting; stable in the row."""
    for p in range(len(cols)):
        starts[cols[p] + 1] += 1
    for f in range(len(starts) - 1):
        starts[f + 1] += starts[f]
    place = starts.copy()
    for r in range(len(row_ptr) - 1):
        for p in range(row_ptr[r], row_ptr[r + 1]):
            q = place[cols[p]]
            place[cols[p]] += 1
            order[q], rows[q] = p, r


@_jit
def _decode(values, cols, row_ptr, weight, bias, out):
    rows, width = out.shape
    for chunk in numba.prange(CHUNKS):
        for r in range(chunk * rows // CHUNKS, (chunk + 1) * rows // CHUNKS):
            out[r] = bias
            for p in range(row_ptr[r], row_ptr[r + 1]):
                if values[p] != 0:
                    for j in range(width):
                        out[r, j] += values[p] * weight[cols[p], j]


@_jit
def _decode_grads(grad, values, order, rows, starts, cuts, weight, grad_values, grad_weight, add):
    width = grad.shape[1]
    for chunk in numba.prange(CHUNKS):
        for f in range(cuts[chunk], cuts[chunk + 1]):
            if not add:
                grad_weight[f] = 0
            for p in range(starts[f], starts[f + 1]):
                r, value, dot = rows[p], values[order[p]], grad.dtype.type(0)
                for j in range(width):
                    dot += grad[r, j] * weight[f, j]
                    grad_weight[f, j] += value * grad[r, j]
                grad_values[order[p]] = dot


@_jit
def _encode_grads(grad_values, order, rows, starts, cuts, x, grad_weight, grad_bias, add):
    width = x.shape[1]
    for chunk in numba.prange(CHUNKS):
        for f in range(cuts[chunk], cuts[chunk + 1]):
            if not add:
                grad_weight[f] = 0
            for p in range(starts[f], starts[f + 1]):
                r, value = rows[p], grad_values[order[p]]
                grad_bias[f] += value
                for j in range(width):
                    grad_weight[f, j] += value * x[r, j]


def _cuts(starts: Tensor) -> Tensor:
    """Return the first latent of each chunk, chunks having about equal pairs plus latents."""
    work = starts + torch.arange(len(starts))
    return torch.searchsorted(work, torch.arange(CHUNKS + 1) * work[-1] // CHUNKS)


@functools.lru_cache(maxsize=1)
def _workspace(rows: int, width: int, dtype: torch.dtype) -> Tensor:
    return torch.empty(rows, width, dtype=dtype)


def _select(x: Tensor, weight: Tensor, room: int, keep: Callable) -> Pairs:
    """Encode tile by tile in the same memory; let `keep` fill about `room` slots a row."""
    fit = TILE_BYTES // (len(weight) * x.element_size())
    size = min(len(x), 2048, max(256, fit))  # small tiles are slow
    parts, row_ptr = [], torch.zeros(len(x) + 1, dtype=torch.int64)
    with _lock:
        space = _workspace(size, len(weight), x.dtype)
        for tile, counts in zip(x.split(size), row_ptr[1:].split(size), strict=True):
            z = torch.mm(tile, weight.T, out=space[: len(tile)])
            edges = torch.arange(CHUNKS + 1) * len(tile) // CHUNKS
            while True:
                cols = torch.empty(len(tile) * room, dtype=torch.int32)
                vals = torch.empty(len(tile) * room, dtype=x.dtype)
                keep(z, cols, vals, counts)
                filled = torch.nn.functional.pad(counts.cumsum(0), (1, 0))[edges].diff()
                if (filled <= room * edges.diff()).all():
                    break
                room *= 2
            for a, n in zip((room * edges).tolist(), filled.tolist(), strict=False):
                parts.append((vals[a : a + n], cols[a : a + n]))
    values, cols = (torch.cat(part) for part in zip(*parts, strict=True))
    return Pairs(values, cols, row_ptr.cumsum(0))


def select_topk(x: Tensor, weight: Tensor, bias: Tensor, k: int) -> Pairs:
    """Keep the k largest positive entries of each row."""
    return _select(x, weight, k, lambda z, *out: _topk(z, bias, k, *out))


def select_above(x: Tensor, weight: Tensor, bias: Tensor, cut: Tensor) -> Pairs:
    """Keep the entries greater than their latent's `cut`, (hidden_size,)."""
    return _select(x, weight, 256, lambda z, *out: _above(z, bias, bias - cut, *out))


def select_batchtopk(
    x: Tensor, weight: Tensor, bias: Tensor, total: int, hint: float | None = None
) -> Pairs:
    """Keep the `total` largest positive entries of all rows together.

    `hint` is a guess of the smallest kept value (None looks at some rows): near it saves time, and
    any guess gives the same pairs, because one that proves too high is lowered and tried again.
    """
    if hint is None:
        some = x[:: max(1, len(x) // 64)]
        z = torch.addmm(bias, some, weight.T).flatten()
        hint = float(z.topk(min(len(z), 1 + 5 * total * len(some) // (4 * len(x)))).values[-1])
    level = hint if 0 < hint < math.inf else 0.0
    while True:
        pairs = select_above(x, weight, bias, torch.full_like(bias, level))
        excess, least = len(pairs.values) - total, 0.0
        if excess >= 0:
            least = np.partition(pairs.values.numpy(), excess)[excess]
        if level == 0 or least > 1.00001 * level:  # else rounding may have hidden some
            break
        level = 0.7 * level if level > 1e-6 else 0.0
    if excess <= 0:
        return pairs
    chosen, ties = pairs.values > least, (pairs.values == least).nonzero().flatten()
    chosen[ties[: total - int(chosen.sum())]] = True
    return trim(pairs, chosen)


def make_plan(pairs: Pairs, hidden_size: int) -> Plan:
    """Order the pairs by latent, rows ascending within each."""
    order, rows = torch.empty_like(pairs.cols), torch.empty_like(pairs.cols)
    starts = torch.zeros(hidden_size + 1, dtype=torch.int64)
    _plan(pairs.cols, pairs.row_ptr, order, rows, starts)
    return Plan(order, rows, starts)


def decode(values: Tensor, pairs: Pairs, weight: Tensor, bias: Tensor) -> Tensor:
    """Return bias + the sum of each row's values × decoder rows."""
    out = weight.new_empty(len(pairs.row_ptr) - 1, weight.shape[1])
    _decode(values, pairs.cols, pairs.row_ptr, weight, bias, out)
    return out


def decode_grads(
    grad: Tensor, values: Tensor, plan: Plan, weight: Tensor, grad_weight: Tensor, add: bool
) -> Tensor:
    """Write (or add) the decoder's gradient; return that of the values."""
    grad_values = torch.empty_like(values)
    _decode_grads(grad, values, *plan, _cuts(plan.starts), weight, grad_values, grad_weight, add)
    return grad_values


def encode_grads(
    grad_values: Tensor, plan: Plan, x: Tensor, grad_weight: Tensor, add: bool
) -> Tensor:
    """Write (or add) the encoder's gradient; return that of its bias."""
    grad_bias = x.new_zeros(len(grad_weight))
    _encode_grads(grad_values, *plan, _cuts(plan.starts), x, grad_weight, grad_bias, add)
    return grad_bias


def compile_all() -> None:
    """Run every kernel once on a few numbers, so that no step waits for the compiler."""
    eye, bias = torch.eye(2), torch.zeros(2)
    select_above(eye, eye, bias, bias)
    pairs = select_topk(eye, eye, bias, 1)
    plan = make_plan(pairs, 2)
    decode(pairs.values, pairs, eye, bias)
    decode_grads(eye, pairs.values, plan, eye, torch.empty_like(eye), False)
    encode_grads(pairs.values, plan, eye, torch.empty_like(eye), False)
