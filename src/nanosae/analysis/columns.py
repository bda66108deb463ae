"""Read metadata columns as classes or numbers.

An empty cell is None, "", NaN, an infinite number or an empty list. Several classes in one cell are
a list, or joined by "|".
"""

from __future__ import annotations

import math
import re
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from nanosae.analysis.row_order import in_row_order
from nanosae.codes import Codes
from nanosae.errors import DataError
from nanosae.fields import as_list

# as of the categories that `nanosae run` compares
GROUPS = (2, 50)  # minimum and maximum number of distinct values
GROUP_ROWS = 10  # minimum mean number of rows per value
SAMPLE_ROWS = 20_000  # in which they are counted
EXACT_INTEGER = 2**53  # up to which float64 represents all integers
WHOLE_NUMBER = re.compile(r"[+-]?\d{1,308}")
DAY = r"^(\d{4}-\d\d-\d\d)"  # of a date in ISO 8601


def is_missing_value(value: Any) -> bool:
    """Return whether a cell is empty: None, "", NaN, an infinite number or an empty list."""
    if isinstance(value, str):
        return value == ""
    if is_list(value):
        return len(value) == 0
    if isinstance(value, float):
        return not math.isfinite(value)
    return value is None or value is pd.NA or value != value


def is_list(value: Any) -> bool:
    """Return whether a cell holds several values."""
    return isinstance(value, list | tuple | set | frozenset | np.ndarray)


def is_missing(values: np.ndarray) -> np.ndarray:
    """Return which cells are empty, bool (n,)."""
    if values.dtype.kind in "biuf":
        return ~np.isfinite(values)
    if values.dtype.kind == "M":
        return np.isnat(values)
    return np.array([is_missing_value(value) for value in values.tolist()], dtype=bool)


def count_infinite(values: np.ndarray) -> int:
    """Count the cells that hold an infinite number."""
    if values.dtype.kind == "f":
        return int(np.isinf(values).sum())
    floats = [value for value in values.tolist() if isinstance(value, float)]
    return int(np.isinf(floats).sum())


def cells(values: np.ndarray) -> list[Any]:
    """Return cells as Python objects; dates to the second, because nanoseconds become integers."""
    is_date = values.dtype.kind == "M"
    return values.astype("M8[s]").tolist() if is_date else values.tolist()


def one_per_row(codes: Codes, column: Any) -> np.ndarray:
    """Return a metadata column, or given values after checking that there is one per row.

    Lengths of time become numbers of minutes, as those that `nanosae run` reads from text.

    Args:
        codes: The corpus.
        column: Name of a metadata column, or n_rows values; see `in_row_order`.

    Raises:
        DataError: If there is no such column, or the number of values is not the number of rows.
    """
    if isinstance(column, str):
        return _in_minutes(_read_column(codes, column))
    if isinstance(column, pd.DataFrame) and column.shape[1] == 1:
        column = column.iloc[:, 0]
    values = _as_cells(in_row_order(codes, column))
    if values.ndim != 1:
        raise DataError(
            f"{type(column).__name__} of shape {values.shape} is not one value per row.",
            remedy="Give a list or an array of values, or the name of a metadata column.",
        )
    if len(values) == codes.n_rows:
        return _in_minutes(values)
    names = [name for name in values.tolist() if name in codes.columns]
    if len(names) == len(values):
        raise DataError(
            f"Several columns were given: {', '.join(names)}.",
            remedy="Give one column at a time.",
        )
    raise DataError(
        f"got {len(values)} values for the {codes.n_rows} rows of the corpus.",
        remedy="Give one value per row, or the name of a metadata column.",
    )


def _read_column(codes: Codes, name: str) -> np.ndarray:
    """Return a metadata column; whole numbers beside missing ones are objects, as classes "1"."""
    values = codes.column(name)
    if values.dtype.kind != "f":
        return values
    given = codes.series(name)
    return given.to_numpy(object, na_value=None) if given.dtype.kind in "iu" else values


