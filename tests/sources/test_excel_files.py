"""Workbooks as people keep them: hidden sheets, merged cells, charts, other programs."""

import zipfile
from datetime import datetime

import pandas as pd
import pytest

from nanosae.sources.excel_files import read_excel
from nanosae.sources.notes import notes_of
from nanosae.sources.texts import read_texts

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


def test_a_header_above_sparse_rows_is_no_title(tmp_path):
    path = tmp_path / "book.xlsx"
    flags = [None, None, "x", None, "x"]
    rows = [[f"text {i}", flag] for i, flag in enumerate(flags)]
    save(path, {"answers": [["comment", None], *rows]})
    table = read_excel(path)
    assert table["comment"].to_pylist() == [f"text {i}" for i in range(5)]
    save(path, {"answers": [["Report", None], ["comment", "flag"], *rows]})
    assert read_excel(path).column_names == ["comment", "flag"]


def test_skipped_titles_are_said(tmp_path):
    path = tmp_path / "book.xlsx"
    titles = [["Survey 2024", None], [None, None], ["(confidential)", None]]
    save(path, {"answers": [*titles, *ANSWERS]})
    assert read_excel(path).column_names == ANSWERS[0]
    assert notes_of(read_excel(path)) == ["Skipped 3 rows above the header."]
    save(path, {"answers": [titles[0], *ANSWERS]})
    assert notes_of(read_excel(path)) == ["Skipped 1 row above the header."]


def test_empty_rows_between_others_count_as_rows(tmp_path):
    path = tmp_path / "book.xlsx"
    empty = [None, None]
    save(
        path,
        {"answers": [ANSWERS[0], empty, *ANSWERS[1:3], empty, empty, *ANSWERS[3:]]},
    )
    table = read_excel(path).to_pandas()
    as_pandas_reads_it = pd.read_excel(path, engine="openpyxl")
    assert table["comment"].isna().tolist() == [
        True,
        *[False] * 2,
        *[True] * 2,
        *[False] * 2,
    ]
    pd.testing.assert_frame_equal(table, as_pandas_reads_it, check_dtype=False)


def test_whole_numbers_stay_whole_beside_empty_cells(tmp_path):
    path = tmp_path / "book.xlsx"
    rows = [[6, 1.5, None], [None, None, None], [7, 2, None], [8, None, True]]
    save(path, {"rows": [["id", "score", "done"], *rows]})
    found = read_excel(path)
    assert [str(kind) for kind in found.schema.types[:2]] == ["int64", "double"]
    assert found["id"].to_pylist() == [6, None, 7, 8]
    assert found["score"].to_pylist() == [1.5, None, 2.0, None]
    assert found["done"].to_pylist() == [None, None, None, True]


def test_cells_below_the_data_may_be_merged(tmp_path):
    path = tmp_path / "book.xlsx"
    save(path, {"answers": ANSWERS}, merged=["A9:A12", "D2:D3"])
    pd.testing.assert_frame_equal(
        read_excel(path).to_pandas(), pd.DataFrame(ANSWERS[1:], columns=ANSWERS[0])
    )


def test_charts_beside_the_rows_are_no_sheets(tmp_path):
    path = tmp_path / "book.xlsx"
    save(path, {"answers": ANSWERS})
    book = openpyxl.load_workbook(path)
    chart = openpyxl.chart.BarChart()
    chart.add_data(
        openpyxl.chart.Reference(book["answers"], min_col=1, min_row=1, max_row=3)
    )
    book.create_chartsheet("chart").add_chart(chart)
    book.save(path)
    table = read_texts(path, "comment")
    assert table["comment"].to_pylist() == ["one", "two", "three", "four"]
    assert notes_of(table) == []


def test_line_breaks_that_excel_encodes_are_line_breaks(tmp_path):
    path = tmp_path / "book.xlsx"
    rows = [["team", "comment"], ["A", "one_x000D_\nline"], ["B", "a_b_c"]]
    save(path, {"answers": rows})
    assert read_excel(path)["comment"].to_pylist() == ["one\r\nline", "a_b_c"]


NAMESPACE = "urn:oasis:names:tc:opendocument:xmlns"
CONTENT = f"""<office:document-content xmlns:office="{NAMESPACE}:office:1.0"
xmlns:table="{NAMESPACE}:table:1.0" xmlns:text="{NAMESPACE}:text:1.0">
<office:body><office:spreadsheet><table:table table:name="answers">ROWS
</table:table></office:spreadsheet></office:body></office:document-content>"""


def open_document_cell(value):
    if isinstance(value, str):
        kind, text = 'office:value-type="string"', f"<text:p>{value}</text:p>"
    else:
        kind, text = f'office:value-type="float" office:value="{value}"', ""
    return f"<table:table-cell {kind}>{text}</table:table-cell>"


def save_open_document(path, rows):
    written = ""
    for row in rows:
        cells = "".join(map(open_document_cell, row))
        written += f"<table:table-row>{cells}</table:table-row>"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr("META-INF/manifest.xml", "<manifest/>")
        archive.writestr("content.xml", CONTENT.replace("ROWS", written))


def test_workbooks_of_open_office_are_read(tmp_path):
    path = tmp_path / "book.ods"
    save_open_document(path, [["comment", "stars"], ["007", 1], ["good", 2.5]])
    table = read_texts(path)
    assert table.to_pydict() == {"comment": ["007", "good"], "stars": [1.0, 2.5]}


def test_words_for_missing_values_are_missing_among_numbers_and_dates_only(tmp_path):
    path = tmp_path / "book.xlsx"
    day = datetime(2024, 1, 2)
    rows = [
        ["answer", "country", "code", "stars", "day", "formula"],
        ["None", "NA", "00501", 4, day, 1.5],
        ["fine", "DE", "10115", "n/a", "NA", "#N/A"],
        ["null", "FR", "01067", None, None, "#DIV/0!"],
    ]
    save(path, {"answers": rows})
    table = read_texts(path).to_pydict()
    assert table["answer"] == ["None", "fine", "null"]
    assert table["country"] == ["NA", "DE", "FR"]
    assert table["code"] == ["00501", "10115", "01067"]
    assert table["stars"] == [4, None, None]
    assert table["day"] == [day, None, None]
    assert table["formula"] == [1.5, None, None]


def test_strings_of_digits_below_no_header_stay_strings(tmp_path):
    path = tmp_path / "book.xlsx"
    rows = [[f"text {i}", i % 2, f"0{i}"] for i in range(9)]
    save(path, {"rows": [["text", "n", None], *rows]})
    codes = read_texts(path).column(2).to_pylist()
    assert codes == [f"0{i}" for i in range(9)]
