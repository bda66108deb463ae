"""Tables from workbooks of Excel or OpenOffice.

The largest sheet is read from its header on, with the sheets that have the same columns.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from nanosae.errors import DataError, counted
from nanosae.extras import extra
from nanosae.sources.column_names import numbered_names
from nanosae.sources.frames import table_of_frame
from nanosae.sources.header_rows import joined_names, recurs_below
from nanosae.sources.notes import with_note

SHEET = "sheet"  # name of the column with each row's sheet
NAME_LETTERS = 40  # maximum length of a column name below a merged cell
EMPTY = ("", "#N/A", "#DIV/0!", "#NAME?", "#NULL!", "#NUM!", "#REF!", "#VALUE!")
HEADER_ROWS = 20  # rows in which a header is looked for


def read_excel(path: Path, missing: Collection[str] = ()) -> pa.Table:
    """Read the sheet with the most cells, and the sheets with the same columns, in order.

    Titles above the header and hidden sheets are skipped, which notes say (`notes_of`). Empty rows
    between others are rows, so that numbers of rows are those of other programs. A cell that is
    merged over several rows is the value of each of them. If there are several sheets, the column
    `sheet` has their names.

    Args:
        path: The workbook.
        missing: Cells that stand for missing numbers and dates.

    Raises:
        ExtraError: If python-calamine is not installed.
        DataError: If all sheets are empty.
        ValueError: If the file is no workbook, or is damaged.
    """
    sheets, hidden = _visible_sheets(path)
    sheets = {
        str(name): _without_empty_columns(sheet) for name, sheet in sheets.items()
    }
    tables, n_title_rows = {}, {}
    for name, sheet in sheets.items():
        if sheet.notna().any(axis="columns").sum() > 1:
            tables[name], n_title_rows[name] = _with_header(sheet)
    if not tables:
        raise DataError(f"{path} has no sheet with rows.", file=path)
    largest = max(tables, key=lambda name: tables[name].size)
    names = tables[largest].columns.tolist()
    alike = {
        name: rows for name, rows in tables.items() if rows.columns.tolist() == names
    }
    others = [name for name in tables if name not in alike]
    rows = _without_missing(_under_each_other(alike), missing)
    table = table_of_frame(_with_types(rows))
    n_titles = sum(n_title_rows[name] for name in alike)
    if n_titles:
        n_rows = counted(n_titles, "row")
        table = with_note(table, f"Skipped {n_rows} above the header.")
    if others:
        names = ", ".join(others)
        note = f"Skipped sheets with other columns than {largest!r}: {names}."
        table = with_note(table, note)
    if hidden:
        table = with_note(table, f"Skipped hidden sheets: {', '.join(hidden)}.")
    return table


def _visible_sheets(path: Path) -> tuple[dict[str, pd.DataFrame], list[str]]:
    """Return the cells of each visible sheet, and the names of the hidden ones.

    If all sheets are hidden, all count as visible.
    """
    calamine = extra("excel", "python_calamine", "reading Excel files")
    try:
        with pd.ExcelFile(path, engine="calamine") as file:
            names = file.sheet_names  # of tables, not of charts
            shown = [
                sheet.name
                for sheet in file.book.sheets_metadata
                if sheet.visible == calamine.SheetVisibleEnum.Visible
            ]
            visible = [name for name in names if name in shown] or names
            sheets = pd.read_excel(
                file,
                sheet_name=visible,
                header=None,
                dtype=object,
                na_values=EMPTY,
                keep_default_na=False,  # "None" and "NA" can be answers
            )
            for name, cells in sheets.items():
                _fill_merged(cells, file.book.get_sheet_by_name(name))
    except Exception as error:  # damaged archives raise errors of many types
        raise ValueError(str(error) or type(error).__name__) from error
    return sheets, [name for name in names if name not in visible]


def _without_missing(rows: pd.DataFrame, missing: Collection[str]) -> pd.DataFrame:
    """Empty the cells that stand for missing values in columns without other strings."""
    for place in range(rows.shape[1]):
        cells = rows.iloc[:, place]
        strings = cells[[isinstance(cell, str) for cell in cells]]
        has_others = len(strings) < cells.notna().sum()
        if has_others and strings.isin(missing).all():
            rows.isetitem(place, cells.where(~cells.isin(missing)))
    return rows


def _with_types(rows: pd.DataFrame) -> pd.DataFrame:
    """Convert columns of Python objects; whole numbers stay whole beside empty cells."""
    typed = rows.infer_objects()
    for place in range(rows.shape[1]):
        filled = rows.iloc[:, place].dropna()
        has_gaps = 0 < len(filled) < len(rows)
        are_whole = all(type(cell) is int for cell in filled)
        if has_gaps and are_whole:
            typed.isetitem(place, rows.iloc[:, place].astype("Int64"))
    return typed


def _fill_merged(cells: pd.DataFrame, sheet: Any) -> None:
    """Copy the value of a cell that is merged over several rows to each of them."""
    for (top, column), (bottom, _) in sheet.merged_cell_ranges or ():
        is_vertical = top < bottom and column < cells.shape[1]
        if is_vertical and top < len(cells):
            cells.iloc[top : bottom + 1, column] = cells.iat[top, column]


def _without_empty_columns(sheet: pd.DataFrame) -> pd.DataFrame:
    return sheet.dropna(how="all", axis="columns")


def _with_header(sheet: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Use the first mostly filled row, or names below it, as the header.

    If a cell of that row recurs below, it is no header, and the rows above are no titles.

    Returns:
        The rows below the header up to the last one with a value, and the number of rows above.
    """
    cells = sheet.dropna(how="all")  # with the row numbers of the sheet
    n_filled = cells.notna().sum(axis="columns")
    header = int((n_filled > n_filled.max() / 2).to_numpy().argmax())
    if header > 0 and recurs_below(_strings(cells, header)):
        header = 0
    n_titles = int(cells.index[header]) if header > 0 else 0
    joined = joined_names(_strings(cells, header))
    if joined is not None:
        names, n_header_rows = joined
        last_of_header = header + n_header_rows - 1
    else:
        last_of_header = header + _has_names_below(cells, header)
        names = _given_names(cells.iloc[last_of_header])
    first = cells.index[last_of_header] + 1
    rows = sheet.loc[first : cells.index[-1]].astype(object)
    return rows.set_axis(names, axis="columns").reset_index(drop=True), n_titles


