"""What a run is going to do: which column is what, which encoder, which stages.

A plan is made and said before anything is computed, so that a wrong guess costs seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from nanosae.analysis.splits import normalised
from nanosae.errors import ConfigError, DataError, DataTypeError, near_names
from nanosae.sources import open_rows
from nanosae.sources.arrays import ARRAY_SUFFIXES
from nanosae.sources.embedded import read_vectors, vector_columns_beside
from nanosae.sources.excel_files import sheets_left_out
from nanosae.sources.frames import table_of_frame
from nanosae.sources.roles import Column, Role, column_roles, with_roles
from nanosae.sources.texts import drop_empty_texts, read_texts
from nanosae.sources.typed import with_types
from nanosae.sources.vector_text import with_vectors_parsed
from nanosae.text.encoders import Encoder, find_encoder

MIN_ROWS = 50  # fewer have nothing to be learned from
MIN_DIFFERENT = 10  # texts, for groups of equal ones to be on both sides of a split


@dataclass(frozen=True)
class Plan:
    """What a run takes for what.

    Attributes:
        table: The rows that have a text, with every column that is kept; the text is `text`.
        vectors: Given rows, (n, width), or None where the texts are to be encoded.
        encoder: What encodes them; None with given vectors.
        columns: The role of every column.
        groups: Columns whose values are compared.
        times: Columns over which features are followed.
        numbers: Columns that are explained.
        labels: The column that features are evaluated on, if any.
        notes: Sentences on rows that were left out.
    """

    table: pa.Table
    vectors: np.ndarray | None
    encoder: Encoder | None
    columns: list[Column]
    groups: list[str]
    times: list[str]
    numbers: list[str]
    labels: str | None
    notes: list[str]

    @property
    def has_texts(self) -> bool:
        """Whether the rows have texts."""
        return "text" in self.table.column_names

    def lines(self) -> list[str]:
        """Say what is taken for what, and why, a line for each column that matters."""
        lines = [f"{len(self.table):,} rows"]
        lines += [
            f"  {column.name}: {column.role} ({column.reason})"
            for column in self.columns
        ]
        if self.encoder is not None:
            lines.append(f"  embedder: {self.encoder.name} ({self.encoder.note})")
        elif self.vectors is not None and self.columns[0].role != "vectors":
            lines.append(f"  vectors: {self.vectors.shape[1]} wide, as given")
        return lines + [f"  {note}" for note in self.notes]


def make_plan(
    data: Any,
    *,
    vectors: Any = None,
    text: str | None = None,
    by: str | Sequence[str] | None = None,
    time: str | Sequence[str] | None = None,
    target: str | Sequence[str] | None = None,
    labels: str | None = None,
    embedder: Any = None,
    base_url: str | None = None,
    prompt: str = "",
    query_prompt: str | None = None,
    encoding: str = "utf-8",
) -> Plan:
    """Decide what a run does with some data.

    Args:
        data: A path, folder or glob of texts, a DataFrame, an Arrow table, a list of texts, or a
            dict of columns.
        vectors: Rows that belong to the texts, (n, width), or the name of their column, instead of
            an embedder. Vectors that stand in the data are found.
        text: The text column, where it is not to be chosen.
        by: Columns whose values to compare, instead of all categories.
        time: Columns to follow features over, instead of all dates.
        target: Columns of numbers to explain, instead of all.
        labels: Column of known labels to evaluate features on.
        embedder: See `find_encoder`.
        base_url: See `find_encoder`.
        prompt: See `find_encoder`.
        query_prompt: See `find_encoder`.
        encoding: Of a CSV or text file.

    Raises:
        DataError: If there is no text, or it is not clear which; if there are too few rows.
        ConfigError: If a named column does not exist, or vectors and an embedder are given.
    """
    by, time, target = map(_as_names, (by, time, target))
    table, pairs = _read(data, text, encoding)
    left_out = sheets_left_out(table)
    given = pairs if vectors is None else vectors
    wanted = {
        "text": [text],
        "by": by,
        "time": time,
        "target": target,
        "labels": [labels],
    }
    _check_names(table, wanted)
    if vectors is not None and embedder is not None:
        raise ConfigError("vectors and embedder are given: give one of them.")
    table, rows, of_vectors = _take_vectors(table, given, embedder)
    columns = _roles(table, text)
    named: dict[str, Role] = dict.fromkeys(by or (), "category")
    named |= dict.fromkeys(time or (), "date")
    named |= dict.fromkeys(target or (), "number")
    columns = with_roles(columns, table, named)
    text = text or next(
        (column.name for column in columns if column.role == "text"), None
    )
    if text is None and rows is None:
        raise _no_text(columns)
    table = with_types(table, columns)
    notes = []
    if left_out:
        sheets = ", ".join(left_out)
        notes.append(
            f"Sheets with other columns than the first were left out: {sheets}."
        )
    if text is not None:
        table = _with_text(table, text)
        if rows is None:
            table, n_empty = drop_empty_texts(table, "text")
            if n_empty:
                notes.append(f"{n_empty:,} rows without a text were left out.")
    _check_rows(table)
    roles = {column.name: column.role for column in columns}

    def chosen(given: Sequence[str] | None, *wanted: str) -> list[str]:
        named = [name for name, its_role in roles.items() if its_role in wanted]
        return list(given) if given is not None else named

    encoder = None
    if rows is None:
        encoder = find_encoder(
            embedder, base_url=base_url, prompt=prompt, query_prompt=query_prompt
        )
    return Plan(
        table=table,
        vectors=rows,
        encoder=encoder,
        columns=[*of_vectors, *columns],
        groups=chosen(by, "category", "tags"),
        times=chosen(time, "date"),
        numbers=chosen(target, "number"),
        labels=labels,
        notes=notes,
    )


def _as_names(given: str | Sequence[str] | None) -> Sequence[str] | None:
    """Return the names of columns as a list, of a single one, too."""
    return [given] if isinstance(given, str) else given


def _read(data: Any, text: str | None, encoding: str) -> tuple[pa.Table, Any]:
    """Return the table, and the vectors that a file of vectors holds."""
    if not isinstance(data, str | Path):
        return _as_table(data), None
    path = Path(data)
    if path.suffix not in ARRAY_SUFFIXES:
        return read_texts(path, text, encoding=encoding), None
    texts = path.with_suffix(".parquet")  # as `embed` writes them
    if texts.exists():
        return read_texts(texts, text), path
    return pa.table({"row": range(open_rows(path).n_rows)}), path


def _as_table(data: Any) -> pa.Table:
    if isinstance(data, pa.Table):
        return data
    if isinstance(data, pd.DataFrame):
        return table_of_frame(data)
    if isinstance(data, dict):
        return pa.table(data)
    if isinstance(data, pd.Series):
        return table_of_frame(data.to_frame("text"))
    if hasattr(data, "__arrow_c_stream__"):
        return pa.table(data)
    try:
        return pa.table({"text": pa.array(list(data), pa.string())})
    except (TypeError, pa.ArrowInvalid) as error:
        raise DataTypeError(
            f"Texts are a file, a table or a list of strings, not {data!r:.60}."
        ) from error


def _take_vectors(
    table: pa.Table, given: Any, embedder: Any
) -> tuple[pa.Table, np.ndarray | None, list[Column]]:
    """Return the table without its vectors, the rows to train on, and the vectors' role."""
    table = with_vectors_parsed(table)
    is_column = isinstance(given, str) and given in table.column_names
    found = [given] if is_column else vector_columns_beside(table)
    others = table.drop_columns(found) if found else table
    if given is not None and not is_column:
        return others, _as_vectors(given, len(table)), []
    if not found or embedder is not None:
        return others, None, []
    rows = read_vectors(table, found)
    first, last = found[0], found[-1]
    name = first if first == last else f"{first} to {last}"
    reason = f"{rows.shape[1]} numbers a row; --embedder NAME embeds the texts instead"
    return others, rows, [Column(name, "vectors", reason)]


