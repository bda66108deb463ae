"""Tables for other programs: files, JSON records, and rows with features as columns."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Container
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nanosae.atomic import write_file, write_text
from nanosae.checked import plain
from nanosae.codes import Codes, indices
from nanosae.errors import ConfigError, DataError
from nanosae.fields import as_list

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")  # OWASP, CSV Injection
NUMBER = re.compile(r"[-+]?\d+([.,]\d+)?(e[-+]?\d+)?", re.I)


def write(table: pd.DataFrame, path: str | Path, *, formulas: bool = False) -> None:
    """Write a table to a .parquet, .csv, .tsv or .json file, atomically.

    Args:
        table: The table; in CSV and TSV, lists are joined by "|".
        path: The file, whose suffix decides the format.
        formulas: In CSV and TSV, keep texts that a spreadsheet would run as formulas.

    Raises:
        ConfigError: If the suffix is another one.
    """
    path = Path(path)
    if path.suffix == ".parquet":
        write_file(path, lambda stream: table.to_parquet(stream, index=False))
    elif path.suffix in (".csv", ".tsv"):
        separator = "\t" if path.suffix == ".tsv" else ","
        flattened = for_csv(table, formulas=formulas)
        write_file(
            path, lambda stream: flattened.to_csv(stream, index=False, sep=separator)
        )
    elif path.suffix == ".json":
        write_text(path, json_records(table))
    else:
        raise ConfigError(
            f"{path} has an unknown format.",
            file=path,
            remedy="Use the suffix .parquet, .csv, .tsv or .json.",
        )


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the lines of a table as JSON types.

    Numbers keep all digits, times are in ISO 8601, and missing or infinite values are None.

    Example:
        >>> day = pd.Timestamp("2024-05-01")
        >>> records(pd.DataFrame({"p": [1e-20, np.nan], "day": [day, None]}))
        [{'p': 1e-20, 'day': '2024-05-01T00:00:00'}, {'p': None, 'day': None}]
    """
    cells = table.astype(object)
    lines = cells.where(table.notna(), None).to_dict("records")
    return plain(lines)


def json_records(table: pd.DataFrame) -> str:
    """Return `records` as JSON."""
    return json.dumps(records(table), ensure_ascii=False, separators=(",", ":"))


def tag(
    codes: Codes, features: Any, names: Any = None, *, rows: Any = None
) -> pd.DataFrame:
    """Return texts and metadata of a corpus, with the activations of features as columns.

    Args:
        codes: The corpus.
        features: Features to add; their activations are 0 where they are inactive.
        names: Names of their columns; `feature_N` by default.
        rows: Which rows; all by default.

    Returns:
        The table, with the numbers of the rows in `row`. A metadata column that has the name of
        another column gets the suffix `_`.

    Raises:
        DataError: If a feature does not exist, there are more or fewer names than features, or two
            columns would have the same name.
    """
    chosen = indices(features, codes.n_features, "feature").tolist()
    if names is None:
        chosen = list(dict.fromkeys(chosen))
        names = [f"feature_{j}" for j in chosen]
    names = [str(name) for name in as_list(names)]
    if len(names) != len(chosen):
        raise DataError(f"there are {len(names)} names for {len(chosen)} features.")
    chosen_rows = indices(rows, codes.n_rows, "row")
    columns: dict[str, Any] = {"row": chosen_rows}
    if codes.has_texts:
        columns["text"] = codes.texts(chosen_rows)
    _check_that_they_differ([*columns, *names])
    activations: Any = (
        codes.features(chosen) if rows is None else codes.take(chosen_rows)[:, chosen]
    )
    for name in codes.columns:
        own_name = free_name(name, [*columns, *names])
        columns[own_name] = codes.series(name, chosen_rows)
    columns |= zip(names, activations.toarray().T, strict=True)
    return pd.DataFrame(columns)


def _check_that_they_differ(names: list[str]) -> None:
    """Raise a DataError if a name of a column occurs twice."""
    for name, n in Counter(names).items():
        if n > 1:
            raise DataError(
                f"{n} columns would have the name {name!r}.",
                remedy="Give each feature another name.",
            )


def free_name(name: str, taken: Container[str]) -> str:
    """Return a name for a column, with the suffix `_` as often as it is taken.

    Example:
        >>> free_name("row", ["row", "row_"]), free_name("day", ["row"])
        ('row__', 'day')
    """
    while name in taken:
        name += "_"
    return name


def for_csv(table: pd.DataFrame, *, formulas: bool = False) -> pd.DataFrame:
    """Return a table for CSV: lists are joined by "|", and formulas are quoted.

    Args:
        table: Any table.
        formulas: Keep texts that begin with = + - @ or a tab. Otherwise they are prefixed with an
            apostrophe.

    Example:
        >>> for_csv(pd.DataFrame({"rows": [[1, 2]], "text": ["=1+1"]})).iloc[0].tolist()
        ['1|2', "'=1+1"]
    """
    flattened = table.copy(deep=False)
    for name in table.columns:
        if table[name].dtype.kind in "biufM":
            continue
        cells = table[name].map(_flat_cell)
        flattened[name] = cells if formulas else cells.map(defused)
    if not formulas:
        flattened.columns = [defused(str(name)) for name in table.columns]
    return flattened


def defused(cell: Any) -> Any:
    """Prefix a text that a spreadsheet would take for a formula with an apostrophe; keep -2.5."""
    if not isinstance(cell, str) or not cell.startswith(FORMULA_STARTS):
        return cell
    return cell if NUMBER.fullmatch(cell) else f"'{cell}"


def _flat_cell(cell: Any) -> Any:
    if isinstance(cell, list | tuple | np.ndarray):
        return "|".join(map(str, cell))
    return json.dumps(cell, default=str) if isinstance(cell, dict) else cell
