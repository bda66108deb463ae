"""Blocks of rows that fit into the processor's cache."""

import numpy as np


def small_blocks(x: np.ndarray) -> list[np.ndarray]:
    """Split rows, or row numbers, into blocks of about 1,024."""
    return np.array_split(x, len(x) // 1024 + 1)
