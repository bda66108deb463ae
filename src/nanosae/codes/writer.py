"""Write codes in a stream, shard by shard; `format.py` describes the files.

A shard is written under another name, synchronised, renamed, and only then named by a new manifest,
which replaces the old one in one step. The rows of a writer join the corpus together, when it is
closed: a reader never sees a part of them. A writer that died is continued by one of the same data,
and makes room for one of other data.
"""

from __future__ import annotations

import contextlib
import math
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.sparse as sp

from nanosae.atomic import sweep_drafts, write_file, write_folder
from nanosae.codes import format as files
from nanosae.codes.format import Facts
from nanosae.codes.reader import Codes
from nanosae.codes.tables import as_table, decoded, extended_schema
from nanosae.errors import ConfigError, DataError, ExistsError, WriteError
from nanosae.lock import Lock

SHARD_ROWS = 2**20
# of buffered rows: a shard is cut early there, which bounds writer and readers
SHARD_BYTES = 2**27
ROW_GROUP = 1024  # rows per Parquet row group: what must be read for a single text
SMALLEST = np.float16(2.0**-24)  # the smallest positive float16 number
SHARD_NAME = re.compile(r"\d{5}")
WAIT = 5.0  # seconds to wait for another writer


class _Block(NamedTuple):
    """Rows to be written.

    Args:
        rows: Their activations, csr_array (n, n_features).
        table: Their metadata, or None.
        vectors: Their embeddings, (n, input_size), or None.
    """

    rows: Any
    table: pa.Table | None
    vectors: np.ndarray | None

    @property
    def nbytes(self) -> int:
        """Bytes that the block takes on disk, about."""
        parts = [part for part in (self.table, self.vectors) if part is not None]
        return 8 * self.rows.nnz + sum(part.nbytes for part in parts)

    def check_lengths(self) -> None:
        """Raise a DataError if the parts differ in their number of rows."""
        n_rows = self.rows.shape[0]
        for what, given in (("table", self.table), ("vectors", self.vectors)):
            if given is not None and len(given) != n_rows:
                raise DataError(
                    f"{what}: {len(given)} rows, but the block has {n_rows}."
                )

    def part(self, start: int, stop: int) -> _Block:
        """Return the rows start ≤ i < stop; what the caller may change is copied."""
        table = None if self.table is None else self.table[start:stop]
        vectors = self.vectors
        if vectors is not None:
            vectors = np.array(vectors[start:stop], np.float32)
        return _Block(self.rows[start:stop], table, vectors)


