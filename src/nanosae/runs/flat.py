"""Tables as flat text: no cell holds a list, and no cell is a formula for a spreadsheet."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pandas as pd

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")  # OWASP, CSV Injection
NUMBER = re.compile(r"[-+]?\d+([.,]\d+)?(e[-+]?\d+)?", re.I)


def flat(table: pd.DataFrame, formulas: bool = False) -> pd.DataFrame:
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
    is_formula = isinstance(cell, str) and cell.startswith(FORMULA_STARTS)
    return f"'{cell}" if is_formula and not NUMBER.fullmatch(cell) else cell


def _flat_cell(cell: Any) -> Any:
    if isinstance(cell, list | tuple | np.ndarray):
        return "|".join(_as_text(value) for value in cell)
    return json.dumps(cell, default=str) if isinstance(cell, dict) else cell


def _as_text(value: Any) -> str:
    if isinstance(value, float | np.floating):
        return f"{value:.6g}"
    return str(value)
