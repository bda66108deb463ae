"""The k largest of a list of candidates, for selections on a CPU."""

from __future__ import annotations

import numpy as np

from nanosae.kernels.batchtopk import LOWERING, NEGLIGIBLE
from nanosae.kernels.cpu.compiler import compile_function

# enough to separate any two numbers; with NaN, bisection never ends
MAX_HALVINGS = 1200
CAUTION = 0.88  # the first threshold of a row, as a share of that of the previous row


@compile_function
def lowered(threshold):
    """Return a lower threshold, or zero if this one is negligible or infinite."""
    if NEGLIGIBLE < threshold < np.inf:
        return np.float32(LOWERING) * threshold
    return np.float32(0)


@compile_function
def largest_of(values, n_values):
    """Return the largest of the first n values; `numpy.max` takes longer to compile."""
    largest = values[0]
    for i in range(1, n_values):
        largest = max(largest, values[i])
    return largest


@compile_function
def count_above(values, n_values, threshold):
    """Return how many of the first n values are greater than a threshold."""
    n_above = np.int32(0)
    for i in range(n_values):
        n_above += values[i] > threshold
    return n_above


@compile_function
def kth_largest(values, n_values, k, low):
    """Return the k-th largest of the first n values, or a number between it and the next smaller.

    All values are greater than `low`. The interval is halved until exactly k values are above its
    lower end: counting needs no branches, unlike sorting.
    """
    half = values.dtype.type(0.5)
    high = largest_of(values, n_values)
    n_above_low = np.int64(n_values)
    for _ in range(MAX_HALVINGS):
        if n_above_low == k:
            break
        middle = half * (low + high)
        n_above_middle = count_above(values, n_values, middle)
        if not low < middle < high:  # ties
            return high
        if n_above_middle >= k:
            low = middle
            n_above_low = np.int64(n_above_middle)
        else:
            high = middle
    return low


@compile_function
def keep_largest(candidates, candidate_values, n, k, low, cols, values, slot):
    """Write the k largest of n candidates, starting at `slot`; of equal ones, the first.

    All values are greater than `low`.

    Returns:
        A threshold that all kept values reach, and the next free slot.
    """
    threshold = low
    if n > k:
        threshold = kth_largest(candidate_values, n, k, low)
    n_ties = k - count_above(candidate_values, n, threshold)
    for i in range(n):
        value = candidate_values[i]
        if value > threshold or (value == threshold and n_ties > 0):
            n_ties -= value == threshold
            cols[slot] = candidates[i]
            values[slot] = value
            slot += 1
    return threshold, slot
