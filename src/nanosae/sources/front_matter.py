"""Front matter of Markdown files: fields such as title, date and tags between lines of "---"."""

from __future__ import annotations

import re
from typing import Any

MATTER = re.compile(r"\A---\r?\n(.*?)^---\s*$", re.DOTALL | re.MULTILINE)
FIELD = re.compile(r"^([A-Za-z][\w -]{0,39}):(?:\s+(.*))?$")
# a value of several lines, "description: >" and indented lines
BLOCK = re.compile(r":[ ]+[|>][+-]?\r?\n((?:[ \t]+.*\n|\r?\n)+)")
ITEM = re.compile(r"^\s*-\s+(.*)$")


def split_front_matter(content: str) -> tuple[dict[str, Any], str]:
    r"""Return the fields of a file, as strings or lists of strings, and its text.

    Fields are read line by line, ignoring nested ones.

    Example:
        >>> split_front_matter("---\ndate: 2024-01-05\ntags: [a, b]\n---\n# Head\nA text.\n")
        ({'date': '2024-01-05', 'tags': ['a', 'b']}, '# Head\nA text.')
    """
    matter = MATTER.match(content)
    if matter is None:
        return {}, content.strip()
    fields: dict[str, Any] = {}
    name = None
    on_one_line = BLOCK.sub(
        lambda block: f": {' '.join(block[1].split())}\n", matter[1]
    )
    for line in on_one_line.splitlines():
        field, item = FIELD.match(line), ITEM.match(line)
        if field is not None:
            name = field[1].strip()
            fields[name] = _value(field[2] or "")
        elif name is None and line.strip():
            return {}, content.strip()  # texts between two rules
        elif item is not None and name is not None:
            items = fields[name]
            before = items if isinstance(items, list) else []
            fields[name] = [*before, _unquoted(item[1])]
    return fields, content[matter.end() :].strip()


def _value(written: str) -> Any:
    written = written.strip()
    if written.startswith("[") and written.endswith("]"):
        parts = written[1:-1].split(",")
        return [_unquoted(part) for part in parts if part.strip()]
    return _unquoted(written)


def _unquoted(written: str) -> str:
    return written.strip().strip("\"'")


def columns_of_fields(fields: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return a column for each field, with lists in all rows if there is a list in any.

    Example:
        >>> columns_of_fields([{"tags": "a"}, {"tags": ["b", "c"]}, {}])
        {'tags': [['a'], ['b', 'c'], None]}
    """
    names = dict.fromkeys(name for own in fields for name in own)
    columns = {}
    for name in names:
        values = [own.get(name) for own in fields]
        if any(isinstance(value, list) for value in values):
            values = [_as_list(value) for value in values]
        columns[name] = values
    return columns


def _as_list(value: Any) -> list[str] | None:
    if value is None or isinstance(value, list):
        return value
    return [value] if value else []
