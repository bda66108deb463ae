"""The length of the texts, and columns that measure it, such as numbers of words.

Texts are compared at equal length, so that what such a column has to do with a feature is a
remainder that says nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from shlex import quote

import numpy as np
import pandas as pd
import pyarrow as pa

from nanosae.sources.categories import Column
from nanosae.sources.kinds import pc

LONG = 5_000  # characters from which texts are long on average, about two pages
SAME = 0.99  # rank correlation with a length from which a column measures it
MIN_ROWS = 20
SAMPLE = 20_000  # rows that are looked at
UNITS = {"characters": "(?s).", "words": r"\S+", "lines": r"[^\n]+"}


def without_lengths(
    columns: list[Column], table: pa.Table, requested: Collection[str]
) -> list[Column]:
    """Leave out numbers that measure the length of the texts, unless they were requested.

    Args:
        columns: Roles of the columns.
        table: The converted columns, with the texts in `text`.
        requested: Columns that the user named.

    Example:
        >>> texts = [("word " * n).strip() for n in range(1, 40)]
        >>> table = pa.table({"text": texts, "n_words": range(1, 40)})
        >>> without_lengths([Column("n_words", "number", "")], table, [])[0].role
        'unused'
    """
    names = [column.name for column in columns if column.role == "number"]
    checked = [name for name in names if name not in requested]
    if not checked:
        return columns
    stride = -(-max(len(table), 1) // SAMPLE)  # rounded up
    sample = table.take(pa.array(range(0, len(table), stride)))
    texts = sample["text"]
    lengths = {
        unit: pc.count_substring_regex(texts, pattern).to_numpy()
        for unit, pattern in UNITS.items()
    }
    unit_of = {name: _measured_unit(sample[name], lengths) for name in checked}
    return [
        column if unit_of.get(column.name) is None else _unused(column, unit_of)
        for column in columns
    ]


def _unused(column: Column, unit_of: Mapping[str, str | None]) -> Column:
    name = column.name
    reason = (
        f"measures the length of the texts in {unit_of[name]}; use target={name!r} (--target "
        f"{quote(name)}) to explain it"
    )
    return Column(name, "unused", reason)


def _measured_unit(
    values: pa.ChunkedArray, lengths: Mapping[str, np.ndarray]
) -> str | None:
    """Return the unit of length that a column has the ranks of, or None."""
    numbers = values.cast(pa.float64(), safe=False).to_numpy()
    known = pd.DataFrame({"number": numbers, **lengths}).dropna()
    if len(known) < MIN_ROWS:
        return None
    with np.errstate(divide="ignore", invalid="ignore"):  # where all values are equal
        agreement = np.corrcoef(known.rank().to_numpy(), rowvar=False)[0, 1:]
    same = {unit: r for unit, r in zip(lengths, agreement, strict=True) if r >= SAME}
    return max(same, key=lambda unit: same[unit], default=None)


def note_on_length(texts: pa.ChunkedArray) -> list[str]:
    """Return a note if the texts are long, so that each mixes many subjects."""
    mean = pc.mean(pc.utf8_length(texts)).as_py()
    if mean < LONG:
        return []
    return [
        f"The texts are long ({mean:,.0f} characters on average), and features describe whole "
        "texts: a row for each page or paragraph gives finer ones."
    ]
