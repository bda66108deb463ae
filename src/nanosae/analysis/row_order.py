"""Values of the rows in the order of the corpus: a pandas series is matched by its index."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from nanosae.codes import Codes
from nanosae.errors import DataError
from nanosae.schemas import index_columns


def in_row_order(codes: Codes, values: Any) -> Any:
    """Return values in the order of the rows, matched by index if they are a pandas series.

    The labels of the rows are the columns named like the levels of the index (`index`, or
    `level_0` and so on, for those without a name), and otherwise the numbers of the rows. Values
    whose index has none of these labels are returned unchanged.

    Raises:
        DataError: If the index is ambiguous: the rows could be meant by label or by number.
    """
    if not isinstance(values, pd.Series):
        return values
    index = _without_periods(values.index)
    rows = pd.RangeIndex(codes.n_rows)
    names = index_columns(index)
    is_labelled = set(names) <= set(codes.columns)
    labels = _labels(codes, names) if is_labelled else rows
    may_be_longer = is_labelled  # rows without a text were skipped
    has_length = may_be_longer or len(values) == codes.n_rows
    is_in_order = index.equals(labels)
    if is_in_order or not has_length or not index.is_unique:
        return values
    if not labels.isin(index).all():
        return values
    if index.equals(rows):
        raise DataError(
            f"The index of the values may mean the numbers of the rows or the column {names[0]!r}.",
            remedy="Give an array in the order of the rows (values.to_numpy()), or "
            f"values.loc[codes.series({names[0]!r})].",
        )
    return values.set_axis(index).loc[labels]


def _labels(codes: Codes, names: list[str]) -> pd.Index:
    columns = [codes.series(name) for name in names]
    if len(columns) == 1:
        return _without_periods(pd.Index(columns[0]))
    return _without_periods(pd.MultiIndex.from_arrays(columns))


def _without_periods(index: pd.Index) -> pd.Index:
    """Return an index with the starts of periods, as a corpus may hold them."""
    if isinstance(index, pd.MultiIndex):
        levels = [index.get_level_values(level) for level in range(index.nlevels)]
        starts = map(_without_periods, levels)
        return pd.MultiIndex.from_arrays(starts, names=index.names)
    return index.to_timestamp() if isinstance(index, pd.PeriodIndex) else index


def as_mask(values: Any) -> np.ndarray:
    """Return a group of rows as an array; in a mask, missing values are False.

    Example:
        >>> as_mask(pd.Series([True, None], dtype="boolean")).tolist()
        [True, False]
    """
    places = np.asarray(values)
    if places.dtype != object:
        return places
    is_missing = pd.isna(places)
    if pd.api.types.infer_dtype(places[~is_missing]) != "boolean":
        return places
    return np.where(is_missing, False, places).astype(bool)