def _as_cells(values: Any) -> np.ndarray:
    """Return given values as a column holds them.

    Dates become datetimes in UTC without a zone, M8[us]; fractions and lengths of time keep their
    type, and all other values become objects, with None where one is missing. Whole numbers beside
    missing ones, which NumPy makes fractions, stay whole if their type says so.
    """
    if isinstance(values, list | tuple) and any(map(is_list, values)):
        return pd.Series(values, dtype=object).to_numpy()  # NumPy would nest them
    if isinstance(getattr(values, "dtype", None), pd.DatetimeTZDtype):
        values = pd.Series(values).dt.tz_convert("UTC").dt.tz_localize(None)
    if hasattr(values, "detach"):
        values = as_list(values)  # tensors of any type, on any device
    cells = np.asarray(values)
    if cells.dtype.kind == "M":  # nanoseconds, of pandas 2, would become whole numbers
        return cells.astype("M8[us]")
    are_fractions = cells.dtype.kind in "fm"
    if are_fractions and isinstance(getattr(values, "dtype", None), np.dtype):
        return cells
    objects = np.array(values, dtype=object)
    has_whole_numbers = pd.api.types.infer_dtype(objects.ravel()) == "integer"
    if are_fractions and not has_whole_numbers:
        return cells
    objects[pd.isna(objects)] = None  # pd.NA cannot be compared
    return objects


def _in_minutes(values: np.ndarray) -> np.ndarray:
    """Return lengths of time as minutes, NaN where one is missing; leave others as they are."""
    return values / np.timedelta64(1, "m") if values.dtype.kind == "m" else values


def name_of(column: Any) -> str | None:
    """Return the name of a column, or of a series of values; None if it has none."""
    name = column if isinstance(column, str) else getattr(column, "name", None)
    return name if isinstance(name, str) and name else None


def class_matrix(values: np.ndarray) -> tuple[list[str], sp.csr_array]:
    """Turn cells of classes, joined by "|", into names and an indicator matrix.

    Args:
        values: One cell per row; an empty one gives an empty row.

    Returns:
        The sorted names, and the indicators, csr_array (n, n_names) of float64 0 and 1.

    Example:
        >>> class_matrix(np.array(["b|a", "", "a"], dtype=object))[1].toarray().tolist()
        [[1.0, 1.0], [0.0, 0.0], [1.0, 0.0]]
    """
    from sklearn.preprocessing import MultiLabelBinarizer

    hashable = [_hashable(cell) for cell in cells(values)]
    number, distinct = pd.Series(hashable, dtype=object).factorize(
        use_na_sentinel=False
    )
    classes = [classes_of(cell) for cell in distinct]
    binarizer = MultiLabelBinarizer(sparse_output=True)
    indicators = sp.csr_array(binarizer.fit_transform(classes), dtype=np.float64)
    return binarizer.classes_.tolist(), sp.csr_array(indicators[number])


def _hashable(cell: Any) -> Any:
    """Return a list as a tuple and a record as its text; leave other cells as they are."""
    if isinstance(cell, dict):
        return str(cell)
    return tuple(map(_hashable, cell)) if is_list(cell) else cell


def classes_of(cell: Any) -> list[str]:
    """Return the classes in a cell; empty ones are left out.

    Example:
        >>> classes_of("b|a|"), classes_of(["b", None]), classes_of(3)
        (['b', 'a'], ['b'], ['3'])
    """
    if is_missing_value(cell):
        return []
    names = cell if is_list(cell) else str(cell).split("|")
    return [str(name) for name in names if not is_missing_value(name)]


def one_hot(index: np.ndarray, n_columns: int | None = None) -> sp.csr_array:
    """Return the indicator matrix with a 1 per row in the given column, or none for -1.

    Example:
        >>> one_hot(np.array([1, 0, -1])).toarray().tolist()
        [[0.0, 1.0], [1.0, 0.0], [0.0, 0.0]]
    """
    if n_columns is None:
        n_columns = int(index.max(initial=-1)) + 1
    has_column = index >= 0
    columns = index[has_column]
    ends = np.concatenate([[0], np.cumsum(has_column)])
    entries = (np.ones(len(columns)), columns, ends)
    return sp.csr_array(entries, shape=(len(index), n_columns))


