"""Rows from JSON that is not an array of objects: named lists, columns, tables, mappings.

Supports every `orient` of pandas, responses of web APIs, exports with several lists, and objects
whose keys are the names or labels of rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeGuard

from nanosae.sources.column_names import numbered_names

MAX_DEPTH = 3  # levels searched for a list of rows

Rows = list[Any]


def rows_of(value: Any, text: str) -> tuple[Rows, str | None]:
    """Return the rows of a JSON value, as objects or texts, and a note if others were skipped.

    Args:
        value: The value from `json.loads`.
        text: Name of the text column, if the value has none.

    Returns:
        The rows (an empty list if there are none) and the note or None.

    Example:
        >>> rows_of({"praise": ["lovely"], "complaints": ["late", "lost"]}, "text")[0][1]
        {'text': 'late', 'label': 'complaints'}
    """
    if isinstance(value, list):
        return _rows_of_list(value), None
    if not isinstance(value, dict) or not value:
        return [], None
    parts = list(value.values())
    if len(parts) == 1 and isinstance(parts[0], list):
        return _rows_of_list(parts[0]), None
    if _is_table(value):
        return _rows_of_cells(value["columns"], value["data"]), None
    if all(isinstance(part, dict) for part in parts):
        rows = _rows_of_objects(value)
        if rows:
            return rows, None
    if all(isinstance(part, str) for part in parts):
        return [{"key": key, "value": part} for key, part in value.items()], None
    if all(_is_list_of(part, str) for part in parts) and not _are_columns(value):
        return _labelled(value, text), None
    if _are_columns(value):
        return _rows_of_cells(list(value), list(zip(*parts, strict=True))), None
    return _longest_list(value)


def are_records(values: list[dict[str, Any]]) -> bool:
    """Return whether the objects of several files are one row each.

    They share their keys, which are fewer than the files (those of a file of translations are
    many), none holds a list of objects, and most of what they say is not in lists.

    Example:
        >>> are_records([{"title": "Rain", "tags": ["sky"]}, {"title": "Snow", "tags": []}])
        True
        >>> are_records([{"label": "sea", "texts": ["waves rolled in", "the tide went out"]}] * 2)
        False
    """
    shared = set.intersection(*map(set, values))
    if not 0 < len(shared) <= len(values) or any(map(_has_rows, values)):
        return False
    parts = [part for value in values for part in value.values()]
    lists = [part for part in parts if isinstance(part, list)]
    return _n_characters(parts) > sum(map(_n_characters, lists))


def _n_characters(values: list[Any]) -> int:
    return sum(len(value) for value in values if isinstance(value, str))


def _rows_of_list(rows: list[Any]) -> Rows:
    """Return objects and texts unchanged, and arrays as objects with numbered columns."""
    if not rows or not all(isinstance(row, list) for row in rows):
        return rows
    width = max(map(len, rows))
    first = rows[0]
    n_different = len(set(map(str, first)))
    has_names = n_different == width and _is_list_of(first, str)
    others_are_strings = all(_is_list_of(row, str) for row in rows[1:])
    if has_names and not others_are_strings:
        return _rows_of_cells(first, rows[1:])
    return _rows_of_cells(numbered_names(width), rows)


def _rows_of_cells(names: list[Any], rows: list[Any]) -> Rows:
    return [dict(zip(map(str, names), row, strict=False)) for row in rows]


def _rows_of_objects(value: dict[str, dict]) -> Rows:
    """Return the objects of an object or, if they are columns, an object for each row."""
    parts = list(value.values())
    shared = set.intersection(*map(set, parts))
    is_response = len(parts) == 1 and _has_rows(parts[0])
    if not shared or is_response:
        return []
    if len(parts) >= len(shared):
        return [{"key": key} | part for key, part in value.items()]
    first, longest = parts[0], max(parts, key=len)
    holds_more = any(isinstance(cell, dict | list) for cell in first.values())
    if holds_more or len(shared) < len(longest):
        return []
    rows = zip(*([part[key] for key in first] for part in parts), strict=True)
    return _rows_of_cells(list(value), list(rows))


def _is_list_of(value: Any, kind: type) -> TypeGuard[list[Any]]:
    return isinstance(value, list) and all(isinstance(cell, kind) for cell in value)


def _are_columns(value: dict[str, Any]) -> bool:
    """Return whether an object consists of lists of cells of the same length."""
    parts = list(value.values())
    if not all(isinstance(part, list) for part in parts):
        return False
    holds_rows = any(_is_list_of(part, dict) and part for part in parts)
    return len(set(map(len, parts))) == 1 and not holds_rows


def _is_table(value: dict[str, Any]) -> bool:
    """Return whether an object has names of columns, and lists of as many cells."""
    columns, rows = value.get("columns"), value.get("data")
    if not isinstance(columns, list) or not _is_list_of(rows, list):
        return False
    return all(len(row) <= len(columns) for row in rows)


def _labelled(value: dict[str, list[str]], text: str) -> Rows:
    return [
        {text: one, "label": label} for label, texts in value.items() for one in texts
    ]


def _longest_list(value: dict[str, Any]) -> tuple[Rows, str | None]:
    """Return the longest list of objects or texts in an object, up to `MAX_DEPTH` levels."""
    lists = dict(_lists_in(value, "", MAX_DEPTH))
    if not lists:
        return [], None
    longest = max(lists, key=lambda name: len(lists[name]))
    others = [name for name, rows in lists.items() if rows and name != longest]
    if not others:
        return lists[longest], None
    skipped = ", ".join(repr(name) for name in others)
    note = f"Read the longest of several lists, {longest!r}; skipped {skipped}."
    return lists[longest], note


def _lists_in(
    value: dict[str, Any], prefix: str, depth: int
) -> Iterator[tuple[str, Rows]]:
    """Yield the lists of objects or texts in an object, by their paths."""
    for name, part in value.items():
        if isinstance(part, dict) and depth > 1:
            yield from _lists_in(part, f"{prefix}{name}.", depth - 1)
        elif isinstance(part, list) and _holds_rows(part):
            yield f"{prefix}{name}", part


def _has_rows(value: dict[str, Any]) -> bool:
    """Return whether a field of an object is a list of objects."""
    return any(_is_list_of(part, dict) and part for part in value.values())


def _holds_rows(values: list[Any]) -> bool:
    return _is_list_of(values, dict) or _is_list_of(values, str)
