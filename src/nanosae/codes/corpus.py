"""Codes: the sparse activations of a corpus on disk, by row and by feature, with texts beside them.

A corpus is one folder, `RUN/codes/NAME/`:

    manifest.json                        what is here: the only file that is ever replaced
    00000/ 00001/ …                      immutable shards of at most 2^20 rows
      row_values.npy row_indices.npy row_ptr.npy               CSR: float16, uint16/32, int64
      feature_values.npy feature_indices.npy feature_ptr.npy   CSC: float16, uint16/32, int64
      rows.parquet                       the column "text" and the metadata columns of these rows
      vectors.npy                        their embeddings, float16 (only if they were given)

A stored value times its shard's `scale` in the manifest is the activation. Scales are powers of
two: values keep 11 significant bits, and no activation is rounded to zero. A shard is written under
another name, synchronised, renamed, and only then named by a new manifest that replaces the old one
in one step: whenever a writer dies, the manifest describes complete shards. Rows that are tokens
hold their whole text in "text", its number in `text_index`, and `start`, `end` (character offsets)
as further columns; what is handed out as their texts are their surroundings.

Nothing of size rows × features is ever made; what is handed out is a bounded copy. One writer at a
time: a second one is noticed when it is about to replace a manifest that it has not read.
"""

from __future__ import annotations

import functools
import html
import json
import math
import os
import shutil
import textwrap
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.sparse as sp

from nanosae.model.files import checksum, saved_checksum
from nanosae.model.weights import Weights

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 1
SHARD_ROWS = 2**20
SHARD_BYTES = 2**27  # of buffered rows: a shard is cut early there, which bounds writer and readers
CONTEXT = 60  # characters shown on either side of a token
BLOCK = 2**14  # tokens whose whole texts are in memory together
ROW_GROUP = 1024  # rows per Parquet row group: what must be read for a single text