def _given_names(header: pd.Series) -> list[str]:
    """Return the names in a header, and numbered ones for its empty cells."""
    numbered = pd.Series(numbered_names(len(header)))
    given = header.reset_index(drop=True)
    return given.where(given.notna(), numbered).astype(str).tolist()


def _strings(cells: pd.DataFrame, first: int) -> list[list[str]]:
    """Return some rows as strings, "" for empty cells."""
    rows = cells.iloc[first : first + HEADER_ROWS]
    return rows.fillna("").astype(str).to_numpy().tolist()


def _has_names_below(cells: pd.DataFrame, header: int) -> bool:
    """Return whether a row of merged cells is followed by the names of the single columns.

    The second row has no gaps and only short strings, which do not recur in their columns.
    """
    if header + 2 > len(cells) - 1:
        return False
    upper, lower = cells.iloc[header], cells.iloc[header + 1]
    if not upper.isna().any() or lower.isna().any():
        return False
    if not all(isinstance(name, str) and len(name) <= NAME_LETTERS for name in lower):
        return False
    further = cells.iloc[header + 2 :]
    return not (further == lower).to_numpy().any()


def _under_each_other(sheets: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Concatenate sheets with the same columns, and add a column with the sheet of each row."""
    if len(sheets) == 1:
        return next(iter(sheets.values()))
    rows = pd.concat(sheets.values(), ignore_index=True)
    if SHEET not in rows.columns:
        n_rows = [len(sheet) for sheet in sheets.values()]
        rows[SHEET] = pd.Categorical(np.repeat(list(sheets), n_rows))
    return rows
