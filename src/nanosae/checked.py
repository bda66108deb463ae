"""Files that carry a checksum, and errors that name the file when it is not what was written.

A sealed file holds the text `nanosae-crc32:` and eight hexadecimal digits: the CRC-32 of the file
with zeros for these digits. JSON and Parquet files are sealed, so that each is replaced together
with its checksum. Files of others, which have no seal, are read as they are.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nanosae.atomic import write_bytes
from nanosae.errors import DamagedFileError, MissingError, NanoSAEError, reason_of

if TYPE_CHECKING:
    import pyarrow as pa

MARK = "nanosae-crc32:"
NO_DIGITS = "00000000"
BLANK = MARK + NO_DIGITS  # what a file holds before it is sealed
SEAL = re.compile(MARK.encode() + rb"([0-9a-f]{8})")
CHUNK = 2**20
READER_ERRORS = (
    AttributeError,
    EOFError,
    IndexError,
    KeyError,
    MemoryError,
    NotImplementedError,
    OSError,
    OverflowError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
# what large files were like when they were verified
_intact: dict[Path, tuple[int, ...]] = {}


@contextlib.contextmanager
def naming(path: str | Path, remedy: str) -> Iterator[None]:
    """Turn what readers raise on a damaged file into one error that names it.

    Raises:
        DamagedFileError: If the block raises an error of parsing, decoding or looking up.
    """
    try:
        yield
    except (NanoSAEError, FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except _reader_errors() as error:
        raise damaged(path, reason_of(error), remedy) from error


def _reader_errors() -> tuple[type[Exception], ...]:
    """Return what the libraries that read files raise on a damaged one."""
    try:
        from safetensors import SafetensorError
    except ImportError:
        return READER_ERRORS
    return (*READER_ERRORS, SafetensorError)


def damaged(path: str | Path, reason: str, remedy: str) -> DamagedFileError:
    """Return the error for a file that is not what was written."""
    return DamagedFileError(f"{path} is damaged: {reason}.", file=path, remedy=remedy)


def check_format(path: Path, facts: dict[str, Any], known: int, remedy: str) -> None:
    """Refuse a file of another format than the one that this version writes.

    Raises:
        DamagedFileError: If it is of another.
    """
    found = facts.get("format")
    if found != known:
        raise DamagedFileError(
            f"{path} is of format {found}; this version of nanoSAE reads format {known}.",
            file=path,
            remedy=remedy,
        )


def file_state(path: str | Path) -> tuple[int, ...]:
    """Return what changes when a file does: time of the last change, size and inode."""
    state = Path(path).stat()
    return state.st_mtime_ns, state.st_size, state.st_ino


def file_checksum(path: str | Path) -> str:
    """Return the CRC-32 of a file's bytes as eight hexadecimal digits."""
    crc = 0
    with Path(path).open("rb") as stream:
        while chunk := stream.read(CHUNK):
            crc = zlib.crc32(chunk, crc)
    return f"{crc:08x}"


def check_file(path: str | Path, known: str, listed_in: str, remedy: str) -> None:
    """Compare a file with a checksum from `file_checksum`.

    Args:
        path: The file.
        known: Its checksum.
        listed_in: Name of the file that holds the checksum: it may be the wrong one of the two.
        remedy: What to do.

    Raises:
        DamagedFileError: If it differs.
    """
    found = file_checksum(path)
    if found != known:
        raise damaged(
            path, f"its checksum is {found}, in {listed_in} it is {known}", remedy
        )


def seal(data: bytes) -> bytes:
    """Put the checksum in the place of the last BLANK."""
    start = data.rindex(BLANK.encode()) + len(MARK)
    stop = start + len(NO_DIGITS)
    digits = f"{zlib.crc32(data):08x}".encode()
    return data[:start] + digits + data[stop:]


