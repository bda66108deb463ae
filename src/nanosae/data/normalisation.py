"""Centring and scaling of rows, such that the mean squared norm of a row is its width."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nanosae.data.blocks import small_blocks
from nanosae.errors import DataError

LARGEST_SCALE = 1e37


@dataclass(frozen=True)
class Normalisation:
    """Mean and scale of rows, and separately of the targets that follow them.

    Attributes:
        width: Width of a row without its target.
        means: Mean of every column, (width + target width,), float32.
        scale: Factor for the rows.
        target_scale: Factor for the targets; 1 without targets.
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
        """Mean of the targets, (target width,)."""
        return self.means[self.width :]

    def apply_(self, x: np.ndarray) -> np.ndarray:
        """Centre and scale rows, (n, width + target width), in place."""
        widths = [self.width, len(self.means) - self.width]
        scales = np.repeat([self.scale, self.target_scale], widths).astype(np.float32)
        for block in small_blocks(x):
            block[:] = (block - self.means) * scales
        return x


def estimate_normalisation(
    x: np.ndarray, rows: np.ndarray, width: int
) -> Normalisation:
    """Estimate mean and scale from some rows of x, (n, width + target width), in two passes.

    Raises:
        DataError: If the scale would exceed the range of float32.
    """
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
    """Return the factor for which the mean squared norm is the number of columns."""
    if not variance.any():
        return 1.0
    scale = float((variance.size / variance.sum()) ** 0.5)
    if scale > LARGEST_SCALE:
        raise DataError(
            f"The values vary by {1 / scale:.1g} only, near the smallest numbers of float32.",
            remedy="Multiply all rows by a constant such as 1e30.",
        )
    return scale


def longest_row(x: np.ndarray) -> tuple[int, float]:
    """Return which of the normalised rows has the largest norm, and its share of the variance."""
    by_block = [np.einsum("ij,ij->i", b, b, dtype=float) for b in small_blocks(x)]
    squared_norms = np.concatenate(by_block)
    longest = int(np.argmax(squared_norms))
    total = squared_norms.sum()
    if total == 0:
        return longest, 0.0
    return longest, float(squared_norms[longest] / total)
