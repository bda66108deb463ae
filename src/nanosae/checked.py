"""Files with checksums, and errors that name a file that was changed or damaged.

A sealed file contains the text `nanosae-crc32:` and eight hexadecimal digits: the CRC-32 of the
file with zeros in place of these digits. JSON and Parquet files are sealed, so that each is
replaced together with its checksum. Files of other programs have no seal and are not checked.
"""

from __future__ import annotations

import contextlib
import json
import math
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
BLANK = MARK + NO_DIGITS  # the seal of a file before it is sealed
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
_intact: dict[Path, tuple[int, ...]] = {}  # state of each large file when verified


@contextlib.contextmanager
def naming(path: str | Path, remedy: str) -> Iterator[None]:
    """Turn the errors that a damaged file causes into one that names the file.

    Raises:
        DamagedFileError: If the block raises an error of parsing, decoding or lookup.
    """
    try:
        yield
    except (NanoSAEError, FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except _reader_errors() as error:
        raise damaged(path, reason_of(error), remedy) from error


def _reader_errors() -> tuple[type[Exception], ...]:
    """Return the errors that libraries raise when they read a damaged file."""
    try:
        from safetensors import SafetensorError
    except ImportError:
        return READER_ERRORS
    return (*READER_ERRORS, SafetensorError)


def damaged(path: str | Path, reason: str, remedy: str) -> DamagedFileError:
    """Return the error for a file that was changed or damaged."""
    reason = reason.rstrip(".")  # libraries end some messages with a full stop
    return DamagedFileError(f"{path} is damaged: {reason}.", file=path, remedy=remedy)


def check_format(path: Path, facts: dict[str, Any], known: int, remedy: str) -> None:
    """Refuse a file that does not have the format of this version.

    Raises:
        DamagedFileError: If it has another format.
    """
    found = facts.get("format")
    if found != known:
        raise DamagedFileError(
            f"{path} has format {found}; this version of nanoSAE reads format {known}.",
            file=path,
            remedy=remedy,
        )


def file_state(path: str | Path) -> tuple[int, ...]:
    """Return values that change when a file does: modification time, size and inode."""
    state = Path(path).stat()
    return state.st_mtime_ns, state.st_size, state.st_ino


def file_checksum(path: str | Path) -> str:
    """Return the CRC-32 of a file as eight hexadecimal digits."""
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
        listed_in: Name of the file that holds the checksum; either of the two may be damaged.
        remedy: What to do.

    Raises:
        DamagedFileError: If it differs.
    """
    found = file_checksum(path)
    if found != known:
        raise damaged(
            path, f"its checksum is {found}, but {known} in {listed_in}", remedy
        )


def seal(data: bytes) -> bytes:
    """Write the checksum into the last BLANK."""
    start = data.rindex(BLANK.encode()) + len(MARK)
    stop = start + len(NO_DIGITS)
    digits = f"{zlib.crc32(data):08x}".encode()
    return data[:start] + digits + data[stop:]


def read_sealed(path: str | Path, remedy: str) -> bytes:
    """Return the content of a file, verified by its seal if it has one.

    Raises:
        MissingError: If there is no such file.
        DamagedFileError: If it does not match its seal.
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
        raise damaged(path, "its checksum does not match its content", remedy)
    return data


def seal_file(path: str | Path) -> None:
    """Write the checksum into the last BLANK of a file that is too large for memory."""
    with Path(path).open("r+b") as stream, mmap.mmap(stream.fileno(), 0) as data:
        at = data.rfind(BLANK.encode())
        if at < 0:
            raise ValueError(f"{path} has no place for a checksum")
        start = at + len(MARK)
        data[start : start + len(NO_DIGITS)] = (
            f"{_masked_checksum(data, start):08x}".encode()
        )
        data.flush()


def is_sealed(path: str | Path) -> bool:
    """Return whether a large file matches its seal; checked once for each state of the file."""
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
        stored = data[start : start + len(NO_DIGITS)]
        intact = at >= 0 and stored == f"{_masked_checksum(data, start):08x}".encode()
    if intact:
        _intact[path] = signature
    return intact


def _masked_checksum(data: mmap.mmap, start: int) -> int:
    """Return the checksum of a file with zeros in place of the digits at `start`."""
    stop = start + len(NO_DIGITS)
    with memoryview(data) as view, view[:start] as before, view[stop:] as after:
        crc = zlib.crc32(before)
        crc = zlib.crc32(NO_DIGITS.encode(), crc)
        return zlib.crc32(after, crc)


def write_sealed_json(
    path: str | Path, facts: dict[str, Any], *, infinite: bool = False
) -> None:
    """Write a JSON object atomically, with its checksum under the key `checksum`.

    Args:
        path: The file.
        facts: The object.
        infinite: Allow infinity and NaN, which other readers of JSON may refuse.
    """
    sealed = {name: value for name, value in facts.items() if name != "checksum"}
    sealed["checksum"] = BLANK
    text = json.dumps(sealed, indent=1, ensure_ascii=False, allow_nan=infinite)
    write_bytes(path, seal(text.encode()))


def plain(value: Any) -> Any:
    """Convert to JSON types.

    Numbers that are not finite become None, times are in ISO 8601, other objects become strings.
    """
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if getattr(getattr(value, "dtype", None), "char", "") == "M":
        value = value.astype("M8[us]")  # nanoseconds would become integers
    if hasattr(value, "tolist"):  # numpy arrays and scalars
        return plain(value.tolist())
    if hasattr(value, "isoformat"):  # times; NaT is unequal to itself
        return value.isoformat() if value == value else None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, str | int | float):
        return value
    return str(value)


def read_json(path: str | Path, remedy: str) -> dict[str, Any]:
    """Return a JSON object, without its checksum.

    Raises:
        MissingError: If there is no such file.
        DamagedFileError: If it is not a JSON object, or was changed or damaged.
    """
    data = read_sealed(path, remedy)
    with naming(path, remedy):
        facts = json.loads(data)
        if not isinstance(facts, dict):
            raise ValueError("it is not a JSON object")
    facts.pop("checksum", None)
    return facts


def table_checksum(table: pa.Table | None) -> str:
    """Return a checksum of all values, names and types of a table; "" if there is none."""
    if table is None:
        return ""
    import pyarrow as pa

    sink = _Checksum()
    plain = table.replace_schema_metadata(None).combine_chunks()
    with pa.ipc.new_stream(pa.PythonFile(sink, mode="w"), plain.schema) as writer:
        writer.write_table(plain)
    return f"{sink.crc:08x}"


class _Checksum:
    """A writable file that computes the checksum of its content."""

    closed = False

    def __init__(self) -> None:
        self.crc = 0

    def write(self, data: Any) -> int:
        self.crc = zlib.crc32(data, self.crc)
        return len(data)

    def flush(self) -> None:
        pass
