"""Files and folders that appear whole or not at all: the one way in which this package writes.

A draft with a name of its own is written beside its target, synchronised, and renamed over it, so
that a reader sees the old content or the new one. Drafts of processes that died are swept by the
next writer of the same target. A folder is renamed before another takes its name; if the process
dies between the two, the next writer gives it its name again.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from nanosae.errors import NanoSAEError, WriteError, reason_of

DRAFT_NAME = re.compile(
    r"\.(?P<target>.+)\.draft-(?P<host>.+)-(?P<pid>\d+)-\d+", re.DOTALL
)
REPLACED = ".replaced"  # behind the name of a folder while another one takes its place
POSIX = os.name == "posix"
_numbers = itertools.count()


def write_file(path: str | Path, write: Callable[[IO[bytes]], object]) -> None:
    """Replace a file in one step.

    Args:
        path: The file; its folder must exist.
        write: Takes the open draft.

    Raises:
        WriteError: If it cannot be written; the old file is unchanged.
    """
    path = Path(path)
    with _naming(path), _draft(path) as draft:
        with draft.open("xb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(path)
        _synchronise(path.parent)


def write_path(path: str | Path, make: Callable[[Path], object]) -> None:
    """Replace a file in one step, where a library wants a path to write to.

    Args:
        path: The file; its folder must exist.
        make: Takes the path of the draft, which does not exist yet.

    Raises:
        WriteError: If it cannot be written; the old file is unchanged.
    """
    path = Path(path)
    with _naming(path), _draft(path) as draft:
        make(draft)
        _synchronise(draft)
        draft.replace(path)
        _synchronise(path.parent)


def write_bytes(path: str | Path, content: bytes) -> None:
    """Replace the content of a file in one step."""
    write_file(path, lambda stream: stream.write(content))


def write_text(path: str | Path, text: str) -> None:
    """Replace the text of a file, in UTF-8, in one step."""
    write_bytes(path, text.encode())


def write_json(path: str | Path, value: Any) -> None:
    """Replace a JSON file in one step; NaN and infinity are refused, because JSON has none."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False))


def write_array(path: str | Path, array: Any) -> None:
    """Replace an .npy file in one step."""
    from numpy import save

    write_file(path, lambda stream: save(stream, array))


def write_folder(path: str | Path, fill: Callable[[Path], object]) -> None:
    """Replace a folder; the old one is deleted only after the new one is in its place.

    Args:
        path: The folder; its parent must exist.
        fill: Takes the empty draft folder.

    Raises:
        WriteError: If it cannot be written; the old folder is unchanged.
    """
    path = Path(path)
    with _naming(path), _draft(path) as draft:
        draft.mkdir()
        fill(draft)
        readable = draft.stat().st_mode & 0o666
        for file in draft.rglob("*"):
            if file.is_file():
                # some libraries make files that only their owner can read
                file.chmod(readable)
            _synchronise(file)
        _synchronise(draft)
        move_folder(draft, path)


def move_folder(source: Path, path: Path) -> None:
    """Give a folder another name; what had that name is deleted after that."""
    old = _draft_name(path.with_name(path.name + REPLACED))
    if path.exists():
        path.rename(old)
    source.rename(path)
    _synchronise(path.parent)
    _remove(old)


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Turn errors of the system into one that names what could not be written."""
    try:
        yield
    except NanoSAEError:
        raise
    # safetensors and Arrow have errors of their own for a full disk
    except Exception as error:
        if not isinstance(error, OSError) and not _tells_of_the_system(error):
            raise
        reason = getattr(error, "strerror", None) or reason_of(error)
        failure = WriteError(
            f"{path} could not be written: {reason}.",
            file=path,
            remedy="Make room, or make the folder writable, and repeat the command.",
        )
        failure.errno = getattr(error, "errno", None)
        raise failure from error


def _tells_of_the_system(error: Exception) -> bool:
    return type(error).__name__ == "SafetensorError" or "os error" in str(error)


def sweep_drafts(folder: str | Path) -> None:
    """Delete the drafts in a folder whose writers on this machine have died.

    A folder that such a writer renamed, to put another in its place, gets its name again.
    """
    for draft in Path(folder).glob(".*.draft-*"):
        _sweep(draft)


def _sweep(draft: Path) -> None:
    named = DRAFT_NAME.fullmatch(draft.name)
    if named is None or not _writer_is_dead(named["host"], int(named["pid"])):
        return
    target = draft.with_name(named["target"].removesuffix(REPLACED))
    was_renamed = named["target"].endswith(REPLACED)
    if was_renamed and not target.exists():
        # another process may be doing the same
        with contextlib.suppress(OSError):
            draft.rename(target)
    else:
        _remove(draft)


@contextlib.contextmanager
def _draft(path: Path) -> Iterator[Path]:
    """Give the name of a draft; remove what is left of it and of drafts of dead writers."""
    for name in (path.name, path.name + REPLACED):
        for old in path.parent.glob(f".{name}.draft-*"):
            _sweep(old)
    draft = _draft_name(path)
    try:
        yield draft
    finally:
        _remove(draft)


def _draft_name(path: Path) -> Path:
    owner = f"{socket.gethostname()}-{os.getpid()}-{next(_numbers)}"
    return path.with_name(f".{path.name}.draft-{owner}")


def _writer_is_dead(host: str, pid: int) -> bool:
    is_here = host == socket.gethostname()
    return is_here and not process_exists(pid)


def process_exists(pid: int) -> bool:
    """Return whether a process of this machine is alive."""
    if not POSIX:
        return True  # os.kill would end it
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _synchronise(path: Path) -> None:
    """Make a file or a folder durable; Windows opens no folder, and files only to write."""
    if not POSIX and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY if POSIX else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
