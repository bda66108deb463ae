"""Default sizes and rates, derived from the data.

The measurements behind them are in docs/log.md.
"""

from __future__ import annotations

import math


def hidden_size(n_rows: int, width: int, expected_l0: int) -> int:
    """Return a power of two for which each latent can expect 30 active rows."""
    n_trainable = n_rows * expected_l0 // 30
    largest = max(2 * expected_l0, min(8 * width, n_trainable))
    return 2 ** int(math.log2(largest))


def batch_size(n_rows: int) -> int:
    """Return a power of two near √(8 × rows)."""
    usual = min(4096, math.sqrt(8 * n_rows))
    return 2 ** round(math.log2(max(128, usual)))


def lr(batch_size: int) -> float:
    """Return the peak learning rate of Adam."""
    return min(8e-3, 6e-3 * math.sqrt(batch_size / 512))


def noise(n_rows: int) -> float:
    """Return the standard deviation of the noise that prevents overfitting on few rows."""
    return 0.5 if n_rows < 15_000 else 0.0


def max_epochs(n_rows: int) -> float:
    """Return the maximal number of epochs if neither steps nor epochs are given."""
    return max(1.0, min(40.0, 2**24 / n_rows))
