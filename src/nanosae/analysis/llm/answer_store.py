"""A cache of language models' answers in an SQLite file, written as they arrive."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nanosae.errors import BusyError, DamagedFileError, WriteError

WAIT = 60  # seconds to wait for a lock of another process


class AnswerStore:
    """Answers under a hash of everything that can change them; for one thread at a time.

    Args:
        path: The SQLite file, created if it does not exist.

    Raises:
        BusyError: If another process holds a lock on the file.
        DamagedFileError: If the file is not an SQLite file.
        WriteError: If the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._readable_errors():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, check_same_thread=False, timeout=WAIT)
            columns = "key PRIMARY KEY, request, answer, checksum"
            try:
                self._db.execute(f"CREATE TABLE IF NOT EXISTS answers ({columns})")
            except sqlite3.Error:
                self._db.close()
                raise

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def get(self, request: dict[str, Any]) -> str | None:
        """Return the answer to a request; None if it is unknown or damaged."""
        key = _key(_text(request))
        query = "SELECT answer, checksum FROM answers WHERE key = ?"
        with self._readable_errors():
            found = self._db.execute(query, [key]).fetchone()
        if found is None or not isinstance(found[0], str):
            return None
        answer, checksum = found
        return answer if checksum == _checksum(key, answer) else None

    def put(self, request: dict[str, Any], answer: str) -> None:
        """Store an answer; it is on disk when this returns."""
        text = _text(request)
        with self._readable_errors(), self._db:
            key = _key(text)
            values = (key, text, answer, _checksum(key, answer))
            self._db.execute("REPLACE INTO answers VALUES (?, ?, ?, ?)", values)

    @contextmanager
    def _readable_errors(self) -> Iterator[None]:
        """Translate errors of SQLite and of the file system to errors that name the file."""
        try:
            yield
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise BusyError(
                    f"{self.path} is locked by another process.",
                    file=self.path,
                    remedy="Wait until it is done.",
                ) from error
            raise WriteError(f"{self.path}: {error}.", file=self.path) from error
        except sqlite3.DatabaseError as error:
            raise DamagedFileError(
                f"{self.path} is not an SQLite file of answers: {error}.",
                file=self.path,
                remedy="Move it away; its answers will be requested and paid for again.",
            ) from error
        except OSError as error:
            raise WriteError(
                f"{self.path.parent} cannot be created: {error}.", file=self.path
            ) from error


def _checksum(key: str, answer: str) -> int:
    return zlib.crc32(f"{key} {answer}".encode("utf-8", "surrogatepass"))


def _text(request: dict[str, Any]) -> str:
    return json.dumps(request, sort_keys=True, ensure_ascii=False)


def _key(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