class CodesWriter:
    """Write codes in a stream; a context manager.

    Args:
        path: The corpus' folder, by convention `RUN/codes/NAME`.
        n_features: Width of the rows to come.
        source: A `.npy` file with the embeddings of the rows to come, in order: its path and
            fingerprint are kept instead of a copy. Give `vectors` to `append` for a float16 copy.
        first: Which row of the data comes first.
        info: Facts for the manifest (JSON), such as which model made these codes; rows added
            later must come with equal ones.
        append: Add rows to an existing corpus, or go on where an interrupted writer stopped.
        data: Fingerprint of the data that the rows come from: an interrupted writer of the same
            data and the same first row is continued in any case.

    Raises:
        BusyError: If another process is writing the corpus.
        ConfigError: If the existing corpus does not fit: other width, other `info`.
        DamagedFileError: If the folder holds shards, but no intact manifest.
        ExistsError: If the folder holds a corpus and `append` is false.

    Example:
        >>> import tempfile
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
        self._blocks: list[_Block] = []  # of the next shard
        self._n_buffered = 0  # their rows
        self._bytes = 0
        self._made_folder = not self.path.exists()
        with contextlib.suppress(FileExistsError):
            self.path.mkdir(parents=True)
        self._lock: Lock | None = Lock(files.lock_path(self.path), WAIT)
        try:
            known = {} if info is None else info
            self.manifest = self._prepared(int(n_features), known, append, data)
        except BaseException:
            self._release()
            raise

    def _prepared(
        self, n_features: int, info: Facts, append: bool, data: str | None
    ) -> Facts:
        """Return the manifest with the draft to go on with."""
        asked = {"n_features": n_features, "info": info}
        origin = {"data": data, "first": self._first}
        manifest = self._existing()
        if manifest is None:
            manifest = _empty_manifest(asked)
        elif files.is_complete(manifest):
            self._check_addition(manifest, asked, append)
        is_told = append or data is not None  # else the draft's may be other rows
        if not (is_told and _is_draft_of(manifest, origin, asked)):
            manifest |= asked | {"format": files.FORMAT, "draft": _new_draft(origin)}
            files.write_manifest(self.path, manifest)
        self._sweep(manifest)
        return manifest

    def _check_addition(self, manifest: Facts, asked: Facts, append: bool) -> None:
        """Refuse to add rows to a complete corpus unasked, or where they do not fit."""
        if not append:
            raise ExistsError(
                f"{self.path} holds a corpus.",
                file=self.path,
                remedy="Add to it (append=True, --append), or choose another name.",
            )
        self._require(manifest, asked)

    def _existing(self) -> Facts | None:
        """Return the manifest that is there."""
        if (self.path / files.MANIFEST).exists():
            return files.read_manifest(self.path)
        if any(SHARD_NAME.fullmatch(path.name) for path in self.path.iterdir()):
            raise files.damaged(self.path / files.MANIFEST, "it is missing", self.path)
        return None

    def _sweep(self, manifest: Facts) -> None:
        """Delete what writers that died have left."""
        sweep_drafts(self.path)
        known = manifest["shards"] + manifest["draft"]["shards"]
        named = {shard["name"] for shard in known}
        for path in self.path.iterdir():
            if SHARD_NAME.fullmatch(path.name) and path.name not in named:
                shutil.rmtree(path)

    @property
    def n_rows(self) -> int:
        """Rows that are safe on disk: where an interrupted writer goes on."""
        return self.manifest["n_rows"] + self.n_written

    @property
    def n_written(self) -> int:
        """Those of them that come from the data of this writer."""
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
        """Add rows; blocks may have any size, shards are cut here.

        Args:
            block: A sparse array (n, n_features), or the flat triple `(values, cols, row_ptr)`.
            table: The rows' texts (a list of str), or their text and metadata columns (an Arrow
                table, a DataFrame or a dict of columns; the text's column is called "text").
            vectors: The rows' embeddings, (n, input_size).

        Raises:
            DataError: If widths, lengths or columns do not fit, an activation is negative or not
                finite, or a vector is not finite.
            ConfigError: If the writer is closed.
            WriteError: If a shard cannot be written; the rows before it stay.
        """
        rows = _as_csr(block, self.manifest["n_features"])
        metadata = None if table is None else self._in_order(decoded(as_table(table)))
        vectors = None if vectors is None else _as_vectors(vectors)
        given = _Block(rows, metadata, vectors)
        given.check_lengths()
        if self._lock is None:
            raise ConfigError(
                f"this writer of {self.path} is closed; open another, append=True."
            )
        self._accept(given)
        for start, stop in self._cuts(rows.shape[0]):
            self._buffer(given.part(start, stop))

    def _in_order(self, table: pa.Table) -> pa.Table:
        """Put columns in the order of those that the corpus has, if they are the same."""
        columns = self.manifest["columns"]
        is_same = sorted(columns) == sorted(table.column_names)
        return table.select(columns) if is_same and columns else table

    def _cuts(self, n_rows: int) -> Iterator[tuple[int, int]]:
        """Yield pieces of a block that fill up shards; the buffer may be flushed in between."""
        start = 0
        while start < n_rows:
            stop = min(n_rows, start + SHARD_ROWS - self._n_buffered)
            yield start, stop
            start = stop

    def _buffer(self, block: _Block) -> None:
        """Take a block for the next shard, and write that if it is full."""
        self._blocks.append(block)
        self._n_buffered += block.rows.shape[0]
        self._bytes += block.nbytes
        if self._n_buffered == SHARD_ROWS or self._bytes >= SHARD_BYTES:
            self.flush()

    def _accept(self, block: _Block) -> None:
        """Note the kind of the first rows; refuse later ones of another kind."""
        draft = self.manifest["draft"]
        table = block.table
        columns = [] if table is None else table.column_names
        width = None if block.vectors is None else block.vectors.shape[1]
        if self.n_written == 0 and not self._blocks:
            self._check_first(columns, width)
            draft["columns"] = columns
            draft["width"] = width
            draft["schema"] = self._known_schema()
        self._require(draft, {"columns": columns, "width": width})
        if table is not None:
            schema = files.schema_from_text(draft["schema"])
            extended = extended_schema(schema, table.schema, self.path)
            draft["schema"] = files.schema_to_text(extended)

    def _check_first(self, columns: list[str], width: int | None) -> None:
        """Refuse rows of another kind than those that the corpus has."""
        manifest = self.manifest
        if manifest["n_rows"] == 0:
            return
        self._require(manifest, {"columns": columns})
        if width is not None and manifest["width"] is not None:
            self._require(manifest, {"width": width})

    def _known_schema(self) -> str | None:
        """Return the schema of the rows that the corpus has."""
        if not self.manifest["columns"] or not self.manifest["n_rows"]:
            return None
        return files.schema_to_text(Codes(self.path).schema)

    def flush(self) -> None:
        """Write the buffered rows as a shard.

        Raises:
            WriteError: If it cannot be written; the message says how many rows are safe.
        """
        if not self._blocks:
            return
        draft = self.manifest["draft"]
        n_shards = len(self.manifest["shards"]) + len(draft["shards"])
        name = f"{n_shards:05d}"
        shard: Facts = {"name": name}
        try:
            write_folder(
                self.path / name,
                lambda folder: shard.update(self._write_shard(folder)),
            )
            draft["shards"] = [*draft["shards"], shard]
            draft["n_rows"] += shard["n_rows"]
            draft["nnz"] += shard["nnz"]
            files.write_manifest(self.path, self.manifest)
        except OSError as error:
            self._forget(name)
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
            remedy="Make room, and repeat the command: it goes on from there.",
        )
        failure.errno = error.errno
        return failure

    def _forget(self, name: str) -> None:
        """Take a shard that could not be written out of the draft."""
        draft = self.manifest["draft"]
        for shard in draft["shards"]:
            if shard["name"] == name:
                draft["n_rows"] -= shard["n_rows"]
                draft["nnz"] -= shard["nnz"]
        draft["shards"] = [shard for shard in draft["shards"] if shard["name"] != name]

    def close(self) -> None:
        """Write what is buffered, and make all rows of this writer a part of the corpus."""
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
        """Leave a draft to go on with, or nothing if no shard was written."""
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

    def _write_shard(self, folder: Path) -> Facts:
        """Write the files of a shard; return what the manifest says of it."""
        by_row: Any = sp.vstack([block.rows for block in self._blocks], format="csr")
        n_rows, n_features = by_row.shape
        scale = _scale(by_row.data)
        arrays = _pair_arrays("row", by_row, scale, n_features)
        arrays |= _pair_arrays("feature", by_row.tocsc(), scale, n_rows)
        kept = self._reference()
        vectors = [b.vectors for b in self._blocks if b.vectors is not None]
        if vectors:
            dense = np.concatenate(vectors)
            kept = {"scale": _scale(dense)}
            arrays["vectors"] = (dense / np.float32(kept["scale"])).astype(np.float16)
        for name, array in arrays.items():
            _save_array(folder / f"{name}.npy", array)
        tables = [b.table for b in self._blocks if b.table is not None]
        if tables:
            table = pa.concat_tables(tables, promote_options="permissive")
            _save_table(folder / "rows.parquet", table)
        facts = {path.name: files.file_facts(path) for path in sorted(folder.iterdir())}
        return {
            "n_rows": n_rows,
            "nnz": by_row.nnz,
            "scale": scale,
            "vectors": kept,
            "files": facts,
        }

    def _reference(self) -> Facts | None:
        """Return where the embeddings of the next rows lie in the file that they come from."""
        if self._source is None:
            return None
        file = {"path": self._source, "fingerprint": files.fingerprint(self._source)}
        before = 0
        for shard in self.manifest["shards"]:
            known = shard["vectors"]
            if known is not None and file.items() <= known.items():
                before += shard["n_rows"]
        return file | {"offset": self._first + before + self.n_written}

    def _require(self, known: Facts, facts: Facts) -> None:
        for key, given in facts.items():
            if known[key] != given:
                message = f"{key} is {known[key]} in {self.path}, not {given}."
                kind = DataError if key in ("columns", "width") else ConfigError
                raise kind(message, file=self.path)


def write_codes(
    path: str | Path,
    csr: Any,
    *,
    texts: Any = None,
    metadata: Any = None,
    vectors: Any = None,
    **options: Any,
) -> Codes:
    """Write a corpus in one call.

    Args:
        path: The corpus' folder, by convention `RUN/codes/NAME`.
        csr: The activations, (n_rows, n_features), sparse.
        texts: One str (or None) per row.
        metadata: Further columns: a DataFrame, an Arrow table or a dict of columns.
        vectors: Embeddings, (n_rows, input_size), kept as float16.
        **options: Of `CodesWriter`.
    """
    table = None if metadata is None else as_table(metadata)
    if texts is not None:
        alone = as_table(list(texts))
        table = alone if table is None else table.append_column("text", alone["text"])
    with CodesWriter(path, n_features=csr.shape[1], **options) as writer:
        writer.append(csr, table=table, vectors=vectors)
    return Codes(path)


def _empty_manifest(fixed: Facts) -> Facts:
    manifest = {"format": files.FORMAT, **fixed, "n_rows": 0, "nnz": 0, "columns": []}
    return manifest | {
        "width": None,
        "schema": None,
        "shards": [],
        "sources": [],
        "draft": None,
    }


def _is_draft_of(manifest: Facts, origin: Facts, asked: Facts) -> bool:
    """Return whether an interrupted writer of the same rows has left a draft."""
    draft = manifest["draft"]
    if draft is None or draft["origin"] != origin:
        return False
    return all(manifest[key] == value for key, value in asked.items())


def _new_draft(origin: Facts) -> Facts:
    unknown = dict.fromkeys(("columns", "width", "schema"))
    return {"origin": origin, "n_rows": 0, "nnz": 0, "shards": [], **unknown}


def _pair_arrays(
    side: str, matrix: Any, scale: float, width: int
) -> dict[str, np.ndarray]:
    """Return the three arrays of a sparse matrix as they are stored."""
    half = (matrix.data / np.float32(scale)).astype(np.float16)
    index = np.uint16 if width <= 2**16 else np.uint32
    return {
        f"{side}_values": np.maximum(half, SMALLEST),
        f"{side}_indices": matrix.indices.astype(index),
        f"{side}_ptr": matrix.indptr.astype(np.int64),
    }


def _save_array(path: Path, array: np.ndarray) -> None:
    write_file(path, lambda stream: np.save(stream, array))


def _save_table(path: Path, table: pa.Table) -> None:
    options: Any = {"row_group_size": ROW_GROUP, "compression": "zstd"}
    write_file(path, lambda stream: pq.write_table(table, stream, **options))


def _scale(values: np.ndarray) -> float:
    """Return the power of two that brings the largest magnitude into float16's upper range."""
    largest = float(np.abs(values).max(initial=0.0))
    _, exponent = math.frexp(largest)
    return 2.0 ** max(exponent - 15, -125)