def as_numbers(values: np.ndarray) -> np.ndarray | None:
    """Read cells as float64, empty and infinite ones as NaN; return None if any is no number.

    An integer beyond the range of float64, about 10³⁰⁸, is no number.
    """
    if values.dtype.kind == "M":
        return None
    if values.dtype.kind not in "iuf":
        values = np.where(is_missing(values), "nan", values.astype(object))
    try:
        numbers = values.astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        return None
    return np.where(np.isfinite(numbers), numbers, np.nan)


def above_minimum(values: np.ndarray) -> np.ndarray:
    """Subtract the minimum of integers beyond 2⁵³, which float64 rounds; leave others as they are.

    Example:
        >>> above_minimum(np.array([2**62, str(2**62 + 1), None], dtype=object)).tolist()
        [0, 1, None]
    """
    is_known = ~is_missing(values)
    known = [_whole_number(cell) for cell in values[is_known].tolist()]
    are_integers = all(type(cell) is int for cell in known)
    if not known or not are_integers or max(map(abs, known)) <= EXACT_INTEGER:
        return values
    smallest = min(known)
    above = values.astype(object)
    above[is_known] = [cell - smallest for cell in known]
    return above


def _whole_number(cell: Any) -> Any:
    """Return text that consists of digits as an integer; leave other cells as they are."""
    is_whole = isinstance(cell, str) and WHOLE_NUMBER.fullmatch(cell)
    return int(cell) if is_whole else cell


def as_moments(values: np.ndarray | pd.Series) -> np.ndarray:
    """Read dates in ISO 8601, or datetimes, as times in UTC, M8[s] (n,); other cells are NaT.

    A period of pandas is read as its start.
    """
    cells = pd.Series(values)
    if pd.api.types.infer_dtype(cells) == "period":
        cells = pd.PeriodIndex(cells).to_timestamp().to_series(index=cells.index)
    dates = pd.to_datetime(cells, format="ISO8601", errors="coerce", utc=True)
    moments = dates.dt.tz_localize(None).to_numpy().astype("M8[s]")
    # pandas 2 counts nanoseconds, from 1677 to 2262: other dates are parsed one by one
    unread = np.flatnonzero(np.isnat(moments))
    days = cells.iloc[unread].astype(str).str.extract(DAY, expand=False)
    for row, day in zip(unread.tolist(), days.tolist(), strict=True):
        if isinstance(day, str):
            with suppress(ValueError):  # such as a month 13
                moments[row] = np.datetime64(day)
    return moments


def column_to_compare(codes: Codes) -> str | None:
    """Return the first metadata column that divides the rows into few and large groups, or None.

    Identifiers, numbers and dates are passed over.
    """
    n_sampled = min(codes.n_rows, SAMPLE_ROWS)
    rows = np.linspace(0, codes.n_rows - 1, n_sampled).astype(np.int64)
    for name in codes.columns:
        if is_grouping(codes.column(name, rows)):
            return name
    return None


def is_grouping(values: np.ndarray) -> bool:
    """Return whether cells are names of few and large groups.

    Example:
        >>> is_grouping(np.array(["a", "b|a"] * 10, dtype=object)), is_grouping(np.arange(20))
        (True, False)
    """
    known = values[~is_missing(values)]
    names, _ = class_matrix(known)
    fewest, most = GROUPS
    if not fewest <= len(names) <= most or len(known) < GROUP_ROWS * len(names):
        return False
    if len(names) == 2:
        return True
    is_number = as_numbers(known) is not None
    is_date = known.dtype.kind == "M" or _are_days(names)
    return not (is_number or is_date)


def _are_days(names: list[str]) -> bool:
    """Return whether all names are written like 2024-05-31."""
    days = pd.to_datetime(names, format="%Y-%m-%d", errors="coerce")
    return bool(days.notna().all())
