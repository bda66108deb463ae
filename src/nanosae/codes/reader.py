"""Codes: the sparse activations of a corpus on disk, by row and by feature, with their metadata.

`format.py` describes the files. No array of size rows × features is ever created, and results are
copies. Everything that is read is first verified by its checksum.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from nanosae.codes import format as files
from nanosae.codes.format import Facts
from nanosae.codes.notebook import facts_html
from nanosae.codes.places import indices
from nanosae.codes.shard import Shard
from nanosae.codes.tables import as_series
from nanosae.codes.tokens import in_context
from nanosae.errors import (
    DataError,
    MissingError,
    StaleError,
    command_line,
    near_names,
)
from nanosae.model.files import checksum, has_model, saved_checksum
from nanosae.model.weights import Weights
from nanosae.schemas import cast_column

if TYPE_CHECKING:
    import pandas as pd

# columns of a corpus whose rows are tokens
TOKEN_COLUMNS = {"text_index", "start", "end"}
TEXT_BLOCK = 2**14  # tokens whose whole texts are held in memory at once
SCAN_ROWS = 2**16  # rows that `scan` maps at once


class Codes:
    """The codes of one corpus, memory-mapped; `Codes.open` finds it in a run folder.

    Rows are selected by their numbers or a mask in their order. The index of a pandas series is not
    looked at, as it is by `contrast`.

    Args:
        path: Folder of the corpus.
        manifest: Content of its manifest.json, if it is known; read by default.

    Attributes:
        path: Folder of the corpus.
        name: Name of the corpus.
        run: The run folder that it is in, or None.
        n_rows: Number of rows.
        n_features: Number of features.
        nnz: Number of active pairs.
        columns: Names of the metadata columns other than the text.
        has_texts: Whether the corpus has texts.
        has_tokens: Whether its rows are tokens of texts.
        has_vectors: Whether it has embeddings (a copy, or the path of the original file).
        manifest: Content of manifest.json.
        kept: Results about all rows that are kept in memory while the corpus is open, by name. An
            open corpus never changes.

    Raises:
        MissingError: If there is no corpus, or it is incomplete.
        DamagedFileError: If the manifest, or later a file of a shard, was changed or damaged; the
            message names it.
    """

    def __init__(self, path: str | Path, manifest: Facts | None = None) -> None:
        self.path = Path(path)
        self.name = self.path.name
        lies_in_run = self.path.parent.name == "codes"
        self.run = self.path.parent.parent if lies_in_run else None
        if manifest is None:
            manifest = files.read_manifest(self.path)
        self.manifest: Facts = manifest
        self.kept: dict[str, Any] = {}
        if not files.is_complete(manifest):
            raise files.unfinished(self.path)
        self.n_rows: int = manifest["n_rows"]
        self.n_features: int = manifest["n_features"]
        self.nnz: int = manifest["nnz"]
        columns = manifest["columns"]
        self.columns: list[str] = [name for name in columns if name != "text"]
        self.has_texts: bool = "text" in columns
        self.has_tokens = self.has_texts and TOKEN_COLUMNS.issubset(self.columns)
        shards = manifest["shards"]
        shards_have_vectors = all(shard["vectors"] for shard in shards)
        self.has_vectors: bool = self.n_rows > 0 and shards_have_vectors
        self._shards = [Shard(self.path, shard, self.n_features) for shard in shards]
        sizes = [shard["n_rows"] for shard in shards]
        self._first_rows = np.cumsum([0, *sizes])

    @classmethod
    def open(cls, path: str | Path, name: str | None = None) -> Codes:
        """Open a corpus, without reading its data.

        Args:
            path: Folder of a corpus, or a run folder.
            name: Name of the corpus in the run; by default the only one, or the one called
                "default".

        Raises:
            MissingError: If there is no such corpus; the message lists those that exist.
        """
        path = Path(path)
        if (path / files.MANIFEST).exists():
            return cls(path)
        if not path.is_dir():
            what = "is a file, not a run folder" if path.exists() else "does not exist"
            raise MissingError(
                f"{path} {what}.",
                file=path,
                remedy="nanosae run FILE -o RUN makes a run folder from a file of texts.",
            )
        manifests = path.glob(f"codes/[!.]*/{files.MANIFEST}")
        names = sorted(manifest.parent.name for manifest in manifests)
        if not name:
            name = names[0] if len(names) == 1 else files.DEFAULT_CORPUS
        if name not in names:
            have = f"it has {', '.join(names)}" if names else "there are none"
            command = command_line("encode", path, "DATA", "--name", name)
            remedy = f"Create them: {command}."
            if files.is_of_run(path, name):
                remedy = "Repeat nanosae run, which creates them."
            raise MissingError(
                f"no codes {name!r} in {path}; {have}.",
                file=path / "codes" / name,
                remedy=remedy,
            )
        return cls(files.corpus_path(path, name))

    @property
    def model(self) -> str:
        """Checksum of the model that made these codes; "" if unknown."""
        made_by = self.manifest["info"].get("model")
        if made_by is None and self.run is not None and self.has_model:
            made_by = saved_checksum(self.run)
        return "" if made_by is None else made_by

    @property
    def is_of_run_model(self) -> bool:
        """Whether the run's model, if there is one, made these codes, as far as is known."""
        if self.run is None or not self.has_model:
            return True
        return self.model == saved_checksum(self.run)

    @property
    def note_on_model(self) -> str:
        """A sentence if another model than the run's made these codes, as far as is known."""
        if self.is_of_run_model:
            return ""
        return (
            f"{self.path} was encoded by a model that has since been replaced; encode the corpus "
            "again to analyse it with the current one."
        )

    @property
    def has_model(self) -> bool:
        """Whether these codes are in a run with a model."""
        return self.run is not None and has_model(self.run)

    @functools.cached_property
    def checksum(self) -> str:
        """Checksum of everything that the corpus holds, according to the manifest."""
        return files.shards_checksum(self.manifest)

    @property
    def data(self) -> str:
        """Fingerprint of the data that was encoded first; "" if unknown."""
        fingerprint = self.manifest["sources"][0]["data"]
        return "" if fingerprint is None else fingerprint

    def __reduce__(self) -> tuple[type[Codes], tuple[Path]]:
        """Pickle the path: the corpus is opened again where it is needed."""
        return type(self), (self.path,)

    def __repr__(self) -> str:
        size = f"{self.n_rows:,} rows × {self.n_features:,} features"
        return f"Codes({str(self.path)!r}: {size})"

    def _repr_html_(self) -> str:
        facts = {
            "rows": f"{self.n_rows:,}",
            "features": f"{self.n_features:,}",
            "active features per row": f"{self.nnz / max(self.n_rows, 1):.1f}",
            "never active": f"{(self.counts == 0).sum():,}",
            "texts": self.has_texts,
            "columns": ", ".join(self.columns),
            "embeddings": self.has_vectors,
        }
        return facts_html(f"Codes · {self.path}", facts)

    def row(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        """Return one row's features (int64, ascending) and their activations (float32)."""
        block = self.take([i])
        return block.indices.astype(np.int64), block.data

    def rows(self, start: int, stop: int) -> sp.csr_array:
        """Return the rows start ≤ i < stop, (stop − start, n_features) float32."""
        bounds = slice(start, stop).indices(self.n_rows)
        return self.take(np.arange(*bounds))

    def take(self, rows: Any) -> sp.csr_array:
        """Return any rows, in the given order, (len(rows), n_features) float32.

        Raises:
            DataError: If a row is outside 0 … n_rows − 1.
        """

        def read(shard: Shard, places: np.ndarray) -> Any:
            return shard.pick("row", places)

        parts, order = self._gather(rows, read)
        if not parts:
            return sp.csr_array((0, self.n_features), dtype=np.float32)
        block = sp.csr_array(sp.vstack(parts, format="csr"))
        return block if len(parts) == 1 else block[order]

    def shards(self, values: bool = True) -> Iterator[tuple[int, sp.csr_array]]:
        """Yield (first row, csr_array) for each shard; if not `values`, values are int8 ones."""
        for first, shard in self._placed_shards():
            yield first, shard.pick("row", values=values)

    def feature(self, j: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows on which feature `j` is active (int64, ascending) and its activations."""
        column = self.features([j])
        return column.indices.astype(np.int64), column.data

    def features(self, js: Any) -> sp.csc_array:
        """Return the columns of some features, (n_rows, len(js)) float32.

        Raises:
            DataError: If a feature is outside 0 … n_features − 1.
        """
        js = indices(js, self.n_features, "feature")
        parts = [shard.pick("feature", js) for shard in self._shards]
        if not parts:
            parts = [sp.csr_array((len(js), 0), dtype=np.float32)]
        return sp.csc_array(sp.hstack(parts, format="csr").T)

    def top(self, j: int, n: int = 100) -> tuple[np.ndarray, np.ndarray]:
        """Return the `n` strongest rows of feature `j`, strongest first; ties: lower row first."""
        (feature,) = indices([j], self.n_features, "feature")
        n = max(n, 0)
        found_rows = [np.zeros(0, np.int64)]
        found_acts = [np.zeros(0, np.float32)]
        for first, shard in self._placed_shards():
            places, acts = shard.strongest(int(feature), n)
            found_rows.append(places + first)
            found_acts.append(acts)
        rows, acts = np.concatenate(found_rows), np.concatenate(found_acts)
        order = np.argsort(-acts, kind="stable")[:n]
        return rows[order], acts[order]

    @property
    def counts(self) -> np.ndarray:
        """Number of rows on which each feature is active, (n_features,) int64."""
        counts = np.zeros(self.n_features, np.int64)
        for shard in self._shards:
            counts += np.diff(shard.pointers("feature"))
        return counts

    @property
    def density(self) -> np.ndarray:
        """Share of the rows on which each feature is active, (n_features,) float64."""
        return self.counts / max(self.n_rows, 1)

    def texts(self, rows: Any = None, marks: str = "«»") -> np.ndarray:
        """Return the texts of all or some rows, an object array of str; a missing text is "".

        The text of a token is its context.

        Args:
            rows: Which rows; all by default.
            marks: The two marks around the token in its context; "" for none.

        Raises:
            DataError: If the corpus was encoded without texts.
        """
        if not self.has_tokens:
            column = self.column("text", rows)
            texts = ["" if text is None else str(text) for text in column]
            return np.array(texts, dtype=object)
        rows = indices(rows, self.n_rows, "row")
        texts = []
        for block in np.split(rows, range(TEXT_BLOCK, len(rows), TEXT_BLOCK)):
            columns = [self.column(name, block) for name in ("text", "start", "end")]
            for text, start, end in zip(*columns, strict=True):
                texts.append(in_context(text, start, end, *marks))
        return np.array(texts, dtype=object)

    def column(self, name: str, rows: Any = None) -> np.ndarray:
        """Return a metadata column for all or some rows: numeric if possible, else of objects.

        Whole numbers beside missing ones are float64, and times with a zone are in UTC; `series`
        keeps both as they are.

        Raises:
            DataError: If there is no such column; the message lists similar ones.
        """
        column, order = self._stored_column(name, rows)
        return column.to_numpy(zero_copy_only=False)[order]

    def series(self, name: str, rows: Any = None) -> pd.Series:
        """Return a metadata column for all or some rows, with values as they were given.

        Raises:
            DataError: If there is no such column; the message lists similar ones.
        """
        column, order = self._stored_column(name, rows)
        return as_series(column).iloc[order].reset_index(drop=True)

    def _stored_column(
        self, name: str, rows: Any
    ) -> tuple[pa.ChunkedArray, np.ndarray]:
        """Read a column shard by shard; return it and the order that restores that of `rows`."""
        if not isinstance(name, str) and hasattr(name, "shape"):
            raise DataError(
                f"A column is given by its name, not by {type(name).__name__} of values.",
                remedy=f"Give a name; {near_names('', self.columns)}.",
            )
        if name not in self.manifest["columns"]:
            raise DataError(
                f"{self.path} has no column {name!r}; {near_names(name, self.columns)}.",
                file=self.path,
                column=name,
                remedy="Give one of these, or encode the corpus again with the column.",
            )
        field = self._schema.field(name)

        def read(shard: Shard, places: np.ndarray) -> pa.ChunkedArray:
            return shard.column(field, places)

        parts, order = self._gather(rows, read)
        if not parts:
            return pa.chunked_array([], pa.string()), order
        chunks: list[pa.Array] = []
        for part in parts:
            chunks += part.chunks
        return pa.chunked_array(chunks, field.type), order

    @functools.cached_property
    def _schema(self) -> pa.Schema:
        """Names and types of texts and metadata, to which all shards are cast."""
        return files.schema_from_text(self.manifest["schema"])

    def check_values(self, schema: pa.Schema) -> None:
        """Refuse a schema that values of the corpus do not fit.

        Raises:
            DataError: If a value cannot be cast to the type of its column; the message names it.
        """
        for field in schema:
            if self._schema.field(field.name).type != field.type:
                column, _ = self._stored_column(field.name, None)
                cast_column(column, field)

    def vectors(self, rows: Any = None) -> np.ndarray:
        """Return the embeddings of all or some rows, (n, input_size) float32.

        Raises:
            DataError: If there are none.
            DamagedFileError: If the original file is gone or has changed.
        """
        if not self.has_vectors:
            raise DataError(
                f"{self.path} has no embeddings.",
                file=self.path,
                remedy="Encode the corpus with vectors=….",
            )
        parts, order = self._gather(rows, Shard.vectors)
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return self._shards[0].vectors(np.arange(0))
        return np.concatenate(parts)[order]

    def scan(self, size: int = 2**11) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (first row, float32 embeddings) for all rows, block by block.

        Unlike with `vectors`, the memory-mapped pages are released again.
        """
        for first in range(0, self.n_rows, SCAN_ROWS):
            once = Codes(self.path, self.manifest)
            last = min(first + SCAN_ROWS, self.n_rows)
            for start in range(first, last, size):
                stop = min(start + size, last)
                yield start, once.vectors(np.arange(start, stop))

    @property
    def _model_folder(self) -> str:
        """The folder of the run's model, whether it exists or not."""
        return "RUN/model" if self.run is None else str(self.run / "model")

    def weights(self) -> Weights:
        """Return the run's model in numpy.

        Raises:
            DataError: If the codes are not in a run folder with a model.
            StaleError: If another model made them.
        """
        if self.run is None or not self.has_model:
            raise DataError(
                f"{self.path} needs a model with {self.n_features} features; there is none in "
                f"{self._model_folder}.",
                file=self.path,
            )
        model = Weights.load(self.run)
        made_by = self.manifest["info"].get("model")
        here = checksum(model.W_dec)
        if made_by is None and model.hidden_size != self.n_features:
            raise StaleError(
                f"{self.path} needs a model with {self.n_features} features; "
                f"{self._model_folder} has {model.hidden_size}.",
                file=self.path,
                remedy="Encode the corpus again.",
            )
        if made_by not in (None, here):
            raise StaleError(
                f"{self.path} was encoded by model {made_by}, but {self._model_folder} is {here}.",
                file=self.path,
                remedy="Encode the corpus again.",
            )
        return model

    def verify(self) -> None:
        """Compare every file with its checksums.

        Raises:
            DamagedFileError: If a file is damaged; the message names the first one.
        """
        for shard in self._shards:
            shard.verify()

    def to_arrow(self, rows: Any = None) -> pa.Table:
        """Return the active pairs of all or some rows, with columns row, feature and activation."""
        rows = indices(rows, self.n_rows, "row")
        block = self.take(rows)
        row_of_pair = np.repeat(rows, np.diff(block.indptr))
        return pa.table(
            {"row": row_of_pair, "feature": block.indices, "activation": block.data}
        )

    def to_frame(self, rows: Any = None) -> pd.DataFrame:
        """Return `to_arrow` as a DataFrame."""
        return self.to_arrow(rows).to_pandas()

    def _placed_shards(self) -> Iterator[tuple[int, Shard]]:
        """Yield (first row, shard)."""
        first_rows = self._first_rows[:-1].tolist()
        yield from zip(first_rows, self._shards, strict=True)

    def _gather(
        self, rows: Any, read: Callable[[Shard, np.ndarray], Any]
    ) -> tuple[list[Any], np.ndarray]:
        """Read rows shard by shard; return the parts and the order that restores that of `rows`."""
        rows = indices(rows, self.n_rows, "row")
        shard_of_row = np.searchsorted(self._first_rows, rows, side="right") - 1
        parts = []
        for number in np.unique(shard_of_row).tolist():
            places = rows[shard_of_row == number] - self._first_rows[number]
            parts.append(read(self._shards[number], places))
        by_shard = np.argsort(shard_of_row, kind="stable")
        return parts, np.argsort(by_shard)  # the inverse of that permutation
