"""What people edit, in `RUN/user.sqlite`: names and bookmarks of features, tags of rows.

Every change is one short transaction; several explorers may write at the same time. Names of people
win over labels wherever labels are read.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np

SCHEMA = (
    "CREATE TABLE IF NOT EXISTS names (feature INTEGER PRIMARY KEY, name TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS bookmarks (feature INTEGER PRIMARY KEY)",
    "CREATE TABLE IF NOT EXISTS tags (corpus TEXT, tag TEXT, row INTEGER, "
    "PRIMARY KEY (corpus, tag, row)) WITHOUT ROWID",
)
WAIT = 30.0  # seconds to wait for another writer


def names(run: str | Path) -> dict[int, str]:
    """Return the names that people gave to features.

    Raises:
        ValueError: If the file is damaged; so in all functions here.
    """
    return dict(_read(run, "SELECT feature, name FROM names ORDER BY feature"))


def bookmarks(run: str | Path) -> list[int]:
    """Return the bookmarked features, ascending."""
    return [j for (j,) in _read(run, "SELECT feature FROM bookmarks ORDER BY feature")]


def tags(run: str | Path, corpus: str) -> dict[str, int]:
    """Return the tags of a corpus and on how many rows each is."""
    ask = "SELECT tag, count(*) FROM tags WHERE corpus = ? GROUP BY tag ORDER BY tag"
    return dict(_read(run, ask, (corpus,)))


def tagged(run: str | Path, corpus: str, tag: str) -> np.ndarray:
    """Return the rows with a tag, ascending int64."""
    ask = "SELECT row FROM tags WHERE corpus = ? AND tag = ? ORDER BY row"
    return np.array([row for (row,) in _read(run, ask, (corpus, tag))], np.int64)


def tags_of(run: str | Path, corpus: str, row: int) -> list[str]:
    """Return the tags of one row."""
    ask = "SELECT tag FROM tags WHERE corpus = ? AND row = ? ORDER BY tag"
    return [tag for (tag,) in _read(run, ask, (corpus, row))]


def rename(run: str | Path, feature: int, name: str) -> None:
    """Name a feature; an empty name gives its label back."""
    with _write(run) as db:
        db.execute("DELETE FROM names WHERE feature = ?", (feature,))
        if name:
            db.execute("INSERT INTO names VALUES (?, ?)", (feature, name))


def bookmark(run: str | Path, feature: int, on: bool = True) -> None:
    """Set or remove a bookmark."""
    with _write(run) as db:
        change = "INSERT OR IGNORE INTO bookmarks VALUES (?)"
        db.execute(change if on else "DELETE FROM bookmarks WHERE feature = ?", (feature,))


def tag(run: str | Path, corpus: str, tag: str, rows: Iterable[int], on: bool = True) -> None:
    """Put a tag on rows, or take it off."""
    change = "INSERT OR IGNORE INTO tags VALUES (?, ?, ?)"
    if not on:
        change = "DELETE FROM tags WHERE corpus = ? AND tag = ? AND row = ?"
    with _write(run) as db:
        db.executemany(change, ((corpus, tag, int(row)) for row in rows))


def _read(run: str | Path, ask: str, values: tuple = ()) -> list[tuple]:
    if not (path := Path(run) / "user.sqlite").exists():
        return []
    with _speaking(path), closing(sqlite3.connect(path, timeout=WAIT)) as db:
        try:
            return db.execute(ask, values).fetchall()
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):  # another process is about to make it
                return []
            raise


@contextmanager
def _write(run: str | Path) -> Iterator[sqlite3.Connection]:
    path = Path(run) / "user.sqlite"
    with (
        _speaking(path),
        closing(sqlite3.connect(path, timeout=WAIT, isolation_level=None)) as db,
    ):
        db.execute("BEGIN IMMEDIATE")
        for statement in SCHEMA:
            db.execute(statement)
        yield db
        db.execute("COMMIT")


@contextmanager
def _speaking(path: Path) -> Iterator[None]:
    """Say which file is damaged, locked or read-only, and what to do."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise OSError(f"{path} cannot be used now: {error}. Is the folder writable?") from error
    except sqlite3.DatabaseError as error:
        raise ValueError(
            f"{path} is damaged ({error}): move it away, or put a copy in its place; it holds "
            "names, bookmarks and tags only."
        ) from error
