"""Conversion of row or feature selections to indices."""

from __future__ import annotations

from typing import Any

import numpy as np

from nanosae.errors import DataError


def indices(given: Any, size: int, what: str) -> np.ndarray:
    """Convert indices, a mask or None (for all) to int64 indices.

    Args:
        given: The selection.
        size: Number of rows or features.
        what: What is selected, for messages: "row" or "feature".

    Raises:
        DataError: If an index is not an integer in 0 … size − 1, or a mask has another size.

    Example:
        >>> indices([True, False, True], 3, "row").tolist()
        [0, 2]
    """
    if given is None:
        return np.arange(size)
    places = np.asarray(given).ravel()
    if places.dtype == object and _are_bools(places):
        places = places.astype(bool)
    if places.dtype == bool:
        if len(places) != size:
            raise DataError(
                f"a mask of {what}s has length {len(places)}; needed: {size}."
            )
        return np.flatnonzero(places)
    found = _as_integers(places, what)
    outside = found[(found < 0) | (found >= size)]
    if len(outside):
        raise DataError(
            f"{what} {outside[0]} is out of range: there are 0 … {size - 1}."
        )
    return found


def _are_bools(places: np.ndarray) -> bool:
    """Return whether objects are a mask, as of a frame of several types."""
    return len(places) > 0 and all(
        isinstance(place, bool | np.bool_) for place in places
    )


def _as_integers(places: np.ndarray, what: str) -> np.ndarray:
    try:
        if places.dtype.kind in "SU":  # NumPy would read "12"
            raise TypeError
        with np.errstate(invalid="ignore"):  # casting NaN warns
            found = places.astype(np.int64)
    except (OverflowError, TypeError, ValueError):
        raise DataError(
            f"A {what} is given by its number, not by {str(places[0])!r:.60}."
        ) from None
    is_other = found != places
    if is_other.any():
        raise DataError(f"{what} {places[is_other][0]} is not an integer.")
    return found
