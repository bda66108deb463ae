"""Files of vectors: one, a folder of shards, or a glob; all of one format."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nanosae.errors import DataError, MissingError, NanoSAEError
from nanosae.sources.arrays import ARRAY_SUFFIXES, read_array_file
from nanosae.sources.arrow_files import open_arrow, open_parquet
from nanosae.sources.csv_files import DELIMITED, open_csv
from nanosae.sources.detection import natural_key
from nanosae.sources.tables import LazyTable

SUFFIXES = (*DELIMITED, ".parquet", ".feather", ".arrow", *ARRAY_SUFFIXES)
# beside the shards, as `cache` writes it
CACHED_METADATA = Path("columns", "00000.parquet")
PROVENANCE = "provenance.json"  # as `cache_activations` writes it


def find_files(path: Path) -> list[Path]:
    """Return a file, or the data files of a folder or glob, in natural order of their names.

    Raises:
        MissingError: If there are none; it is a FileNotFoundError.
        DataError: If they are not of one format.
    """
    pattern = glob.escape(str(path)) if path.exists() else str(path)
    if path.is_dir():
        pattern += "/*"
    names = sorted(glob.glob(pattern, recursive=True), key=natural_key)  # noqa: PTH207
    files = [Path(name) for name in names if name.endswith(SUFFIXES)]
    if len({file.suffix for file in files}) == 1:
        return files
    is_missing = not files and not path.is_file()
    kind = MissingError if is_missing else DataError
    found = names[:3] or "nothing there"
    raise kind(f"{path}: {found}, need files of one type: {SUFFIXES}", file=path)


def open_file(path: Path, columns: Sequence[str] | None = None) -> LazyTable | Any:
    """Open a file as a table, or as something to index like a 2-d array.

    Args:
        path: The file.
        columns: Where it holds several arrays, the name of one.

    Raises:
        DataError: If it is not what its suffix says; names the file.
    """
    try:
        return _open(path, columns)
    except Exception as error:  # each of the eight libraries has errors of its own
        raise DataError(
            f"Cannot read {path} as a {path.suffix} file: {error}",
            file=path,
            column=error.column if isinstance(error, NanoSAEError) else None,
        ) from error


def _open(path: Path, columns: Sequence[str] | None) -> LazyTable | Any:
    if path.suffix in DELIMITED:
        return open_csv(path)
    if path.suffix == ".parquet":
        return open_parquet(path)
    if path.suffix in (".feather", ".arrow"):
        return open_arrow(path)
    name = columns[0] if columns is not None and len(columns) == 1 else None
    return read_array_file(path, name)
