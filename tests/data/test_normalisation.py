"""Mean and scale: exact far from zero, and apart for targets."""

import numpy as np
import pytest

from nanosae.data.normalisation import estimate_normalisation, longest_row
from nanosae.errors import DataError


def test_the_mean_is_summed_in_double_precision():
    x = (np.random.default_rng(0).normal(size=(1000, 4)) + 1e4).astype(np.float32)
    exact = x.astype(np.float64).mean(0)
    found = estimate_normalisation(x, np.arange(1000), 4)
    assert np.abs(found.means - exact).max() < 1e-3  # half a step of float32 at 1e4
    # twin: summed in single precision
    assert np.abs(x.sum(0) / 1000 - exact).max() > 1e-3


def test_rows_too_small_to_be_scaled_are_refused():
    x = np.random.default_rng(0).normal(size=(100, 4))
    least = estimate_normalisation((x * 1e-36).astype(np.float32), np.arange(100), 4)
    y = least.apply_((x * 1e-36).astype(np.float32))
    assert np.square(y).sum(1).mean() == pytest.approx(4, rel=1e-5)
    with pytest.raises(
        DataError, match="vary by 1e-40 only, near the smallest numbers"
    ):
        estimate_normalisation((x * 1e-40).astype(np.float32), np.arange(100), 4)


def test_only_the_rows_asked_for_count():
    x = np.array([[0.0, 1], [2, 3], [100, 100]], np.float32)
    found = estimate_normalisation(x, np.array([0, 1]), 2)
    assert found.means.tolist() == [1, 2]
    assert found.scale == 1


def test_rows_and_targets_are_scaled_apart():
    x = np.random.default_rng(0).normal(size=(5000, 5)).astype(np.float32) * [
        1,
        1,
        1,
        9,
        9,
    ]
    x = x.astype(np.float32)
    found = estimate_normalisation(x, np.arange(5000), 3)
    y = found.apply_(x.copy())
    assert np.square(y[:, :3]).sum(1).mean() == pytest.approx(3, rel=1e-5)
    assert np.square(y[:, 3:]).sum(1).mean() == pytest.approx(2, rel=1e-5)
    assert found.target_scale == pytest.approx(found.scale / 9, rel=0.05)


def test_the_longest_row_and_its_share():
    x = np.array([[1.0, 0], [0, 3], [1, 1]], np.float32)
    assert longest_row(x) == (1, 0.75)
    assert longest_row(np.zeros((3, 2), np.float32)) == (0, 0.0)