class Codes:
    """Hold the codes of one corpus, memory-mapped; `Codes.open` finds it in a run folder.

    Attributes:
        path: The corpus' folder.
        name: Its name.
        run: The run folder it lies in, or None.
        n_rows: Number of rows.
        n_features: Number of features.
        nnz: Number of active pairs.
        columns: Names of the metadata columns beside the text.
        has_texts: Whether the corpus keeps its texts.
        has_tokens: Whether its rows are tokens of texts.
        has_vectors: Whether it knows its embeddings (a copy, or the path of the original file).
        manifest: Everything that manifest.json says.

    Raises:
        FileNotFoundError: If there is no manifest.
        ValueError: If the manifest or a shard is damaged or incomplete; the message names the file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.name = self.path.name
        self.run = self.path.parent.parent if self.path.parent.name == "codes" else None
        self.manifest: dict[str, Any] = _read_manifest(self.path)
        self.n_rows: int = self.manifest["n_rows"]
        self.n_features: int = self.manifest["n_features"]
        self.nnz: int = self.manifest["nnz"]
        self.columns: list[str] = [c for c in self.manifest["columns"] if c != "text"]
        self.has_texts: bool = "text" in self.manifest["columns"]
        self.has_tokens = self.has_texts and {"text_index", "start", "end"} <= {*self.columns}
        self._shards: list[dict[str, Any]] = self.manifest["shards"]
        self.has_vectors: bool = self.n_rows > 0 and all(s["vectors"] for s in self._shards)
        self._first = np.cumsum([0, *(shard["n_rows"] for shard in self._shards)])
        self._map = functools.cache(_map)
        self._reading = threading.Lock()  # readers of Parquet files serve one thread at a time

    @property
    def model(self) -> str:
        """Checksum of the model that made these codes; "" if it is not known."""
        made_by = self.manifest["info"].get("model")
        if made_by is None and self.run and (self.run / "model" / "cfg.json").exists():
            made_by = saved_checksum(self.run)
        return made_by or ""

    @functools.cached_property
    def checksum(self) -> str:
        """Checksum of all that the corpus holds, as the manifest knows it."""
        text = json.dumps([self.manifest["columns"], self._shards], sort_keys=True)
        return f"{zlib.crc32(text.encode()):08x}"

    @property
    def data(self) -> str:
        """Fingerprint of the data that was encoded first; "" if it is not known."""
        sources = self.manifest.get("sources") or [{}]
        return sources[0].get("data") or ""

    @classmethod
    def open(cls, path: str | Path, name: str | None = None) -> Codes:
        """Open a corpus, at once.

        Args:
            path: A corpus' folder, or a run folder.
            name: Which corpus of the run; by default the only one, or the one called "default".

        Raises:
            FileNotFoundError: If there is no such corpus; the message names those there are.
        """
        if (Path(path) / "manifest.json").exists():
            return cls(path)
        names = sorted(p.parent.name for p in Path(path).glob("codes/[!.]*/manifest.json"))
        chosen = name or (names[0] if len(names) == 1 else "default")
        if chosen not in names:
            have = (
                f"it has {', '.join(names)}" if names else f"make them: nanosae encode {path} DATA"
            )
            raise FileNotFoundError(f"no codes {chosen!r} in {path}; {have}.")
        return cls(Path(path) / "codes" / chosen)

    def __repr__(self) -> str:
        return f"Codes({str(self.path)!r}: {self.n_rows:,} rows × {self.n_features:,} features)"

    def _repr_html_(self) -> str:
        facts = {"rows": f"{self.n_rows:,}", "features": f"{self.n_features:,}"}
        facts["active features a row"] = f"{self.nnz / max(self.n_rows, 1):.1f}"
        facts |= {"never active": f"{(self.counts == 0).sum():,}", "texts": self.has_texts}
        facts |= {"columns": ", ".join(self.columns), "embeddings": self.has_vectors}
        return facts_html(f"Codes · {self.path}", facts)

    def row(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        """Return one row's features (int64, ascending) and their activations (float32)."""
        block = self.take([i])
        return block.indices.astype(np.int64), block.data

    def rows(self, start: int, stop: int) -> sp.csr_array:
        """Return the rows start ≤ i < stop, (stop − start, n_features) float32."""
        return self.take(np.arange(*slice(start, stop).indices(self.n_rows)))

    def take(self, rows: Any) -> sp.csr_array:
        """Return any rows, in the order given, (len(rows), n_features) float32.

        Raises:
            ValueError: If a row lies outside 0 … n_rows − 1.
        """
        parts, back = self._gather(rows, lambda s, local: self._pick(s, "row", local))
        parts = parts or [sp.csr_array((0, self.n_features), dtype=np.float32)]
        block = sp.csr_array(sp.vstack(parts, format="csr"))
        return block if len(parts) == 1 else block[back]

    def shards(self, values: bool = True) -> Iterator[tuple[int, sp.csr_array]]:
        """Yield (first row, csr_array) for each shard; without `values`, with ones of one byte."""
        for s, first in enumerate(self._first[:-1]):
            yield int(first), self._pick(s, "row", values=values)

    def feature(self, j: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows on which feature `j` is active (int64, ascending) and its activations."""
        column = self.features([j])
        return column.indices.astype(np.int64), column.data

    def features(self, js: Any) -> sp.csc_array:
        """Return the columns of some features, (n_rows, len(js)) float32.

        Raises:
            ValueError: If a feature lies outside 0 … n_features − 1.
        """
        js = indices(js, self.n_features, "feature")
        parts = [self._pick(s, "feature", js) for s in range(len(self._shards))]
        parts = parts or [sp.csr_array((len(js), 0), dtype=np.float32)]
        return sp.csc_array(sp.hstack(parts, format="csr").T)

    def top(self, j: int, n: int = 100) -> tuple[np.ndarray, np.ndarray]:
        """Return the `n` strongest rows of feature `j`, strongest first; ties: lower row first."""
        (j,), n, parts = indices([j], self.n_features, "feature"), max(n, 0), []
        for s, first in enumerate(self._first[:-1]):
            start, stop = self._array(s, "feature_ptr.npy")[j : j + 2].tolist()
            half = self._array(s, "feature_values.npy")[start:stop]
            bits = half.view(np.uint16)  # positive float16 numbers are ordered like their bits
            best = slice(None)
            if 0 < n < len(bits):
                best = np.flatnonzero(bits >= np.partition(bits, -n)[-n])
            rows = self._array(s, "feature_indices.npy")[start:stop][best].astype(np.int64)
            parts.append((rows + first, _restore(half[best], self._shards[s]["scale"])))
        parts.append((np.arange(0), np.zeros(0, np.float32)))
        rows, acts = (np.concatenate(part) for part in zip(*parts, strict=True))
        order = np.argsort(-acts, kind="stable")[:n]
        return rows[order], acts[order]

    @property
    def counts(self) -> np.ndarray:
        """Number of rows on which each feature is active, (n_features,) int64."""
        ptrs = [self._array(s, "feature_ptr.npy") for s in range(len(self._shards))]
        return sum((np.diff(ptr) for ptr in ptrs), start=np.zeros(self.n_features, np.int64))

    @property
    def density(self) -> np.ndarray:
        """Share of the rows on which each feature is active, (n_features,) float64."""
        return self.counts / max(self.n_rows, 1)

    def texts(self, rows: Any = None, marks: str = "«»") -> np.ndarray:
        """Return the texts of all or some rows, an object array of str; a missing text is "".

        Of a token it is what stands around it, up to CONTEXT characters on either side.

        Args:
            rows: Which rows; all by default.
            marks: What stands before and after the token in it; "" for nothing.

        Raises:
            ValueError: If the corpus was encoded without texts.
        """
        if not self.has_tokens:
            found = ["" if t is None else str(t) for t in self.column("text", rows)]
            return np.array(found, dtype=object)
        rows, found = indices(rows, self.n_rows, "row"), []
        for some in np.split(rows, range(BLOCK, len(rows), BLOCK)):
            columns = (self.column(name, some) for name in ("text", "start", "end"))
            found += [_around(*token, *marks) for token in zip(*columns, strict=True)]
        return np.array(found, dtype=object)

    def column(self, name: str, rows: Any = None) -> np.ndarray:
        """Return a metadata column for all or some rows: numeric where it can be, else objects.

        Raises:
            ValueError: If there is no such column; the message names those there are.
        """
        if name not in self.manifest["columns"]:
            have = f"{self.path} has no column {name!r}, only {self.columns}"
            raise ValueError(f"{have}; encode the corpus again with it beside the rows.")

        def read(s: int, local: np.ndarray) -> pa.Table:
            file = self._array(s, "rows.parquet")
            size = file.metadata.row_group(0).num_rows
            groups, place = np.unique(local // size, return_inverse=True)
            with self._reading:
                table = file.read_row_groups(groups.tolist(), [name])
            return table.take(pa.array(place * size + local % size))

        parts, back = self._gather(rows, read)
        parts = parts or [pa.table({name: pa.array([], pa.string())})]
        found = pa.concat_tables(parts, promote_options="permissive")[name]
        return found.to_numpy(zero_copy_only=False)[back]

    def vectors(self, rows: Any = None) -> np.ndarray:
        """Return the embeddings of all or some rows, (n, input_size) float32.

        Raises:
            ValueError: If there are none, or the original file is gone or has changed.
        """
        if not self.has_vectors:
            raise ValueError(f"{self.path} knows no embeddings; encode the corpus with vectors=….")

        def read(s: int, local: np.ndarray) -> np.ndarray:
            kept, local = self._shards[s]["vectors"], _span(local)
            if "scale" in kept:
                return _restore(self._array(s, "vectors.npy")[local], kept["scale"])
            original = self._map(Path(kept["path"]), kept["fingerprint"])[kept["offset"] :]
            return original[local].astype(np.float32)

        parts, back = self._gather(rows, read)
        if len(parts) == 1:
            return parts[0]
        return np.concatenate(parts or [read(0, np.arange(0))])[back]

    def scan(self, size: int = 2**11) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (first row, embeddings float32) for all rows, block by block.

        Unlike those of `vectors`, the pages read do not stay in the process' memory.
        """
        for first in range(0, self.n_rows, 2**16):
            once, last = Codes(self.path), min(first + 2**16, self.n_rows)
            for start in range(first, last, size):
                yield start, once.vectors(np.arange(start, min(start + size, last)))

    def weights(self) -> Weights:
        """Return the run's model in numpy.

        Raises:
            ValueError: If the codes lie in no run folder with a model of as many features, or were
                made by another model.
        """
        model = Weights.load(self.run) if self.run and (self.run / "model").exists() else None
        if model is None or model.hidden_size != self.n_features:
            have = f"RUN/model has {model.hidden_size}" if model else "there is none in RUN/model"
            raise ValueError(f"{self.path} needs a model of {self.n_features} features; {have}.")
        made_by, here = self.manifest["info"].get("model"), checksum(model.W_dec)
        if made_by not in (None, here):
            have = f"was encoded by model {made_by}, but RUN/model is {here}"
            raise ValueError(f"{self.path} {have}: encode it again.")
        return model

    def verify(self) -> None:
        """Compare every file with its checksum.

        Raises:
            ValueError: Naming the first damaged file.
        """
        for shard in self._shards:
            for name, known in shard["files"].items():
                path = self.path / shard["name"] / name
                if not path.exists() or zlib.crc32(path.read_bytes()) != known:
                    raise ValueError(f"{path} is damaged: its checksum is not the manifest's.")

    def to_arrow(self, rows: Any = None) -> pa.Table:
        """Return the active pairs of all or some rows as a table `row, feature, activation`."""
        rows = indices(rows, self.n_rows, "row")
        block = self.take(rows)
        long = np.repeat(rows, np.diff(block.indptr))
        return pa.table({"row": long, "feature": block.indices, "activation": block.data})

    def to_frame(self, rows: Any = None) -> pd.DataFrame:
        """Return the active pairs of all or some rows as a frame `row, feature, activation`."""
        return self.to_arrow(rows).to_pandas()

    def _array(self, s: int, name: str) -> Any:
        return self._map(self.path / self._shards[s]["name"] / name)

    def _pick(self, s: int, side: str, which: Any = None, values: bool = True) -> sp.csr_array:
        """Return some rows (or, transposed, some features) of a shard."""
        names = (f"{side}_ptr.npy", f"{side}_values.npy", f"{side}_indices.npy")
        ptr, half, indices = (self._array(s, name) for name in names)
        which = np.arange(len(ptr) - 1) if which is None else which
        lengths = ptr[which + 1] - ptr[which]
        start = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        spans: Any = slice(ptr[which[0]], ptr[which[-1] + 1]) if len(which) else slice(0)
        if (np.diff(which) != 1).any():  # not neighbours
            spans = np.repeat(ptr[which] - start[:-1], lengths) + np.arange(start[-1])
        scale = self._shards[s]["scale"]
        data = _restore(half[spans], scale) if values else np.ones(start[-1], "i1")
        width = self.n_features if side == "row" else self._shards[s]["n_rows"]
        found = (data, indices[spans].astype(np.int32), start)
        return sp.csr_array(found, shape=(len(which), width))

    def _gather(self, rows: Any, read: Callable[[int, np.ndarray], Any]) -> tuple[list, np.ndarray]:
        """Read rows shard by shard; return the parts and the order that puts them back."""
        rows = indices(rows, self.n_rows, "row")
        shard = np.searchsorted(self._first, rows, side="right") - 1
        parts = [read(int(s), rows[shard == s] - self._first[s]) for s in np.unique(shard)]
        return parts, np.argsort(np.argsort(shard, kind="stable"))


def facts_html(title: str, facts: dict[str, Any]) -> str:
    """Return a small table for notebooks: what is unknown (None, "") is left out.

    Example:
        >>> facts_html("1 < 2", {"k": 3, "no": None})
        '<b>1 &lt; 2</b><table><tr><th>k</th><td>3</td></tr></table>'
    """
    known = {k: v for k, v in facts.items() if v is not None and v != ""}
    lines = ((k, textwrap.shorten(str(v), 100, placeholder=" …")) for k, v in known.items())
    cells = (f"<th>{html.escape(k)}</th><td>{html.escape(v)}</td>" for k, v in lines)
    rows = "".join(f"<tr>{cell}</tr>" for cell in cells)
    return f"<b>{html.escape(title)}</b><table>{rows}</table>"


class CodesWriter:
    """Write codes in a stream; a context manager.

    Args:
        path: The corpus' folder, by convention `RUN/codes/NAME`.
        n_features: Width of the rows to come.
        source: A `.npy` file with the embeddings of the rows to come, in order: its path and
            fingerprint are kept instead of a copy. Give `vectors` to `append` for a float16 copy.
        first: Which row of `source` comes first.
        info: Facts for the manifest (JSON), such as which model made these codes; rows added
            later must come with equal ones.
        append: Go on in an existing corpus; `n_rows` says how many rows it holds.

    Raises:
        FileExistsError: If the folder holds a corpus and `append` is false.
        ValueError: If the existing corpus does not fit: other width, other `info`.

    Example:
        >>> import tempfile
        >>> with CodesWriter(tempfile.mkdtemp(), n_features=5) as writer:
        ...     writer.append(sp.csr_array([[0, 2.0, 0, 0, 1.0]]), table=["a text"])
        >>> codes = Codes.open(writer.path)
        >>> codes.row(0)[0].tolist(), codes.texts().tolist()
        ([1, 4], ['a text'])
    """

    def __init__(
        self, path: str | Path, *, n_features: int, source=None, first=0, info=None, append=False
    ) -> None:
        self.path = Path(path)
        self._source, self._first = source and str(Path(source).absolute()), first
        self._blocks: list[Any] | None = []  # (csr_array, table, vectors); None: closed
        self._rows = self._bytes = 0
        fixed = {"format": FORMAT, "n_features": int(n_features), "info": info or {}}
        if not (self.path / "manifest.json").exists():
            empty = {"n_rows": 0, "nnz": 0, "columns": [], "width": None, "shards": []}
            self.path.mkdir(parents=True, exist_ok=True)
            _write_manifest(self.path, fixed | empty)
        elif not append:
            raise FileExistsError(f"{self.path} holds a corpus: append=True, or another name.")
        self.manifest: dict[str, Any] = _read_manifest(self.path)
        self._require(fixed)

    @property
    def n_rows(self) -> int:
        """Rows that are safe on disk: where an interrupted writer goes on."""
        return self.manifest["n_rows"]

    def __enter__(self) -> CodesWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.flush()
        self._blocks = None

    def append(self, block: Any, table: Any = None, vectors: np.ndarray | None = None) -> None:
        """Add rows; blocks may have any size, shards are cut here.

        Args:
            block: A sparse array (n, n_features), or the flat triple `(values, cols, row_ptr)`.
            table: The rows' texts (a list of str), or their text and metadata columns (an Arrow
                table, a DataFrame or a dict of columns; the text's column is called "text").
            vectors: The rows' embeddings, (n, input_size).

        Raises:
            ValueError: If widths, lengths or columns do not fit, an activation is negative or not
                finite, or the writer is closed.
            OSError: If a shard cannot be written; the rows before it stay readable.
        """
        rows = _as_csr(block, self.manifest["n_features"])
        beside = None if table is None else _plain(as_table(table))
        for what, given in (("table", beside), ("vectors", vectors)):
            if given is not None and len(given) != rows.shape[0]:
                raise ValueError(f"{what}: {len(given)} rows, but the block has {rows.shape[0]}.")
        if self._blocks is None:
            raise ValueError(f"this writer of {self.path} is closed; open another, append=True.")
        names = [] if beside is None else beside.column_names
        kind = {"columns": names, "width": None if vectors is None else vectors.shape[1]}
        if self.n_rows == 0 and not self._blocks:  # the first rows say what lies beside the codes
            self.manifest |= kind
        self._require(kind)
        start = 0
        while start < rows.shape[0]:
            part = slice(start, min(rows.shape[0], start + SHARD_ROWS - self._rows))
            dense = None if vectors is None else np.array(vectors[part], np.float32)
            self._blocks.append((rows[part], None if beside is None else beside[part], dense))
            self._rows += part.stop - start
            sizes = [x.nbytes for x in self._blocks[-1][1:] if x is not None]
            self._bytes += sum(sizes, start=8 * self._blocks[-1][0].nnz)
            if self._rows == SHARD_ROWS or self._bytes >= SHARD_BYTES:
                self.flush()
            start = part.stop

    def flush(self) -> None:
        """Write the buffered rows as a shard and replace the manifest.

        Raises:
            OSError: If the shard cannot be written; the message says how many rows are safe.
            ValueError: If another writer has added rows meanwhile.
        """
        if not self._blocks:
            return
        name, blocks, self._blocks = f"{len(self.manifest['shards']):05d}", self._blocks, None
        if _read_manifest(self.path)["n_rows"] != self.n_rows:
            raise ValueError(f"another writer has added rows to {self.path}: open it again.")
        draft = self.path / f"{name}.part"
        try:
            for stale in (draft, self.path / name):  # left by a writer that died
                shutil.rmtree(stale, ignore_errors=True)
            draft.mkdir()
            shard = {"name": name, **self._write_shard(draft, *zip(*blocks, strict=True))}
            draft.replace(self.path / name)
            total = {key: self.manifest[key] + shard[key] for key in ("n_rows", "nnz")}
            manifest = self.manifest | total | {"shards": [*self.manifest["shards"], shard]}
            _write_manifest(self.path, manifest)
        except OSError as e:
            shutil.rmtree(draft, ignore_errors=True)
            state = f"{e.strerror or e}; its first {self.n_rows} rows are safe: go on from there"
            raise OSError(e.errno, f"cannot write shard {name} of {self.path}: {state}") from e
        self.manifest, self._blocks, self._rows, self._bytes = manifest, [], 0, 0

    def _write_shard(self, folder: Path, blocks: Any, tables: Any, vectors: Any) -> dict[str, Any]:
        by_row: Any = sp.vstack(blocks, format="csr")
        n, scale = by_row.shape[0], _scale(by_row.data)
        kept: dict[str, Any] | None = None
        arrays: dict[str, np.ndarray] = {}
        for side, m, width in (("row", by_row, by_row.shape[1]), ("feature", by_row.tocsc(), n)):
            half = np.maximum((m.data / np.float32(scale)).astype(np.float16), np.float16(2.0**-24))
            index = np.uint16 if width <= 2**16 else np.uint32
            arrays |= {f"{side}_values": half, f"{side}_indices": m.indices.astype(index)}
            arrays[f"{side}_ptr"] = m.indptr.astype(np.int64)
        if vectors[0] is not None:
            dense = np.concatenate(vectors)
            kept = {"scale": _scale(dense)}
            arrays["vectors"] = (dense / np.float32(kept["scale"])).astype(np.float16)
        elif self._source:
            shards = [s for s in self.manifest["shards"] if s["vectors"]]
            offset = sum(s["n_rows"] for s in shards if s["vectors"].get("path") == self._source)
            kept = {"path": self._source, "fingerprint": fingerprint(self._source)}
            kept |= {"offset": self._first + offset}
        for name, array in arrays.items():
            _put(folder / f"{name}.npy", lambda f, array=array: np.save(f, array))
        if tables[0] is not None:
            t = pa.concat_tables(tables, promote_options="permissive")
            options: Any = {"row_group_size": ROW_GROUP, "compression": "zstd"}
            _put(folder / "rows.parquet", lambda f: pq.write_table(t, f, **options))
        files = {path.name: zlib.crc32(path.read_bytes()) for path in folder.iterdir()}
        return {"n_rows": n, "nnz": by_row.nnz, "scale": scale, "vectors": kept, "files": files}

    def _require(self, facts: dict[str, Any]) -> None:
        for key, given in facts.items():
            if self.manifest[key] != given:
                raise ValueError(f"{key} is {self.manifest[key]} in {self.path}, not {given}.")


def write_codes(
    path: str | Path, csr: Any, *, texts: Any = None, metadata: Any = None, **options: Any
) -> Codes:
    """Write a corpus in one call.

    Args:
        path: The corpus' folder, by convention `RUN/codes/NAME`.
        csr: The activations, (n_rows, n_features), sparse.
        texts: One str (or None) per row.
        metadata: Further columns: a DataFrame, an Arrow table or a dict of columns.
        **options: `vectors` (n_rows, input_size), kept as float16; the rest goes to `CodesWriter`.
    """
    vectors, table = options.pop("vectors", None), None if texts is None else as_table(list(texts))
    if metadata is not None:
        beside = as_table(metadata)
        table = beside if table is None else beside.append_column("text", table["text"])
    with CodesWriter(path, n_features=csr.shape[1], **options) as writer:
        writer.append(csr, table=table, vectors=vectors)
    return Codes(path)


def join_codes(parts: list[Path], path: str | Path) -> Codes:
    """Make one corpus of several, in their order, by moving their shards; the parts are gone then.

    Args:
        parts: Folders of corpora with the same features, columns and kind of vectors.
        path: The folder of the corpus to be.

    Raises:
        FileExistsError: If it holds a corpus.
        ValueError: If the parts do not fit together.
    """
    found, path = [_read_manifest(part) for part in parts], Path(path)
    if (path / "manifest.json").exists():
        raise FileExistsError(f"{path} holds a corpus: choose another name.")
    found = [manifest for manifest in found if manifest["n_rows"]] or found[:1]
    for key in ("n_features", "columns", "width", "info"):
        if len(given := {json.dumps(m[key]) for m in found}) > 1:
            raise ValueError(f"the parts differ in {key}: {' and '.join(sorted(given))}.")
    path.mkdir(parents=True, exist_ok=True)
    shards: list[dict[str, Any]] = []
    for part in parts:
        for shard in _read_manifest(part)["shards"]:
            name = f"{len(shards):05d}"
            (part / shard["name"]).replace(path / name)
            shards.append(shard | {"name": name})
    total = {key: sum(m[key] for m in found) for key in ("n_rows", "nnz")}
    _write_manifest(path, found[0] | total | {"shards": shards})
    for part in parts:
        shutil.rmtree(part)
    return Codes(path)


def _around(text: str, start: int, end: int, opening: str = "", closing: str = "") -> str:
    """Return a token, without the space that byte-level tokens begin with, and its context."""
    start += len(text[start:end]) - len(text[start:end].lstrip())
    left, right = text[max(0, start - CONTEXT) : start], text[end : end + CONTEXT]
    if start > CONTEXT:
        left = "…" + left[left.find(" ") + 1 :]
    if len(text) > end + CONTEXT:
        right = (right.rpartition(" ")[0] or right) + "…"
    return f"{left}{opening}{text[start:end]}{closing}{right}"


def fingerprint(path: str | Path) -> str:
    """Return size and checksum of a file's first and last MiB: enough to notice another file."""
    size = Path(path).stat().st_size
    with Path(path).open("rb") as f:
        head = f.read(2**20)
        f.seek(max(0, size - 2**20))
        return f"{size}-{zlib.crc32(f.read(), zlib.crc32(head)):08x}"


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / "manifest.json"
    try:
        manifest = json.loads(path.read_text("utf-8"))
        found = manifest["format"], sum(shard["n_rows"] for shard in manifest["shards"])
        if found != (FORMAT, manifest["n_rows"]):
            raise ValueError(f"(format, rows) are {found}, not {(FORMAT, manifest['n_rows'])}")
    except (ValueError, KeyError, TypeError) as e:
        raise ValueError(f"{path} is damaged: {e!r}") from e
    return manifest


def _write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    draft = folder / "manifest.json.part"
    _put(draft, lambda f: f.write(json.dumps(manifest, indent=1).encode()))
    draft.replace(folder / "manifest.json")


def _put(path: Path, write: Callable[[Any], Any]) -> None:
    with path.open("wb") as f:
        write(f)
        f.flush()
        os.fsync(f.fileno())


def _map(path: Path, known: str | None = None) -> Any:
    try:
        if known is not None and known != fingerprint(path):
            raise ValueError("it has changed since the corpus was encoded")
        parquet = path.suffix == ".parquet"
        return pq.ParquetFile(path) if parquet else np.load(path, mmap_mode="r").view(np.ndarray)
    except (ValueError, EOFError, OSError) as e:
        raise ValueError(f"{path} cannot be read: {e}") from e


def _scale(values: np.ndarray) -> float:
    """Return the power of two that brings the largest magnitude into float16's upper range."""
    return 2.0 ** max(math.frexp(float(np.abs(values).max(initial=0.0)))[1] - 15, -125)


def _restore(half: np.ndarray, scale: float) -> np.ndarray:
    return half.astype(np.float32) * np.float32(scale)


def _span(places: np.ndarray) -> Any:
    """Return neighbours as a slice, which copies less; other places as they are."""
    neighbours = len(places) > 0 and bool((np.diff(places) == 1).all())
    return slice(int(places[0]), int(places[-1]) + 1) if neighbours else places


def indices(given: Any, size: int, what: str) -> np.ndarray:
    """Return places (numbers, a mask, None for all) as numbers, which must be below a size."""
    if given is None:
        return np.arange(size)
    mask = np.asarray(given).dtype == bool
    found = (np.flatnonzero(given) if mask else np.asarray(given, np.int64)).ravel()
    if len(found) and not 0 <= found.min() <= found.max() < size:
        raise ValueError(f"{what} {found.min()} … {found.max()}: there are 0 … {size - 1}.")
    return found


def _as_csr(block: Any, n_features: int) -> Any:
    if isinstance(block, tuple):
        block = sp.csr_array(block, shape=(len(block[2]) - 1, n_features))
    if block.shape[1] != n_features:
        raise ValueError(f"the rows have {block.shape[1]} features, the corpus {n_features}.")
    rows = sp.csr_array(block, dtype=np.float32, copy=True)
    rows.check_format()
    rows.sum_duplicates()
    rows.eliminate_zeros()
    if not (np.isfinite(rows.data).all() and rows.data.min(initial=0) >= 0):
        raise ValueError("activations must be finite and not negative.")
    return rows


def _plain(table: pa.Table) -> pa.Table:
    """Decode dictionary columns: Parquet makes one of its own for each row group."""
    for i, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            table = table.set_column(i, field.name, table[i].cast(field.type.value_type))
    return table


def as_table(table: Any) -> pa.Table:
    """Return texts (a list) or a table of any kind as an Arrow table."""
    if isinstance(table, list):
        return pa.table({"text": pa.array(table, pa.string(), from_pandas=True)})
    return pa.table(table.reset_index(drop=True) if hasattr(table, "reset_index") else table)
