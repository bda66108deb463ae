"""Memory-mapped files of a shard, of which each block is verified when it is first read."""

from __future__ import annotations

import os
import threading
import zlib
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nanosae.checked import naming
from nanosae.codes.format import Facts, damaged, remedy
from nanosae.errors import DamagedFileError

NPY_HEADER = 128  # bytes, enough for the header of any array in a shard
FOOTER = 8  # last bytes of a Parquet file: the length of its footer, and a magic number


class VerifiedFile:
    """A file whose blocks are verified by their checksums when they are first read.

    Args:
        path: The file.
        known: The manifest's entry for the file: size and checksums.
        folder: Folder of the corpus, for messages.

    Raises:
        DamagedFileError: If the file is missing or has another size.
    """

    def __init__(self, path: Path, known: Facts, folder: Path) -> None:
        self.path = path
        self._folder = folder
        if not path.exists():
            raise self._damaged("it cannot be read because it is missing")
        self.size = path.stat().st_size
        expected = known["bytes"]
        if self.size != expected:
            raise self._damaged(
                f"it has {self.size:,} bytes, but {expected:,} in manifest.json"
            )
        self._block = known["block"]
        self._checksums = np.frombuffer(bytes.fromhex(known["crc32"]), ">u4")
        self._verified = np.zeros(len(self._checksums), bool)

    def verify(self, start: int = 0, stop: int | None = None) -> None:
        """Verify the blocks that hold the bytes start ≤ i < stop; by default all.

        Raises:
            DamagedFileError: If a block was changed or damaged.
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
        """Verify the blocks that hold the bytes of several ranges.

        Raises:
            DamagedFileError: If a block was changed or damaged.
        """
        filled = stops > starts
        if self._verified.all() or not filled.any():
            return
        first = starts[filled] // self._block
        end = (stops[filled] - 1) // self._block + 1
        n_blocks = len(self._verified)
        opened = np.bincount(first, minlength=n_blocks + 1)
        closed = np.bincount(end, minlength=n_blocks + 1)
        n_ranges_over = np.cumsum(opened - closed)[:n_blocks]
        is_touched = n_ranges_over > 0
        self._verify_blocks(np.flatnonzero(is_touched & ~self._verified))

    def _verify_blocks(self, blocks: np.ndarray) -> None:
        with self.path.open("rb") as stream:
            for block in blocks.tolist():
                stream.seek(block * self._block)
                content = stream.read(self._block)
                if zlib.crc32(content) != self._checksums[block]:
                    raise self._damaged("its checksum does not match manifest.json")
                self._verified[block] = True

    def _damaged(self, reason: str) -> DamagedFileError:
        return damaged(self.path, reason, self._folder)


class Ranges:
    """Ranges of items in an array, in any order, such as the pairs of some rows.

    Args:
        starts: First item of each range, (n,) int64.
        stops: Item after the last one of each range, (n,) int64.
    """

    def __init__(self, starts: np.ndarray, stops: np.ndarray) -> None:
        self.starts = starts
        self.stops = stops
        self.lengths = stops - starts

    @property
    def are_contiguous(self) -> bool:
        """Whether each range starts where the previous one ends, so that one slice holds all."""
        if len(self.starts) == 0:
            return False
        return np.array_equal(self.starts[1:], self.stops[:-1])

    @cached_property
    def items(self) -> np.ndarray:
        """The indices of all items, range by range."""
        n_before = np.cumsum(self.lengths) - self.lengths
        shift = np.repeat(self.starts - n_before, self.lengths)
        return shift + np.arange(len(shift))


class StoredArray:
    """A memory-mapped array in a `.npy` file, of one or two dimensions.

    Arguments as for `VerifiedFile`.
    """

    def __init__(self, path: Path, known: Facts, folder: Path) -> None:
        self.file = VerifiedFile(path, known, folder)
        self.file.verify(0, min(NPY_HEADER, self.file.size))
        with naming(path, remedy(folder)):
            mapped = np.load(path, mmap_mode="r")
            self._offset = int(mapped.offset)
            self._array = mapped.view(np.ndarray)
            self._stride = self._array.strides[0] if self._array.ndim else 0

    def __len__(self) -> int:
        return len(self._array)

    def part(self, start: int, stop: int) -> np.ndarray:
        """Return the items start ≤ i < stop, verified."""
        first_byte = self._offset + start * self._stride
        n_bytes = (stop - start) * self._stride
        self.file.verify(first_byte, first_byte + n_bytes)
        return self._array[start:stop]

    def ranges(self, ranges: Ranges) -> np.ndarray:
        """Return the items of several ranges, verified."""
        if ranges.are_contiguous:
            return self.part(int(ranges.starts[0]), int(ranges.stops[-1]))
        first_bytes = self._offset + ranges.starts * self._stride
        n_bytes = ranges.lengths * self._stride
        self.file.verify_ranges(first_bytes, first_bytes + n_bytes)
        return self._array[ranges.items]


class StoredTable:
    """A Parquet file from which single columns are read; arguments as for `VerifiedFile`."""

    def __init__(self, path: Path, known: Facts, folder: Path) -> None:
        self._file = VerifiedFile(path, known, folder)
        self._remedy = remedy(folder)
        # Parquet readers are not thread-safe
        self._reading = threading.Lock()
        self._file.verify(max(0, self._file.size - FOOTER))
        with naming(path, self._remedy):
            with path.open("rb") as stream:
                stream.seek(-FOOTER, os.SEEK_END)
                length = int.from_bytes(stream.read(4), "little")
            self._file.verify(max(0, self._file.size - FOOTER - length))
            self._reader = pq.ParquetFile(path)

    def column(self, name: str, places: np.ndarray) -> pa.ChunkedArray:
        """Return a column at some places, verified."""
        metadata = self._reader.metadata
        group_size = metadata.row_group(0).num_rows
        groups, group_of_place = np.unique(places // group_size, return_inverse=True)
        wanted = groups.tolist()
        with self._reading:
            leaves = _leaves_of(metadata, name)
            for group in wanted:
                self._verify_chunks(metadata.row_group(group), leaves)
            with naming(self._file.path, self._remedy):
                column = self._reader.read_row_groups(wanted, [name])[name]
        read_places = group_of_place * group_size + places % group_size
        return column.take(pa.array(read_places))

    def _verify_chunks(self, group: pq.RowGroupMetaData, leaves: list[int]) -> None:
        for leaf in leaves:
            chunk = group.column(leaf)
            start = chunk.data_page_offset
            if chunk.dictionary_page_offset is not None:
                start = min(start, chunk.dictionary_page_offset)
            self._file.verify(start, start + chunk.total_compressed_size)


def _leaves_of(metadata: pq.FileMetaData, name: str) -> list[int]:
    """Return the indices of the stored columns of a column, several if it is nested."""
    leaves = []
    for i in range(metadata.num_columns):
        path = metadata.schema.column(i).path
        if path == name or path.startswith(f"{name}."):
            leaves.append(i)
    return leaves
