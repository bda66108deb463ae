"""Stream codes to disk, shard by shard; `format.py` describes the files.

A shard is written under another name, synced, renamed, and only then listed in a new manifest,
which replaces the old one atomically. The rows of a writer join the corpus all at once, when it is
closed; readers never see a part of them. An interrupted writer is continued by the next one for the
same data, and discarded by one for other data.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from nanosae.atomic import make_folder, sweep_drafts, write_folder
from nanosae.codes import format as files
from nanosae.codes.blocks import Block, as_rows, as_vectors
from nanosae.codes.format import Facts
from nanosae.codes.reader import Codes
from nanosae.codes.shard_files import write_shard
from nanosae.codes.tables import (
    as_table,
    as_table_with_index,
    decoded,
    extended_schema,
    without_new_index,
)
from nanosae.errors import ConfigError, DataError, ExistsError, WriteError
from nanosae.lock import Lock
from nanosae.schemas import conforming_columns, refuse_other_order

SHARD_ROWS = 2**20
SHARD_BYTES = 2**27  # a shard ends early at this size, which bounds memory
WAIT = 5.0  # seconds to wait for another writer


class CodesWriter:
    """Stream codes to disk; a context manager.

    Args:
        path: Folder of the corpus, by convention `RUN/codes/NAME`.
        n_features: Number of features.
        source: A `.npy` file with the embeddings of the rows, in order: its path and fingerprint
            are kept instead of a copy. Give `vectors` to `append` for a float16 copy.
        first: Number of the first row in the data.
        info: Facts for the manifest (JSON), such as the model that made these codes; rows added
            later must have the same.
        append: Add rows to an existing corpus, or continue an interrupted writer.
        data: Fingerprint of the data that the rows come from. An interrupted writer for the same
            data and first row is continued even without `append`.

    Raises:
        BusyError: If another process is writing the corpus.
        ConfigError: If the existing corpus has another width or `info`.
        DamagedFileError: If the folder holds shards, but no intact manifest.
        ExistsError: If the folder holds a corpus and `append` is false.

    Example:
        >>> import tempfile
        >>> import scipy.sparse as sp
        >>> with CodesWriter(tempfile.mkdtemp(), n_features=5) as writer:
        ...     writer.append(sp.csr_array([[0, 2.0, 0, 0, 1.0]]), table=["a text"])
        >>> codes = Codes.open(writer.path)
        >>> codes.row(0)[0].tolist(), codes.texts().tolist()
        ([1, 4], ['a text'])
    """

    def __init__(
        self,
        path: str | Path,
        *,
        n_features: int,
        source: str | Path | None = None,
        first: int = 0,
        info: Facts | None = None,
        append: bool = False,
        data: str | None = None,
    ) -> None:
        self.path = Path(path)
        self._source = None if source is None else str(Path(source).absolute())
        self._first = first
        self._blocks: list[Block] = []  # of the next shard
        self._n_buffered = 0  # rows of these blocks
        self._bytes = 0
        self._made_folder = not self.path.exists()
        make_folder(self.path)
        self._lock: Lock | None = Lock(files.lock_path(self.path), WAIT)
        try:
            asked = {
                "n_features": int(n_features),
                "info": {} if info is None else info,
            }
            origin = {"data": data, "first": first}
            self.manifest = self._prepared(asked, origin, append=append)
        except BaseException:
            self._release()
            raise

    def _prepared(self, asked: Facts, origin: Facts, *, append: bool) -> Facts:
        """Return the manifest, with a draft to continue or a new one."""
        manifest = self._existing()
        if manifest is None:
            manifest = _empty_manifest(asked)
        elif files.is_complete(manifest):
            self._check_addition(manifest, asked, append=append)
        # without a fingerprint, the draft may hold other rows
        may_continue = append or origin["data"] is not None
        if not (may_continue and _is_draft_of(manifest, origin, asked)):
            manifest |= asked | {"draft": _new_draft(origin)}
            files.write_manifest(self.path, manifest)
        self._sweep(manifest)
        return manifest

    def _check_addition(self, manifest: Facts, asked: Facts, *, append: bool) -> None:
        """Refuse to add rows to a complete corpus without `append`, or if they do not fit."""
        if not append:
            raise ExistsError(
                f"{self.path} already holds a corpus.",
                file=self.path,
                remedy="Add to it (append=True, --append), or choose another name.",
            )
        self._require(manifest, asked)

    def _existing(self) -> Facts | None:
        """Return the existing manifest, if there is one."""
        if (self.path / files.MANIFEST).exists():
            return files.read_manifest(self.path)
        if any(files.SHARD_NAME.fullmatch(path.name) for path in self.path.iterdir()):
            raise files.damaged(self.path / files.MANIFEST, "it is missing", self.path)
        return None

    def _sweep(self, manifest: Facts) -> None:
        """Delete what interrupted writers have left behind."""
        sweep_drafts(self.path)
        known = manifest["shards"] + manifest["draft"]["shards"]
        named = {shard["name"] for shard in known}
        for path in self.path.iterdir():
            if files.SHARD_NAME.fullmatch(path.name) and path.name not in named:
                shutil.rmtree(path)

    def discard(self) -> None:
        """Discard the rows of an interrupted writer, after which this one would continue."""
        origin = self.manifest["draft"]["origin"]
        self.manifest["draft"] = _new_draft(origin)
        files.write_manifest(self.path, self.manifest)
        self._sweep(self.manifest)

    @property
    def n_rows(self) -> int:
        """Number of rows that are safe on disk, after which an interrupted writer continues."""
        return self.manifest["n_rows"] + self.n_written

    @property
    def n_written(self) -> int:
        """Number of those rows that belong to the data of this writer."""
        draft = self.manifest["draft"]
        return 0 if draft is None else draft["n_rows"]

    def __enter__(self) -> CodesWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self.close()
            else:
                self._give_up()
        finally:
            self._release()

    def append(self, block: Any, table: Any = None, vectors: Any = None) -> None:
        """Add rows; blocks may have any size.

        Args:
            block: A sparse array, (n, n_features), or the flat triple `(values, cols, row_ptr)`.
            table: Texts of the rows (a list of str), or their text and metadata columns (an Arrow
                table, a DataFrame or a dict of columns, with the texts in the column "text").
            vectors: Embeddings of the rows, (n, input_size).

        Raises:
            DataError: If widths, lengths or columns do not fit, an activation is negative or not
                finite, or a vector is not finite.
            ConfigError: If the writer is closed.
            WriteError: If a shard cannot be written; earlier rows are kept.
        """
        rows = as_rows(block, self.manifest["n_features"])
        if table is not None:
            table = self._in_order(decoded(as_table(table)))
        if vectors is not None:
            vectors = as_vectors(vectors)
        given = Block(rows, table, vectors)
        given.check_lengths()
        if self._lock is None:
            raise ConfigError(
                f"this writer of {self.path} is closed; open another with append=True."
            )
        self._accept(given)
        for start, stop in self._cuts(given.n_rows):
            self._buffer(given.part(start, stop))

    def _in_order(self, table: pa.Table) -> pa.Table:
        """Put columns in the order of the corpus, if they are the same."""
        columns = self.manifest["columns"]
        if columns and sorted(columns) == sorted(table.column_names):
            return table.select(columns)
        return table

    def _cuts(self, n_rows: int) -> Iterator[tuple[int, int]]:
        """Yield parts of a block that fill up shards; the buffer may be flushed in between."""
        start = 0
        while start < n_rows:
            stop = min(n_rows, start + SHARD_ROWS - self._n_buffered)
            yield start, stop
            start = stop

    def _buffer(self, block: Block) -> None:
        """Add a block to the next shard, and write the shard if it is full."""
        self._blocks.append(block)
        self._n_buffered += block.n_rows
        self._bytes += block.nbytes
        if self._n_buffered == SHARD_ROWS or self._bytes >= SHARD_BYTES:
            self.flush()

    def _accept(self, block: Block) -> None:
        """Record columns and width of the first rows; refuse later rows with others."""
        draft = self.manifest["draft"]
        table = block.table
        columns = [] if table is None else table.column_names
        width = None if block.vectors is None else block.vectors.shape[1]
        if self.n_written == 0 and not self._blocks:
            self._check_first(columns, width)
            draft["columns"] = columns
            draft["width"] = width
            draft["schema"] = self.manifest["schema"]
        self._require(draft, {"columns": columns, "width": width})
        if table is not None:
            schema = files.schema_from_text(draft["schema"])
            extended = extended_schema(schema, table.schema, self.path)
            self._check_values(table, schema, extended)
            draft["schema"] = files.schema_to_text(extended)

    def _check_values(
        self, table: pa.Table, known: pa.Schema | None, extended: pa.Schema
    ) -> None:
        """Refuse rows if a value, of theirs or of earlier ones, does not fit a schema."""
        conforming_columns(table, extended)
        if known is None or known == extended:
            return
        for block in self._blocks:
            conforming_columns(block.table, extended)
        if self.manifest["n_rows"]:
            Codes(self.path).check_values(extended)

    def _check_first(self, columns: list[str], width: int | None) -> None:
        """Refuse rows with other columns or another width than those of the corpus."""
        manifest = self.manifest
        if manifest["n_rows"] == 0:
            return
        self._require(manifest, {"columns": columns})
        if width is not None and manifest["width"] is not None:
            self._require(manifest, {"width": width})

    def flush(self) -> None:
        """Write the buffered rows as a shard.

        Raises:
            WriteError: If it cannot be written; the message tells how many rows are safe.
        """
        if not self._blocks:
            return
        draft = self.manifest["draft"]
        number = len(self.manifest["shards"]) + len(draft["shards"])
        name = files.shard_name(number)
        shard: Facts = {"name": name}

        def fill(folder: Path) -> None:
            source = self._next_source()
            shard.update(write_shard(folder, self._blocks, source))

        try:
            write_folder(self.path / name, fill)
            draft["shards"] = [*draft["shards"], shard]
            draft["n_rows"] += shard["n_rows"]
            draft["nnz"] += shard["nnz"]
            files.write_manifest(self.path, self.manifest)
        except OSError as error:
            self._drop_from_draft(name)
            self._release()
            raise self._write_error(name, error) from error
        self._blocks = []
        self._n_buffered = 0
        self._bytes = 0

    def _write_error(self, name: str, error: OSError) -> WriteError:
        reason = getattr(error.__cause__, "strerror", None) or error
        failure = WriteError(
            f"cannot write shard {name} of {self.path}: {reason}; its first {self.n_rows} rows "
            "are safe.",
            file=self.path / name,
            remedy="Free some space and repeat the command: it continues from there.",
        )
        failure.errno = error.errno
        return failure

    def _drop_from_draft(self, name: str) -> None:
        """Remove a shard that could not be written from the draft."""
        draft = self.manifest["draft"]
        kept = [shard for shard in draft["shards"] if shard["name"] != name]
        draft["shards"] = kept
        draft["n_rows"] = sum(shard["n_rows"] for shard in kept)
        draft["nnz"] = sum(shard["nnz"] for shard in kept)

    def close(self) -> None:
        """Write the buffered rows, and add all rows of this writer to the corpus."""
        if self._lock is None:
            return
        self.flush()
        manifest = self.manifest
        draft = manifest["draft"]
        n_rows = draft["n_rows"]
        origin = draft["origin"]
        source = origin | {"last": origin["first"] + n_rows}
        published = {
            "shards": [*manifest["shards"], *draft["shards"]],
            "n_rows": manifest["n_rows"] + n_rows,
            "nnz": manifest["nnz"] + draft["nnz"],
            "sources": [*manifest["sources"], source],
            "draft": None,
        }
        if draft["columns"] is not None:
            published["schema"] = draft["schema"]
            if manifest["n_rows"] == 0:
                published |= {"columns": draft["columns"], "width": draft["width"]}
        files.write_manifest(self.path, manifest | published)
        self.manifest = manifest | published
        self._release()

    def _give_up(self) -> None:
        """Leave a draft to continue, or nothing if no shard was written."""
        if self._lock is None:
            return
        if self.manifest["draft"]["shards"]:
            return
        with contextlib.suppress(OSError):
            if files.is_complete(self.manifest):
                files.write_manifest(self.path, self.manifest | {"draft": None})
            else:
                (self.path / files.MANIFEST).unlink()

    def _release(self) -> None:
        if self._lock is not None:
            if self._made_folder:
                with contextlib.suppress(OSError):
                    self.path.rmdir()  # only if nothing was written
            self._lock.release()
            self._lock = None

    def _next_source(self) -> Facts | None:
        """Return where the embeddings of the next rows are in the file that they come from."""
        if self._source is None:
            return None
        file = {"path": self._source, "fingerprint": files.fingerprint(self._source)}
        offset = self._first + self.n_written
        if self.manifest["draft"]["origin"]["data"] is None:
            offset += self._n_rows_of(file)  # several writers may share one file
        return file | {"offset": offset}

    def _n_rows_of(self, file: Facts) -> int:
        """Return how many rows of the corpus have their embeddings in a file."""
        n_rows = 0
        for shard in self.manifest["shards"]:
            known = shard["vectors"]
            if known is not None and file.items() <= known.items():
                n_rows += shard["n_rows"]
        return n_rows

    def _require(self, known: Facts, facts: Facts) -> None:
        """Refuse facts that differ from the known ones."""
        for key, given in facts.items():
            if known[key] != given:
                kind = DataError if key in ("columns", "width") else ConfigError
                raise kind(
                    f"{key} is {known[key]} in {self.path}, not {given}.",
                    file=self.path,
                )


def write_codes(
    path: str | Path,
    csr: Any,
    *,
    texts: Any = None,
    metadata: Any = None,
    vectors: Any = None,
    source: str | Path | None = None,
    info: Facts | None = None,
    append: bool = False,
) -> Codes:
    """Write a corpus in one call.

    Args:
        path: Folder of the corpus, by convention `RUN/codes/NAME`.
        csr: The activations, sparse, (n_rows, n_features).
        texts: One str (or None) per row.
        metadata: Further columns: a DataFrame (its index too), an Arrow table or a dict of columns.
        vectors: Embeddings, (n_rows, input_size), stored as float16.
        source: A `.npy` file with the embeddings, of which no copy is stored.
        info: Facts for the manifest (JSON), such as the model that made these codes.
        append: Add rows to an existing corpus.

    Raises:
        DataError: If texts and metadata do not go together, or do not fit the rows or the corpus.
    """
    shape = np.shape(csr)
    if len(shape) != 2:
        raise DataError(f"activations are {shape}; needed: (n_rows, n_features).")
    table = _joined(texts, metadata)
    with CodesWriter(
        path, n_features=shape[1], source=source, info=info, append=append
    ) as writer:
        if writer.n_written:  # by an interrupted call, perhaps with other rows
            writer.discard()
        known = writer.manifest
        if known["n_rows"] and hasattr(metadata, "reset_index"):
            table = without_new_index(table, known["columns"])
        writer.append(csr, table=table, vectors=vectors)
    return Codes(path)


def _joined(texts: Any, metadata: Any) -> pa.Table | None:
    """Return texts and metadata as one table; None if there is neither."""
    columns = None if metadata is None else as_table_with_index(metadata)
    if texts is None:
        return columns
    refuse_other_order(metadata, texts, "texts")
    table = as_table(list(texts))
    if columns is None:
        return table
    if "text" in columns.column_names:
        raise DataError(
            "texts are given, and a column 'text' of metadata, too.",
            column="text",
            remedy="Leave out one of them, or rename the column.",
        )
    if len(columns) != len(table):
        raise DataError(
            f"{len(table):,} texts and {len(columns):,} rows of metadata are given.",
            remedy="Give one text for each row.",
        )
    return columns.append_column("text", table["text"])


def _empty_manifest(fixed: Facts) -> Facts:
    return {
        "format": files.FORMAT,
        **fixed,
        "n_rows": 0,
        "nnz": 0,
        "columns": [],
        "width": None,
        "schema": None,
        "shards": [],
        "sources": [],
        "draft": None,
    }


def _is_draft_of(manifest: Facts, origin: Facts, asked: Facts) -> bool:
    """Return whether the draft was left by an interrupted writer for the same rows."""
    draft = manifest["draft"]
    if draft is None or draft["origin"] != origin:
        return False
    return all(manifest[key] == value for key, value in asked.items())


def _new_draft(origin: Facts) -> Facts:
    return {
        "origin": origin,
        "n_rows": 0,
        "nnz": 0,
        "shards": [],
        "columns": None,
        "width": None,
        "schema": None,
    }
