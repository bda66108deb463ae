"""What people add to a run, in `RUN/user.sqlite`: names and bookmarks of features, tags of rows.

Names and bookmarks belong to a model, tags to a corpus and its data; those of other models and data
stay in the file. Every change is one short transaction, so several explorers may write at the same
time. Names win over labels wherever labels are read.

The file holds a checksum of all its lines, which triggers keep up to date.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np

from nanosae.atomic import write_path
from nanosae.checked import file_state
from nanosae.codes.places import indices
from nanosae.errors import ConfigError, DamagedFileError, WriteError
from nanosae.lock import SHORT_CHANGE, Lock
from nanosae.runs.results import model_checksum

WAIT = 30.0  # seconds to wait for another writer
VERSION = 2
LOCK = ".annotations.lock"
COLUMNS = {
    "names": ("model", "feature", "name"),
    "bookmarks": ("model", "feature"),
    "tags": ("corpus", "data", "tag", "row"),
}
CREATE = (
    "CREATE TABLE names (model TEXT, feature INTEGER, name TEXT NOT NULL, "
    "PRIMARY KEY (model, feature)) WITHOUT ROWID",
    "CREATE TABLE bookmarks (model TEXT, feature INTEGER, "
    "PRIMARY KEY (model, feature)) WITHOUT ROWID",
    "CREATE TABLE tags (corpus TEXT, data TEXT, tag TEXT, row INTEGER, "
    "PRIMARY KEY (corpus, data, tag, row)) WITHOUT ROWID",
)
MODULUS = 2**62
LARGEST = 2**62  # number of a row or feature
_verified: dict[Path, tuple[int, ...]] = {}  # state of each file when last verified


def names(run: str | Path, model: str | None = None) -> dict[int, str]:
    """Return the names that people gave to features.

    Args:
        run: The run folder.
        model: Checksum of the model of the features, by default the run's; in all functions here.

    Raises:
        DamagedFileError: If the file was changed or damaged; in all functions here.
    """
    query = "SELECT feature, name FROM names WHERE model = ? ORDER BY feature"
    return dict(_read(run, query, (_model(run, model),)))


def bookmarks(run: str | Path, model: str | None = None) -> list[int]:
    """Return the bookmarked features, ascending."""
    query = "SELECT feature FROM bookmarks WHERE model = ? ORDER BY feature"
    return [feature for (feature,) in _read(run, query, (_model(run, model),))]


def tags(run: str | Path, corpus: str, data: str = "") -> dict[str, int]:
    """Return the tags of a corpus, with the number of rows of each.

    Args:
        run: The run folder.
        corpus: Name of the corpus.
        data: Fingerprint of its data, `Codes.data`; in all functions on tags.
    """
    query = "SELECT tag, count(*) FROM tags WHERE corpus = ? AND data = ? GROUP BY tag ORDER BY tag"
    return dict(_read(run, query, (corpus, data)))


def tagged(run: str | Path, corpus: str, tag: str, data: str = "") -> np.ndarray:
    """Return the rows with a tag, ascending int64."""
    query = (
        "SELECT row FROM tags WHERE corpus = ? AND data = ? AND tag = ? ORDER BY row"
    )
    return np.array(
        [row for (row,) in _read(run, query, (corpus, data, tag))], np.int64
    )


def tags_of(run: str | Path, corpus: str, row: int, data: str = "") -> list[str]:
    """Return the tags of one row."""
    query = (
        "SELECT tag FROM tags WHERE corpus = ? AND data = ? AND row = ? ORDER BY tag"
    )
    return [tag for (tag,) in _read(run, query, (corpus, data, row))]


def rename(run: str | Path, feature: int, name: str, model: str | None = None) -> None:
    """Name a feature; an empty name restores its label.

    Raises:
        ConfigError: If the name is not Unicode.
        DataError: If the feature is not a number; in all functions that change something.
    """
    _check_unicode("name", name)
    (feature,) = _numbers([feature], "feature")
    line = (_model(run, model), feature)
    with _write(run) as db:
        db.execute("DELETE FROM names WHERE model = ? AND feature = ?", line)
        if name:
            db.execute("INSERT INTO names VALUES (?, ?, ?)", (*line, name))


def bookmark(
    run: str | Path, feature: int, *, on: bool = True, model: str | None = None
) -> None:
    """Set or remove a bookmark."""
    change = "DELETE FROM bookmarks WHERE model = ? AND feature = ?"
    if on:
        change = "INSERT OR IGNORE INTO bookmarks VALUES (?, ?)"
    (feature,) = _numbers([feature], "feature")
    with _write(run) as db:
        db.execute(change, (_model(run, model), feature))


def tag(
    run: str | Path,
    corpus: str,
    tag: str,
    rows: Iterable[int],
    *,
    on: bool = True,
    data: str = "",
) -> None:
    """Add a tag to rows, or remove it.

    Raises:
        ConfigError: If the tag is blank or not Unicode.
    """
    if not tag.strip():
        raise ConfigError("a tag must not be blank.")
    _check_unicode("tag", tag)
    change = "DELETE FROM tags WHERE corpus = ? AND data = ? AND tag = ? AND row = ?"
    if on:
        change = "INSERT OR IGNORE INTO tags VALUES (?, ?, ?, ?)"
    lines = [(corpus, data, tag, row) for row in _numbers(rows, "row")]
    with _write(run) as db:
        db.executemany(change, lines)


def _check_unicode(what: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"the {what} has bytes that are not UTF-8.") from None


def _numbers(given: Iterable[int], what: str) -> list[int]:
    """Return numbers of rows or features as SQLite stores them; it knows none of NumPy's types."""
    return indices(list(given), LARGEST, what).tolist()


