"""Which columns of a table are the vectors.

They are a list column; else the longest run of columns that share a prefix and are numbered, in
numeric order; else all numeric columns, if `input_size` agrees or no integers stand beside
fractions. What is doubtful is asked for, not guessed.
"""

from __future__ import annotations

import re
from itertools import groupby

import pyarrow as pa

from nanosae.errors import DataError
from nanosae.sources.tables import NUMBER_CELL, LazyTable, is_number, is_vector

CHOOSE = 'Choose the vector columns with columns=["name", ...] (--columns).'
MIXED_SHARE = 0.9  # a text column with so many numbers is a numeric column with bad cells
# Not 0, 1, 2 or 0.0, 1.0, 2.0, which number columns; pandas appends .1 to the second of two equals
FRACTION = re.compile(r"(?!\d+(\.0)?$)[-+]?\d*\.?\d+(e[-+]?\d+)?(\.\d+)?", re.I)


def vector_columns(
    table: LazyTable, columns: list[str] | None, input_size: int | None
) -> list[str]:
    """Return the names of the vector columns: those that were asked for, or those found.

    Args:
        table: The table.
        columns: Names that were asked for; None finds them.
        input_size: Width that the vectors must have, if it is known.

    Raises:
        DataError: If names are not unique, columns are missing, there are no rows, or the vectors
            are in doubt.
    """
    _check_unique(table.schema)
    if not sum(table.group_sizes):
        raise DataError(f"The data has no rows. {_describe(table.schema)}.")
    if columns:
        return _asked_for(table.schema, columns)
    _check_header(table.schema)
    found = _find(table, input_size)
    if not found:
        _refuse_vectors_as_text(table)
        problem = f"Found no vectors, or not only vectors. {_describe(table.schema)}."
        raise DataError(problem, remedy=CHOOSE)
    return found


def vector_length(table: LazyTable, columns: list[str]) -> int:
    """Return the width of the vectors: of the first list, or the number of columns."""
    if not is_vector(table.schema.field(columns[0]).type):
        return len(columns)
    first = next(batch for batch in table.batches(columns) if len(batch))
    return len(first.column(0)[0].as_py() or ())


def other_columns(schema: pa.Schema, columns: list[str]) -> list[str]:
    """Return the names of the columns that are metadata: neither the vectors nor other vectors."""
    return [f.name for f in schema if f.name not in columns and not is_vector(f.type)]


def natural_key(name: str) -> list:
    """Return a key that sorts e10 after e9."""
    return [int(piece) if piece.isdecimal() else piece for piece in re.split(r"(\d+)", name)]


def _describe(schema: pa.Schema) -> str:
    kinds = {field.name: str(field.type) for field in schema}
    return f"There are {len(kinds)} columns: {dict(list(kinds.items())[:9])}"


def _check_unique(schema: pa.Schema) -> None:
    for name in schema.names:
        if schema.names.count(name) > 1:
            raise DataError(
                f"Several columns are named {name!r}:",
                column=name,
                remedy="rename all but one, or put a header line first if there is none.",
            )


def _asked_for(schema: pa.Schema, columns: list[str]) -> list[str]:
    missing = [name for name in columns if name not in schema.names]
    if missing:
        problem = f"{len(missing)} columns are missing: {missing[:9]}. {_describe(schema)}."
        raise DataError(problem, column=missing[0])
    lists = [name for name in columns if is_vector(schema.field(name).type)]
    if lists and len(columns) > 1:
        problem = f"Column {lists[0]!r} holds whole vectors, but {len(columns)} columns are chosen:"
        raise DataError(problem, column=lists[0], remedy="choose it alone, or only numbers.")
    return columns


def _check_header(schema: pa.Schema) -> None:
    """Refuse names that are the numbers of a first row."""
    numbers = [name for name in schema.names if FRACTION.fullmatch(name)]
    if len(numbers) >= 2 and 2 * len(numbers) >= len(schema):
        raise DataError(
            f"{len(numbers)} of {len(schema)} column names are numbers, such as {numbers[0]}: the "
            "header line seems to be missing.",
            remedy="Add one, read the file with pandas.read_csv(file, header=None), or choose "
            'columns=["name", ...] if these are names.',
        )


def _find(table: LazyTable, input_size: int | None) -> list[str]:
    """Return a list column, a numbered run, or all numeric columns; nothing if none will do."""
    schema = table.schema
    lists = [[field.name] for field in schema if is_vector(field.type)]
    runs = _longest_runs(schema)
    candidates = lists or runs
    if len(lists) == 1 and runs and len(runs[0]) >= vector_length(table, lists[0]):
        candidates = lists + runs  # the lists may be coordinates
    if len(candidates) > 1:
        names = " or ".join(candidate[0] for candidate in candidates)
        raise DataError(f"Which are the vectors: {names}?", remedy=CHOOSE)
    if candidates:
        return candidates[0]
    return _all_numeric(table, input_size)


def _longest_runs(schema: pa.Schema) -> list[list[str]]:
    """Return the runs of numbered columns of one prefix that are as long as the longest."""
    numbered = [name for name in schema.names if name[-1:].isdecimal()]
    numbered.sort(key=natural_key)
    runs = []
    for _, names in groupby(numbered, _prefix):
        run = list(names)
        n_numeric = sum(is_number(schema.field(name).type) for name in run)
        if len(run) > 1 and 2 * n_numeric >= len(run):
            runs.append(run)
    longest = max(map(len, runs), default=0)
    return [run for run in runs if len(run) == longest]


def _prefix(name: str) -> list:
    return natural_key(name)[:-2]


def _all_numeric(table: LazyTable, input_size: int | None) -> list[str]:
    schema = table.schema
    numbers = [field.name for field in schema if is_number(field.type)]
    if len(numbers) == input_size:
        return numbers
    numbers += [name for name in _text_columns(schema) if _is_mostly_numbers(table, name)]
    n_integers = sum(pa.types.is_integer(schema.field(name).type) for name in numbers)
    # Integers beside fractions or texts may be ids or labels: let the user choose.
    return numbers if n_integers in (0, len(schema)) else []


def _text_columns(schema: pa.Schema) -> list[str]:
    return [field.name for field in schema if str(field.type).endswith("string")]


def _is_mostly_numbers(table: LazyTable, name: str) -> bool:
    """Whether a column of text is one of numbers with bad cells, which reading it will name."""
    n_cells = n_numbers = 0
    for batch in table.batches([name]):
        cells = batch.column(0).to_pylist()
        n_cells += len(cells)
        n_numbers += sum(bool(NUMBER_CELL.fullmatch(str(cell))) for cell in cells)
    return MIXED_SHARE * n_cells <= n_numbers < n_cells


def _refuse_vectors_as_text(table: LazyTable) -> None:
    """Say so if a column holds vectors as text, such as "[0.1, 0.2]"."""
    for name in _text_columns(table.schema):
        first = next(batch for batch in table.batches([name]) if len(batch))
        cell = str(first.column(0)[0].as_py()).strip()
        if re.match(r"\[\s*[-+.\d]", cell) and cell.endswith("]"):
            raise DataError(
                f"Column {name!r} holds vectors as text: {cell[:30]!r}….",
                column=name,
                remedy=f"Convert it first: frame[{name!r}] = frame[{name!r}].map(json.loads).",
            )
