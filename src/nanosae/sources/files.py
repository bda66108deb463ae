"""Files of vectors: a single file, a folder of shards, or a glob, all in one format."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nanosae.errors import DataError, MissingError, NanoSAEError
from nanosae.sources.arrays import ARRAY_SUFFIXES, read_array_file
from nanosae.sources.arrow_files import open_arrow, open_parquet
from nanosae.sources.csv_files import DELIMITED, open_csv
from nanosae.sources.folders import matching
from nanosae.sources.tables import LazyTable

SUFFIXES = (*DELIMITED, ".parquet", ".feather", ".arrow", *ARRAY_SUFFIXES)
SHOWN = 3  # found files named in an error
CACHED_METADATA = Path("columns", "00000.parquet")  # written by `cache`
PROVENANCE = "provenance.json"  # written by `cache_activations`


def find_files(path: Path) -> list[Path]:
    """Return a file, or the data files of a folder or glob, in the natural order of their names.

    Raises:
        MissingError: If there are none; it is a FileNotFoundError.
        DataError: If they have several formats.
    """
    pattern = glob.escape(str(path)) if path.exists() else str(path)
    if path.is_dir():
        pattern += "/*"
    found = matching(pattern)
    files = [file for file in found if file.name.endswith(SUFFIXES)]
    if len({file.suffix for file in files}) == 1:
        return files
    is_missing = not files and not path.is_file()
    kind = MissingError if is_missing else DataError
    names = ", ".join(map(str, found[:SHOWN])) or "nothing"
    folders = [file for file in found if file.is_dir()]
    raise kind(
        f"{path}: found {names}, but files of one of these types are needed: "
        f"{', '.join(SUFFIXES)}.",
        file=path,
        remedy=f"Choose one of the folders, such as {folders[0]}." if folders else None,
    )


def open_file(path: Path, columns: Sequence[str] | None = None) -> LazyTable | Any:
    """Open a file as a table, or as an object that is indexed like a 2-d array.

    Args:
        path: The file.
        columns: Name of the array, if the file holds several.

    Raises:
        DataError: If the file does not have the format of its suffix.
    """
    try:
        opened = _open(path, columns)
        if isinstance(opened, LazyTable):
            _ = opened.schema.names  # raises an error if they are not UTF-8
        return opened
    except Exception as error:  # the libraries raise errors of many types
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
    names = [] if columns is None else columns
    name = names[0] if len(names) == 1 else None
    return read_array_file(path, name)