def _as_csr(block: Any, n_features: int) -> Any:
    """Return a block as canonical rows: sorted, without duplicates and zeros."""
    try:
        if isinstance(block, tuple):
            block = sp.csr_array(block, shape=(len(block[2]) - 1, n_features))
        rows: Any = sp.csr_array(block, dtype=np.float32, copy=True)
        rows.check_format()
    except ValueError as error:
        raise DataError(
            f"the rows are not a sparse array of {n_features} features: {error}"
        ) from error
    if rows.shape[1] != n_features:
        raise DataError(
            f"the rows have {rows.shape[1]} features, the corpus {n_features}."
        )
    rows.sum_duplicates()
    rows.eliminate_zeros()
    is_finite = np.isfinite(rows.data).all()
    if not is_finite or rows.data.min(initial=0) < 0:
        raise DataError("activations must be finite and not negative.")
    return rows


def _as_vectors(vectors: Any) -> np.ndarray:
    """Return embeddings as an array (n, input_size) of finite numbers."""
    try:
        rows = np.asarray(vectors, np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(f"vectors are not an array of numbers: {error}.") from error
    if rows.ndim != 2:
        raise DataError(f"vectors are {rows.shape}; needed: (n, input_size).")
    if not np.isfinite(rows).all():
        raise DataError("vectors must be finite.")
    return rows
