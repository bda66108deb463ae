"""Lengths and directions of vectors, also where squares of their values over- or underflow."""

from __future__ import annotations

import numpy as np


def lengths(x: np.ndarray) -> np.ndarray:
    """Return the length of each row, (n,).

    Example:
        >>> [f"{length:.3g}" for length in lengths(np.array([[3e30, 4e30], [0, 0]]))]
        ['5e+30', '0']
    """
    with np.errstate(over="ignore"):
        found = np.sqrt(np.einsum("ij,ij->i", x, x))
    extreme = _extreme(found)
    if len(extreme):
        largest = _largest(x[extreme])
        scaled = x[extreme] / _or_one(largest)
        found[extreme] = largest[:, 0] * np.linalg.norm(scaled, axis=1)
    return found


def unit(x: np.ndarray) -> np.ndarray:
    """Scale rows to unit length; zero rows stay zero.

    Example:
        >>> unit(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
        [[0.6, 0.8], [0.0, 0.0]]
    """
    if x.dtype.kind != "f":
        x = x.astype(np.float64)
    with np.errstate(over="ignore"):
        norms = np.linalg.norm(x, axis=1, keepdims=True)
    extreme = _extreme(norms[:, 0])
    if len(extreme):
        scaled = x[extreme] / _or_one(_largest(x[extreme]))
        x = x.copy()
        x[extreme] = scaled
        norms[extreme] = np.linalg.norm(scaled, axis=1, keepdims=True)
    return x / _or_one(norms)


def _extreme(norms: np.ndarray) -> np.ndarray:
    """Return the places of norms to which squares may have contributed that were not exact."""
    limits = np.finfo(norms.dtype)
    smallest = np.sqrt(limits.tiny) / limits.eps
    largest = np.sqrt(limits.max) * limits.eps
    return np.flatnonzero(~((norms > smallest) & (norms < largest)))


def _largest(x: np.ndarray) -> np.ndarray:
    """Return the largest magnitude in each row, (n, 1)."""
    return np.abs(x).max(axis=1, keepdims=True, initial=0)


def _or_one(x: np.ndarray) -> np.ndarray:
    """Return numbers to divide by: 1 instead of 0."""
    return np.where(x > 0, x, 1)
