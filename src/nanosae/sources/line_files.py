"""Files of plain text: a text per file, per paragraph, per message, per entry or per line.

What a file is shows in its lines: chats, subtitles and what speakers say (`transcripts`), entries
of a log (`logs`), rows of a table, paragraphs of broken lines and verses (`paragraphs`). Of all
other files each line is a text.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from statistics import median

import pyarrow as pa

from nanosae.errors import DataError
from nanosae.sources.csv_files import open_stream, read_csv
from nanosae.sources.dialects import decode_text
from nanosae.sources.folders import folder_columns
from nanosae.sources.front_matter import columns_of_fields, split_front_matter
from nanosae.sources.logs import read_log
from nanosae.sources.notes import with_note
from nanosae.sources.paragraphs import split_paragraphs
from nanosae.sources.transcripts import read_transcript

DELIMITERS = "\t|;"  # a comma stands in texts, too
LOOKED_AT = 200  # lines from which a table is recognised
MIN_ROWS = 10
NAME_WORDS = 3  # of a header's cell above texts
TEXT_WORDS = 4  # from which on a column's cells are texts


def read_text_files(files: Sequence[Path], name: str, encoding: str) -> pa.Table:
    """Read a text per file, with the names of the files and, if there are several, folders.

    The front matter of Markdown, fields between two lines of "---", becomes columns.
    """
    split = [split_front_matter(_content(file, encoding)) for file in files]
    columns = {name: [text for _, text in split], "file": [file.name for file in files]}
    columns |= folder_columns(files)
    fields = columns_of_fields([fields for fields, _ in split])
    for field, values in fields.items():
        columns.setdefault(field, values)
    return pa.table(columns)


def _content(path: Path, encoding: str) -> str:
    with open_stream(path) as stream:
        return decode_text(stream.read(), path, encoding)


def read_lines(path: Path, name: str, encoding: str) -> pa.Table:
    """Read a file as what its lines are; of texts in lines, empty ones are included."""
    content = _content(path, encoding)
    lines = content.replace("\r\n", "\n").split("\n")
    if not lines[-1]:
        lines.pop()  # the last line is ended like the others
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
    """Return what separates the cells of lines that are rows of a table; None of other lines."""
    first = _first(lines)
    if len(first) < MIN_ROWS:
        return None
    for delimiter in DELIMITERS:
        widths = {len(row) for row in csv.reader(first, delimiter=delimiter)}
        if len(widths) == 1 and widths != {1}:
            return delimiter
    return None


def _first(lines: Sequence[str]) -> list[str]:
    """Return the first lines that are not empty."""
    filled = (line for line in lines if line.strip())
    return list(islice(filled, LOOKED_AT))


def _read_table(
    path: Path, lines: Sequence[str], encoding: str, delimiter: str
) -> pa.Table:
    header, *rows = csv.reader(_first(lines), delimiter=delimiter)
    columns = zip(header, zip(*rows, strict=True), strict=True)
    is_text_first = any(_is_above_no_texts(cell, cells) for cell, cells in columns)
    table = read_csv(
        path,
        encoding=encoding,
        delimiter=delimiter,
        has_header=False if is_text_first else None,
    )
    return with_note(
        table, f"The lines are rows of a table, separated by {delimiter!r}."
    )


def _is_above_no_texts(name: str, cells: Sequence[str]) -> bool:
    """Return whether a cell is as long as the texts under it, and so none of their names."""
    n_words = median(len(cell.split()) for cell in cells)
    is_long = len(name.split()) > NAME_WORDS and not name.rstrip().endswith(("?", ":"))
    return n_words >= TEXT_WORDS and is_long
