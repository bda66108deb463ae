"""Workbooks as people keep them: hidden sheets, merged cells."""

import pandas as pd
import pytest

from nanosae.sources.excel_files import read_excel
from nanosae.sources.notes import notes_of

openpyxl = pytest.importorskip("openpyxl")


def save(path, sheets, merged=(), hidden=()):
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
        for cells in merged:
            sheet.merge_cells(cells)
        sheet.sheet_state = "hidden" if name in hidden else "visible"
    book.save(path)


ANSWERS = [
    ["team", "comment"],
    ["A", "one"],
    [None, "two"],
    [None, "three"],
    ["B", "four"],
]


def test_hidden_sheets_are_left_out_and_said(tmp_path):
    path = tmp_path / "book.xlsx"
    raw = [["x", "y", "z"], *([i, i, i] for i in range(99))]
    save(path, {"raw": raw, "answers": ANSWERS}, hidden=["raw"])
    table = read_excel(path)
    assert table["comment"].to_pylist() == ["one", "two", "three", "four"]
    assert table["team"].to_pylist() == ["A", None, None, "B"]  # not merged: empty
    assert notes_of(table) == ["Skipped hidden sheets: raw."]


def test_a_merged_cell_is_the_value_of_each_of_its_rows(tmp_path):
    path = tmp_path / "book.xlsx"
    save(path, {"answers": ANSWERS}, merged=["A2:A4"])
    assert read_excel(path)["team"].to_pylist() == ["A", "A", "A", "B"]
    assert notes_of(read_excel(path)) == []


def test_merged_names_above_the_columns_stay_names(tmp_path):
    path = tmp_path / "book.xlsx"
    rows = [
        ["comment", "scores", None],
        [None, "before", "after"],
        ["a", 1, 2],
        ["b", 2, 3],
    ]
    save(path, {"answers": rows}, merged=["A1:A2", "B1:C1"])
    table = read_excel(path)
    assert table.column_names == ["comment", "before", "after"]
    assert table["after"].to_pylist() == [2, 3]


def test_cells_below_the_data_may_be_merged(tmp_path):
    path = tmp_path / "book.xlsx"
    save(path, {"answers": ANSWERS}, merged=["A9:A12", "D2:D3"])
    pd.testing.assert_frame_equal(
        read_excel(path).to_pandas(), pd.DataFrame(ANSWERS[1:], columns=ANSWERS[0])
    )
