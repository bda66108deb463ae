"""In-memory objects as tables or arrays: pandas, polars, Arrow, Hugging Face, lists, tensors."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from nanosae.errors import LISTED_NAMES, DataError, DataTypeError
from nanosae.schemas import index_levels, with_plain_types
from nanosae.sources.arrays import as_array, dense, from_list
from nanosae.sources.column_names import numbered_names
from nanosae.sources.faults import not_valid_text
from nanosae.sources.json_files import table_of_records
from nanosae.sources.kinds import holds_matrices
from nanosae.sources.repeated_columns import with_own_names
from nanosae.sources.tables import LazyTable, table_in_memory
from nanosae.sources.vector_text import with_vectors_parsed

ONE_OF_SEVERAL = (
    "Give one of them, or concatenate them: np.concatenate([*arrays.values()], axis=1)."
)
LAZY = {
    "generator": "Concatenate its batches: np.concatenate(list(data)).",
    "LazyFrame": "Call .collect() on it.",
    "IterableDataset": "Give a function that yields its batches as (n, width) arrays.",
    "TensorDataset": "Give its tensor, or a DataLoader of it.",
    "DatasetDict": "Give one of its splits.",
    "Dataset": "Give a DataLoader of it.",
    "FileSystemDataset": "Call .to_table() on it, or .scanner().to_reader().",
    "InMemoryDataset": "Call .to_table() on it, or .scanner().to_reader().",
}
SELECTION_ROWS = 1024  # rows of a Hugging Face selection that are gathered at a time


def from_object(data: Any) -> LazyTable | Any:
    """Return an object as a table, or as something that is indexed like a 2-d array.

    Raises:
        DataTypeError: If the type is not supported; it is a TypeError.
        DataError: If it contains anything but numbers and texts.
    """
    module, _, _ = type(data).__module__.partition(".")
    if module == "datasets" and type(data).__name__ == "Dataset":
        return _from_hugging_face(data.with_format("arrow"))
    if hasattr(data, "to_frame"):
        data = data.to_frame()  # a Series of vectors
    if _is_of_pandas(data):
        return _with_index(with_vectors_parsed(table_of_frame(data)), data.index)
    if isinstance(data, pa.Array | pa.ChunkedArray):
        data = pa.table({"vector": data})
    if hasattr(data, "__arrow_c_stream__"):
        has_own = hasattr(data, "to_arrow")
        table = data.to_arrow() if has_own else pa.table(data)
        return table_in_memory(with_plain_types(table))
    holds_objects = getattr(data, "dtype", None) == "object"
    if isinstance(data, list | tuple) or holds_objects:
        return _from_list(data)
    if any(hasattr(data, method) for method in ("tocsr", "detach", "__array__")):
        return as_array(data)
    kind = type(data).__name__
    if isinstance(data, Mapping) and kind not in LAZY:
        raise DataTypeError(f"The data {several_arrays(data)}", remedy=ONE_OF_SEVERAL)
    raise DataTypeError(
        f"{kind} is not a frame, table, Dataset split, 2-d array, tensor, list or path.",
        remedy=_remedy(data),
    )


def _is_of_pandas(data: Any) -> bool:
    """Return whether an object, or a class that it is derived from, is of pandas."""
    return any(
        kind.__module__.partition(".")[0] == "pandas" for kind in type(data).__mro__
    )


def _remedy(data: Any) -> str | None:
    """Return what to do with an object of a type, or of a subclass of one, that is known."""
    kinds = [kind.__name__ for kind in type(data).__mro__]
    return next((LAZY[kind] for kind in kinds if kind in LAZY), None)


def several_arrays(arrays: Mapping[Any, Any]) -> str:
    """Describe a dict of arrays, as the end of a sentence."""
    names = ", ".join(map(repr, list(arrays)[:LISTED_NAMES]))
    return f"is a dict of {len(arrays)} parts: {names}."


def _from_list(vectors: Any) -> LazyTable | Any:
    if len(vectors) and all(isinstance(vector, dict) for vector in vectors):
        return table_in_memory(table_of_records(vectors))
    if any(isinstance(vector, Path) for vector in vectors):
        raise DataTypeError(
            "The list holds paths.",
            remedy="Give their folder, or a glob such as 'folder/*.npy'.",
        )
    array = from_list(vectors)
    if array is not None:
        return array
    items = [dense(vector) for vector in vectors]
    if any(getattr(item, "ndim", 1) > 1 for item in items):
        raise _several_vectors("arrays of them")
    try:
        ragged = pa.array(items)
    except (pa.ArrowException, TypeError) as error:
        raise DataError(
            f"The list holds something other than vectors of numbers: {error}."
        ) from error
    if holds_matrices(ragged.type):
        raise _several_vectors(str(ragged.type))
    return table_in_memory(pa.table({"vector": ragged}))  # reading it will name the row


def _several_vectors(what: str) -> DataError:
    return DataError(
        f"The items of the list hold several vectors each ({what}); needed is one.",
        remedy="Give np.concatenate(data), with a row for each vector.",
    )


def _from_hugging_face(data: Any) -> LazyTable:
    """Wrap a Dataset, memory-mapped or, if it is a selection of rows, read in groups."""
    if data._indices is None:
        return table_in_memory(data[:])
    starts = range(0, len(data), SELECTION_ROWS)
    sizes = [min(SELECTION_ROWS, len(data) - start) for start in starts]

    def read_group(group: int, columns: list[str]) -> Iterable[pa.RecordBatch]:
        start = starts[group]
        rows = data.select_columns(columns)[start : start + sizes[group]]
        return rows.to_batches()

    return LazyTable(data.features.arrow_schema, sizes, read_group, indivisible=True)


def table_of_texts(data: Any) -> pa.Table:
    """Return a frame, table, list of records, dict of columns or list of texts as a table.

    The index of a pandas frame becomes columns, as by `reset_index`, unless it has no name and
    merely numbers the rows. Periods become times.

    Raises:
        DataTypeError: If the type is not supported; it is a TypeError.

    Example:
        >>> table_of_texts(["a", "b"]).to_pydict(), table_of_texts([{"body": "a"}]).to_pydict()
        ({'text': ['a', 'b']}, {'body': ['a']})
    """
    frame = _as_frame(data)
    if frame is not None:
        return with_own_names(table_of_frame(_with_index_and_times(frame)))
    if type(data).__name__ == "DatasetDict":
        raise _no_texts(data)
    if isinstance(data, dict):
        return _table_of_columns(data)
    if type(data).__module__.startswith("datasets.") and hasattr(data, "features"):
        return _table_of_dataset(data)
    if hasattr(data, "to_arrow"):  # polars, and other frames with types of their own
        data = data.to_arrow()
    if isinstance(data, pa.Array | pa.ChunkedArray):
        data = pa.table({"text": data})
    elif hasattr(data, "__arrow_c_stream__") and not isinstance(data, pa.Table):
        data = pa.table(data)
    if isinstance(data, pa.Table):
        return with_plain_types(data)
    return _table_of_list(data)


def _as_frame(data: Any) -> Any:
    """Return a pandas frame, series or array of records as a frame; None of anything else."""
    import pandas as pd

    if isinstance(data, pd.DataFrame):
        return data
    if isinstance(data, pd.Series):
        return data.to_frame("text")
    fields = getattr(getattr(data, "dtype", None), "names", None)
    return pd.DataFrame(data) if fields else None


def _table_of_list(data: Any) -> pa.Table:
    """Return a list of texts or of records as a table."""
    rows = []
    try:
        rows = list(data)
        if rows and all(isinstance(row, dict) for row in rows):
            return table_of_records(rows)
        if rows and all(_is_row_of_cells(row) for row in rows):
            columns = [list(cells) for cells in zip(*rows, strict=True)]
            names = numbered_names(len(columns))
            return _table_of_columns(dict(zip(names, columns, strict=True)))
        return pa.table({"text": pa.array(rows, pa.string(), from_pandas=True)})
    except UnicodeEncodeError as error:
        raise not_valid_text(rows, "text") from error
    except DataError:
        raise
    except (TypeError, ValueError) as error:
        raise _no_texts(data) from error


def _is_row_of_cells(row: Any) -> bool:
    """Return whether a row is a sequence of cells, one of which is a text."""
    is_sequence = isinstance(row, list | tuple) or getattr(row, "ndim", 0) == 1
    return is_sequence and any(isinstance(cell, str) for cell in row)


def _no_texts(data: Any) -> DataTypeError:
    return DataTypeError(
        f"Texts must be a file, a table or a list of strings, not {data!r:.60}.",
        remedy=LAZY.get(type(data).__name__),
    )


def _table_of_columns(columns: Mapping[str, Any]) -> pa.Table:
    """Return a dict of columns as a table.

    Raises:
        DataError: If they differ in length, or a cell has no type.
    """
    try:
        return pa.table({name: _as_column(cells) for name, cells in columns.items()})
    except UnicodeEncodeError as error:
        raise _not_valid_in(columns) from error
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise DataError(f"The columns cannot be put side by side: {error}.") from error


def _as_column(cells: Any) -> Any:
    """Return a list as an array, in which NaN is missing; leave other columns as they are."""
    is_list = isinstance(cells, list | tuple)
    return pa.array(cells, from_pandas=True) if is_list else cells


def _not_valid_in(columns: Mapping[str, Any]) -> DataError:
    """Return the error for the first column with half of a surrogate pair."""
    for name, values in columns.items():
        try:
            pa.table({name: values})
        except UnicodeEncodeError:
            return not_valid_text(values, name)
    raise AssertionError("all columns are valid text")


def _table_of_dataset(data: Any) -> pa.Table:
    """Return a Hugging Face dataset as a table; classes by their names."""
    classes = {
        name: feature.names
        for name, feature in (data.features or {}).items()
        if type(feature).__name__ == "ClassLabel"
    }
    is_stored = type(data).__name__ == "Dataset"
    table = data.with_format("arrow")[:] if is_stored else _table_of_list(data)
    for name, names in classes.items():
        numbers = table[name].to_pylist()
        cells = [_class_name(number, names) for number in numbers]
        place = table.column_names.index(name)
        table = table.set_column(place, name, pa.array(cells, pa.string()))
    return with_plain_types(table)


def _class_name(number: int | None, names: list[str]) -> str | None:
    """Return the name of a class; None for −1, which stands for an unknown one."""
    return names[number] if number is not None and number >= 0 else None


def _with_index_and_times(frame: Any) -> Any:
    """Add the levels of the index as columns, and replace each period with its start."""
    import pandas as pd

    frame = frame.set_axis(list(map(_name, frame.columns)), axis="columns")
    for name, values in index_levels(frame.index):
        if name not in frame.columns:
            frame = frame.assign(**{name: values})
    for place, kind in enumerate(frame.dtypes):  # names may be there twice
        if isinstance(kind, pd.PeriodDtype):
            frame.isetitem(place, frame.iloc[:, place].dt.to_timestamp())
    return frame


def _with_index(vectors: pa.Table, index: Any) -> LazyTable:
    """Append the index of a frame to its columns, as metadata."""
    names = []
    for name, values in index_levels(index):
        if name not in vectors.column_names:
            names.append(name)
            column = _from_series(values.to_series(), name)
            vectors = vectors.append_column(name, column)
    return dataclasses.replace(table_in_memory(vectors), index=tuple(names))


def _name(name: Any) -> str:
    """Return the name of a column, with its levels joined by dots."""
    parts = name if isinstance(name, tuple) else (name,)
    return ".".join(map(str, parts))


def table_of_frame(frame: Any) -> pa.Table:
    """Convert a pandas frame, keeping the types of columns except mixed ones, which become text."""
    names, columns = [], []
    for name, series in frame.items():
        names.append(_name(name))
        columns.append(_from_series(series, names[-1]))
    return pa.Table.from_arrays(columns, names=names)


def _from_series(series: Any, name: str) -> pa.Array:
    """Convert a column; mixed types become text, so that a bad cell can be reported."""
    import pandas as pd

    if series.dtype == object and any(hasattr(cell, "detach") for cell in series):
        series = series.map(dense)  # tensors
    if isinstance(series.dtype, pd.SparseDtype):
        series = series.sparse.to_dense()
    if isinstance(series.dtype, pd.CategoricalDtype) and _is_interval(
        series.cat.categories.dtype
    ):
        series = series.cat.rename_categories(str)  # bins have no Arrow type
    if _is_interval(series.dtype):
        series = series.map(str, na_action="ignore")
    try:
        return pa.array(series, from_pandas=True)
    except UnicodeEncodeError as error:
        raise not_valid_text(series, name) from error
    except (pa.ArrowException, OverflowError):
        is_missing = series.isna()
        if any(getattr(cell, "ndim", 0) > 1 for cell in series):
            return pa.array(
                [getattr(cell, "tolist", lambda: None)() for cell in series]
            )
        cells = zip(series, is_missing, strict=True)
        return pa.array([None if missing else str(cell) for cell, missing in cells])


def _is_interval(dtype: Any) -> bool:
    import pandas as pd

    return isinstance(dtype, pd.IntervalDtype)
