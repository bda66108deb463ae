"""Advisory locks: one writer at a time; readers never wait.

A lock is a file that names its holder (process, host, command, time). The operating system releases
it whenever the process ends. On file systems without locks, the lock of a process that no longer
exists is taken over.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from nanosae.atomic import process_exists
from nanosae.errors import BusyError, WriteError

PAUSE = 0.05  # seconds between two attempts
SHORT_CHANGE = 10.0  # seconds to wait for another process that only changes a few files
# Windows makes locked bytes unreadable: the locked one is far behind the content
FAR = 2**30


class Lock:
    """A lock, held until `release` or for the duration of a `with` block.

    Args:
        path: The lock file; its folder must exist.
        wait: Seconds to wait for another holder.

    Raises:
        BusyError: If another process holds the lock; the message names that process.
        WriteError: If the lock file cannot be written.
    """

    def __init__(self, path: str | Path, wait: float = 0.0) -> None:
        self.path = Path(path)
        deadline = time.monotonic() + wait
        while True:
            stream = self._attempt()
            if stream is not None:
                break
            if time.monotonic() >= deadline:
                raise _busy(self.path)
            time.sleep(PAUSE)
        self._stream: IO[bytes] | None = stream
        stream.truncate(0)
        stream.write(json.dumps(_this_process()).encode())
        stream.flush()

    def _attempt(self) -> IO[bytes] | None:
        """Return the locked file, or None if another process holds it."""
        try:
            stream = self.path.open("a+b", buffering=0)
        except OSError as error:
            reason = error.strerror or error
            raise WriteError(
                f"{self.path.parent} cannot be written ({reason}).",
                file=self.path.parent,
                remedy="Make the folder writable, or choose another folder.",
            ) from error
        if _lock(stream, self.path) and _is_still(stream, self.path):
            return stream
        stream.close()
        return None

    def release(self) -> None:
        """Release the lock and delete its file."""
        if self._stream is None:
            return
        with contextlib.suppress(OSError):  # Windows cannot delete an open file
            self.path.unlink()
        self._stream.close()
        self._stream = None
        if os.name != "posix":
            with contextlib.suppress(OSError):
                self.path.unlink()

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def _lock(stream: IO[bytes], path: Path) -> bool:
    try:
        import fcntl
    except ImportError:
        return _lock_elsewhere(stream, path)
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return _lock_by_process(path)
    return True


def _lock_elsewhere(stream: IO[bytes], path: Path) -> bool:
    try:
        import msvcrt
    except ImportError:
        return _lock_by_process(path)
    stream.seek(FAR)
    try:
        msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    except OSError:
        return False
    return True


def _lock_by_process(path: Path) -> bool:
    """Return whether the lock is free: no living process is named in it."""
    holder = read_holder(path)
    if not holder or holder.get("pid") == os.getpid():
        return True
    return holder.get("host") == socket.gethostname() and not process_exists(
        int(holder["pid"])
    )


def _is_still(stream: IO[bytes], path: Path) -> bool:
    """Return whether the path still names the locked file: its last holder may have deleted it."""
    try:
        named = path.stat()
    except FileNotFoundError:
        return False
    opened = os.fstat(stream.fileno())
    return (opened.st_dev, opened.st_ino) == (named.st_dev, named.st_ino)


def read_holder(path: Path) -> dict:
    """Return the content of a lock file; empty if it does not exist or is being written."""
    try:
        return json.loads(path.read_bytes() or b"{}")
    except (OSError, ValueError):
        return {}


def _this_process() -> dict:
    program, *words = sys.argv or ["python"]
    command = " ".join([Path(program).name, *words])
    since = datetime.now(UTC).isoformat(timespec="seconds")
    pid, host = os.getpid(), socket.gethostname()
    return {"pid": pid, "host": host, "command": command, "since": since}


def _busy(path: Path) -> BusyError:
    holder = read_holder(path)
    who = "another process"
    if holder:
        process = f"process {holder.get('pid')} on {holder.get('host')}"
        who = f"{process} ({holder.get('command')}), since {holder.get('since')}"
    return BusyError(
        f"{path.parent} is being written by {who}.",
        file=path.parent,
        remedy="Wait until it has ended, or choose another folder.",
    )
