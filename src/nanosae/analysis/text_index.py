"""Words in texts and labels: a full-text index (SQLite FTS5) of a corpus, and its labels.

The index, `texts.sqlite` beside the codes, is made when it is first needed and made anew when the
corpus has grown. Case and punctuation do not count.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path

import numpy as np

from nanosae.atomic import write_path
from nanosae.checked import BLANK, is_sealed, seal_file
from nanosae.codes import Codes
from nanosae.errors import DamagedFileError
from nanosae.runs.tables import known_labels

BLOCK = 2**14  # rows that are indexed together


def find_texts(
    codes: Codes, words: str, n: int = 10, *, every: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows whose texts hold any of the words, best first by BM25, and their scores.

    Args:
        codes: The corpus.
        words: The words.
        n: Number of rows.
        every: Only rows that hold all the words.

    Raises:
        DamagedFileError: If the index cannot be read.
    """
    pattern = _match_pattern(words, " AND " if every else " OR ")
    query = "SELECT rowid - 1, -bm25(texts) FROM texts WHERE texts MATCH ?"
    found = _lookup(codes, f"{query} ORDER BY rank, rowid LIMIT ?", pattern, n)
    rows = np.array([row for row, _ in found], np.int64)
    scores = np.array([score for _, score in found], np.float64)
    return rows, scores


def rows_with(codes: Codes, words: str) -> np.ndarray:
    """Return all rows whose texts hold all the words, ascending int64."""
    query = "SELECT rowid - 1 FROM texts WHERE texts MATCH ? ORDER BY rowid"
    found = _lookup(codes, query, _match_pattern(words, " AND "))
    return np.array([row for (row,) in found], np.int64)


def find_labels(codes: Codes, words: str, n: int = 10) -> list[tuple[int, str]]:
    """Return features whose labels hold any of the words: most words first, then lower number."""
    wanted = set(_split_words(words))
    found = []
    for feature, label in known_labels(codes).items():
        n_common = len(wanted & set(_split_words(label)))
        if n_common:
            found.append((-n_common, feature, label))
    return [(feature, label) for _, feature, label in sorted(found)[:n]]


def has_index(codes: Codes) -> bool:
    """Say whether the full-text index is there, undamaged and made from these codes."""
    path = _index_path(codes)
    if not path.exists() or not is_sealed(path):
        return False
    with closing(sqlite3.connect(path)) as db, suppress(sqlite3.DatabaseError):
        return db.execute("SELECT codes FROM made_from").fetchone()[0] == codes.checksum
    return False


def text_index(codes: Codes) -> Path:
    """Return the path of the full-text index, which is made if it is missing or out of date."""
    path = _index_path(codes)
    if has_index(codes):
        return path
    write_path(path, lambda draft: _make_index(codes, draft))
    return path


def _make_index(codes: Codes, path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE VIRTUAL TABLE texts USING fts5(text, content='')")
        for start in range(0, codes.n_rows, BLOCK):
            rows = range(start, min(start + BLOCK, codes.n_rows))
            numbers = [row + 1 for row in rows]
            texts = codes.texts(rows, marks="")
            pairs = zip(numbers, texts, strict=True)
            db.executemany("INSERT INTO texts (rowid, text) VALUES (?, ?)", pairs)
        db.execute("CREATE TABLE made_from (codes TEXT, checksum TEXT)")
        db.execute("INSERT INTO made_from VALUES (?, ?)", (codes.checksum, BLANK))
        db.commit()
    seal_file(path)


def _index_path(codes: Codes) -> Path:
    return codes.path / "texts.sqlite"


def _lookup(codes: Codes, query: str, pattern: str, *more: int) -> Sequence[tuple]:
    """Ask the index; nothing matches a pattern without a word."""
    if not pattern:
        return []
    path = text_index(codes)
    try:
        with closing(sqlite3.connect(path)) as db:
            return db.execute(query, (pattern, *more)).fetchall()
    except sqlite3.DatabaseError as error:
        raise DamagedFileError(
            f"{path} cannot be read: {error}.",
            file=path,
            remedy="Delete it; it is made again when it is needed.",
        ) from error


def _match_pattern(words: str, operator: str) -> str:
    return operator.join(f'"{word}"' for word in _split_words(words))


def _split_words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())
