"""Tables out of Excel files: the first sheet, from its header on."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa

from nanosae.errors import DataError
from nanosae.extras import extra
from nanosae.sources.frames import table_of_frame


def read_excel(path: Path) -> pa.Table:
    """Read the first sheet that is not empty; titles above the header are left out.

    Raises:
        ExtraError: Without openpyxl.
        DataError: If all sheets are empty.
    """
    extra("excel", "openpyxl", "reading .xlsx files")
    sheets = pd.read_excel(path, sheet_name=None, header=None)
    for sheet in sheets.values():
        cells = sheet.dropna(how="all").dropna(how="all", axis="columns")
        if len(cells) > 1:
            return table_of_frame(_with_header(cells))
    raise DataError(f"{path} has no sheet with rows.", file=path)


def _with_header(cells: pd.DataFrame) -> pd.DataFrame:
    """Take the first row that is mostly filled for the names of the columns."""
    n_filled = cells.notna().sum(axis="columns")
    header = int((n_filled > n_filled.max() / 2).to_numpy().argmax())
    names = cells.iloc[header]
    rows = cells.iloc[header + 1 :].infer_objects()
    numbered = pd.Series([f"column{number}" for number in range(1, len(names) + 1)])
    given = names.reset_index(drop=True)
    rows.columns = given.where(given.notna(), numbered).astype(str)
    return rows.reset_index(drop=True)