def read_sealed(path: str | Path, remedy: str) -> bytes:
    """Return the bytes of a file after comparing them with its seal, if it has one.

    Raises:
        DamagedFileError: If they differ.
    """
    with naming(path, remedy):
        try:
            data = Path(path).read_bytes()
        except FileNotFoundError:
            raise MissingError(
                f"{path} does not exist.", file=path, remedy=remedy
            ) from None
    seals = list(SEAL.finditer(data))
    if not seals:
        return data
    start, stop = seals[-1].span(1)
    blank = data[:start] + NO_DIGITS.encode() + data[stop:]
    if int(seals[-1][1], 16) != zlib.crc32(blank):
        raise damaged(path, "its checksum is not that of its content", remedy)
    return data


def seal_file(path: str | Path) -> None:
    """Put the checksum in the place of the last BLANK of a file that is too large for memory."""
    with Path(path).open("r+b") as stream, mmap.mmap(stream.fileno(), 0) as data:
        at = data.rfind(BLANK.encode())
        if at < 0:
            raise ValueError(f"{path} holds no place for a checksum")
        start = at + len(MARK)
        data[start : start + len(NO_DIGITS)] = (
            f"{_masked_checksum(data, start):08x}".encode()
        )
        data.flush()


def is_sealed(path: str | Path) -> bool:
    """Return whether a large file is the one that was sealed; checked once for each state of it."""
    path = Path(path).absolute()
    signature = file_state(path)
    if _intact.get(path) == signature:
        return True
    if path.stat().st_size == 0:
        return False
    with (
        path.open("rb") as stream,
        mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data,
    ):
        at = data.rfind(MARK.encode())
        start = at + len(MARK)
        noted = data[start : start + len(NO_DIGITS)]
        intact = at >= 0 and noted == f"{_masked_checksum(data, start):08x}".encode()
    if intact:
        _intact[path] = signature
    return intact


def _masked_checksum(data: mmap.mmap, start: int) -> int:
    """Return the checksum of a file with zeros for the digits that begin at `start`."""
    stop = start + len(NO_DIGITS)
    crc = 0
    for begin in range(0, start, CHUNK):
        crc = zlib.crc32(data[begin : min(begin + CHUNK, start)], crc)
    crc = zlib.crc32(NO_DIGITS.encode(), crc)
    for begin in range(stop, len(data), CHUNK):
        crc = zlib.crc32(data[begin : begin + CHUNK], crc)
    return crc


def write_sealed_json(
    path: str | Path, facts: dict[str, Any], *, infinite: bool = False
) -> None:
    """Replace a JSON object in one step, with its checksum as a further key, `checksum`.

    Args:
        path: The file.
        facts: The object.
        infinite: Allow infinite numbers and NaN, which other readers of JSON may refuse.
    """
    sealed = {name: value for name, value in facts.items() if name != "checksum"}
    sealed["checksum"] = BLANK
    text = json.dumps(sealed, indent=1, ensure_ascii=False, allow_nan=infinite)
    write_bytes(path, seal(text.encode()))


def read_json(path: str | Path, remedy: str) -> dict[str, Any]:
    """Return a JSON object, without its checksum.

    Raises:
        MissingError: If there is no such file.
        DamagedFileError: If it is no JSON object, or not the one that was written.
    """
    data = read_sealed(path, remedy)
    with naming(path, remedy):
        facts = json.loads(data)
        if not isinstance(facts, dict):
            raise ValueError("it is no JSON object")
    facts.pop("checksum", None)
    return facts


def table_checksum(table: pa.Table | None) -> str:
    """Return a checksum of all values, names and types of a table; "" for none."""
    if table is None:
        return ""
    import pyarrow as pa

    sink = _Checksum()
    plain = table.replace_schema_metadata(None).combine_chunks()
    with pa.ipc.new_stream(pa.PythonFile(sink, mode="w"), plain.schema) as writer:
        writer.write_table(plain)
    return f"{sink.crc:08x}"


class _Checksum:
    """A file that keeps only the checksum of what is written to it."""

    closed = False

    def __init__(self) -> None:
        self.crc = 0

    def write(self, data: Any) -> int:
        self.crc = zlib.crc32(data, self.crc)
        return len(data)

    def flush(self) -> None:
        pass
