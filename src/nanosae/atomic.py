"""Atomic writing of files and folders: the only way in which this package writes.

A draft with a unique name is written beside its target, synced, and renamed over it, so that
readers see either the old or the new content. Drafts of processes that died are deleted by the next
writer of the same target. To replace a folder, it is first renamed; if the process dies before the
draft takes its name, the next writer restores it.
"""

from __future__ import annotations

import contextlib
import glob
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
REPLACED = ".replaced"  # suffix of a folder while another one takes its place
FORBIDDEN = set('/\\:\0*?"<>|')  # not allowed in file names on some system
POSIX = os.name == "posix"
_numbers = itertools.count()


def make_folder(path: str | Path) -> None:
    """Create a folder and its parents, unless it exists.

    Raises:
        WriteError: If it cannot be created, or is a file.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(
            f"the folder {path} cannot be created ({error.strerror}).",
            file=path,
            remedy="Choose another folder.",
        ) from error


def write_file(path: str | Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file atomically.

    Args:
        path: The file; its folder must exist.
        write: Writes to the open draft.

    Raises:
        WriteError: If it cannot be written; the old file is unchanged.
    """

    def make(draft: Path) -> None:
        with draft.open("xb") as stream:
            write(stream)

    write_path(path, make)


def write_path(path: str | Path, make: Callable[[Path], object]) -> None:
    """Write a file atomically, with a library that needs a path to write to.

    Args:
        path: The file; its folder must exist.
        make: Writes the draft at a path that does not exist yet.

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
    """Write bytes to a file atomically."""
    write_file(path, lambda stream: stream.write(content))


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text to a file atomically."""
    write_bytes(path, text.encode())


def write_json(path: str | Path, value: Any) -> None:
    """Write a JSON file atomically; NaN and infinity, which JSON does not have, are refused."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False))


def write_array(path: str | Path, array: Any) -> None:
    """Write an .npy file atomically."""
    from numpy import save

    write_file(path, lambda stream: save(stream, array))


def write_folder(path: str | Path, fill: Callable[[Path], object]) -> None:
    """Write a folder atomically; an old one is deleted once the new one is in place.

    Args:
        path: The folder; its parent must exist.
        fill: Fills the empty draft folder.

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
                # some libraries create files that only their owner can read
                file.chmod(readable)
            _synchronise(file)
        _synchronise(draft)
        move_folder(draft, path)


def move_folder(source: Path, path: Path) -> None:
    """Rename a folder; a folder that had the new name is deleted afterwards."""
    old = _draft_name(path.with_name(path.name + REPLACED))
    if path.exists():
        path.rename(old)
    source.rename(path)
    _synchronise(path.parent)
    _remove(old)


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Turn errors of the system into a WriteError that names the path."""
    try:
        yield
    except NanoSAEError:
        raise
    except Exception as error:
        if not isinstance(error, OSError) and not _is_system_error(error):
            raise
        reason = getattr(error, "strerror", None) or reason_of(error)
        failure = WriteError(
            f"{path} could not be written: {reason}.",
            file=path,
            remedy=_remedy(path, error),
        )
        failure.errno = getattr(error, "errno", None)
        raise failure from error


def _remedy(path: Path, error: Exception) -> str:
    """Return what to do if a file or folder could not be written."""
    if isinstance(error, IsADirectoryError):
        return f"Give the name of a file, such as {path / 'NAME'}."
    if not path.parent.is_dir():
        return f"Create the folder {path.parent} and repeat the command."
    return "Free some space, or make the folder writable, and repeat the command."


def _is_system_error(error: Exception) -> bool:
    """Return whether safetensors or Arrow raised an error for a full disk or the like."""
    return type(error).__name__ == "SafetensorError" or "os error" in str(error)


def sweep_drafts(folder: str | Path) -> None:
    """Delete the drafts in a folder whose writers on this machine have died.

    A folder that such a writer renamed, to put another in its place, is restored.
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
    """Provide the name of a draft; delete drafts of dead writers before, and this one after."""
    for name in (path.name, path.name + REPLACED):
        for old in path.parent.glob(f".{glob.escape(name)}.draft-*"):
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
    """Return whether a process on this machine is alive."""
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
    """Sync a file or folder to disk; Windows cannot open folders, and syncs only open writers."""
    if not POSIX and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY if POSIX else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
