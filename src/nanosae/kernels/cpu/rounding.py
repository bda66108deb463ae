"""Rows rounded to 8 bits, each with its own scale, and the exact norms of the rounding errors."""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
import torch
from torch import Tensor

from nanosae.kernels.cpu.compiler import (
    CHUNKS,
    compile_function,
    compile_kernel,
    rows_of_chunk,
)

LARGEST_CODE = 127
LARGEST_MAGNITUDE = 1e15  # products of larger numbers could overflow
# smaller rows round to zero, as their scale would be denormal
SMALLEST_MAGNITUDE = 1e-30
UPWARDS = 1 + 1e-6  # exceeds all float32 roundings of a norm


class RoundedRows(NamedTuple):
    """Rows as `scale · codes + rest`, with upper bounds of their norms; float32 but for `codes`.

    Attributes:
        exact: The rows, (n, width).
        codes: (n, width) int8.
        scales: Value of a code of 1, (n,).
        magnitudes: Largest absolute entry, (n,).
        lengths: ‖row‖, (n,).
        code_lengths: ‖scale · codes‖, (n,).
        rests: ‖rest‖, (n,).
    """

    exact: Tensor
    codes: Tensor
    scales: Tensor
    magnitudes: Tensor
    lengths: Tensor
    code_lengths: Tensor
    rests: Tensor

    def can_be_bounded(self) -> bool:
        """Return whether all entries are finite, and small enough to multiply in float32."""
        if len(self.magnitudes) == 0:
            return True
        # compared as integers, among which NaN is greater than infinity
        largest_bits = self.magnitudes.view(torch.int32).max()
        return float(largest_bits.view(torch.float32)) <= LARGEST_MAGNITUDE

    def mean_share_lost(self) -> float:
        """Return the mean over the rows of ‖rest‖ ÷ ‖row‖; zero rows lose nothing."""
        shares = self.rests / self.lengths.clamp_min(SMALLEST_MAGNITUDE)
        return float(shares.mean())

    def slice(self, first: int, end: int) -> RoundedRows:
        """Return some of the rows."""
        return RoundedRows(*(part[first:end] for part in self))


@compile_function
def _largest_magnitude(bits):
    """Return the largest magnitude of float32 numbers, all as integers, which keeps NaN."""
    largest = np.int32(0)
    for j in range(len(bits)):
        largest = max(largest, bits[j] & np.int32(0x7FFFFFFF))
    return largest


@compile_function
def _write_codes(row, codes_per_unit, codes):
    for j in range(len(row)):
        codes[j] = np.int8(np.int32(np.rint(row[j] * codes_per_unit)))


@compile_function
def _sum_squares(row, codes, scale):
    """Return the sums of squares of a row, of its rounded entries, and of the differences."""
    squares = 0.0
    rounded_squares = 0.0
    rest_squares = 0.0
    for j in range(len(row)):
        entry = np.float64(row[j])
        rounded_entry = np.float64(scale) * np.float64(codes[j])
        rest = entry - rounded_entry
        squares += entry * entry
        rounded_squares += rounded_entry * rounded_entry
        rest_squares += rest * rest
    return squares, rounded_squares, rest_squares


@compile_kernel
def _round_rows(bits, rounded, magnitude_bits):
    """Round rows; each inner loop is simple enough for the compiler to vectorise."""
    # `magnitude_bits` is the memory of the magnitudes, as integers
    rows, codes, scales, _magnitudes, lengths, code_lengths, rests = rounded
    for chunk in numba.prange(CHUNKS):
        first_row, end_row = rows_of_chunk(chunk, len(rows))
        for row in range(first_row, end_row):
            largest = np.int32(_largest_magnitude(bits[row]))
            magnitude_bits[row] = largest
            magnitude = largest.view(np.float32)
            scale = np.float32(0)
            codes_per_unit = np.float32(0)
            if SMALLEST_MAGNITUDE < magnitude <= LARGEST_MAGNITUDE:
                scale = magnitude / np.float32(LARGEST_CODE)
                codes_per_unit = np.float32(LARGEST_CODE) / magnitude
            _write_codes(rows[row], codes_per_unit, codes[row])
            sums = _sum_squares(rows[row], codes[row], scale)
            squares, rounded_squares, rest_squares = sums
            scales[row] = scale
            lengths[row] = np.sqrt(squares) * UPWARDS
            code_lengths[row] = np.sqrt(rounded_squares) * UPWARDS
            rests[row] = np.sqrt(rest_squares) * UPWARDS


def round_rows(rows: Tensor) -> RoundedRows:
    """Round rows to 8 bits.

    Args:
        rows: (n, width) float32, contiguous. If `can_be_bounded` is false for the result, nothing
            else in it is valid.
    """
    n_rows = len(rows)
    codes = torch.empty(rows.shape, dtype=torch.int8)
    per_row = torch.empty(5, n_rows, dtype=torch.float32)
    rounded = RoundedRows(rows, codes, *per_row)
    magnitude_bits = rounded.magnitudes.view(torch.int32)
    _round_rows(rows.view(torch.int32), rounded, magnitude_bits)
    return rounded
