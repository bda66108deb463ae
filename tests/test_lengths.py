"""Lengths and directions of rows of any scale, against exact fractions."""

from fractions import Fraction
from math import isqrt

import numpy as np
import pytest

from nanosae.lengths import lengths, unit

SCALES = {
    np.float16: (1e-7, 1e-4, 1.0, 1e3, 1e4),
    np.float32: (1e-44, 1e-38, 1e-30, 1e-12, 1.0, 1e12, 1e30, 1e37),
    np.float64: (1e-320, 1e-200, 1.0, 1e200, 1e307),
}
CASES = [(dtype, scale) for dtype, scales in SCALES.items() for scale in scales]
TOLERANCE = {np.float16: 4e-3, np.float32: 1e-6, np.float64: 1e-14}
PRECISION = 10**60


def exact_length(row):
    """The square root of the exact sum of squares, to sixty digits of the largest value."""
    values = [Fraction(float(value)) for value in row]
    largest = max(map(abs, values))
    square = sum((value / largest) ** 2 for value in values)
    return largest * Fraction(isqrt(int(square * PRECISION**2)), PRECISION)


def rows_of(dtype, scale):
    rng = np.random.default_rng(0)
    rows = (rng.normal(size=(6, 5)) * scale).astype(dtype)
    rows[2] = 0
    rows[3] = rng.normal(size=5)  # rows of different scales side by side
    return rows


@pytest.mark.parametrize(("dtype", "scale"), CASES)
def test_directions_and_lengths_are_exact_at_every_scale(dtype, scale):
    rows = rows_of(dtype, scale)
    before = rows.copy()
    directions, found = unit(rows), lengths(rows)
    assert np.array_equal(rows, before)
    assert directions.dtype == found.dtype == dtype
    tolerance = TOLERANCE[dtype]
    for row, direction, length in zip(rows, directions, found, strict=True):
        if not row.any():
            assert not direction.any()
            assert length == 0
            continue
        true = exact_length(row)
        wanted = [float(Fraction(float(value)) / true) for value in row]
        np.testing.assert_allclose(direction.astype(float), wanted, atol=tolerance)
        smallest = float(np.finfo(dtype).smallest_subnormal)
        assert float(length) == pytest.approx(
            float(true), rel=tolerance, abs=2 * smallest
        )


@pytest.mark.filterwarnings("ignore:overflow")
def test_plain_norms_fail_the_same_check():
    for scale in (1e-30, 1e30):
        rows = rows_of(np.float32, scale)
        norms = np.linalg.norm(rows, axis=1)
        assert norms[0] == 0 or np.isinf(norms[0])


def test_ordinary_rows_are_divided_by_their_norm_to_the_last_bit():
    rows = np.random.default_rng(1).normal(size=(50, 9)).astype(np.float32)
    wanted = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    assert np.array_equal(unit(rows), wanted)
    mixed = np.concatenate([rows, 1e-30 * rows])
    assert np.array_equal(unit(mixed)[:50], wanted)


def test_integers_no_rows_and_no_columns():
    np.testing.assert_allclose(unit(np.array([[3, 4], [0, 0]])), [[0.6, 0.8], [0, 0]])
    for shape in ((0, 4), (3, 0)):
        assert unit(np.zeros(shape, np.float32)).shape == shape
        assert lengths(np.zeros(shape, np.float32)).tolist() == [0.0] * shape[0]
