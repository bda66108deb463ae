"""Faults in values that were read, and errors of files that cannot be read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from nanosae.errors import DataError


@dataclass(frozen=True)
class Fault:
    """The reason why a row cannot be used.

    Attributes:
        row: Position of the row among the requested ones.
        problem: The problem, which follows the location of the row in the message.
        remedy: What to do.
        column: Name or number of the faulty column, or None for the whole row.
    """

    row: int
    problem: str
    remedy: str
    column: str | int | None = None


def find_not_finite(x: np.ndarray, names: Sequence[str]) -> Fault | None:
    """Return a fault for the first NaN or infinite value of x, (n, width), or None."""
    # a single pass; the sum can overflow although all values are finite
    if np.isfinite(x.sum()):
        return None
    places = np.argwhere(~np.isfinite(x))
    if not len(places):
        return None
    row, number = map(int, places[0])
    column: str | int = number
    if len(names) == x.shape[1]:
        column = names[number]
    value = x[row, number]
    others = f"one of {len(places)} missing, NaN or infinite values (in float32) read with it"
    problem = f", column {column} holds {value}, {others}."
    return Fault(row, problem, "Drop those rows or fill them.", column)


def not_valid_text(values: Iterable[Any], column: str) -> DataError:
    r"""Return the error for the first value, or the name, with half of a surrogate pair.

    Example:
        >>> not_valid_text(["fine", "cut \ud83d"], "body").row
        1
    """
    problem = f"the name of column {column!r} is not valid text."
    place = None
    for row, value in enumerate(values):
        if _has_half_pair(value):
            cell = f"row {row} (0-based), column {column}"
            problem = f"{cell} holds {value!r:.60}, which is not valid text."
            place = row
            break
    return DataError(
        problem,
        row=place,
        column=column,
        remedy='Fix it with text.encode("utf-8", "replace").decode(), or drop the row.',
    )


def _has_half_pair(value: Any) -> bool:
    text = json.dumps(value, ensure_ascii=False, default=str, skipkeys=True)
    return re.search(r"[\ud800-\udfff]", text) is not None


@contextmanager
def naming(file: Path | None) -> Iterator[None]:
    """Name the file in errors of the libraries that read it."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        if file is None:
            raise
        raise DataError(f"Cannot read {file}: {error}", file=file) from error
