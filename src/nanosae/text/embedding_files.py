"""The pair of files that `nanosae embed` writes: X.npy, and X.parquet with the texts.

X.npy is written last: if it exists, X.parquet is complete. X.parquet records what the pair was made
from, so that an interrupted command can be repeated and no other files are overwritten.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from nanosae.atomic import write_path
from nanosae.checked import table_checksum
from nanosae.errors import ConfigError, ExistsError

ORIGIN = b"nanosae.embedded"  # metadata key in X.parquet


class EmbeddingFiles:
    """The two output files of embedding texts.

    Args:
        output: The file X.npy.
        texts: The file of the texts.
        table: Contents of that file.
        embedder: Identity of the embedder.
        text_column: Name of the text column.
        force: Whether to overwrite existing files.

    Raises:
        ConfigError: If the output is not an `.npy` file.
        ExistsError: If a file exists that was not written by the same command.
    """

    def __init__(
        self,
        output: Path,
        texts: Path,
        table: pa.Table,
        *,
        embedder: str,
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
        self._keeps_table = self.table.resolve() == texts.resolve()
        self._origin = {
            "texts": table_checksum(table),
            "embedder": embedder,
            "text_column": text_column,
        }
        if not force:
            self._check()

    @property
    def done(self) -> bool:
        """Whether the same command has already written both files."""
        return not self._keeps_table and self.rows.exists() and self._is_ours()

    def _check(self) -> None:
        foreign = []
        if not self._keeps_table and not self._is_ours():
            foreign.append(self.table)
        if not self.done:
            foreign.append(self.rows)
        for path in foreign:
            if path.exists():
                raise ExistsError(
                    f"{path} exists.",
                    file=path,
                    remedy="Choose another name, or use force=True (--force).",
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
        """Write the texts and their rows; old files are replaced once both drafts are complete."""

        def write_both(draft: Path) -> None:
            with draft.open("xb") as stream:
                np.save(stream, rows)
            if not self._keeps_table:
                write_path(self.table, self._write_table)

        write_path(self.rows, write_both)

    def _write_table(self, draft: Path) -> None:
        origin: dict[Any, Any] = {ORIGIN: json.dumps(self._origin).encode()}
        metadata = (self._content.schema.metadata or {}) | origin
        table = self._content.replace_schema_metadata(metadata)
        parquet.write_table(table, draft, compression="zstd")
        # beside the new texts, the old rows would look complete
        self.rows.unlink(missing_ok=True)
