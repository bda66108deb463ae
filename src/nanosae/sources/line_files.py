"""Plain text files, with one text per file, paragraph, message, entry or line.

The kind of a file is recognised from its lines: chats, subtitles and transcripts (`transcripts`),
logs (`logs`), rows of a table, wrapped paragraphs and verses (`paragraphs`). In all other files,
each line is a text.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import pyarrow as pa

from nanosae.errors import DataError
from nanosae.sources.csv_files import read_csv
from nanosae.sources.dialects import cells_up_to, decode, encoding_of
from nanosae.sources.entries import first_lines
from nanosae.sources.folders import folder_columns, open_stream
from nanosae.sources.front_matter import columns_of_fields, split_front_matter
from nanosae.sources.logs import read_log
from nanosae.sources.notes import with_note
from nanosae.sources.paragraphs import split_paragraphs
from nanosae.sources.transcripts import read_transcript

DELIMITERS = "\t|;"  # not commas, which occur in texts
MIN_ROWS = 10
NAME_WORDS = 3  # maximum words of a header cell above texts
TEXT_WORDS = 4  # median words from which cells are texts


def read_text_files(files: Sequence[Path], name: str, encoding: str) -> pa.Table:
    """Read one text per file, with the names of the files and, if there are several, of folders.

    The fields in the front matter of Markdown, between two lines of "---", become columns.
    """
    contents = [_content(file, encoding)[0] for file in files]
    split = list(map(split_front_matter, contents))
    texts = [text for _, text in split]
    columns = {name: texts, "file": [file.name for file in files]}
    columns |= folder_columns(files)
    fields = columns_of_fields([fields for fields, _ in split])
    for field, values in fields.items():
        columns.setdefault(field, values)
    return pa.table(columns)


def _content(path: Path, encoding: str) -> tuple[str, str]:
    """Return the content of a file and its encoding."""
    with open_stream(path) as stream:
        content = stream.read()
    found = encoding_of(content, encoding)
    return decode(content, path, found), found


def read_lines(path: Path, name: str, encoding: str) -> pa.Table:
    """Read a file according to its kind; if each line is a text, empty lines are included."""
    content, encoding = _content(path, encoding)
    lines = content.replace("\r\n", "\n").split("\n")
    if not lines[-1]:
        lines.pop()  # after the end of the last line
    if not lines:
        raise DataError(f"{path} is empty.", file=path)
    transcript = read_transcript(lines, name)
    if transcript is None:
        transcript = read_log(lines, name)
    if transcript is not None:
        return transcript
    delimiter = _delimiter(lines)
    if delimiter is not None:
        return _read_table(path, lines, encoding, delimiter)
    paragraphs = split_paragraphs(lines)
    if paragraphs is not None:
        table = pa.table({name: pa.array(paragraphs, pa.string())})
        return with_note(table, "Each block of lines between empty lines is one text.")
    return pa.table({name: pa.array(lines, pa.string())})


def _delimiter(lines: Sequence[str]) -> str | None:
    """Return the delimiter if the lines are rows of a table, otherwise None."""
    first = first_lines(lines)
    if len(first) < MIN_ROWS:
        return None
    for delimiter in DELIMITERS:
        widths = {len(row) for row in _rows(first, delimiter)}
        if len(widths) == 1 and widths != {1}:
            return delimiter
    return None


def _rows(lines: Sequence[str], delimiter: str) -> list[list[str]]:
    with cells_up_to(sum(map(len, lines)) + 1):
        return list(csv.reader(lines, delimiter=delimiter))


def _read_table(
    path: Path, lines: Sequence[str], encoding: str, delimiter: str
) -> pa.Table:
    header, *rows = _rows(first_lines(lines), delimiter)
    columns = zip(header, zip(*rows, strict=True), strict=True)
    has_text_first = any(_is_text_itself(cell, cells) for cell, cells in columns)
    table = read_csv(
        path,
        encoding=encoding,
        delimiter=delimiter,
        has_header=False if has_text_first else None,
    )
    return with_note(
        table, f"The lines were read as rows of a table, separated by {delimiter!r}."
    )


def _is_text_itself(first: str, others: Sequence[str]) -> bool:
    """Return whether the first cell of a column of texts is a text, not the column's name."""
    n_words = median(len(cell.split()) for cell in others)
    is_question = first.rstrip().endswith(("?", ":"))
    is_long = len(first.split()) > NAME_WORDS and not is_question
    return n_words >= TEXT_WORDS and is_long
