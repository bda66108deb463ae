"""One shard of a corpus: its files are opened when needed, and verified as far as they are read."""

from __future__ import annotations

import os
import threading
import zlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.sparse as sp

from nanosae.checked import naming
from nanosae.codes.format import Facts, damaged, fingerprint, remedy
from nanosae.errors import DamagedFileError

Side = Literal["row", "feature"]
FOOTER = 8  # bytes at the end of a Parquet file: the length of its footer, and a mark
NPY_HEADER = 128  # bytes that hold the header of every array in a shard


class VerifiedFile:
    """A file whose blocks are compared with their checksums when they are first read.

    Args:
        path: The file.
        known: What the manifest says of it: size and checksums, or (format 1) one checksum.
        folder: The corpus' folder, for messages.

    Raises:
        DamagedFileError: If it is missing or of another size.
    """

    def __init__(self, path: Path, known: Any, folder: Path) -> None:
        self.path = path
        self._folder = folder
        if not path.exists():
            raise damaged(path, "it cannot be read because it is missing", folder)
        self.size = path.stat().st_size
        if isinstance(known, dict):
            expected = known["bytes"]
            self._block = known["block"]
            self._checksums = list(
                np.frombuffer(bytes.fromhex(known["crc32"]), ">u4").tolist()
            )
        else:
            expected = self.size
            self._block = max(self.size, 1)
            self._checksums = [int(known)]
        if self.size != expected:
            raise damaged(
                path,
                f"it has {self.size:,} bytes, in manifest.json {expected:,}",
                folder,
            )
        self._verified = np.zeros(len(self._checksums), bool)

    def verify(self, start: int = 0, stop: int | None = None) -> None:
        """Verify the blocks that hold the bytes start ≤ i < stop; by default all.

        Raises:
            DamagedFileError: If one is not what was written.
        """
        stop = self.size if stop is None else stop
        if stop <= start and self.size:
            return
        first = start // self._block
        end = max(stop - 1, 0) // self._block + 1
        known = self._verified[first:end]
        if not known.all():
            self._verify_blocks(first + np.flatnonzero(~known))

    def verify_ranges(self, starts: np.ndarray, stops: np.ndarray) -> None:
        """Verify the blocks that hold the bytes of several ranges."""
        filled = stops > starts
        if self._verified.all() or not filled.any():
            return
        first = starts[filled] // self._block
        end = (stops[filled] - 1) // self._block + 1
        n_blocks = len(self._verified)
        opened = np.bincount(first, minlength=n_blocks + 1)
        closed = np.bincount(end, minlength=n_blocks + 1)
        is_touched = np.cumsum(opened - closed)[:n_blocks] > 0
        self._verify_blocks(np.flatnonzero(is_touched & ~self._verified))

    def _verify_blocks(self, blocks: np.ndarray) -> None:
        with self.path.open("rb") as stream:
            for block in blocks.tolist():
                stream.seek(block * self._block)
                if zlib.crc32(stream.read(self._block)) != self._checksums[block]:
                    raise damaged(
                        self.path,
                        "its checksum is not that in manifest.json",
                        self._folder,
                    )
                self._verified[block] = True


class StoredArray:
    """A flat or two-dimensional array in a `.npy` file, memory-mapped."""

    def __init__(self, path: Path, known: Any, folder: Path) -> None:
        self.file = VerifiedFile(path, known, folder)
        self.file.verify(0, min(NPY_HEADER, self.file.size))
        with naming(path, remedy(folder)):
            mapped = np.load(path, mmap_mode="r")
            self._offset = int(mapped.offset)
            self.array = mapped.view(np.ndarray)
            self._stride = self.array.strides[0] if self.array.ndim else 0

    def __len__(self) -> int:
        return len(self.array)

    def part(self, start: int, stop: int) -> np.ndarray:
        """Return the items start ≤ i < stop, verified."""
        first_byte = self._offset + start * self._stride
        self.file.verify(first_byte, first_byte + (stop - start) * self._stride)
        return self.array[start:stop]

    def ranges(
        self, starts: np.ndarray, stops: np.ndarray, places: np.ndarray
    ) -> np.ndarray:
        """Return the items at places that lie in ranges, verified."""
        offset, stride = self._offset, self._stride
        self.file.verify_ranges(offset + starts * stride, offset + stops * stride)
        return self.array[places]


