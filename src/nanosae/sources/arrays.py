"""Vectors from numpy arrays, SciPy sparse matrices and torch tensors, in memory or in files."""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NamedTuple

import numpy as np

from nanosae.errors import DataError, DataTypeError, first_line_of
from nanosae.sources.faults import Fault, find_not_finite

ARRAY_SUFFIXES = (".npy", ".npz", ".safetensors", ".pt")


class ChosenArray(NamedTuple):
    """An array chosen from a file that holds several."""

    name: str
    array: Any


class ArrayReader:
    """Reads rows of an object that is indexed like a 2-d array."""

    def __init__(self, array: Any) -> None:
        self._array = array

    def fill(self, rows: np.ndarray, out: np.ndarray) -> Fault | None:
        """Copy ascending rows to `out`, (n, width), or return a fault."""
        _will_need(self._array, rows)
        first, stop = rows[0], rows[-1] + 1
        is_range = stop - first == len(rows)
        block = self._array[first:stop] if is_range else _taken(self._array, rows)
        out[:] = dense(block)
        return find_not_finite(out, names=())


def _taken(array: Any, rows: np.ndarray) -> Any:
    """Return some rows; of a tensor by `index_select`, which has more types than indexing."""
    if not hasattr(array, "index_select"):
        return array[rows]
    import torch

    return array.index_select(0, torch.from_numpy(rows).to(array.device))


def as_array(data: Any) -> Any:
    """Return an array, tensor or sparse matrix as an object that can be indexed by rows.

    Raises:
        DataError: If an entry of a masked array is masked.
    """
    if isinstance(data, np.ma.MaskedArray):
        return _unmasked(data)
    if hasattr(data, "tocsr"):
        return data.tocsr()
    if hasattr(data, "detach"):
        return _sparse_tensor(data) if "sparse" in str(data.layout) else data.detach()
    return data.__array__()


def _unmasked(data: np.ma.MaskedArray) -> np.ndarray:
    """Return the data of a masked array, in which no entry may be masked."""
    places = np.argwhere(np.ma.getmaskarray(data))
    if len(places):
        row, *others = places[0].tolist()
        column = others[-1] if others else 0
        raise DataError(
            f"row {row} (0-based), column {column} is masked, one of {len(places)} masked values.",
            row=row,
            column=column,
            remedy="Drop those rows or fill them.",
        )
    return data.data


def _sparse_tensor(tensor: Any) -> Any:
    """Return a sparse tensor as a SciPy matrix, which can be indexed by rows."""
    import scipy.sparse as sp

    entries = tensor.detach().cpu().to_sparse_coo().coalesce()
    values = dense(entries.values())
    if values.ndim > 1 or entries.ndim != 2:
        raise DataError(
            f"The sparse tensor has {entries.ndim} dimensions, {entries.sparse_dim()} of them "
            "sparse; 2 and 2 are needed.",
            remedy="Give tensor.to_dense().",
        )
    coordinates = tuple(entries.indices().numpy())
    return sp.coo_array((values, coordinates), shape=tuple(entries.shape)).tocsr()


def from_list(vectors: Any) -> np.ndarray | None:
    """Return a list of vectors, or an array of objects, as an array; None if it is ragged.

    Raises:
        DataError: If a value is not a number.
        DataTypeError: If a value has a type that cannot be a number.
    """
    vectors = [dense(vector) for vector in vectors]
    if len({np.size(vector) for vector in vectors}) > 1:
        return None
    try:
        return np.asarray(vectors, np.float64)
    except (TypeError, ValueError) as error:
        kind = DataTypeError if isinstance(error, TypeError) else DataError
        raise kind(
            f"The list holds something other than vectors of numbers: {error}."
        ) from error


def vector_width(array: Any) -> int:
    """Check by its first row that an array is 2-d and numeric, and return its width."""
    from sklearn.utils import check_array  # for its messages

    if array.ndim != 2:
        raise _not_rows(array.shape)
    try:
        first = dense(array[:1])
    except (RuntimeError, TypeError) as error:
        raise DataTypeError(
            f"The vectors are {array.dtype}, which cannot be converted: {first_line_of(error)}.",
            remedy="Give them as float32.",
        ) from error
    if np.iscomplexobj(first):
        raise DataError(
            f"Complex data not supported: the vectors are {first.dtype}.",
            remedy="Give their real and imaginary parts side by side.",
        )
    if first.dtype.kind in "mM":
        raise DataTypeError(
            f"The vectors are {first.dtype}, which are dates or lengths of time.",
            remedy="Give numbers.",
        )
    try:
        checked = check_array(first, ensure_all_finite=False)
        return checked.shape[1]
    except ValueError as error:
        raise DataError(str(error)) from error


