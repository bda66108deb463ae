"""Centring and scaling of rows, so that the mean squared length of a row is its width."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nanosae.data.blocks import small_blocks


@dataclass(frozen=True)
class Normalisation:
    """Mean and scale of rows, and separately of the targets behind them.

    Attributes:
        width: Length of a row without its target.
        means: Mean of every column, (width + target width,), float32.
        scale: Factor of the rows.
        target_scale: Factor of the targets; 1 without.
    """

    width: int
    means: np.ndarray
    scale: float
    target_scale: float

    @property
    def mean(self) -> np.ndarray:
        """Mean of the rows, (width,)."""
        return self.means[: self.width]

    @property
    def target_mean(self) -> np.ndarray:
        """Mean of the targets; empty without."""
        return self.means[self.width :]

    def apply_(self, x: np.ndarray) -> np.ndarray:
        """Centre and scale rows, (n, width + target width), in place."""
        widths = [self.width, len(self.means) - self.width]
        scales = np.repeat([self.scale, self.target_scale], widths).astype(np.float32)
        for block in small_blocks(x):
            block[:] = (block - self.means) * scales
        return x


def no_normalisation(width: int, target_width: int) -> Normalisation:
    """Return the one that leaves rows as they are."""
    means = np.zeros(width + target_width, np.float32)
    return Normalisation(width, means, scale=1.0, target_scale=1.0)


def estimate_normalisation(
    x: np.ndarray, rows: np.ndarray, width: int
) -> Normalisation:
    """Estimate mean and scale from some rows of x, (n, width + target width), in two passes."""
    blocks = small_blocks(rows)
    sums = [x[block].sum(0, dtype=float) for block in blocks]
    mean = np.sum(sums, 0) / len(rows)
    squares = [np.square(x[block] - mean).sum(0) for block in blocks]
    variance = np.sum(squares, 0) / len(rows)
    return Normalisation(
        width,
        mean.astype(np.float32),
        scale=_scale_for(variance[:width]),
        target_scale=_scale_for(variance[width:]),
    )


def _scale_for(variance: np.ndarray) -> float:
    """Return the factor that makes the mean squared length the number of columns."""
    if not variance.any():
        return 1.0
    return float((variance.size / variance.sum()) ** 0.5)


def longest_row(x: np.ndarray) -> tuple[int, float]:
    """Return the number of the longest of normalised rows, and its share of all squared lengths."""
    lengths = [np.einsum("ij,ij->i", b, b, dtype=float) for b in small_blocks(x)]
    squared_lengths = np.concatenate(lengths)
    longest = int(np.argmax(squared_lengths))
    total = squared_lengths.sum()
    if total == 0:
        return longest, 0.0
    return longest, float(squared_lengths[longest] / total)
