"""CPU kernels in numba: selection, decode, and both weight gradients over flat pairs.

Every output element is written by exactly one loop iteration in a fixed order, and no scalar is
reduced over threads, so that results are the same bits on every run. Rows and latents are cut into
`CHUNKS` pieces of equal work, whatever the number of threads. Nothing here checks for NaN.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable

import numba
import numpy as np
import torch
from torch import Tensor

from nanosae.kernels import Pairs, Plan

CHUNKS = 64  # pieces of work per parallel loop: many for balance, few for overhead
BLOCK = 32  # columns whose maximum is taken together before any one is looked at
TILE_BYTES = 32 << 20  # pre-activations held at once
_FAST = {"nnan", "nsz", "contract", "reassoc"}
_lock = threading.RLock()  # numba's threading layers may not be entered by two threads at once


def _jit(function: Callable) -> Callable:
    """Compile on first call, cached on disk where a cache folder is writable."""
    options = {"parallel": True, "fastmath": _FAST, "nogil": True, "error_model": "numpy"}
    try:
        compiled = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no writable place for the cache
        compiled = numba.njit(**options)(function)

    @functools.wraps(function)
    def locked(*args):
        with _lock:
            threads = min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS)
            if numba.get_num_threads() != threads:
                numba.set_num_threads(threads)
            return compiled(*args)

    return locked


@numba.njit(cache=True, inline="always")
def _kth_largest(a, n, k):
    """Return the k-th largest of a[:n] (quickselect; reorders a)."""
    lo, hi, target = 0, n - 1, k - 1
    while lo < hi:
        pivot = a[(lo + hi) >> 1]
        i, j = lo, hi
        while i <= j:
            while a[i] > pivot:
                i += 1
            while a[j] < pivot:
                j -= 1
            if i <= j:
                a[i], a[j] = a[j], a[i]
                i += 1
                j -= 1
        if target <= j:
            hi = j
        elif target >= i:
            lo = i
        else:
            break
    return a[target]


@_jit
def _topk_rows(z, bias, k, cols, vals, counts):
    """Keep each row's k largest positive z + bias, in order of column; ties to the lower column."""
    rows, width = z.shape
    blocks = (width + BLOCK - 1) // BLOCK
    for chunk in numba.prange(CHUNKS):
        maxima = np.empty(blocks, z.dtype)
        ranked = np.empty(max(blocks, width), z.dtype)
        found = np.empty(width, np.int32)
        for r in range(chunk * rows // CHUNKS, (chunk + 1) * rows // CHUNKS):
            for b in range(blocks):
                top = z[r, b * BLOCK] + bias[b * BLOCK]
                for j in range(b * BLOCK, min(b * BLOCK + BLOCK, width)):
                    top = max(top, z[r, j] + bias[j])
                maxima[b] = top
                ranked[b] = top
            # the k-th largest block maximum bounds the k-th largest entry from below
            bound = max(_kth_largest(ranked, blocks, k), 0) if blocks >= k else z.dtype.type(0)
            n = 0
            for b in range(blocks):
                if maxima[b] >= bound and maxima[b] > 0:
                    for j in range(b * BLOCK, min(b * BLOCK + BLOCK, width)):
                        v = z[r, j] + bias[j]
                        if v >= bound and v > 0:
                            found[n] = j
                            ranked[n] = v
                            n += 1
            least, ties = z.dtype.type(0), n
            if n > k:
                least = _kth_largest(ranked, n, k)
                ties = k
                for i in range(n):
                    v = z[r, found[i]] + bias[found[i]]
                    if v > least:
                        ties -= 1
            kept = 0
            for i in range(n):
                v = z[r, found[i]] + bias[found[i]]
                if v > least or (v == least and ties > 0):
                    if v == least:
                        ties -= 1
                    cols[r, kept] = found[i]
                    vals[r, kept] = v
                    kept += 1
            counts[r] = kept


@_jit
def _above(z, bias, cut, cols, vals, counts):
    """Keep entries with z > cut, at most `cols.shape[1]` a row, as z + bias; count all of them."""
    rows, width = z.shape
    blocks = (width + BLOCK - 1) // BLOCK
    room = cols.shape[1]
    for chunk in numba.prange(CHUNKS):
        for r in range(chunk * rows // CHUNKS, (chunk + 1) * rows // CHUNKS):
            n = 0
            for b in range(blocks):
                over = z[r, b * BLOCK] - cut[b * BLOCK]
                for j in range(b * BLOCK, min(b * BLOCK + BLOCK, width)):
                    over = max(over, z[r, j] - cut[j])
                if over > 0:
                    for j in range(b * BLOCK, min(b * BLOCK + BLOCK, width)):
                        if z[r, j] > cut[j]:
                            if n < room:
                                cols[r, n] = j
                                vals[r, n] = z[r, j] + bias[j]
                            n += 1
            counts[r] = n


@_jit
def _pack(slot_cols, slot_vals, row_ptr, cols, vals):
    """Copy each row's slots into the flat pairs."""
    rows = len(row_ptr) - 1
    for chunk in numba.prange(CHUNKS):
        for r in range(chunk * rows // CHUNKS, (chunk + 1) * rows // CHUNKS):
            start = row_ptr[r]
            for i in range(row_ptr[r + 1] - start):
                cols[start + i] = slot_cols[r, i]
                vals[start + i] = slot_vals[r, i]


@_jit
def _plan(cols, row_ptr, order, rows, starts):
    """Counting sort by latent, stable in the row."""
    starts[:] = 0
    for p in range(len(cols)):
        starts[cols[p] + 1] += 1
    for f in range(len(starts) - 1):
        starts[f + 1] += starts[f]
    place = starts.copy()
    for r in range(len(row_ptr) - 1):
        for p in range(row_ptr[r], row_ptr[r + 1]):
            q = place[cols[p]]
            place[cols[p]] = q + 1
            order[q] = p
            rows[q] = r


@numba.njit(cache=True, inline="always")
def _cut_latents(starts, chunk):
    """Return the first latent of a chunk, chunks having about equal pairs plus latents."""
    latents = len(starts) - 1
    goal = chunk * (starts[latents] + latents) // CHUNKS
    lo, hi = 0, latents
    while lo < hi:
        mid = (lo + hi) >> 1
        if starts[mid] + mid < goal:
            lo = mid + 1
        else:
            hi = mid
    return lo


@_jit
def _decode(values, cols, row_ptr, weight, bias, out):
    rows, width = out.shape
    for chunk in numba.prange(CHUNKS):
        for r in range(chunk * rows // CHUNKS, (chunk + 1) * rows // CHUNKS):
            for j in range(width):
                out[r, j] = bias[j]
            p, end = row_ptr[r], row_ptr[r + 1]
            while p + 4 <= end:
                a, b, c, d = cols[p], cols[p + 1], cols[p + 2], cols[p + 3]
                va, vb, vc, vd = values[p], values[p + 1], values[p + 2], values[p + 3]
                if va != 0 or vb != 0 or vc != 0 or vd != 0:
                    for j in range(width):
                        out[r, j] += (va * weight[a, j] + vb * weight[b, j]) + (
                            vc * weight[c, j] + vd * weight[d, j]
                        )
                p += 4
            while p < end:
                for j in range(width):
                    out[r, j] += values[p] * weight[cols[p], j]
                p += 1


@_jit
def _decode_grads(grad, values, order, rows, starts, weight, grad_values, grad_weight, add):
    width = grad.shape[1]
    zero = grad.dtype.type(0)
    for chunk in numba.prange(CHUNKS):
        for f in range(_cut_latents(starts, chunk), _cut_latents(starts, chunk + 1)):
            if not add:
                for j in range(width):
                    grad_weight[f, j] = 0
            p, end = starts[f], starts[f + 1]
            while p + 2 <= end:
                a, b = rows[p], rows[p + 1]
                va, vb = values[order[p]], values[order[p + 1]]
                da, db = zero, zero
                for j in range(width):
                    da += grad[a, j] * weight[f, j]
                    db += grad[b, j] * weight[f, j]
                    grad_weight[f, j] += va * grad[a, j] + vb * grad[b, j]
                grad_values[order[p]] = da
                grad_values[order[p + 1]] = db
                p += 2
            if p < end:
                a, va, da = rows[p], values[order[p]], zero
                for j in range(width):
                    da += grad[a, j] * weight[f, j]
                    grad_weight[f, j] += va * grad[a, j]
                grad_values[order[p]] = da


@_jit
def _encode_grads(grad_values, order, rows, starts, x, grad_weight, grad_bias, add):
    width = x.shape[1]
    for chunk in numba.prange(CHUNKS):
        for f in range(_cut_latents(starts, chunk), _cut_latents(starts, chunk + 1)):
            if not add:
                for j in range(width):
                    grad_weight[f, j] = 0
            total = x.dtype.type(0)
            p, end = starts[f], starts[f + 1]
            while p + 4 <= end:
                a, b, c, d = rows[p], rows[p + 1], rows[p + 2], rows[p + 3]
                va, vb = grad_values[order[p]], grad_values[order[p + 1]]
                vc, vd = grad_values[order[p + 2]], grad_values[order[p + 3]]
                for j in range(width):
                    grad_weight[f, j] += (va * x[a, j] + vb * x[b, j]) + (
                        vc * x[c, j] + vd * x[d, j]
                    )
                total += (va + vb) + (vc + vd)
                p += 4
            while p < end:
                v = grad_values[order[p]]
                for j in range(width):
                    grad_weight[f, j] += v * x[rows[p], j]
                total += v
                p += 1
            grad_bias[f] = total


@functools.lru_cache(maxsize=1)
def _workspace(rows: int, width: int, dtype: torch.dtype) -> Tensor:
    return torch.empty(rows, width, dtype=dtype)


def _tiles(x: Tensor, weight: Tensor):
    """Yield (rows before the tile, pre-activations without bias), the memory being used again."""
    size = min(len(x), max(1024, TILE_BYTES // (weight.shape[0] * weight.element_size())))
    space = _workspace(size, len(weight), x.dtype)
    for start in range(0, len(x), size):
        tile = x[start : start + size]
        yield start, torch.mm(tile, weight.T, out=space[: len(tile)]).numpy()


def _gather(parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]], n_rows: int) -> Pairs:
    """Join the tiles' slots into flat pairs."""
    row_ptr = np.zeros(n_rows + 1, np.int64)
    np.cumsum(np.concatenate([counts for *_, counts in parts]), out=row_ptr[1:])
    cols = np.empty(row_ptr[-1], np.int32)
    values = np.empty(row_ptr[-1], parts[0][1].dtype)
    start = 0
    for slot_cols, slot_vals, counts in parts:
        _pack(slot_cols, slot_vals, row_ptr[start : start + len(counts) + 1], cols, values)
        start += len(counts)
    return Pairs(torch.from_numpy(values), torch.from_numpy(cols), torch.from_numpy(row_ptr))


def select_topk(x: Tensor, weight: Tensor, bias: Tensor, k: int) -> Pairs:
    """Keep the k largest positive entries of each row."""
    parts = []
    with _lock:
        for _, z in _tiles(x, weight):
            cols = np.empty((len(z), k), np.int32)
            vals = np.empty((len(z), k), z.dtype)
            counts = np.empty(len(z), np.int64)
            _topk_rows(z, bias.numpy(), k, cols, vals, counts)
            parts.append((cols, vals, counts))
    return _gather(parts, len(x))


def select_above(x: Tensor, weight: Tensor, bias: Tensor, cut: Tensor) -> Pairs:
    """Keep the entries greater than their latent's `cut`, (hidden_size,)."""
    parts, room = [], 64
    cut_z = (cut - bias).numpy()
    with _lock:
        for _, z in _tiles(x, weight):
            counts = np.empty(len(z), np.int64)
            while True:
                cols = np.empty((len(z), room), np.int32)
                vals = np.empty((len(z), room), z.dtype)
                _above(z, bias.numpy(), cut_z, cols, vals, counts)
                if (most := int(counts.max())) <= room:
                    break
                room = most + most // 4
            parts.append((cols, vals, counts))
    return _gather(parts, len(x))


def select_batchtopk(
    x: Tensor, weight: Tensor, bias: Tensor, total: int, hint: float = 0.0
) -> Pairs:
    """Keep the `total` largest positive entries of all rows together.

    `hint` is a guess of the smallest kept value: near it saves time, and any guess gives the same
    pairs, because a guess that proves too high is lowered and the rows are encoded again.
    """
    while True:
        pairs = select_above(x, weight, bias, torch.full_like(bias, max(hint, 0.0)))
        if len(pairs.values) >= total or hint <= 0:
            break
        hint = hint * 0.7 if hint > 1e-6 else 0.0
    excess = len(pairs.values) - total
    if excess <= 0:
        return pairs
    values = pairs.values.numpy()
    least = np.partition(values, excess)[excess]
    keep = values > least
    ties = np.flatnonzero(values == least)
    keep[ties[: total - int(keep.sum())]] = True
    row_ptr = np.concatenate(([0], np.cumsum(keep)))[pairs.row_ptr.numpy()]
    kept = torch.from_numpy(np.flatnonzero(keep))
    return Pairs(pairs.values[kept], pairs.cols[kept], torch.from_numpy(row_ptr))


def make_plan(pairs: Pairs, hidden_size: int) -> Plan:
    """Order the pairs by latent, rows ascending within each."""
    n = len(pairs.cols)
    order, rows = np.empty(n, np.int32), np.empty(n, np.int32)
    starts = np.empty(hidden_size + 1, np.int64)
    _plan(pairs.cols.numpy(), pairs.row_ptr.numpy(), order, rows, starts)
    return Plan(torch.from_numpy(order), torch.from_numpy(rows), torch.from_numpy(starts))


def decode(values: Tensor, pairs: Pairs, weight: Tensor, bias: Tensor) -> Tensor:
    """Return bias + the sum of each row's values × decoder rows."""
    out = torch.empty(len(pairs.row_ptr) - 1, weight.shape[1], dtype=weight.dtype)
    cols, row_ptr = pairs.cols.numpy(), pairs.row_ptr.numpy()
    _decode(values.numpy(), cols, row_ptr, weight.numpy(), bias.numpy(), out.numpy())
    return out


def decode_grads(
    grad: Tensor, values: Tensor, plan: Plan, weight: Tensor, grad_weight: Tensor, add: bool
) -> Tensor:
    """Write (or add) the decoder's gradient; return that of the values."""
    grad_values = torch.empty_like(values)
    order, rows, starts = (t.numpy() for t in plan)
    _decode_grads(
        *(grad.numpy(), values.numpy(), order, rows, starts, weight.numpy()),
        *(grad_values.numpy(), grad_weight.numpy(), add),
    )
    return grad_values


def encode_grads(
    grad_values: Tensor, plan: Plan, x: Tensor, grad_weight: Tensor, add: bool
) -> Tensor:
    """Write (or add) the encoder's gradient; return that of its bias."""
    grad_bias = torch.empty(len(grad_weight), dtype=x.dtype)
    order, rows, starts = (t.numpy() for t in plan)
    _encode_grads(
        *(grad_values.numpy(), order, rows, starts, x.numpy()),
        *(grad_weight.numpy(), grad_bias.numpy(), add),
    )
    return grad_bias


def compile_all() -> None:
    """Run every kernel once on a few numbers, so that no step waits for the compiler."""
    x, weight, bias = torch.eye(2), torch.eye(2), torch.zeros(2)
    select_batchtopk(x, weight, bias, 1)
    pairs = select_topk(x, weight, bias, 1)
    plan = make_plan(pairs, 2)
    decode(pairs.values, pairs, weight, bias)
    decode_grads(x, pairs.values, plan, weight, torch.empty_like(weight), False)
    encode_grads(pairs.values, plan, x, torch.empty_like(weight), False)