def _no_text(columns: list[Column]) -> DataError:
    described = "; ".join(f"{column.name}: {column.reason}" for column in columns[:6])
    return DataError(
        f"No column looks like a text ({described}).",
        remedy="Name the text column with --text.",
    )


def _check_rows(table: pa.Table) -> None:
    """Refuse too few rows, and texts that are nearly all the same."""
    if len(table) < MIN_ROWS:
        raise DataError(
            f"There are {len(table)} rows with a text; at least {MIN_ROWS} are needed."
        )
    if "text" not in table.column_names:
        return
    texts = table["text"]
    different: set[str] = set()
    for text in texts:
        different.add(normalised(str(text.as_py())))
        if len(different) >= MIN_DIFFERENT:
            return
    raise DataError(
        f"{len(texts):,} texts, but for case, digits and punctuation, are {len(different)} "
        f"different ones; at least {MIN_DIFFERENT} are needed.",
        remedy="Choose another text column with --text.",
    )


def _as_vectors(vectors: Any, n_rows: int) -> np.ndarray:
    rows = open_rows(vectors)
    if rows.n_rows != n_rows:
        raise DataError(
            f"There are {rows.n_rows:,} vectors for {n_rows:,} rows: give one for each."
        )
    return rows.read(0, rows.n_rows)


def _check_names(table: pa.Table, wanted: dict[str, Any]) -> None:
    known = table.column_names
    for flag, names in wanted.items():
        for name in names or ():
            if name is not None and name not in known:
                raise ConfigError(
                    f"{flag}: there is no column {name!r}; {near_names(name, known)}."
                )


def _roles(table: pa.Table, text: str | None) -> list[Column]:
    if text is None:
        return column_roles(table)
    others = column_roles(table, skip=[text])
    return [Column(text, "text", "you said so"), *_without_text(others)]


def _without_text(columns: list[Column]) -> list[Column]:
    return [
        Column(column.name, "unused", column.reason)
        if column.role == "text"
        else column
        for column in columns
    ]


def _with_text(table: pa.Table, text: str) -> pa.Table:
    """Call the text column `text`, and make its values strings."""
    if text != "text":
        taken = "text" in table.column_names
        names = [_renamed(name, text, taken) for name in table.column_names]
        table = table.rename_columns(names)
    place = table.column_names.index("text")
    return table.set_column(place, "text", table["text"].cast(pa.string()))


def _renamed(name: str, text: str, taken: bool) -> str:
    if name == text:
        return "text"
    return "text_" if taken and name == "text" else name
