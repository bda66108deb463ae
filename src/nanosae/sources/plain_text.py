"""Plain texts from texts as mail programs, help desks and web pages write them."""

from __future__ import annotations

import pyarrow as pa

from nanosae.errors import counted
from nanosae.sources.html_text import without_entities, without_html
from nanosae.sources.mail_text import without_replies


def as_plain_text(values: pa.ChunkedArray) -> tuple[pa.ChunkedArray, list[str]]:
    """Return texts without HTML and quoted replies, and notes on what was changed.

    Example:
        >>> texts, notes = as_plain_text(pa.chunked_array([["fish &amp; chips", "tea"]]))
        >>> texts.to_pylist(), notes
        (['fish & chips', 'tea'], ['Entities such as &amp; were replaced in 1 text.'])
    """
    texts, n_entities = without_entities(values)
    texts, note_on_html = without_html(texts)
    texts, n_replies = without_replies(texts)
    notes = []
    if n_entities:
        with_entities = counted(n_entities, "text")
        notes.append(f"Entities such as &amp; were replaced in {with_entities}.")
    if note_on_html is not None:
        notes.append(note_on_html)
    if n_replies:
        with_replies = counted(n_replies, "text")
        notes.append(f"Quoted replies were removed from {with_replies}.")
    return texts, notes
