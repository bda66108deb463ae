"""Rows from anything: `open_rows` opens frames, tables, arrays, files, folders and globs of shards.

Whatever it is becomes one `Rows`, lazily where the format allows. Vectors are a list column, or the
longest run of numbered columns, or all numeric columns; the others are carried along. Every error
says where (0-based row, column, file), what was found and what to do. Pickles are never opened.
"""

import glob
import hashlib
import mmap
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import copy
from functools import lru_cache, partial
from itertools import chain, groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv, parquet
from pyarrow.compute import call_function

LARGE = 2**30  # bytes of a CSV file from which on it is read block by block
BLOCK = 2**14  # rows converted at a time: 24 MB at width 384
DELIMITER = {".csv": ",", ".tsv": "\t"}
SUFFIXES = (*DELIMITER, ".parquet", ".feather", ".arrow", ".npy", ".npz", ".safetensors", ".pt")
NUMBER = r"u?int|half|float|double|decimal"  # Arrow types, as they print
VECTOR = rf"(large_|fixed_size_)?list<[^<]*: ({NUMBER})"
CELL = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?|[-+]?inf|nan|none|true|false", re.I)
CHOOSE = 'Choose the vector columns with columns=["name", ...] (--columns).'


class Rows:
    """An opened source of vectors; made by `open_rows`. Threads may share it.

    Attributes:
        n_rows: Number of rows.
        width: Length of each vector; with targets behind them, of both together.
        own: Length without targets.
        columns: Names of the vector columns, `[name]` of a list column, None without names.
        source: The path that was opened, None for objects.
        metadata_batches: Function that returns Arrow batches of the other columns, in row order.
        groups: First rows of the groups that are read as a whole; empty where any rows may be.
    """

    def __init__(self, parts: list, width: int, columns: Any = None, rest: Any = tuple):
        self.width = self.own = width
        self.columns, self._lock, self.metadata_batches = columns, threading.Lock(), rest
        # Of each part: the number of its rows, and what loads columns of it.
        self._parts, self._starts = parts, np.cumsum([0] + [n for n, _ in parts])
        self._load = lru_cache(maxsize=1)(lambda i: parts[i][1](columns))
        self.n_rows, self._place = int(self._starts[-1]), lambda row: f"row {row} (0-based)"
        self.groups: list[int] = []
        self.source: str | None = None
        self._targets: Rows | None = None

    def metadata(self) -> pa.Table | None:
        """Read the columns that are no vectors (texts, ids, labels) in row order; None without."""
        batches = list(self.metadata_batches())
        return pa.Table.from_batches(batches) if batches else None

    def read(self, start: int, stop: int) -> np.ndarray:
        """Read consecutive rows.

        Args:
            start: First row, 0-based.
            stop: The row after the last one.

        Returns:
            A new array, (stop − start, width), float32, C-contiguous, finite.

        Raises:
            ValueError: If a vector is ragged, or a value missing, no number, NaN or infinite.
        """
        return self.take(np.arange(start, stop))

    def take(self, rows: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Read the given rows, like `read`.

        Args:
            rows: Row numbers, ascending, (n,).
            out: Where to put them, (at least n, width), float32; None takes a new array.

        Returns:
            The rows, (n, width), float32, C-contiguous, finite.
        """
        out = np.empty((len(rows), self.width), np.float32) if out is None else out[: len(rows)]
        own = out[:, : self.own]
        edges = np.searchsorted(rows, self._starts)
        with self._lock, np.errstate(all="ignore"):
            for i in np.flatnonzero(np.diff(edges)):
                for at in range(edges[i], edges[i + 1], BLOCK):
                    some = rows[at : min(at + BLOCK, edges[i + 1])]
                    block, local = own[at : at + len(some)], some - self._starts[i]
                    if bad := _fill(block, self._load(int(i)), local, self.columns or ()):
                        raise ValueError(self._place(some[bad[0]]) + bad[1])
        if self._targets is not None:
            self._targets.take(rows, out[:, self.own :])
        return out

    def blocks(self, size: int = 65536) -> Iterator[np.ndarray]:
        """Yield all rows in order, at most `size` at a time."""
        return (self.read(at, min(at + size, self.n_rows)) for at in range(0, self.n_rows, size))

    def fingerprint(self) -> str:
        """Hash the shape and 16 rows at the start, middle and end: the same in any container."""
        starts = np.array([[0], [self.n_rows // 2], [self.n_rows - 16]]) + np.arange(16)
        rows = self.take(np.unique(starts.clip(0, self.n_rows - 1))) + np.float32(0)  # -0 is 0
        return hashlib.sha256(f"{self.n_rows},{self.width}:".encode() + rows.tobytes()).hexdigest()


def open_rows(
    data: Any, *, columns: list | None = None, input_size: int | None = None, targets: Any = None
) -> Rows:
    """Open any accepted kind of data as rows of vectors.

    Vectors are a list column; else the longest run of same-prefix numbered columns, in numeric
    order; else all numeric columns, if `input_size` agrees or no integers stand beside fractions.

    Args:
        data: pandas or polars frame, pyarrow table, Hugging Face `Dataset`, array, memmap, scipy
            sparse matrix, torch tensor, list, or the path of a .csv .tsv .parquet .feather .arrow
            .npy .npz .safetensors .pt file, of a folder of files of one such type, or a glob.
        columns: Names of the vector columns, in this order; ignored where the data has no names.
        input_size: Width that the vectors must have.
        targets: As many vectors, of any kind, to be read behind those of `data`.

    Returns:
        The opened rows.

    Raises:
        ValueError: If vectors are missing, ambiguous or malformed: names row, column and remedy.
        TypeError: If `data` is of no accepted kind.
        FileNotFoundError: If there is no such path, or no data file in the folder.

    Example:
        >>> rows = open_rows(np.eye(3, dtype="float16"))
        >>> rows.n_rows, rows.read(1, 3).shape
        (3, (2, 3))
    """
    if isinstance(data, (str, Path)):
        rows = _open_files(Path(data), columns, input_size)
        rows.source = str(data)
    else:
        rows = _rows(data if isinstance(data, Rows) else _from_object(data), columns, input_size)
    return rows if targets is None else _beside(rows, open_rows(targets))


def _beside(rows: Rows, targets: Rows) -> Rows:
    """Put targets behind rows."""
    if targets.n_rows != rows.n_rows:
        raise ValueError(f"There are {targets.n_rows:,} targets for {rows.n_rows:,} rows.")
    both, targets = copy(rows), copy(targets)
    both._targets, both.width = targets, rows.width + targets.width
    both.groups = sorted({*rows.groups, *targets.groups})
    targets._place = lambda row, place=targets._place: f"target of {place(row)}"
    return both


def _rows(source: Any, columns: list | None, size: int | None) -> Rows:
    """Find the vectors in a table or array, and check their width."""
    if isinstance(source, tuple):
        source = _rows_of_table(columns, size, *source)
    elif not isinstance(source, Rows):
        from sklearn.utils import check_array  # its words for a wrong shape or type

        width = (check_array(_dense(source[:1]), ensure_all_finite=False) - 0.5).shape[1]
        source = Rows([(source.shape[0], lambda _, array=source: array)], width)
    if size not in (None, source.width):
        what = f"The vectors have width {source.width}, expected {size} (input_size, or shard 1)"
        raise ValueError(f"{what}. {CHOOSE} Or change input_size.")
    return source


def _from_object(data: Any) -> Any:
    """Turn an object in memory into a described table, or something to slice like a 2-d array."""
    module, kind = type(data).__module__.partition(".")[0], type(data).__name__
    data = data.to_frame() if hasattr(data, "to_frame") else data  # a Series of vectors
    if (module, kind) == ("datasets", "Dataset"):
        return _hugging_face(data.with_format("arrow"))
    if module == "pandas":
        arrays = [_from_series(column) for _, column in data.items()]
        return _table(pa.Table.from_arrays(arrays, names=[str(name) for name in data.columns]))
    if hasattr(data, "__arrow_c_stream__"):
        return _table(data.to_arrow() if hasattr(data, "to_arrow") else pa.table(data))
    if isinstance(data, (list, tuple)) or str(getattr(data, "dtype", "")) == "object":
        data = [_dense(vector) for vector in data]
        if len({np.size(vector) for vector in data}) > 1:
            return _table(pa.table({"vector": pa.array(data)}))  # reading it will name the row
        return np.asarray(data, np.float64)
    for method in ("tocsr", "detach", "__array__"):
        if hasattr(data, method):
            return getattr(data, method)()
    raise TypeError(f"{kind} is no frame, table, Dataset split, 2-d array, tensor, list or path.")


def _hugging_face(data: Any) -> tuple:
    """Describe a Dataset: mapped as it is, or by groups of rows if they are a selection."""
    if data._indices is None:
        return _table(data[:])
    cuts = [*range(0, len(data), 1024), len(data)]
    read = lambda i, names: data.select_columns(names)[cuts[i] : cuts[i + 1]].to_batches()  # noqa: E731
    return data.features.arrow_schema, np.diff(cuts).tolist(), read, True


def _from_series(series: Any) -> Any:
    """Convert a pandas column; one of mixed types to text, so that a bad cell can be named."""
    try:
        return pa.array(series, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([None if cell is None else str(cell) for cell in series])


def _table(table: pa.Table) -> tuple:
    """Describe a table: its schema, the sizes of its groups of rows, and how to read one."""
    return table.schema, [table.num_rows], lambda _, names: table.select(names).to_batches()


class _Batches:
    """Rows in Arrow batches that come one by one: fast forwards, from the start when going back."""

    def __init__(self, open: Callable[[], Iterable[pa.RecordBatch]]):
        self.open, self._start, self._stop = open, 2**62, 0  # of the current batch's rows

    def take(self, rows: np.ndarray) -> pa.RecordBatch:
        """Read ascending rows."""
        if rows[0] < self._start:
            self._left, self._stop = iter(self.open()), 0
        taken, done = [], 0
        while done < len(rows):
            while rows[done] >= self._stop:
                self._batch = next(self._left)
                self._start, self._stop = self._stop, self._stop + len(self._batch)
            some = rows[done : np.searchsorted(rows, self._stop)] - self._start
            whole = some[-1] - some[0] + 1 == len(some)
            taken.append(self._batch.slice(some[0], len(some)) if whole else self._batch.take(some))
            done += len(some)
        return pa.concat_batches(taken)


def _rows_of_table(columns, size, schema, sizes, read, grouped=False) -> Rows:
    """Choose the vector columns of a described table; its groups are read when needed."""
    kinds = {field.name: str(field.type) for field in schema}
    about = f"There are {len(kinds)} columns: {dict(list(kinds.items())[:9])}"
    loads = [lambda names, i=i: _Batches(partial(read, i, names)) for i in range(len(sizes))]
    parts = [part for part in zip(sizes, loads, strict=True) if part[0]]
    if len(kinds) < len(schema):
        twice = next(name for name in kinds if schema.names.count(name) > 1)
        raise ValueError(f"Several columns are named {twice!r}: rename all but one.")
    if not parts:
        raise ValueError(f"The data has no rows. {about}.")
    if missing := [name for name in columns or () if name not in kinds]:
        raise ValueError(f"{len(missing)} columns are missing: {missing[:9]}. {about}.")
    if not (chosen := columns or _find_vectors(kinds, size, parts[0][1])):
        raise ValueError(f"Found no vectors, or not only vectors. {about}. {CHOOSE}")
    others = [n for n in kinds if n not in chosen and not re.match(VECTOR, kinds[n])]
    types = pa.schema([schema.field(name) for name in others])
    batches = lambda: (b.cast(types) for _, load in parts for b in load(others).open())  # noqa: E731
    rows = Rows(parts, len(chosen), chosen, batches if others else tuple)
    if rows.width == 1 and re.match(VECTOR, kinds[chosen[0]]):
        rows.width = rows.own = len(rows._load(0).take(np.arange(1)).column(0)[0].as_py() or ())
    rows.groups = rows._starts.tolist() if grouped else []
    return rows


def _find_vectors(kinds: dict, size: int | None, load: Callable) -> list[str]:
    """Find the vector columns: a list column, a numbered run, or all numeric ones."""
    numbers = [name for name in kinds if re.match(NUMBER, kinds[name])]
    numbered = sorted((name for name in kinds if name[-1:].isdecimal()), key=_natural)
    runs = [list(run) for _, run in groupby(numbered, lambda name: _natural(name)[:-2])]
    runs = [run for run in runs if len(run) > 1 and 2 * len({*run} & {*numbers}) >= len(run)]
    best = [[name] for name in kinds if re.match(VECTOR, kinds[name])]
    best = best or [run for run in runs if len(run) == max(map(len, runs))]
    if len(best) > 1:
        raise ValueError(f"Which are the vectors: {' or '.join(r[0] for r in best)}? {CHOOSE}")
    if best or len(numbers) == size:
        return [*best, numbers][0]
    for name in [name for name in kinds if kinds[name].endswith("string")]:
        cells = [cell for batch in load([name]).open() for cell in batch.column(0).to_pylist()]
        if 0.9 * len(cells) <= sum(bool(CELL.fullmatch(str(cell))) for cell in cells) < len(cells):
            numbers.append(name)  # reading it will name the bad cell
    # Integers beside fractions or texts may be ids or labels: let the user choose.
    return numbers if sum("int" in kinds[name] for name in numbers) in (0, len(kinds)) else []


def _natural(name: str) -> list:
    """Give a key that sorts e10 after e9."""
    return [int(piece) if piece.isdecimal() else piece for piece in re.split(r"(\d+)", name)]


def _fill(out: np.ndarray, source: Any, rows: np.ndarray, names: Any) -> tuple[Any, str] | None:
    """Copy ascending rows of a table, array or tensor; or tell a bad row and what is wrong."""
    width, whole = out.shape[1], rows[-1] - rows[0] + 1 == len(rows)
    if not hasattr(source, "dtype"):
        for j, column in enumerate(source.take(rows).columns):
            try:
                out[:, j] = column.cast(pa.float32(), safe=False)
            except pa.ArrowException as error:
                if not re.match(VECTOR, str(column.type)):
                    cells = enumerate(map(str, column.to_pylist()))
                    row, cell = next((c for c in cells if not CELL.fullmatch(c[1])), (0, error))
                    return row, f", column {names[j]} holds {cell!r}: correct it or drop the row."
                lengths = call_function("list_value_length", [column]).to_pylist()
                for row, length in enumerate(lengths):
                    if length != width or not width:
                        return row, f" has a vector of length {length}, row 0 one of {width}."
                flat = call_function("list_flatten", [column]).to_numpy(False)
                out[:] = flat.reshape(out.shape)
    else:
        _ask_for(source, rows)
        out[:] = _dense(source[rows[0] : rows[-1] + 1] if whole else source[rows])
    bad = () if np.isfinite(out.sum()) else np.argwhere(~np.isfinite(out))
    for row, column in bad[:1]:
        name = names[column] if len(names) == width else column
        what = f"{out[row, column]}, one of {len(bad)} missing, NaN or infinite values read with it"
        return row, f", column {name} holds {what}. Drop those rows or fill them."


def _ask_for(source: Any, rows: np.ndarray) -> None:
    """Let the system read all runs of rows of a mapped file together, not page by page."""
    mapped = isinstance(getattr(source, "base", None), mmap.mmap)
    if not mapped or not hasattr(mmap, "MADV_WILLNEED"):
        return
    cuts = np.flatnonzero(np.diff(rows) > 1)
    for first, last in zip(rows[[0, *cuts + 1]], rows[[*cuts, -1]], strict=True):
        start, stop = source.offset + source.strides[0] * np.array([first, last + 1])
        page = int(start) // mmap.PAGESIZE * mmap.PAGESIZE
        source.base.madvise(mmap.MADV_WILLNEED, page, int(stop) - page)


def _dense(block: Any) -> Any:
    """Turn a tensor or sparse matrix into an array."""
    if hasattr(block, "detach"):
        block = (block.float() if "bfloat16" in str(block.dtype) else block).detach().cpu().numpy()
    return block.toarray() if hasattr(block, "toarray") else block


def _read_file(path: Path) -> Any:
    """Open a file as a described table, an array or a tensor."""
    if path.suffix in DELIMITER:
        parse = csv.ParseOptions(delimiter=DELIMITER[path.suffix], newlines_in_values=True)
        convert = csv.ConvertOptions(null_values=[""])  # "n/a" is a bad cell, to be named
        if path.stat().st_size > LARGE:
            return _read_large_csv(path, parse)
        return _table(csv.read_csv(path, parse_options=parse, convert_options=convert))
    if path.suffix == ".parquet":
        metadata = parquet.read_metadata(path)  # the file is not held open: there may be thousands
        sizes = [metadata.row_group(g).num_rows for g in range(metadata.num_row_groups)]
        return metadata.schema.to_arrow_schema(), sizes, partial(_row_group, path, metadata), True
    if path.suffix in (".feather", ".arrow"):
        return _read_arrow(pa.memory_map(str(path)))
    if path.suffix in (".npy", ".npz"):
        npz: Any = np.lib.npyio.NpzFile  # takes paths, too
        source = npz(path) if path.suffix == ".npz" else np.lib.format.open_memmap(path, mode="r")
    else:
        import torch
        from safetensors.torch import load_file

        torch_file = partial(torch.load, map_location="cpu", weights_only=True, mmap=True)
        source = (torch_file if path.suffix == ".pt" else load_file)(path)
    arrays = list(source.values()) if isinstance(source, Mapping) else [source]
    arrays = [array for array in arrays if getattr(array, "ndim", 0) == 2]
    if len(arrays) != 1:
        raise ValueError(f"it holds {len(arrays)} 2-d arrays, 1 is needed")
    return arrays[0]


def _read_large_csv(path: Path, parse: csv.ParseOptions) -> tuple:
    """Describe a CSV file that is read block by block, from its start each time."""
    blocks = csv.ReadOptions(block_size=2**24)
    kinds = {f.name: f.type for f in csv.open_csv(path, blocks, parse).schema}
    schema = pa.schema((n, pa.string() if pa.types.is_null(k) else k) for n, k in kinds.items())

    def read(_: int, names: list) -> Iterator[pa.RecordBatch]:
        text = dict.fromkeys(names, pa.string())  # a bad cell is named when it becomes a number
        convert = csv.ConvertOptions(null_values=[""], column_types=text, include_columns=names)
        yield from csv.open_csv(path, blocks, parse, convert)

    return schema, [sum(map(len, read(0, schema.names[:1])))], read, True


def _row_group(path: Path, metadata: Any, group: int, names: list) -> Iterator[pa.RecordBatch]:
    with parquet.ParquetFile(path, metadata=metadata, memory_map=True) as file:
        yield from (batch.select(names) for batch in file.iter_batches(BLOCK, [group], names))


def _read_arrow(source: Any) -> tuple:
    """Describe an Arrow file: mapped as it is, or by its record batches if they are compressed."""
    if source.read_at(6, 0) != b"ARROW1":
        return _table(pa.ipc.open_stream(source).read_all())
    file, before, sizes = pa.ipc.open_file(source), pa.total_allocated_bytes(), []
    for i in range(file.num_record_batches):
        batch = file.get_batch(i)
        sizes.append(len(batch))
    if not sizes or pa.total_allocated_bytes() == before:
        return _table(file.read_all())
    return file.schema, sizes, lambda i, names: [file.get_batch(i).select(names)], True


def _open_files(path: Path, columns: list | None, size: int | None) -> Rows:
    """Open a file, a folder or a glob; join the shards in natural order."""
    pattern = glob.escape(str(path)) if path.exists() else str(path)
    names = glob.glob(pattern + "/*" * path.is_dir(), recursive=True)  # noqa: PTH207
    files = [Path(name) for name in sorted(names, key=_natural) if name.endswith(SUFFIXES)]
    if len({file.suffix for file in files}) != 1:
        missing = ValueError if files or path.is_file() else FileNotFoundError
        raise missing(f"{path}: {names[:3] or 'nothing there'}, need files of one type: {SUFFIXES}")
    shards: list[Rows] = []
    for file in files:
        try:
            shards.append(_rows(_read_file(file), columns, size))
        except Exception as error:  # each reader has errors of its own
            raise ValueError(f"Cannot read {file} as a {file.suffix} file: {error}") from error
        columns, size = shards[0].columns, shards[0].width
    rest = lambda: chain.from_iterable(shard.metadata_batches() for shard in shards)  # noqa: E731
    if (beside := path / "columns" / "00000.parquet").exists():  # as `cache` writes it
        schema, sizes, read, _ = _read_file(beside)
        rest = lambda: chain.from_iterable(read(i, schema.names) for i in range(len(sizes)))  # noqa: E731
    rows = Rows([p for s in shards for p in s._parts], shards[0].width, columns, rest)
    rows.groups = rows._starts.tolist() if any(shard.groups for shard in shards) else []
    ends = np.cumsum([shard.n_rows for shard in shards])

    def place(row: int) -> str:
        shard = int(np.searchsorted(ends, row, side="right"))
        row -= ends[shard] - shards[shard].n_rows
        line = f"; line {row + 2} if no cell spans lines" * (files[0].suffix in DELIMITER)
        return f"{files[shard].name}, row {row} (0-based{line})"

    rows._place = place
    return rows


def split(x: np.ndarray) -> list[np.ndarray]:
    """Cut rows, or their numbers, into pieces small enough for the processor's cache."""
    return np.array_split(x, len(x) // 1024 + 1)


def hash_rows(x: np.ndarray) -> np.ndarray:
    """Hash rows, (n, width) float32, to 64 bits; an all-zero row to 0."""
    factors = np.random.default_rng(0).integers(1, 2**63, x.shape[1], np.uint64)
    bits = x.view(np.uint32) ^ (x.view(np.uint32) >> 15)  # fills the low bits of round numbers
    return np.einsum("ij,j->i", bits, factors)
