"""One shard of a corpus, whose files are opened when needed."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from nanosae.checked import naming
from nanosae.codes.format import MANIFEST, Facts, damaged, fingerprint
from nanosae.codes.verified import Ranges, StoredArray, StoredTable, VerifiedFile
from nanosae.errors import DamagedFileError
from nanosae.schemas import cast_column

Side = Literal["row", "feature"]


class Shard:
    """The files of one shard.

    Args:
        folder: Folder of the corpus.
        facts: The manifest's entry for the shard.
        n_features: Number of features.
    """

    def __init__(self, folder: Path, facts: Facts, n_features: int) -> None:
        self.facts = facts
        self.n_rows: int = facts["n_rows"]
        self.scale: float = facts["scale"]
        self._folder = folder
        self._n_features = n_features
        self._arrays: dict[str, StoredArray] = {}
        self._pointers: dict[str, np.ndarray] = {}

    def pointers(self, side: Side) -> np.ndarray:
        """Return the first pair of each row (or feature), and at last the number of pairs."""
        if side not in self._pointers:
            stored = self._array(f"{side}_ptr.npy")
            pointers = stored.part(0, len(stored))
            n_lines = self.n_rows if side == "row" else self._n_features
            if not _are_pointers(pointers, n_lines, self.facts["nnz"]):
                raise damaged(
                    stored.file.path,
                    "its pointers do not ascend to nnz of manifest.json",
                    self._folder,
                )
            self._pointers[side] = pointers
        return self._pointers[side]

    def pick(
        self, side: Side, which: np.ndarray | None = None, *, values: bool = True
    ) -> Any:
        """Return rows (or features) of the shard as a csr_array of their pairs.

        Args:
            side: Whether the rows of the result are rows or features.
            which: Which of them, by their places in the shard; all by default.
            values: Return float32 activations; otherwise int8 ones.
        """
        pointers = self.pointers(side)
        if which is None:
            which = np.arange(len(pointers) - 1)
        pairs = Ranges(pointers[which], pointers[which + 1])
        width = self._n_features if side == "row" else self.n_rows
        indices = self._indices(side, pairs, width)
        data = np.ones(len(indices), np.int8)
        if values:
            half = self._array(f"{side}_values.npy").ranges(pairs)
            data = restored(half, self.scale)
        indptr = np.concatenate([[0], np.cumsum(pairs.lengths)]).astype(np.int32)
        return sp.csr_array((data, indices, indptr), shape=(len(which), width))

    def _indices(self, side: Side, pairs: Ranges, width: int) -> np.ndarray:
        """Return the indices of pairs, int32; each is below `width`."""
        stored = self._array(f"{side}_indices.npy")
        indices = stored.ranges(pairs)
        if len(indices) and indices.max() >= width:
            reason = f"it holds an index that is not below {width}"
            raise damaged(stored.file.path, reason, self._folder)
        return indices.astype(np.int32)

    def strongest(self, feature: int, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Return places and activations of a feature's n strongest rows, including ties."""
        pointers = self.pointers("feature")
        start, stop = int(pointers[feature]), int(pointers[feature + 1])
        half = self._array("feature_values.npy").part(start, stop)
        places = self._array("feature_indices.npy").part(start, stop)
        if 0 < n < len(half):
            # positive float16 numbers sort like their bits
            bits = half.view(np.uint16)
            weakest = np.partition(bits, -n)[-n]
            best = np.flatnonzero(bits >= weakest)
            half, places = half[best], places[best]
        return places.astype(np.int64), restored(half, self.scale)

    def column(self, field: pa.Field, places: np.ndarray) -> pa.ChunkedArray:
        """Return a metadata column at places in the shard, cast to the type of the corpus."""
        return cast_column(self._table.column(field.name, places), field)

    def vectors(self, places: np.ndarray) -> np.ndarray:
        """Return the embeddings at places in the shard, float32."""
        kept = self.facts["vectors"]
        if "scale" in kept:
            half = self._array("vectors.npy").ranges(Ranges(places, places + 1))
            return restored(half, kept["scale"])
        rows = original_vectors(kept)[kept["offset"] :]
        return rows[places].astype(np.float32)

    def verify(self) -> None:
        """Compare every file with its checksums."""
        for name, known in self.facts["files"].items():
            VerifiedFile(self._path(name), known, self._folder).verify()

    def _path(self, name: str) -> Path:
        return self._folder / self.facts["name"] / name

    def _array(self, name: str) -> StoredArray:
        if name not in self._arrays:
            known = self._known(name)
            self._arrays[name] = StoredArray(self._path(name), known, self._folder)
        return self._arrays[name]

    @cached_property
    def _table(self) -> StoredTable:
        name = "rows.parquet"
        return StoredTable(self._path(name), self._known(name), self._folder)

    def _known(self, name: str) -> Facts:
        if name not in self.facts["files"]:
            reason = f"it does not list {name}"
            raise damaged(self._folder / MANIFEST, reason, self._folder)
        return self.facts["files"][name]


def _are_pointers(pointers: np.ndarray, n_lines: int, nnz: int) -> bool:
    """Return whether the pointers of `n_lines` rows or features ascend from 0 to `nnz`."""
    if pointers.shape != (n_lines + 1,):
        return False
    if pointers[0] != 0 or pointers[-1] != nnz:
        return False
    return bool(np.diff(pointers).min(initial=0) >= 0)


def restored(half: np.ndarray, scale: float) -> np.ndarray:
    """Return stored values as float32."""
    return half.astype(np.float32) * np.float32(scale)


def original_vectors(kept: Facts) -> np.ndarray:
    """Memory-map the embeddings in the file that a corpus was encoded from.

    Raises:
        DamagedFileError: If the file is gone or has changed.
    """
    path = Path(kept["path"])
    remedy = "Restore the file, or encode the corpus again."
    reason = ""
    if not path.exists():
        reason = "it is missing"
    elif fingerprint(path) != kept["fingerprint"]:
        reason = "it has changed since the corpus was encoded"
    if reason:
        raise DamagedFileError(
            f"{path} cannot be read: {reason}.", file=path, remedy=remedy
        )
    with naming(path, remedy):
        return np.load(path, mmap_mode="r").view(np.ndarray)
