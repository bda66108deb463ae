"""Tables from JSON: an array of objects or texts, an object of columns, or an object per line."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import json as arrow_json

from nanosae.errors import DataError
from nanosae.sources.faults import not_valid_text
from nanosae.sources.folders import open_stream
from nanosae.sources.json_shapes import are_records, rows_of
from nanosae.sources.kinds import exceeds_integers, is_list
from nanosae.sources.notes import with_note

BLOCK_BYTES = 2**26  # a row must fit into a block
# errors of Arrow: fields with values of several types, lists that begin with null, and half pairs,
# which are reported with their row
NOT_FOR_ARROW = ("changed from", "list offsets", "surrogate pair")
MOST_SPACES = 64  # before the null of a line
NULL_LINE = re.compile(rb"[\r\n](?:\xef\xbb\xbf)?[ \t]*null")
# errors for values that have no common type
UNLIKE = (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError)


def read_json_lines(path: Path, text_column: str | None = None) -> pa.Table:
    """Read one JSON object per line; the text column is read verbatim."""
    if _may_have_null_lines(path):
        return _read_mixed_lines(path, text_column)
    parse = None
    if text_column is not None:
        schema = pa.schema({text_column: pa.string()})
        parse = arrow_json.ParseOptions(explicit_schema=schema)
    read = arrow_json.ReadOptions(block_size=BLOCK_BYTES)
    try:
        with open_stream(path) as stream:
            table = arrow_json.read_json(stream, read, parse)
        table.validate()
    except pa.ArrowInvalid as error:
        if not any(words in str(error) for words in NOT_FOR_ARROW):
            raise
        return _read_mixed_lines(path, text_column, error)
    if any(map(exceeds_integers, table.columns)):
        return _read_mixed_lines(path, text_column)
    if text_column is not None and table[text_column].null_count == len(table):
        table = table.drop_columns(text_column)  # only exists in the given schema
    return table


def _may_have_null_lines(path: Path) -> bool:
    """Return whether a line may be null, by which Arrow crashes if a block begins with it."""
    with open_stream(path) as stream:
        end = b"\n"
        while block := stream.read(BLOCK_BYTES):
            if NULL_LINE.search(end + block):
                return True
            end = block[-MOST_SPACES:]
    return False


def _read_mixed_lines(
    path: Path, text_column: str | None, reason: Exception | None = None
) -> pa.Table:
    """Read lines in which a field has values of several types, texts, or one array of all rows."""
    with open_stream(path) as stream:
        content = stream.read()
    try:
        value = json.loads(content)
    except json.JSONDecodeError:
        value = [json.loads(line) for line in content.splitlines() if line.strip()]
    values = value if isinstance(value, list) else [value]
    rows, _ = rows_of(values, text_column or "text")
    table = _table_of_rows(rows, path, text_column, reason)
    if text_column not in table.column_names:
        return table
    place = table.column_names.index(text_column)
    if _is_chat(table.schema.field(place).type):
        return table
    texts = [_as_text(value) for value in table[text_column].to_pylist()]
    return table.set_column(place, text_column, pa.array(texts, pa.string()))


def read_json(path: Path, text_column: str | None = None) -> pa.Table:
    """Read a JSON file of any supported structure."""
    with open_stream(path) as stream:
        content = stream.read()
    try:
        value = json.loads(content)
    except json.JSONDecodeError:
        return read_json_lines(path, text_column)
    rows, note = rows_of(value, text_column or "text")
    if not rows:
        raise DataError(f"{path} holds no array of rows.", file=path)
    table = _table_of_rows(rows, path, text_column)
    return table if note is None else with_note(table, note)


def read_json_records(paths: Sequence[Path]) -> pa.Table | None:
    """Read files that hold one record each, such as the articles of a folder, as a row per file.

    Returns:
        The rows, or None if the files are of another structure or cannot be parsed.
    """
    values = []
    for path in paths:
        with open_stream(path) as stream:
            content = stream.read()
        try:
            value = json.loads(content)
        except (ValueError, RecursionError):
            return None
        if not isinstance(value, dict):
            return None
        values.append(value)
    return table_of_records(values) if are_records(values) else None


def _table_of_rows(
    rows: Sequence[Any],
    path: Path,
    text_column: str | None,
    reason: Exception | None = None,
) -> pa.Table:
    """Return objects or texts as a table."""
    if all(isinstance(row, str) for row in rows):
        name = text_column or "text"
        try:
            return pa.table({name: rows})
        except UnicodeEncodeError as error:
            raise not_valid_text(rows, name) from error
    return _table_of_records(rows, path, reason)


def _table_of_records(
    records: Sequence[Any], path: Path, reason: Exception | None
) -> pa.Table:
    """Return objects as a table; raise a DataError for anything else."""
    for row, record in enumerate(records):
        if not isinstance(record, dict):
            raise DataError(
                f"{path}, row {row} (0-based) is {record!r:.60}, not an object.",
                file=path,
                row=row,
            ) from reason
    return table_of_records(records)


def table_of_records(records: Sequence[dict[str, Any]]) -> pa.Table:
    """Return a table with a column for each key; values of several types become texts.

    Example:
        >>> table_of_records([{"a": 1}, {"a": "x", "b": 2.5}]).to_pydict()
        {'a': ['1', 'x'], 'b': [None, 2.5]}
    """
    names: dict[str, None] = {}  # in their order
    for record in records:
        names |= dict.fromkeys(record)
    columns = {}
    for name in names:
        values = [record.get(name) for record in records]
        try:
            str(name).encode()
            columns[str(name)] = _column(values)
        except UnicodeEncodeError as error:
            raise not_valid_text(values, str(name)) from error
    return pa.table(columns)


def _column(values: list[Any]) -> pa.Array:
    """Return values as a column: of texts if they differ in type, or integers are too large."""
    with suppress(*UNLIKE):
        return pa.array(values, from_pandas=True)  # NaN is missing
    with suppress(*UNLIKE):
        return pa.array([_with_plain_contents(value) for value in values])
    return pa.array([_as_text(value) for value in values], pa.string())


def _as_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


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
    contents = [_content_text(message["content"]) for message in messages if message]
    return "\n".join(content for content in contents if content)


def _content_text(content: Any) -> str:
    """Return the content of a message, a text or a list of parts, as one text.

    Example:
        >>> _content_text([{"type": "text", "text": "What is this?"}, {"type": "image"}])
        'What is this?'
    """
    if not isinstance(content, list):
        return "" if content is None else str(content)
    texts = [part.get("text") if isinstance(part, dict) else part for part in content]
    return "\n".join(str(text) for text in texts if text)


def _with_plain_contents(value: Any) -> Any:
    """Return the messages of a chat with texts as contents; return any other value unchanged."""
    if not isinstance(value, list):
        return value
    messages = []
    for message in value:
        if not isinstance(message, dict) or "content" not in message:
            return value
        messages.append(message | {"content": _content_text(message["content"])})
    return messages