def _model(run: str | Path, model: str | None) -> str:
    return model_checksum(run) if model is None else model


def _read(run: str | Path, query: str, values: tuple) -> list[tuple]:
    path = Path(run) / "user.sqlite"
    if not path.exists():
        return []
    with _naming(path), closing(_connect(path)) as db:
        db.execute("BEGIN")  # so that all queries see the same state of the file
        _verify(path, db)
        return db.execute(query, values).fetchall()


@contextmanager
def _write(run: str | Path) -> Iterator[sqlite3.Connection]:
    path = Path(run) / "user.sqlite"
    if not path.exists():
        with _naming(path), Lock(path.with_name(LOCK), SHORT_CHANGE):
            if not path.exists():
                write_path(path, _make)
    with _naming(path), closing(_connect(path)) as db:
        db.execute("BEGIN IMMEDIATE")
        _verify(path, db)
        yield db
        db.execute("COMMIT")
        _verified[path.absolute()] = file_state(path)


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=WAIT, isolation_level=None)
    db.create_function("line_checksum", -1, _line_checksum, deterministic=True)
    return db


def _line_checksum(*values: object) -> int:
    return zlib.crc32(repr(values).encode("utf-8", "surrogatepass"))


def _make(path: Path) -> None:
    """Create an empty file of annotations, with triggers that keep its checksum up to date."""
    with closing(_connect(path)) as db:
        db.execute("BEGIN")
        for statement in CREATE:
            db.execute(statement)
        db.execute("CREATE TABLE checksum (total INTEGER NOT NULL)")
        db.execute("INSERT INTO checksum VALUES (0)")
        for table, columns in COLUMNS.items():
            for event, row, sign in (("INSERT", "NEW", "+"), ("DELETE", "OLD", "-")):
                values = ", ".join(f"{row}.{column}" for column in columns)
                total = f"total {sign} line_checksum('{table}', {values})"
                db.execute(
                    f"CREATE TRIGGER {table}_{event} AFTER {event} ON {table} "
                    f"BEGIN UPDATE checksum SET total = ({total}) % {MODULUS}; END"
                )
        db.execute(f"PRAGMA user_version = {VERSION}")
        db.execute("COMMIT")


def _verify(path: Path, db: sqlite3.Connection) -> None:
    """Verify all lines by their checksum, once for each state of the file."""
    signature = file_state(path)
    if _verified.get(path.absolute()) == signature:
        return
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version != VERSION:
        raise sqlite3.DatabaseError(f"version {version} is unknown")
    problem = db.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if problem != "ok":
        raise sqlite3.DatabaseError(problem)
    total = 0
    for table, columns in COLUMNS.items():
        for line in db.execute(f"SELECT {', '.join(columns)} FROM {table}"):
            total += _line_checksum(table, *line)
    row = db.execute("SELECT total FROM checksum").fetchone()
    stored = None if row is None else row[0]
    if not isinstance(stored, int) or (total - stored) % MODULUS:
        raise sqlite3.DatabaseError("its checksum does not match its lines")
    _verified[path.absolute()] = signature


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Turn sqlite's errors into errors that name the file and a remedy.

    Errors of the caller, such as a value of the wrong type, pass: they leave the file unchanged.
    """
    try:
        yield
    except (sqlite3.ProgrammingError, sqlite3.IntegrityError):
        raise
    except sqlite3.OperationalError as error:
        if path.exists() and "no such" in str(error):
            raise _damaged(path, error) from error
        raise WriteError(
            f"{path} cannot be used now: {error}.",
            file=path,
            remedy="Is the folder writable?",
        ) from error
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> DamagedFileError:
    return DamagedFileError(
        f"{path} is damaged ({error}).",
        file=path,
        remedy="Move it away or restore a copy; it holds only names, bookmarks and tags.",
    )