class Shard:
    """The files of one shard.

    Args:
        folder: The corpus' folder.
        facts: What the manifest says of the shard.
        n_features: Width of its rows.
    """

    def __init__(self, folder: Path, facts: Facts, n_features: int) -> None:
        self.facts = facts
        self.n_rows: int = facts["n_rows"]
        self.scale: float = facts["scale"]
        self._folder = folder
        self._n_features = n_features
        self._arrays: dict[str, StoredArray] = {}
        self._pointers: dict[str, np.ndarray] = {}
        self._table: tuple[VerifiedFile, pq.ParquetFile] | None = None
        # readers of Parquet files serve one thread at a time
        self._reading = threading.Lock()

    def pointers(self, side: Side) -> np.ndarray:
        """Return where the pairs of each row (or feature) begin, and the number of pairs."""
        if side not in self._pointers:
            stored = self._array(f"{side}_ptr.npy")
            pointers = stored.part(0, len(stored))
            n_lines = self.n_rows if side == "row" else self._n_features
            fits = pointers.shape == (n_lines + 1,)
            fits = fits and pointers[0] == 0 and pointers[-1] == self.facts["nnz"]
            if not fits or np.diff(pointers).min(initial=0) < 0:
                raise damaged(
                    stored.file.path,
                    "its pointers do not ascend to nnz of manifest.json",
                    self._folder,
                )
            self._pointers[side] = pointers
        return self._pointers[side]

    def pick(
        self, side: Side, which: np.ndarray | None = None, values: bool = True
    ) -> Any:
        """Return rows (or features) of the shard as a csr_array of their pairs.

        Args:
            side: What lies along the rows of the result.
            which: Which of them, by their places in the shard; all by default.
            values: Return activations, float32, rather than ones of one byte.
        """
        pointers = self.pointers(side)
        which = np.arange(len(pointers) - 1) if which is None else which
        starts, stops = pointers[which], pointers[which + 1]
        lengths = stops - starts
        indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        if _are_neighbours(which):
            span = int(starts[0]), int(stops[-1])

            def read(stored: StoredArray) -> np.ndarray:
                return stored.part(*span)
        else:
            places = np.repeat(starts - indptr[:-1], lengths)
            places = places + np.arange(indptr[-1])

            def read(stored: StoredArray) -> np.ndarray:
                return stored.ranges(starts, stops, places)

        stored = self._array(f"{side}_indices.npy")
        indices = read(stored)
        width = self._n_features if side == "row" else self.n_rows
        if len(indices) and indices.max() >= width:
            reason = f"it holds an index that is not below {width}"
            raise damaged(stored.file.path, reason, self._folder)
        if values:
            data = restored(read(self._array(f"{side}_values.npy")), self.scale)
        else:
            data = np.ones(indptr[-1], np.int8)
        shape = (len(which), width)
        return sp.csr_array((data, indices.astype(np.int32), indptr), shape=shape)

    def strongest(self, feature: int, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Return places and activations of a feature's n strongest rows, and of those that tie."""
        start, stop = self.pointers("feature")[feature : feature + 2].tolist()
        half = self._array("feature_values.npy").part(start, stop)
        places = self._array("feature_indices.npy").part(start, stop)
        if 0 < n < len(half):
            # positive float16 numbers are ordered like their bits
            bits = half.view(np.uint16)
            weakest = np.partition(bits, -n)[-n]
            best = np.flatnonzero(bits >= weakest)
            half, places = half[best], places[best]
        return places.astype(np.int64), restored(half, self.scale)

    def column(
        self, name: str, places: np.ndarray, kind: pa.DataType | None
    ) -> pa.ChunkedArray:
        """Return a metadata column at places in the shard, cast to a type if one is given."""
        with self._reading:
            verified, file = self._open_table()
            size = file.metadata.row_group(0).num_rows
            groups, group_of = np.unique(places // size, return_inverse=True)
            leaves = _leaves_of(file.metadata, name)
            for group in groups.tolist():
                _verify_chunks(verified, file.metadata.row_group(group), leaves)
            with naming(verified.path, remedy(self._folder)):
                column = file.read_row_groups(groups.tolist(), [name])[name]
        found = column.take(pa.array(group_of * size + places % size))
        return found if kind is None or found.type == kind else found.cast(kind)

    def schema(self) -> pa.Schema:
        """Return names and types of the metadata columns."""
        with self._reading:
            return self._open_table()[1].schema_arrow

    def vectors(self, places: np.ndarray) -> np.ndarray:
        """Return the embeddings at places in the shard, float32."""
        kept = self.facts["vectors"]
        if "scale" in kept:
            stored = self._array("vectors.npy")
            if _are_neighbours(places):
                half = stored.part(int(places[0]), int(places[-1]) + 1)
            else:
                half = stored.ranges(places, places + 1, places)
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

    def _known(self, name: str) -> Any:
        if name not in self.facts["files"]:
            raise damaged(
                self._folder / "manifest.json", f"it does not list {name}", self._folder
            )
        return self.facts["files"][name]

    def _open_table(self) -> tuple[VerifiedFile, pq.ParquetFile]:
        if self._table is None:
            path = self._path("rows.parquet")
            verified = VerifiedFile(path, self._known("rows.parquet"), self._folder)
            verified.verify(max(0, verified.size - FOOTER))
            with naming(path, remedy(self._folder)):
                with path.open("rb") as stream:
                    stream.seek(-FOOTER, os.SEEK_END)
                    length = int.from_bytes(stream.read(4), "little")
                verified.verify(max(0, verified.size - FOOTER - length))
                self._table = verified, pq.ParquetFile(path)
        return self._table


def _are_neighbours(places: np.ndarray) -> bool:
    """Return whether places follow each other, so that they can be read as a slice."""
    return len(places) > 0 and bool((np.diff(places) == 1).all())


def restored(half: np.ndarray, scale: float) -> np.ndarray:
    """Return stored values as float32."""
    return half.astype(np.float32) * np.float32(scale)


def original_vectors(kept: Facts) -> np.ndarray:
    """Return the array of the file that a corpus was encoded from, memory-mapped.

    Raises:
        DamagedFileError: If the file is gone or has changed.
    """
    path = Path(kept["path"])
    what = "Put the file back, or encode the corpus again."
    reason = ""
    if not path.exists():
        reason = "it is missing"
    elif fingerprint(path) != kept["fingerprint"]:
        reason = "it has changed since the corpus was encoded"
    if reason:
        raise DamagedFileError(
            f"{path} cannot be read: {reason}.", file=path, remedy=what
        )
    with naming(path, what):
        return np.load(path, mmap_mode="r").view(np.ndarray)


def _leaves_of(metadata: pq.FileMetaData, name: str) -> list[int]:
    """Return the numbers of the stored columns that make up a column: several if it is nested."""
    leaves = []
    for i in range(metadata.num_columns):
        path = metadata.schema.column(i).path
        if path == name or path.startswith(f"{name}."):
            leaves.append(i)
    return leaves


def _verify_chunks(
    verified: VerifiedFile, group: pq.RowGroupMetaData, leaves: list[int]
) -> None:
    for leaf in leaves:
        chunk = group.column(leaf)
        start = chunk.data_page_offset
        if chunk.dictionary_page_offset is not None:
            start = min(start, chunk.dictionary_page_offset)
        verified.verify(start, start + chunk.total_compressed_size)
