"""Selection tile by tile: products in reused memory, and the pairs kept from each tile."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numba
import torch
from torch import Tensor

from nanosae.kernels.cpu.compiler import (
    CHUNKS,
    compile_kernel,
    compile_serial_kernel,
    lock,
    rows_of_chunk,
)
from nanosae.kernels.pairs import Pairs

_memory: dict[str, Tensor] = {}


class Slots(NamedTuple):
    """Room for the pairs of a tile; each chunk of its rows fills its own part from the start.

    Attributes:
        cols: Latents, (rows · slots_per_row,) int32.
        values: Pre-activations, (rows · slots_per_row,).
        counts: Number of pairs of each row, including those without room, (rows,).
    """

    cols: Tensor
    values: Tensor
    counts: Tensor


def scratch(name: str, size: int, dtype: torch.dtype) -> Tensor:
    """Return uninitialised memory that is reused under this name; to be used under `lock`."""
    memory = _memory.get(name)
    if memory is None or memory.dtype != dtype or len(memory) < size:
        memory = torch.empty(size, dtype=dtype)
        _memory[name] = memory
    return memory[:size]


@compile_serial_kernel
def _accumulate(row_ptr, first, end, slots_per_row, n_kept):
    """Turn a tile's counts into row pointers; if slots are too few, only set `n_kept` to −1."""
    n_rows = end - first
    n_kept[0] = 0
    for chunk in range(CHUNKS):
        first_row, end_row = rows_of_chunk(chunk, n_rows)
        n_of_chunk = 0
        for row in range(first_row, end_row):
            n_of_chunk += row_ptr[first + row + 1]
        if n_of_chunk > (end_row - first_row) * slots_per_row:
            n_kept[0] = -1
            return
        n_kept[0] += n_of_chunk
    for row in range(first, end):
        row_ptr[row + 1] += row_ptr[row]


@compile_kernel
def _compact(slots, row_ptr, slots_per_row, cols, values):
    n_rows = len(row_ptr) - 1
    for chunk in numba.prange(CHUNKS):
        first_row, end_row = rows_of_chunk(chunk, n_rows)
        source = first_row * slots_per_row
        target = row_ptr[first_row] - row_ptr[0]
        for i in range(row_ptr[end_row] - row_ptr[first_row]):
            cols[target + i] = slots.cols[source + i]
            values[target + i] = slots.values[source + i]


def select_by_tile(
    n_rows: int,
    tile_rows: int,
    slots_per_row: int,
    dtype: torch.dtype,
    multiply: Callable[[int, int], Tensor],
    keep: Callable[[Tensor, int, int, Slots], None],
) -> Pairs:
    """Return the pairs kept from a batch.

    Args:
        n_rows: Rows of the batch.
        tile_rows: Rows of a tile.
        slots_per_row: Initial room for pairs, on average over the rows of a chunk; doubled
            whenever a tile needs more.
        dtype: Type of the values.
        multiply: Returns the products of a tile, given its first row and the one after its last.
        keep: Fills the slots, given the products and these two rows.
    """
    row_ptr = torch.zeros(n_rows + 1, dtype=torch.int64)
    if n_rows == 0:
        nothing = torch.empty(0, dtype=torch.int32)
        return Pairs(nothing.to(dtype), nothing, row_ptr)
    n_kept = torch.zeros(1, dtype=torch.int64)
    kept_cols, kept_values = [], []
    with lock:
        for first in range(0, n_rows, tile_rows):
            end = min(first + tile_rows, n_rows)
            products = multiply(first, end)
            n_kept[0] = -1
            while True:
                n_slots = (end - first) * slots_per_row
                slots = Slots(
                    scratch("cols", n_slots, torch.int32),
                    scratch("values", n_slots, dtype),
                    row_ptr[first + 1 : end + 1],
                )
                keep(products, first, end, slots)
                _accumulate(row_ptr, first, end, slots_per_row, n_kept)
                if n_kept[0] >= 0:
                    break
                slots_per_row *= 2
            cols = torch.empty(int(n_kept), dtype=torch.int32)
            values = torch.empty(int(n_kept), dtype=dtype)
            _compact(slots, row_ptr[first : end + 1], slots_per_row, cols, values)
            kept_cols.append(cols)
            kept_values.append(values)
    return Pairs(_joined(kept_values), _joined(kept_cols), row_ptr)


def _joined(pieces: list[Tensor]) -> Tensor:
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces)
