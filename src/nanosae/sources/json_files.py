"""Tables from JSON: an array of objects or texts, an object of columns, or an object per line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import json as arrow_json

from nanosae.errors import DataError
from nanosae.sources.json_shapes import rows_of
from nanosae.sources.kinds import is_list
from nanosae.sources.notes import with_note

BLOCK_BYTES = 2**26  # a row must fit into a block


def read_json_lines(path: Path, text_column: str | None = None) -> pa.Table:
    """Read one JSON object per line; the text column is read verbatim."""
    parse = None
    if text_column is not None:
        schema = pa.schema({text_column: pa.string()})
        parse = arrow_json.ParseOptions(explicit_schema=schema)
    read = arrow_json.ReadOptions(block_size=BLOCK_BYTES)
    try:
        with pa.input_stream(str(path), compression="detect") as stream:
            table = arrow_json.read_json(stream, read, parse)
    except pa.ArrowInvalid as error:
        if "changed from" not in str(error):
            raise
        return _read_mixed_lines(path, text_column, error)
    if text_column is not None and table[text_column].null_count == len(table):
        table = table.drop_columns(text_column)  # only exists in the given schema
    return table


def _read_mixed_lines(
    path: Path, text_column: str | None, reason: Exception
) -> pa.Table:
    """Read lines in which a field has values of several types, such as 5 and "five"."""
    with pa.input_stream(str(path), compression="detect") as stream:
        lines = stream.read().splitlines()
    records = [json.loads(line) for line in lines if line.strip()]
    table = _table_of_records(records, path, reason)
    if text_column not in table.column_names:
        return table
    place = table.column_names.index(text_column)
    if _is_chat(table.schema.field(place).type):
        return table
    texts = [_as_text(value) for value in table[text_column].to_pylist()]
    return table.set_column(place, text_column, pa.array(texts, pa.string()))


def read_json(path: Path, text_column: str | None = None) -> pa.Table:
    """Read a JSON file of any supported structure."""
    with pa.input_stream(str(path), compression="detect") as stream:
        content = stream.read()
    try:
        value = json.loads(content)
    except json.JSONDecodeError:
        return read_json_lines(path, text_column)
    rows, note = rows_of(value, text_column or "text")
    if not rows:
        raise DataError(f"{path} holds no array of rows.", file=path)
    if all(isinstance(row, str) for row in rows):
        table = pa.table({text_column or "text": rows})
    else:
        table = _table_of_records(rows, path)
    return table if note is None else with_note(table, note)


def _table_of_records(
    records: Sequence[Any], path: Path, reason: Exception | None = None
) -> pa.Table:
    """Return a table with a column for each key; values of several types become texts."""
    names: dict[str, None] = {}  # in their order
    for row, record in enumerate(records):
        if not isinstance(record, dict):
            raise DataError(
                f"{path}, row {row} (0-based) is {record!r:.60}, not an object.",
                file=path,
                row=row,
            ) from reason
        names |= dict.fromkeys(record)
    columns = {}
    for name in names:
        columns[name] = _column([record.get(name) for record in records])
    return pa.table(columns)


def _column(values: list[Any]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([_as_text(value) for value in values], pa.string())


def _as_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def with_chats_as_text(table: pa.Table) -> pa.Table:
    """Convert columns of chat messages, lists of {"role", "content"}, to texts."""
    for i, field in enumerate(table.schema):
        if not _is_chat(field.type):
            continue
        texts = [_chat_text(messages) for messages in table.column(i).to_pylist()]
        table = table.set_column(i, field.name, pa.array(texts, pa.string()))
    return table


def _is_chat(kind: pa.DataType) -> bool:
    if not is_list(kind) or not pa.types.is_struct(kind.value_type):
        return False
    return kind.value_type.get_field_index("content") >= 0


def _chat_text(messages: list[dict[str, Any]] | None) -> str | None:
    if messages is None:
        return None
    contents = [message["content"] for message in messages]
    return "\n".join(str(content) for content in contents if content)
