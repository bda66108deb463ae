"""Notes for the user about reading a file, stored in the metadata of the table's schema."""

from __future__ import annotations

import json

import pyarrow as pa

NOTES = b"nanosae.notes"


def with_note(table: pa.Table, note: str) -> pa.Table:
    """Add a sentence for the user to a table.

    Example:
        >>> noted = with_note(pa.table({"text": ["a"]}), "Skipped two lines.")
        >>> notes_of(noted)
        ['Skipped two lines.']
    """
    kept = table.schema.metadata or {}
    notes = [*notes_of(table), note]
    return table.replace_schema_metadata({**kept, NOTES: json.dumps(notes)})


def notes_of(table: pa.Table) -> list[str]:
    """Return the notes of a table."""
    metadata = table.schema.metadata or {}
    return json.loads(metadata.get(NOTES, b"[]"))
