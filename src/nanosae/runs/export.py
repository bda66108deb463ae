"""Tables for other programs: as files, as JSON records, and rows with columns of features."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nanosae.atomic import write_file, write_text
from nanosae.codes import Codes, indices
from nanosae.errors import ConfigError, DataError

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")  # OWASP, CSV Injection
NUMBER = re.compile(r"[-+]?\d+([.,]\d+)?(e[-+]?\d+)?", re.I)


def write(table: pd.DataFrame, path: str | Path, *, formulas: bool = False) -> None:
    """Write a table as its name says: .parquet, .csv, .tsv or .json; replaced in one step.

    Args:
        table: The table; in CSV and TSV its lists are joined by "|".
        path: The file.
        formulas: In CSV and TSV, leave texts as they are that a spreadsheet would run.

    Raises:
        ConfigError: If the name has another ending.
    """
    path = Path(path)
    if path.suffix == ".parquet":
        write_file(path, lambda stream: table.to_parquet(stream, index=False))
    elif path.suffix in (".csv", ".tsv"):
        separator = "\t" if path.suffix == ".tsv" else ","
        flattened = flat(table, formulas=formulas)
        write_file(
            path, lambda stream: flattened.to_csv(stream, index=False, sep=separator)
        )
    elif path.suffix == ".json":
        write_text(path, str(table.to_json(orient="records", force_ascii=False)))
    else:
        raise ConfigError(
            f"{path} is of no known kind.",
            file=path,
            remedy="Name it .parquet, .csv, .tsv or .json.",
        )


def records(**tables: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """Return tables as JSON types, a list of lines each; what is missing is None."""
    found = {}
    for name, table in tables.items():
        found[name] = json.loads(str(table.to_json(orient="records")))
    return found


def tag(
    codes: Codes, features: Any, names: Any = None, *, rows: Any = None
) -> pd.DataFrame:
    """Return the corpus' texts and metadata with one more column for each chosen feature.

    Args:
        codes: The corpus.
        features: Features to add, as activations (0 where inactive).
        names: Their columns' names; `feature_N` by default.
        rows: Which rows; all by default.

    Raises:
        DataError: If a feature does not exist, or there are more or fewer names than features.
    """
    chosen = indices(features, codes.n_features, "feature").tolist()
    if names is None:
        names = [f"feature_{j}" for j in chosen]
    if len(names) != len(chosen):
        raise DataError(f"there are {len(names)} names for {len(chosen)} features.")
    activations: Any
    if rows is None:
        activations = codes.features(chosen)
        table = pd.DataFrame({"row": np.arange(codes.n_rows)})
    else:
        activations = codes.take(rows)[:, chosen]
        table = pd.DataFrame({"row": rows})
    if codes.has_texts:
        table["text"] = codes.texts(rows)
    for name in codes.columns:
        table[name] = codes.column(name, rows)
    columns = activations.toarray().T
    return table.assign(**dict(zip(names, columns, strict=True)))


def flat(table: pd.DataFrame, *, formulas: bool = False) -> pd.DataFrame:
    """Return a table for CSV: lists are joined by "|", and what a spreadsheet would run is quoted.

    Args:
        table: Any table.
        formulas: Leave texts that begin with = + - @ or a tab as they are. Else an apostrophe is
            put before them, which spreadsheets do not show.

    Example:
        >>> flat(pd.DataFrame({"rows": [[1, 2]], "text": ["=1+1"]})).iloc[0].tolist()
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
    """Put an apostrophe before a text that a spreadsheet would take for a formula; -2.5 is none."""
    if not isinstance(cell, str) or not cell.startswith(FORMULA_STARTS):
        return cell
    return cell if NUMBER.fullmatch(cell) else f"'{cell}"


def _flat_cell(cell: Any) -> Any:
    if isinstance(cell, list | tuple | np.ndarray):
        return "|".join(_as_text(value) for value in cell)
    return json.dumps(cell, default=str) if isinstance(cell, dict) else cell


def _as_text(value: Any) -> str:
    if isinstance(value, float | np.floating):
        return f"{value:.6g}"
    return str(value)
