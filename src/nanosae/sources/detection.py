"""Find the vector columns of a table.

The vectors are a list column; otherwise the longest run of numbered columns with the same prefix,
in numeric order; otherwise all numeric columns, if their number is `input_size` or they do not mix
integers with fractions. Ambiguous cases raise an error.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from itertools import groupby, islice
from typing import Any

import pyarrow as pa

from nanosae.errors import DataError
from nanosae.sources.kinds import holds_matrices, is_number, is_text, is_vector
from nanosae.sources.tables import LazyTable

CHOOSE = 'Choose the vector columns with columns=["name", ...] (--columns).'
SHOWN = 9  # maximum number of columns in a message
MIXED_SHARE = 0.9  # share of numbers from which text is a column with bad cells
# cells of text
NUMBER_OR_NONE = re.compile(
    r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?|[-+]?inf|nan|none", re.I
)
# not 0, 1, 2 or 0.0, 1.0, 2.0, which are column numbers; pandas appends .1 to repeated names
FRACTION = re.compile(r"(?!\d+(\.0)?$)[-+]?\d*\.?\d+(e[-+]?\d+)?(\.\d+)?", re.I)


def vector_columns(
    table: LazyTable, columns: list[str] | None, input_size: int | None
) -> list[str]:
    """Return the names of the vector columns, given or detected.

    Args:
        table: The table.
        columns: The given names; None detects them.
        input_size: Required width of the vectors, if known.

    Raises:
        DataError: If names are not unique, columns are missing, there are no rows, or the vectors
            are ambiguous.
    """
    _check_unique(table.schema)
    if not sum(table.group_sizes):
        raise DataError(f"The data has no rows. {_describe(table.schema)}.")
    if columns:
        return _requested(table.schema, columns)
    table = _without_index(table)
    _check_header(table.schema)
    found = _find(table, input_size)
    if not found:
        _refuse_matrices(table.schema)
        _refuse_vectors_as_text(table)
        problem = f"Found no vectors, or not only vectors. {_describe(table.schema)}."
        remedy = CHOOSE
        if _text_columns(table.schema):
            remedy += " To embed texts, use `nanosae run FILE -o RUN`."
        raise DataError(problem, remedy=remedy)
    return found


def _without_index(table: LazyTable) -> LazyTable:
    fields = [field for field in table.schema if field.name not in table.index]
    return replace(table, schema=pa.schema(fields))


def vector_length(table: LazyTable, columns: list[str]) -> int:
    """Return the width of the vectors: the length of the first list, or the number of columns."""
    if not is_vector(table.schema.field(columns[0]).type):
        return len(columns)
    vector = _first_cell(table, columns[0])
    return 0 if vector is None else len(vector)


def _first_cell(table: LazyTable, name: str) -> Any:
    """Return the first cell that is not empty, or None."""
    for batch in table.batches([name]):
        for cell in batch.column(0):
            if cell.as_py():
                return cell.as_py()
    return None


def other_columns(schema: pa.Schema, columns: list[str]) -> list[str]:
    """Return the names of the metadata columns, which hold no vectors."""
    others = [field for field in schema if field.name not in columns]
    return [field.name for field in others if not is_vector(field.type)]


def natural_key(name: str) -> list:
    """Return a key that sorts e10 after e9."""
    pieces = re.split(r"(\d+)", name)
    return [int(piece) if piece.isdecimal() else piece for piece in pieces]


def _describe(schema: pa.Schema) -> str:
    first = [f"{field.name} ({field.type})" for field in islice(schema, SHOWN)]
    more = ", …" if len(schema) > SHOWN else ""
    number = "is 1 column" if len(schema) == 1 else f"are {len(schema)} columns"
    return f"There {number}: {', '.join(first)}{more}"


def _check_unique(schema: pa.Schema) -> None:
    for name, n_columns in Counter(schema.names).items():
        if n_columns > 1:
            raise DataError(
                f"Several columns are named {name!r}.",
                column=name,
                remedy="Rename all but one, or add a header line if there is none.",
            )


def _requested(schema: pa.Schema, columns: list[str]) -> list[str]:
    missing = [name for name in columns if name not in schema.names]
    if missing:
        shown = missing[:SHOWN]
        are_missing = (
            "1 column is" if len(missing) == 1 else f"{len(missing)} columns are"
        )
        problem = f"{are_missing} missing: {shown}. {_describe(schema)}."
        raise DataError(problem, column=shown[0], remedy=CHOOSE)
    _refuse_matrices(pa.schema([schema.field(name) for name in columns]))
    lists = [name for name in columns if is_vector(schema.field(name).type)]
    if lists and len(columns) > 1:
        name = lists[0]
        problem = f"Column {name!r} holds whole vectors, but {len(columns)} columns are chosen."
        raise DataError(
            problem, column=name, remedy="Choose it alone, or only columns of numbers."
        )
    return columns


def _check_header(schema: pa.Schema) -> None:
    """Raise a DataError if the names are the numbers of a first row."""
    numbers = [name for name in schema.names if FRACTION.fullmatch(name)]
    n_numbers, n_columns = len(numbers), len(schema)
    if n_numbers >= 2 and n_numbers >= n_columns / 2:
        raise DataError(
            f"{n_numbers} of {n_columns} column names are numbers, such as {numbers[0]}: the "
            "header line seems to be missing.",
            remedy="Add one, read the file with pandas.read_csv(file, header=None), or choose "
            'columns=["name", ...] if these are names.',
        )


def _find(table: LazyTable, input_size: int | None) -> list[str]:
    """Return a list column, a numbered run, or all numeric columns; an empty list if none fits."""
    schema = table.schema
    lists = [[field.name] for field in schema if is_vector(field.type)]
    runs = longest_runs(schema)
    candidates = lists or runs
    if len(lists) == 1 and runs:
        list_length = vector_length(table, lists[0])
        if len(runs[0]) >= list_length:
            candidates = lists + runs  # the lists may be coordinates
    if len(candidates) > 1:
        names = " or ".join(candidate[0] for candidate in candidates)
        raise DataError(f"Which are the vectors: {names}?", remedy=CHOOSE)
    if candidates:
        return candidates[0]
    return _all_numeric(table, input_size)


def longest_runs(schema: pa.Schema) -> list[list[str]]:
    """Return the longest runs of numbered columns with the same prefix."""
    numbered = [name for name in schema.names if name[-1:].isdecimal()]
    numbered.sort(key=natural_key)
    runs = []
    for _, names in groupby(numbered, _prefix):
        run = list(names)
        kinds = [schema.field(name).type for name in run]
        n_numeric = sum(map(is_number, kinds))
        if len(run) > 1 and n_numeric >= len(run) / 2:
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
    numbers += [
        name for name in _text_columns(schema) if _is_mostly_numbers(table, name)
    ]
    kinds = [schema.field(name).type for name in numbers]
    n_integers = sum(map(pa.types.is_integer, kinds))
    # integers beside fractions or texts may be ids or labels
    return numbers if n_integers in (0, len(schema)) else []


def _text_columns(schema: pa.Schema) -> list[str]:
    return [field.name for field in schema if is_text(field.type)]


def _is_mostly_numbers(table: LazyTable, name: str) -> bool:
    """Return whether a text column holds numbers with bad cells, which reading it will report."""
    n_cells = n_numbers = 0
    for batch in table.batches([name]):
        for cell in batch.column(0).to_pylist():
            n_cells += 1
            n_numbers += NUMBER_OR_NONE.fullmatch(str(cell)) is not None
    return MIXED_SHARE * n_cells <= n_numbers < n_cells


def _refuse_matrices(schema: pa.Schema) -> None:
    """Raise a DataError if a column holds several vectors in each row, such as one per token."""
    for field in schema:
        if holds_matrices(field.type):
            raise DataError(
                f"Column {field.name!r} holds several vectors in each row ({field.type}); needed "
                "is one.",
                column=field.name,
                remedy=f"With pandas, frame.explode({field.name!r}) has a row for each vector; "
                f"or give them as an array: np.concatenate(list(data[{field.name!r}])).",
            )


def _refuse_vectors_as_text(table: LazyTable) -> None:
    """Raise a DataError if a column holds vectors as text, such as "[0.1, 0.2]"."""
    for name in _text_columns(table.schema):
        cell = str(_first_cell(table, name)).strip()
        if re.match(r"\[\s*[-+.\d]", cell) and cell.endswith("]"):
            raise DataError(
                f"Column {name!r} holds vectors as text: {cell[:30]!r}….",
                column=name,
                remedy=f"Convert it first: frame[{name!r}] = frame[{name!r}].map(json.loads).",
            )
