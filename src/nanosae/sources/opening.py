"""Open frames, arrays, files, folders and globs as `Rows`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from nanosae.checked import read_json
from nanosae.errors import DataError
from nanosae.fields import as_list
from nanosae.schemas import refuse_other_order
from nanosae.sources.arrays import ArrayReader, ChosenArray, vector_width
from nanosae.sources.arrow_files import open_parquet
from nanosae.sources.csv_files import DELIMITED
from nanosae.sources.detection import (
    CHOOSE,
    other_columns,
    vector_columns,
    vector_length,
)
from nanosae.sources.faults import naming
from nanosae.sources.files import (
    CACHED_METADATA,
    PROVENANCE,
    find_files,
    open_file,
)
from nanosae.sources.frames import from_object
from nanosae.sources.metadata import Metadata, join_metadata
from nanosae.sources.rows import Part, Rows
from nanosae.sources.tables import BatchReader, LazyTable


@dataclass(frozen=True)
class _Shard:
    """An opened file or object."""

    parts: list[Part]
    width: int
    columns: list[str] | None
    metadata: Metadata | None


def open_rows(
    data: Any,
    *,
    columns: Sequence[str] | None = None,
    input_size: int | None = None,
    targets: Any = None,
) -> Rows:
    """Open data of any supported kind as rows of vectors.

    The vectors are a list column; otherwise the longest run of numbered columns with the same
    prefix, in numeric order; otherwise all numeric columns, if their number is `input_size` or they
    do not mix integers with fractions. The other columns are kept as metadata.

    Args:
        data: A pandas or polars frame, pyarrow table, Hugging Face `Dataset`, array, memmap, SciPy
            sparse matrix, torch tensor or list, or the path of a .csv .tsv .parquet .feather .arrow
            .npy .npz .safetensors or .pt file, a folder of files of one such type, or a glob.
            Pickles are never opened.
        columns: Names of the vector columns, in order, or name of the array in a file of several;
            ignored if the data has no names.
        input_size: Required width of the vectors.
        targets: Target vectors in any of these forms, one for each row, read as further columns.

    Returns:
        The opened rows.

    Raises:
        DataError: If vectors are missing, ambiguous or malformed; the message names file, row,
            column and remedy. It is a ValueError.
        DataTypeError: If `data` has an unsupported type; it is a TypeError.
        MissingError: If the path does not exist, or the folder holds no data files; it is a
            FileNotFoundError.

    Example:
        >>> import numpy as np
        >>> rows = open_rows(np.eye(3, dtype="float16"))
        >>> rows.n_rows, rows.read(1, 3).shape
        (3, (2, 3))
    """
    refuse_other_order(data, targets, "targets")
    names = None if columns is None else [str(name) for name in as_list(columns)]
    if isinstance(data, Rows):
        rows = data
        _check_width(rows.width, input_size, rows.columns)
    elif isinstance(data, str | Path):
        rows = _open_path(Path(data), names, input_size)
    else:
        shard = _open_source(from_object(data), None, names, input_size)
        rows = Rows(
            shard.parts,
            shard.width,
            columns=shard.columns,
            metadata=join_metadata([shard.metadata]),
        )
    return rows if targets is None else rows.with_targets(open_rows(targets))


def _open_path(path: Path, columns: list[str] | None, width: int | None) -> Rows:
    """Open a file, folder or glob, whose shards must have the columns and width of the first."""
    shards: list[_Shard] = []
    for file in find_files(path):
        source = open_file(file, columns)
        with naming(file):
            try:
                shard = _open_source(source, file, columns, width)
            except DataError as error:
                raise DataError(
                    f"{file}: {error}", file=file, column=error.column
                ) from error
        shards.append(shard)
        columns, width = shard.columns, shard.width
    parts = [part for shard in shards for part in shard.parts]
    metadata = [shard.metadata for shard in shards]
    return Rows(
        parts,
        shards[0].width,
        columns=columns,
        metadata=_cached_metadata(path) or join_metadata(metadata),
        source=str(path),
        provenance=_provenance(path),
    )


def _open_source(
    source: Any, file: Path | None, columns: list[str] | None, width: int | None
) -> _Shard:
    """Find the vectors in a table or array and check their width."""
    if isinstance(source, LazyTable):
        shard = _open_table(source, file, columns, width)
    else:
        name = None
        if isinstance(source, ChosenArray):
            name, source = [source.name], source.array
        found = vector_width(source)
        part = Part(source.shape[0], partial(ArrayReader, source), file=file)
        shard = _Shard([part], found, columns=name, metadata=None)
    _check_width(shard.width, width, shard.columns)
    return shard


def _open_table(
    table: LazyTable, file: Path | None, columns: list[str] | None, width: int | None
) -> _Shard:
    chosen = vector_columns(table, columns, width)
    parts = []
    first_row = 0
    for group, n_rows in enumerate(table.group_sizes):
        if n_rows:
            open_batches = partial(table.read_group, group, chosen)
            part = Part(
                n_rows,
                partial(BatchReader, open_batches, chosen),
                indivisible=table.indivisible,
                file=file,
                first_row=first_row,
                delimited=file is not None and file.suffix in DELIMITED,
            )
            parts.append(part)
        first_row += n_rows
    metadata = _metadata_of(table, other_columns(table.schema, chosen), file)
    return _Shard(parts, vector_length(table, chosen), chosen, metadata)


def _metadata_of(table: LazyTable, columns: list[str], file: Path | None) -> Metadata:
    schema = pa.schema([table.schema.field(name) for name in columns])

    def batches() -> Iterator[pa.RecordBatch]:
        with naming(file):
            for batch in table.batches(columns):
                yield batch.cast(schema)

    return Metadata(schema, sum(table.group_sizes), batches)


def _cached_metadata(folder: Path) -> Metadata | None:
    """Return the metadata that `cache` wrote beside its shards, or None."""
    file = folder / CACHED_METADATA
    if not file.exists():
        return None
    table = open_parquet(file)
    return _metadata_of(table, table.schema.names, file)


def _provenance(folder: Path) -> dict[str, Any]:
    """Return the provenance that is stored beside shards, or an empty dict."""
    file = folder / PROVENANCE
    return read_json(file, "Recreate the shards.") if file.is_file() else {}


def _check_width(width: int, expected: int | None, columns: list[str] | None) -> None:
    """Refuse vectors of another width; columns can only be chosen where they have names."""
    if expected is not None and width != expected:
        choose = CHOOSE if columns else "Choose vectors of that width."
        raise DataError(
            f"The vectors have width {width}, expected {expected} (input_size, or shard 1).",
            remedy=f"{choose} Or change input_size.",
        )
