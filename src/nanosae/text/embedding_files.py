"""The pair of files that `nanosae embed` writes: X.npy, and X.parquet with the texts.

X.npy appears last: where it is, X.parquet is complete. X.parquet says what the pair was made from,
so that an interrupted command can be repeated, and nothing else is overwritten.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from nanosae.atomic import write_array, write_file
from nanosae.checked import table_checksum
from nanosae.errors import ConfigError, ExistsError

ORIGIN = b"nanosae.embedded"  # the key of the origin in the metadata of X.parquet


class EmbeddingFiles:
    """The two files that texts are embedded into.

    Args:
        output: X.npy.
        texts: The file of the texts.
        table: What it holds.
        model: Name of the model.
        text_column: Name of the texts' column.
        force: Overwrite files that are there.

    Raises:
        ConfigError: If the output is no `.npy` file.
        ExistsError: If a file is there that the same command has not written.
    """

    def __init__(
        self,
        output: Path,
        texts: Path,
        table: pa.Table,
        *,
        model: str,
        text_column: str,
        force: bool = False,
    ) -> None:
        if output.suffix != ".npy":
            remedy = f"Name it {output.with_suffix('.npy')}."
            raise ConfigError(
                f"{output} must be an .npy file.", file=output, remedy=remedy
            )
        self.rows = output
        self.table = output.with_suffix(".parquet")
        self._content = table
        self._takes_table = self.table.resolve() == texts.resolve()
        self._origin = {
            "texts": table_checksum(table),
            "model": model,
            "text_column": text_column,
        }
        if not force:
            self._check()

    @property
    def done(self) -> bool:
        """Whether the same command has written both already."""
        return not self._takes_table and self.rows.exists() and self._is_ours()

    def _check(self) -> None:
        foreign = []
        if not self._takes_table and not self._is_ours():
            foreign.append(self.table)
        if not self.done:
            foreign.append(self.rows)
        for path in foreign:
            if path.exists():
                raise ExistsError(
                    f"{path} exists.",
                    file=path,
                    remedy="Choose another name, or give --force.",
                )

    def _is_ours(self) -> bool:
        """Return whether the table was written by the same command."""
        if not self.table.exists():
            return False
        try:
            metadata = parquet.read_schema(self.table).metadata or {}
        except (pa.ArrowException, OSError):
            return False
        return json.loads(metadata.get(ORIGIN, b"{}")) == self._origin

    def write(self, rows: np.ndarray) -> None:
        """Write the texts, then their rows."""
        if not self._takes_table:
            origin: dict[Any, Any] = {ORIGIN: json.dumps(self._origin).encode()}
            metadata = (self._content.schema.metadata or {}) | origin
            table = self._content.replace_schema_metadata(metadata)
            write_file(
                self.table,
                lambda stream: parquet.write_table(table, stream, compression="zstd"),
            )
        write_array(self.rows, rows)