def _not_rows(shape: tuple[int, ...]) -> DataError:
    """Return the error of an array that is not 2-d."""
    remedy = "x.reshape(1, -1) is one row, x.reshape(-1, 1) are rows of width 1."
    if len(shape) > 2:
        remedy = f"x.reshape(-1, {shape[-1]}) are rows of width {shape[-1]}."
    return DataError(
        f"The array has the shape {tuple(shape)}; needed are rows of vectors, (n, width).",
        remedy=f"Reshape your data: {remedy}",
    )


def dense(block: Any) -> Any:
    """Return a tensor or sparse matrix as a numpy array; return anything else unchanged."""
    if hasattr(block, "detach"):
        if block.is_floating_point():
            block = block.float()  # numpy has no bfloat16 or float8
        return block.numpy(force=True)
    dtype: Any = getattr(block, "dtype", None)
    if getattr(dtype, "kind", "") == "V" and np.can_cast(dtype, np.float32):
        return block.astype(np.float32)  # ml_dtypes' bfloat16 and float8, as of JAX
    return block.toarray() if hasattr(block, "toarray") else block


def read_array_file(path: Path, name: str | None) -> Any:
    """Open an array in a file; .npy and .pt files are memory-mapped, nothing is unpickled.

    Args:
        path: A file with one of `ARRAY_SUFFIXES`.
        name: Name of the array, if the file holds several.

    Returns:
        The only array, of any shape, or the only 2-d one; a `ChosenArray` if several are 2-d.

    Raises:
        DataError: If the file holds no such array, or several but not the named one.
    """
    found = {
        key: array
        for key, array in _arrays_in(path).items()
        if getattr(array, "ndim", 0)
    }
    arrays = {key: array for key, array in found.items() if array.ndim == 2}
    for kept in (found, arrays):
        if len(kept) == 1:
            return next(iter(kept.values()))
    if name in arrays:
        return ChosenArray(name, arrays[name])
    if not arrays:
        raise DataError(
            "it holds no 2-d array.", remedy="Save the vectors as an array of rows."
        )
    known, first = ", ".join(arrays), next(iter(arrays))
    raise DataError(
        f"it holds {len(arrays)} 2-d arrays, 1 is needed: {known}.",
        remedy=f"Choose one: columns={[first]} (--columns {first}).",
    )


def _arrays_in(path: Path) -> dict[str, Any]:
    if path.suffix == ".npy":
        return {"": np.lib.format.open_memmap(path, mode="r")}
    if path.suffix == ".npz":
        with path.open("rb") as file:
            return dict(np.lib.npyio.NpzFile(file))
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    import torch

    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except UnpicklingError as error:
        raise DataError(
            "it needs code to be executed; only tensors are read.",
            remedy="Save the tensor alone: torch.save(x, file).",
        ) from error
    found = content if isinstance(content, Mapping) else {"": content}
    return {
        name: as_array(value) if torch.is_tensor(value) else value
        for name, value in found.items()
    }


def _will_need(array: Any, rows: np.ndarray) -> None:
    """Prefetch all runs of rows of a memory-mapped file at once instead of page by page."""
    file = getattr(array, "base", None)
    if not isinstance(file, mmap.mmap) or not hasattr(mmap, "MADV_WILLNEED"):
        return
    row_bytes = array.strides[0]
    gaps = np.flatnonzero(np.diff(rows) > 1)
    first_rows = rows[[0, *gaps + 1]]
    last_rows = rows[[*gaps, -1]]
    for first, last in zip(first_rows, last_rows, strict=True):
        start = int(array.offset + row_bytes * first)
        stop = int(array.offset + row_bytes * (last + 1))
        page = start // mmap.PAGESIZE * mmap.PAGESIZE
        file.madvise(mmap.MADV_WILLNEED, page, stop - page)
