"""Codes: the sparse activations of a corpus on disk, by row and by feature, with texts beside them.

A corpus is one folder, `RUN/codes/NAME/`:

    manifest.json                          what is here: the only file that is ever replaced
    00000/ 00001/ ...                      immutable shards of at most 2^20 rows
      values.npy columns.npy row_ptr.npy   by row: float16, uint16 or uint32, int64
      feature_values.npy feature_rows.npy feature_ptr.npy     by feature: float16, uint32, int64
      rows.parquet                         the text and the metadata columns of these rows
      vectors.npy                          the embeddings, float16 (only if they were given)

A stored value times its shard's `scale` in the manifest is the activation; scales are powers of two, so
values keep 11 significant bits, and no activation is ever rounded to zero. A shard is written under
another name, synchronised, renamed, and only then named in a new manifest that replaces the old one in one
step: whenever a writer dies, the manifest on disk describes complete shards. Rows that are tokens keep
their whole text in the text column and carry `start` and `end` (character offsets) as further columns.

Nothing of size rows × features is ever made: every array handed out is a bounded copy. One writer at a
time; a second one is noticed when it would replace a manifest that it has not read.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from nanosae.weights import Weights

FORMAT = 1
SHARD_ROWS = 2**20
SHARD_BYTES = (
    2**28
)  # buffered bytes at which a shard is cut early: bounds the writer and the readers
ROW_GROUP = 1024  # rows per Parquet row group: what reading a single text costs


class Codes:
    """Hold the codes of one corpus, memory-mapped.

    Args:
        path: The corpus' folder (with `manifest.json`). `Codes.open` also finds it inside a run folder.

    Raises:
        FileNotFoundError: If there is no manifest.
        ValueError: If the manifest or a shard file is damaged, incomplete or of another format.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.name = self.path.name
        self.run = self.path.parent.parent if self.path.parent.name == "codes" else None
        self.manifest: dict[str, Any] = _read_manifest(self.path)
        self.n_rows: int = self.manifest["n_rows"]
        self.n_features: int = self.manifest["n_features"]
        self.nnz: int = self.manifest["nnz"]
        self._shards: list[dict[str, Any]] = self.manifest["shards"]
        self._first = np.cumsum([0] + [shard["n_rows"] for shard in self._shards])
        self._open: dict[Path, Any] = {}
        self._counts: np.ndarray | None = None
        for shard in self._shards:
            for file, (size, _) in shard["files"].items():
                _check_size(self.path / shard["name"] / file, size)

    @classmethod
    def open(cls, path: str | Path, name: str | None = None) -> Codes:
        """Open a corpus, at once.

        Args:
            path: A corpus' folder, or a run folder.
            name: Which corpus of the run; by default the only one, or the one called "default".

        Raises:
            FileNotFoundError: If there is no such corpus; the message names those there are.
            ValueError: If the run has several corpora and none is called "default".
        """
        path = Path(path)
        if (path / "manifest.json").exists():
            return cls(path)
        names = sorted(p.parent.name for p in path.glob("codes/*/manifest.json"))
        if name is None and len(names) > 1 and "default" not in names:
            raise ValueError(f"{path} holds the corpora {names}; say which: name={names[0]!r}.")
        chosen = name or (names[0] if len(names) == 1 else "default")
        if chosen not in names:
            known = f"it holds {names}" if names else "it holds no codes: encode a corpus first"
            raise FileNotFoundError(f"no corpus {chosen!r} in {path}; {known}.")
        return cls(path / "codes" / chosen)

    def __repr__(self) -> str:
        return (
            f"Codes({self.name!r}: {self.n_rows:,} rows × {self.n_features:,} features, "
            f"{self.nnz / max(self.n_rows, 1):.1f} active per row)"
        )

    def __len__(self) -> int:
        return self.n_rows

    # ── by row ──

    def row(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        """Return one row's features (int64, ascending) and their activations (float32)."""
        block = self.take([i])
        return block.indices.astype(np.int64), block.data

    def rows(self, start: int, stop: int) -> sp.csr_array:
        """Return the rows start ≤ i < stop as a csr_array, (stop − start, n_features), float32."""
        start, stop, _ = slice(start, stop).indices(self.n_rows)
        return self.take(np.arange(start, max(start, stop)))

    def take(self, rows: Any) -> sp.csr_array:
        """Return any rows, in the order given, as a csr_array, (len(rows), n_features), float32.

        Raises:
            ValueError: If a row lies outside 0 … n_rows − 1.
        """
        parts, order = [], []
        for s, local, where in self._split(rows):
            pos, ptr = _spans(self._array(s, "row_ptr"), local)
            parts.append(self._csr(s, pos, ptr))
            order.append(where)
        if not parts:
            return sp.csr_array((0, self.n_features), dtype=np.float32)
        block = parts[0] if len(parts) == 1 else sp.csr_array(sp.vstack(parts, format="csr"))
        where = np.concatenate(order)
        return block if np.all(np.diff(where) > 0) else block[np.argsort(where)]

    def shards(self) -> Iterator[tuple[int, sp.csr_array]]:
        """Yield (first row, csr_array) for each shard."""
        for s, first in enumerate(self._first[:-1]):
            yield int(first), self._csr(s, slice(None), np.array(self._array(s, "row_ptr")))

    # ── by feature ──

    def feature(self, j: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows on which feature `j` is active (int64, ascending) and its activations."""
        column = self.features([j])
        return column.indices.astype(np.int64), column.data

    def features(self, js: Any) -> sp.csc_array:
        """Return the columns of some features as a csc_array, (n_rows, len(js)), float32.

        Raises:
            ValueError: If a feature lies outside 0 … n_features − 1.
        """
        js = _indices(js, self.n_features, "feature")
        values, rows, cols = [], [], []
        for s, first in enumerate(self._first[:-1]):
            pos, ptr = _spans(self._array(s, "feature_ptr"), js)
            values.append(_scaled(self._array(s, "feature_values")[pos], self._shards[s]["scale"]))
            rows.append(self._array(s, "feature_rows")[pos].astype(np.int64) + first)
            cols.append(np.repeat(np.arange(len(js)), np.diff(ptr)))
        shape = (self.n_rows, len(js))
        if not values:
            return sp.csc_array(shape, dtype=np.float32)
        coords = (np.concatenate(rows), np.concatenate(cols))
        return sp.csc_array(sp.coo_array((np.concatenate(values), coords), shape=shape))

    def shards_csc(self) -> Iterator[tuple[int, sp.csc_array]]:
        """Yield (first row, csc_array) for each shard; row indices count from the shard's first row."""
        for s, first in enumerate(self._first[:-1]):
            values = _scaled(self._array(s, "feature_values"), self._shards[s]["scale"])
            rows, ptr = self._array(s, "feature_rows"), self._array(s, "feature_ptr")
            shape = (self._shards[s]["n_rows"], self.n_features)
            yield int(first), sp.csc_array((values, rows.astype(np.int32), ptr), shape=shape)

    def top(self, j: int, n: int = 100) -> tuple[np.ndarray, np.ndarray]:
        """Return the `n` strongest rows of feature `j`, strongest first; ties: the lower row first."""
        rows, acts = self.feature(j)
        if 0 < n < len(acts):
            bound = np.partition(acts, -n)[-n]
            ties = np.flatnonzero(acts == bound)[: n - np.count_nonzero(acts > bound)]
            keep = np.sort(np.concatenate([np.flatnonzero(acts > bound), ties]))
            rows, acts = rows[keep], acts[keep]
        order = np.argsort(-acts, kind="stable")[: max(n, 0)]
        return rows[order], acts[order]

    @property
    def counts(self) -> np.ndarray:
        """Rows on which each feature is active, (n_features,) int64."""
        if self._counts is None:
            self._counts = np.zeros(self.n_features, np.int64)
            for s in range(len(self._shards)):
                self._counts += np.diff(self._array(s, "feature_ptr"))
        return self._counts.copy()

    @property
    def density(self) -> np.ndarray:
        """Share of the rows on which each feature is active, (n_features,) float64."""
        return self.counts / max(self.n_rows, 1)

    # ── beside the codes ──

    @property
    def has_texts(self) -> bool:
        """Whether the corpus keeps its texts."""
        return self.manifest["text_column"] is not None

    def texts(self, rows: Any = None) -> np.ndarray:
        """Return the texts of all or of some rows, an object array of str; a missing text is "".

        Raises:
            ValueError: If the corpus was encoded without texts.
        """
        if not self.has_texts:
            raise ValueError(f"corpus {self.name!r} has no texts; encode it again with texts=….")
        found = self._read(self.manifest["text_column"], rows)
        return np.array(["" if t is None else str(t) for t in found.to_pylist()], dtype=object)

    @property
    def columns(self) -> list[str]:
        """Names of the metadata columns beside the text."""
        return list(self.manifest["columns"])

    def column(self, name: str, rows: Any = None) -> np.ndarray:
        """Return a metadata column for all or some rows: numeric where it can be, else objects.

        Raises:
            ValueError: If there is no such column; the message names those there are.
        """
        if name not in [*self.columns, self.manifest["text_column"]]:
            raise ValueError(f"corpus {self.name!r} has no column {name!r}; it has {self.columns}.")
        return self._read(name, rows).to_numpy(zero_copy_only=False)

    @property
    def has_vectors(self) -> bool:
        """Whether every row's embedding can be found (a copy, or the path of the original file)."""
        return bool(self._shards) and all(shard["vectors"] for shard in self._shards)

    def vectors(self, rows: Any = None) -> np.ndarray:
        """Return the embeddings of all or of some rows, (n, input_size) float32.

        Raises:
            ValueError: If there are none, or the original file is gone or has changed.
        """
        if not self.has_vectors:
            raise ValueError(f"corpus {self.name!r} keeps no embeddings; encode it with vectors=….")
        out: np.ndarray | None = None
        rows = np.arange(self.n_rows) if rows is None else np.asarray(rows)
        for s, local, where in self._split(rows):
            kept = self._shards[s]["vectors"]
            if "path" in kept:
                part = _original(kept, self._open)[local + kept["offset"]].astype(np.float32)
            else:
                part = _scaled(self._array(s, "vectors")[local], kept["scale"])
            out = np.empty((len(rows), part.shape[1]), np.float32) if out is None else out
            out[where] = part
        return (
            np.empty((0, self._shards[0]["vectors"]["width"]), np.float32) if out is None else out
        )

    def weights(self) -> Weights:
        """Return the run's model in numpy.

        Raises:
            ValueError: If the codes lie in no run folder, or its model has another number of features.
        """
        from nanosae.weights import Weights

        if self.run is None or not (self.run / "model").exists():
            raise ValueError(f"no model beside {self.path}: codes in RUN/codes/ use RUN/model/.")
        weights = Weights.load(self.run)
        if weights.hidden_size != self.n_features:
            raise ValueError(
                f"the model in {self.run} has {weights.hidden_size} features, these codes {self.n_features}."
            )
        return weights

    def verify(self) -> None:
        """Compare every file with its checksum.

        Raises:
            ValueError: Naming the first damaged file.
        """
        for shard in self._shards:
            for file, (size, checksum) in shard["files"].items():
                path = self.path / shard["name"] / file
                _check_size(path, size)
                if _checksum(path) != checksum:
                    raise ValueError(
                        f"{path} is damaged: its checksum differs from the manifest's."
                    )

    def to_arrow(self, rows: Any = None) -> pa.Table:
        """Return the active pairs of all or of some rows as a table `row, feature, activation`."""
        import pyarrow as pa

        rows = np.arange(self.n_rows) if rows is None else np.asarray(rows)
        block = self.take(rows)
        long = np.repeat(rows, np.diff(block.indptr))
        return pa.table({"row": long, "feature": block.indices, "activation": block.data})

    def to_frame(self, rows: Any = None) -> pd.DataFrame:
        """Return the active pairs of all or of some rows as a DataFrame `row, feature, activation`."""
        return self.to_arrow(rows).to_pandas()

    # ── inside ──

    def _array(self, s: int, name: str) -> np.ndarray:
        path = self.path / self._shards[s]["name"] / f"{name}.npy"
        if path not in self._open:
            self._open[path] = _mapped(path)
        return self._open[path]

    def _csr(self, s: int, pos: Any, ptr: np.ndarray) -> sp.csr_array:
        values = _scaled(self._array(s, "values")[pos], self._shards[s]["scale"])
        cols = self._array(s, "columns")[pos].astype(np.int32)
        return sp.csr_array((values, cols, ptr), shape=(len(ptr) - 1, self.n_features))

    def _split(self, rows: Any) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Yield (shard, rows inside it, their places in `rows`) for the shards that are needed."""
        rows = _indices(rows, self.n_rows, "row")
        shard = np.searchsorted(self._first, rows, side="right") - 1
        for s in np.unique(shard):
            where = np.flatnonzero(shard == s)
            yield int(s), rows[where] - self._first[s], where

    def _read(self, name: str, rows: Any) -> pa.ChunkedArray:
        import pyarrow as pa

        parts, order = [], []
        rows = np.arange(self.n_rows) if rows is None else rows
        for s, local, where in self._split(rows):
            file = self._parquet(self.path / self._shards[s]["name"] / "rows.parquet")
            groups, inverse = np.unique(local // ROW_GROUP, return_inverse=True)
            table = file.read_row_groups(groups.tolist(), columns=[name])
            parts.append(table.take(inverse * ROW_GROUP + local % ROW_GROUP))
            order.append(where)
        if not parts:
            return pa.chunked_array([], pa.string())
        column = pa.concat_tables(parts, promote_options="permissive")[name]
        return column.take(np.argsort(np.concatenate(order))) if len(parts) > 1 else column

    def _parquet(self, path: Path) -> Any:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if path not in self._open:
            try:
                self._open[path] = pq.ParquetFile(path)
            except pa.ArrowInvalid as e:
                raise ValueError(f"{path} is damaged: {e}") from e
        return self._open[path]


class CodesWriter:
    """Write codes in a stream; use it as a context manager.

    Args:
        path: The corpus' folder, by convention `RUN/codes/NAME`.
        n_features: Width of the rows to come.
        text_column: Which column of the tables holds the text.
        source: A `.npy` file that holds the embeddings of the rows to come, in order: its path and
            fingerprint are kept, no copy. Otherwise give `vectors` to `append` for a float16 copy.
        info: Facts to keep in the manifest (JSON), such as which model made these codes; appended rows
            must come with equal ones.
        append: Go on in an existing corpus: `n_rows` says how many rows it holds already.
        shard_rows: Rows per shard, at most 2^20.

    Raises:
        FileExistsError: If the folder holds a corpus and `append` is false.
        ValueError: If the existing corpus does not fit: other width, other `info`.

    Example:
        >>> import tempfile, scipy.sparse as sp
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
        text_column: str = "text",
        source: str | Path | None = None,
        info: dict[str, Any] | None = None,
        append: bool = False,
        shard_rows: int = SHARD_ROWS,
    ) -> None:
        if not 1 <= shard_rows <= SHARD_ROWS:
            raise ValueError(f"shard_rows={shard_rows} must lie between 1 and {SHARD_ROWS}.")
        self.path, self.text_column, self.shard_rows = Path(path), text_column, shard_rows
        self._source = None if source is None else Path(source).absolute()
        self._blocks: list[tuple[sp.csr_array, pa.Table | None, np.ndarray | None]] = []
        self._rows = self._bytes = 0
        exists = (self.path / "manifest.json").exists()
        self.manifest = (
            _read_manifest(self.path) if exists else _new_manifest(n_features, info or {})
        )
        if exists and not append:
            raise FileExistsError(
                f"{self.path} already holds {self.manifest['n_rows']} rows: append=True adds rows, "
                "or choose another name."
            )
        if self.manifest["n_features"] != n_features:
            raise ValueError(
                f"{self.path} has {self.manifest['n_features']} features, the new rows {n_features}."
            )
        if info is not None and self.manifest["info"] != info:
            raise ValueError(f"{self.path} was made with {self.manifest['info']}, not with {info}.")
        self.path.mkdir(parents=True, exist_ok=True)
        if not exists:
            _write_manifest(self.path, self.manifest)

    @property
    def n_rows(self) -> int:
        """Rows that are safe on disk: where an interrupted writer goes on."""
        return self.manifest["n_rows"]

    def __enter__(self) -> CodesWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()

    def append(self, block: Any, table: Any = None, vectors: np.ndarray | None = None) -> None:
        """Add rows; blocks may have any size, shards are cut here.

        Args:
            block: A sparse array (n, n_features), or the flat triple `(values, cols, row_ptr)`.
                Activations are finite and ≥ 0.
            table: The rows' texts (a list of str), or text and metadata columns (an Arrow table, a
                DataFrame or a dict of columns).
            vectors: The rows' embeddings, (n, input_size), kept as float16.

        Raises:
            ValueError: If widths, lengths or columns do not fit, or a value is negative or not finite.
            OSError: If a shard cannot be written; the rows before it stay readable.
        """
        rows = _as_csr(block, self.manifest["n_features"])
        n = rows.shape[0]
        beside = _as_table(table, self.text_column, n)
        if n == 0:
            return
        if vectors is not None and (np.ndim(vectors) != 2 or len(vectors) != n):
            raise ValueError(f"vectors have shape {np.shape(vectors)}, but the block has {n} rows.")
        self._check_kind(beside, vectors)
        start = 0
        while start < n:
            stop = min(n, start + self.shard_rows - self._rows)
            part = rows if stop - start == n else rows[start:stop]
            text = None if beside is None else beside.slice(start, stop - start)
            dense = None if vectors is None else np.array(vectors[start:stop], np.float32)
            self._blocks.append((part, text, dense))
            self._rows += stop - start
            self._bytes += 8 * part.nnz + (text.nbytes if text else 0)
            self._bytes += 0 if dense is None else dense.nbytes
            if self._rows == self.shard_rows or self._bytes >= SHARD_BYTES:
                self.flush()
            start = stop

    def close(self) -> None:
        """Write what is left."""
        self.flush()

    def flush(self) -> None:
        """Write the buffered rows as a shard and replace the manifest.

        Raises:
            OSError: If the disk is full or not writable; the message says which rows are safe.
            ValueError: If another writer has changed the corpus meanwhile.
        """
        if not self._blocks:
            return
        blocks, tables, vectors = zip(*self._blocks, strict=True)
        rows = blocks[0] if len(blocks) == 1 else sp.csr_array(sp.vstack(blocks, format="csr"))
        self._blocks, self._rows, self._bytes = [], 0, 0
        del blocks
        name = f"{len(self.manifest['shards']):05d}"
        draft = self.path / f"{name}.part"
        if _read_manifest(self.path)["n_rows"] != self.n_rows:
            raise ValueError(f"another writer has added rows to {self.path}: open it again.")
        try:
            for stale in (draft, self.path / name):  # left by a writer that died
                shutil.rmtree(stale, ignore_errors=True)
            draft.mkdir()
            shard = {"name": name, **self._write_shard(draft, rows, tables, vectors)}
            draft.replace(self.path / name)
            shards = [*self.manifest["shards"], shard]
            total = {k: self.manifest[k] + shard[k] for k in ("n_rows", "nnz")}
            manifest = self.manifest | total | {"shards": shards}
            _write_manifest(self.path, manifest)
        except OSError as e:
            shutil.rmtree(draft, ignore_errors=True)
            why = f"{e.strerror or e}; the first {self.n_rows} rows are safe, go on from there"
            raise OSError(e.errno, f"cannot write shard {name} of {self.path}: {why}") from e
        self.manifest = manifest

    def _write_shard(
        self, folder: Path, rows: sp.csr_array, tables: Any, vectors: Any
    ) -> dict[str, Any]:
        index = np.uint16 if self.manifest["n_features"] <= 2**16 else np.uint32
        half, scale = _to_half(rows.data)
        half[(half == 0)] = np.float16(2.0**-24)
        columns = rows.tocsc()
        back = columns.data, columns.indices  # the same values, sorted by feature
        arrays = {
            "values": half,
            "columns": rows.indices.astype(index),
            "row_ptr": rows.indptr.astype(np.int64),
            "feature_values": np.maximum(
                (back[0] / scale).astype(np.float16), np.float16(2.0**-24)
            ),
            "feature_rows": back[1].astype(np.uint32),
            "feature_ptr": columns.indptr.astype(np.int64),
        }
        kept: dict[str, Any] | None = None
        if vectors[0] is not None:
            arrays["vectors"], vector_scale = _to_half(np.concatenate(vectors))
            kept = {"scale": vector_scale, "width": arrays["vectors"].shape[1]}
        elif self._source is not None:
            kept = _describe_source(self._source, self.manifest["shards"], rows.shape[0])
        for name, array in arrays.items():
            with (folder / f"{name}.npy").open("wb") as f:
                np.save(f, array)
                _sync(f)
        if tables[0] is not None:
            _write_parquet(folder / "rows.parquet", tables)
        files = {p.name: [p.stat().st_size, _checksum(p)] for p in sorted(folder.iterdir())}
        size = {"n_rows": rows.shape[0], "nnz": rows.nnz}
        return {**size, "scale": scale, "vectors": kept, "files": files}

    def _check_kind(self, table: pa.Table | None, vectors: np.ndarray | None) -> None:
        """Fix the columns with the first rows; later rows must have the same."""
        names = [] if table is None else table.column_names
        text = self.text_column if self.text_column in names else None
        kind = {
            "text_column": text,
            "columns": [c for c in names if c != text],
            "width": None if vectors is None else vectors.shape[1],
        }
        if self.n_rows == 0 and not self._blocks:
            self.manifest |= kind
        for key, given in kind.items():
            if self.manifest[key] != given:
                raise ValueError(f"{key} is {self.manifest[key]} in {self.path}, but {given} here.")


def write_codes(
    path: str | Path,
    csr: Any,
    *,
    texts: Any = None,
    metadata: Any = None,
    vectors: np.ndarray | None = None,
    **options: Any,
) -> Codes:
    """Write a corpus in one call.

    Args:
        path: The corpus' folder, by convention `RUN/codes/NAME`.
        csr: The activations, (n_rows, n_features), sparse.
        texts: One str (or None) per row.
        metadata: Further columns: a DataFrame, an Arrow table or a dict of columns.
        vectors: Embeddings, (n_rows, input_size), kept as float16.
        **options: Passed to `CodesWriter`.
    """
    table = None if metadata is None else _as_table(metadata, "text", csr.shape[0])
    if texts is not None:
        column = _as_table(list(texts), options.get("text_column", "text"), csr.shape[0])
        for name in [] if table is None else table.column_names:
            column = column.append_column(name, table[name])
        table = column
    with CodesWriter(path, n_features=csr.shape[1], **options) as writer:
        writer.append(csr, table=table, vectors=vectors)
    return Codes(path)


def fingerprint(path: str | Path) -> str:
    """Return size and checksum of a file's first and last MiB: enough to notice another file."""
    path = Path(path)
    with path.open("rb") as f:
        head = f.read(2**20)
        f.seek(max(0, path.stat().st_size - 2**20))
        return f"{path.stat().st_size}-{zlib.crc32(f.read(), zlib.crc32(head)):08x}"


def _new_manifest(n_features: int, info: dict[str, Any]) -> dict[str, Any]:
    if n_features < 1:
        raise ValueError(f"n_features={n_features} must be at least 1.")
    sizes = {"n_rows": 0, "n_features": int(n_features), "nnz": 0}
    return {"format": FORMAT, **sizes, "text_column": None, "columns": [], "width": None} | {
        "info": info,
        "shards": [],
    }


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / "manifest.json"
    try:
        manifest = json.loads(path.read_text("utf-8"))
        found = manifest["format"]
        rows = sum(shard["n_rows"] for shard in manifest["shards"])
        whole = rows == manifest["n_rows"]
    except (ValueError, KeyError, TypeError) as e:
        raise ValueError(f"{path} is damaged: {type(e).__name__} {e}") from e
    if found != FORMAT:
        raise ValueError(f"{path} has format {found}, this version reads format {FORMAT}.")
    if not whole:
        raise ValueError(f"{path} is damaged: {manifest['n_rows']} rows, its shards hold {rows}.")
    return manifest


def _write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    draft = folder / "manifest.json.part"
    with draft.open("w", encoding="utf-8") as f:
        json.dump(manifest, f, indent=1)
        _sync(f)
    draft.replace(folder / "manifest.json")


def _sync(f: Any) -> None:
    f.flush()
    os.fsync(f.fileno())


def _write_parquet(path: Path, tables: Any) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.concat_tables(tables, promote_options="permissive")
    with path.open("wb") as f:
        pq.write_table(table, f, row_group_size=ROW_GROUP, compression="zstd")
        _sync(f)


def _check_size(path: Path, size: int) -> None:
    found = path.stat().st_size if path.exists() else None
    if found != size:
        state = "is missing" if found is None else f"has {found} bytes"
        raise ValueError(f"{path} is damaged: it {state}, the manifest says {size} bytes.")


def _checksum(path: Path) -> str:
    crc = 0
    with path.open("rb") as f:
        while chunk := f.read(2**22):
            crc = zlib.crc32(chunk, crc)
    return f"{crc:08x}"


def _mapped(path: Path) -> np.ndarray:
    try:
        return np.asarray(np.load(path, mmap_mode="r"))
    except (ValueError, EOFError, OSError) as e:
        raise ValueError(f"{path} cannot be read: {e}") from e


def _original(kept: dict[str, Any], cache: dict[Path, Any]) -> np.ndarray:
    path = Path(kept["path"])
    if path not in cache:
        if not path.exists():
            raise ValueError(f"the embeddings' file {path} is gone; encode again with vectors=….")
        if fingerprint(path) != kept["fingerprint"]:
            raise ValueError(f"{path} has changed since it was encoded; encode it again.")
        cache[path] = _mapped(path)
    return cache[path]


def _describe_source(path: Path, shards: list[dict[str, Any]], n_rows: int) -> dict[str, Any]:
    """Say where a shard's vectors lie in `path`: after those of the shards before it."""
    before = [s["vectors"]["offset"] + s["n_rows"] for s in shards if _same_file(s, path)]
    offset, array = max(before, default=0), _mapped(path)
    if array.ndim != 2 or offset + n_rows > len(array):
        raise ValueError(
            f"{path} has shape {array.shape}; rows up to {offset + n_rows} were encoded."
        )
    place = {"path": str(path), "fingerprint": fingerprint(path), "offset": offset}
    return {**place, "width": array.shape[1]}


def _same_file(shard: dict[str, Any], path: Path) -> bool:
    return bool(shard["vectors"]) and shard["vectors"].get("path") == str(path)


def _to_half(values: np.ndarray) -> tuple[np.ndarray, float]:
    """Return float16 values and the power of two that they are to be multiplied by."""
    top = float(np.abs(values).max(initial=0.0))
    scale = 2.0 ** max(math.frexp(top)[1] - 15, -125) if top else 1.0
    return (values / np.float32(scale)).astype(np.float16), scale


def _scaled(half: np.ndarray, scale: float) -> np.ndarray:
    return half.astype(np.float32) * np.float32(scale)


def _indices(given: Any, size: int, what: str) -> np.ndarray:
    given = np.asarray(given)
    indices = given.astype(np.int64).ravel()
    if len(indices) and not (
        given.dtype.kind in "iu" and 0 <= indices.min() <= indices.max() < size
    ):
        raise ValueError(f"{what} {given.min()} … {given.max()}: the range is 0 … {size - 1}.")
    return indices


def _spans(ptr: np.ndarray, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions of the entries of some rows (or features), and their new pointer."""
    lengths = ptr[which + 1] - ptr[which]
    new = np.concatenate([[0], np.cumsum(lengths)])
    return np.repeat(ptr[which] - new[:-1], lengths) + np.arange(new[-1]), new


def _as_csr(block: Any, n_features: int) -> sp.csr_array:
    if isinstance(block, tuple):
        values, cols, ptr = (np.asarray(part) for part in block)
        width = max(n_features, int(cols.max(initial=-1)) + 1)
        block = sp.csr_array((values, cols, ptr), shape=(len(ptr) - 1, width))
    if block.shape[1] != n_features:
        raise ValueError(f"the rows have {block.shape[1]} features, this corpus has {n_features}.")
    rows = sp.csr_array(block).astype(np.float32)
    rows.sum_duplicates()
    rows.eliminate_zeros()
    if not (np.isfinite(rows.data).all() and rows.data.min(initial=0) >= 0):
        raise ValueError("activations must be finite and not negative.")
    return rows


def _as_table(table: Any, text_column: str, n: int) -> Any:
    import pyarrow as pa

    if table is None or isinstance(table, pa.Table):
        found = table
    elif hasattr(table, "columns") and hasattr(table, "dtypes"):
        found = pa.Table.from_pandas(table, preserve_index=False)
    elif isinstance(table, dict):
        found = pa.table(table)
    else:
        found = pa.table({text_column: pa.array(list(table), pa.string())})
    if found is not None and found.num_rows != n:
        raise ValueError(f"the table has {found.num_rows} rows, but the block has {n}.")
    return found
