"""Which rows or features are meant, as numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from nanosae.errors import DataError


def indices(given: Any, size: int, what: str) -> np.ndarray:
    """Return places (numbers, a mask, None for all) as numbers, int64.

    Args:
        given: The places.
        size: How many there are.
        what: What lies there, for messages: "row" or "feature".

    Raises:
        DataError: If one is not an integer below the size, or a mask is of another size.

    Example:
        >>> indices([True, False, True], 3, "row").tolist()
        [0, 2]
    """
    if given is None:
        return np.arange(size)
    places = np.asarray(given).ravel()
    if places.dtype == bool:
        if len(places) != size:
            raise DataError(f"a mask of {what}s has {len(places)}; needed: {size}.")
        return np.flatnonzero(places)
    found = _as_integers(places, what)
    if len(found) == 0:
        return found
    low, high = int(found.min()), int(found.max())
    if low < 0 or high >= size:
        shown = f"{low}" if low == high else f"{low} … {high}"
        raise DataError(f"{what} {shown}: there are 0 … {size - 1}.")
    return found


def _as_integers(places: np.ndarray, what: str) -> np.ndarray:
    try:
        with np.errstate(invalid="ignore"):  # of NaN
            found = places.astype(np.int64)
    except (TypeError, ValueError):
        raise DataError(f"{what}s must be integers, not {places.dtype}.") from None
    is_other = found != places
    if is_other.any():
        raise DataError(f"{what} {places[is_other][0]} is not an integer.")
    return found
