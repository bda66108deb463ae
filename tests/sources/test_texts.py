"""Texts and metadata out of files: values as they are written, errors that name the file."""

import csv
import datetime
import gzip
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nanosae.errors import DataError, MissingError
from nanosae.sources import open_rows
from nanosae.sources.notes import notes_of
from nanosae.sources.roles import column_roles
from nanosae.sources.texts import drop_empty_texts, read_texts

TABLE = pd.DataFrame(
    {"body": ["one", "two\nlines", 'with "quotes", and é'], "year": [1, 2, 3]}
)


def write(folder, form, table=TABLE):
    path = folder / f"texts.{form}"
    if form == "csv":
        table.to_csv(path, index=False)
    elif form == "tsv":
        table.to_csv(path, index=False, sep="\t")
    elif form == "jsonl":
        lines = [json.dumps(record) for record in table.to_dict("records")]
        path.write_text("\n".join(lines), "utf-8")
    else:
        table.to_parquet(path)
    return path


@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl", "parquet"])
def test_texts_and_metadata_come_out_as_they_went_in(form, tmp_path):
    table = read_texts(write(tmp_path, form), "body")
    assert table.to_pydict() == TABLE.to_dict("list")


def test_a_text_file_has_a_text_per_line(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("one\n\nthrée\n", "utf-8")
    assert read_texts(path, "body").to_pydict() == {"body": ["one", "", "thrée"]}


@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl"])
@pytest.mark.parametrize(
    "texts", [["007", "010"], ["2024-01-02", "2024-01-03"], ["NA", "true"]]
)
def test_texts_that_look_like_other_things_stay_texts(form, texts, tmp_path):
    path = write(tmp_path, form, pd.DataFrame({"text": texts, "n": [1, 2]}))
    table = read_texts(path, "text")
    assert table["text"].to_pylist() == texts
    assert table["n"].to_pylist() == [1, 2]
    if form != "jsonl":  # twin: types are inferred elsewhere
        other = write(tmp_path, form, TABLE.assign(text=["70", "NA", "2"]))
        assert read_texts(other, "body")["text"].to_pylist() == [70, None, 2]


def test_mistakes_name_the_file_and_the_remedy(tmp_path):
    with pytest.raises(MissingError, match=r"gone\.csv does not exist"):
        read_texts(tmp_path / "gone.csv")
    for form in ("csv", "jsonl", "parquet"):
        path = write(tmp_path, form)
        with pytest.raises(
            DataError, match="no column 'text'; there are body, year"
        ) as error:
            read_texts(path, "text")
        assert (error.value.file, error.value.column) == (path, "text")
    (tmp_path / "broken.parquet").write_text("none")
    with pytest.raises(DataError, match=r"broken.parquet cannot be read as a .parq"):
        read_texts(tmp_path / "broken.parquet")
    (tmp_path / "numbers.jsonl").write_text('{"text": 1}\n{"text": 2}')
    assert read_texts(tmp_path / "numbers.jsonl", "text").to_pydict() == {
        "text": ["1", "2"]
    }


@pytest.mark.parametrize("form", ["csv", "txt"])
def test_other_encodings_are_refused(form, tmp_path):
    path = tmp_path / f"latin.{form}"
    path.write_bytes("text\ncafé\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"latin.*UTF-?8"):
        read_texts(path)


def test_metadata_keeps_its_types(tmp_path):
    table = pa.table({"text": ["a", "b"], "id": [2**60 + 1, None], "tags": [["x"], []]})
    pq.write_table(table, tmp_path / "x.parquet")
    assert read_texts(tmp_path / "x.parquet").equals(table)


def test_folders_are_read_in_the_order_of_shards_with_one_schema(tmp_path):
    rows = tmp_path / "rows"
    texts = tmp_path / "texts"
    rows.mkdir()
    texts.mkdir()
    for number in (9, 10):  # the names sort the other way as text
        np.save(rows / f"part-{number}.npy", np.full((2, 3), number, np.float32))
        table = pd.DataFrame({"text": [f"text {number}"] * 2})
        if number == 10:
            table["note"] = ["x", "y"]
        table.to_parquet(texts / f"part-{number}.parquet")
    table = read_texts(texts)
    assert table["text"].to_pylist() == [
        f"text {int(x[0])}" for x in open_rows(rows).read(0, 4)
    ]
    assert table["note"].to_pylist() == [None, None, "x", "y"]
    with pytest.raises(MissingError, match="holds no supported file"):
        read_texts(rows)


def test_the_delimiter_is_found(tmp_path):
    for delimiter in ",;\t|":
        path = tmp_path / "table.csv"
        rows = [["text", "n"], ["one, two; three", "1"], ['a "quoted" | text', "2"]]
        frame = pd.DataFrame(rows[1:], columns=rows[0])
        frame.to_csv(path, sep=delimiter, index=False)
        assert read_texts(path).to_pydict() == {
            "text": [r[0] for r in rows[1:]],
            "n": [1, 2],
        }


@pytest.mark.parametrize("delimiter", "\t|;")
@pytest.mark.parametrize("other", ",;")
def test_a_sign_in_every_text_is_no_delimiter(delimiter, other, tmp_path):
    texts = [f"it's late{other} as text {i} says" for i in range(20)]
    path = tmp_path / "table.csv"
    frame = pd.DataFrame({"n": range(20), "text": texts})
    frame.to_csv(path, sep=delimiter, index=False)
    assert read_texts(path).to_pydict() == frame.to_dict("list")


def test_semicolons_come_with_decimal_commas(tmp_path):
    path = tmp_path / "excel.csv"
    path.write_text("Kommentar;Note\ngut;1,5\nschlecht;4,25\n", "utf-8-sig")
    assert read_texts(path).to_pydict() == {
        "Kommentar": ["gut", "schlecht"],
        "Note": [1.5, 4.25],
    }


@pytest.mark.parametrize(
    ("other", "cells", "numbers"),
    [
        ("1,5", ["1.507", "315", "-2.000.000"], [1507, 315, -2_000_000]),
        ("1,5", ["1.507", "2.300", "4.125"], [1507, 2300, 4125]),
        ("1,5", ["1.507", "-", "+3"], [1507, None, 3]),
        ("none", ["1.507", "315", "64"], [1507, 315, 64]),
        # twins: points are decimals
        ("none", ["1.507", "2.300", "4.125"], [1.507, 2.3, 4.125]),
        ("none", ["1.507", "315", "64.5"], [1.507, 315, 64.5]),
        ("none", ["1.507", "3150", "64"], [1.507, 3150, 64]),
        ("1.25", ["1.507", "315", "64"], [1.507, 315, 64]),
        ("1,200", ["1.507", "2.300", "4.125"], [1.507, 2.3, 4.125]),
    ],
)
def test_points_separate_thousands_beside_decimal_commas(
    other, cells, numbers, tmp_path
):
    path = tmp_path / "table.csv"
    rows = [f"a text of a row;{other};{cell}" for cell in cells]
    path.write_text("\n".join(["text;other;n", *rows]))
    assert read_texts(path)["n"].to_pylist() == numbers


def test_points_between_commas_are_decimals(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("text,n\none,1.507\ntwo,315\nthree,64\n")
    assert read_texts(path)["n"].to_pylist() == [1.507, 315, 64]


def test_a_missing_header_is_no_row_lost(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text('1,"good, really"\n2,bad\n')
    assert read_texts(path).to_pydict() == {
        "column1": [1, 2],
        "column2": ["good, really", "bad"],
    }
    text = "a text that is far too long to be the name of a column of a table"
    path.write_text(f"{text},x\n{text},y\n")
    assert read_texts(path).num_rows == 2


def test_numbers_of_telephones_keep_their_plus(tmp_path, monkeypatch):
    monkeypatch.setattr("nanosae.sources.csv_files.BLOCK_BYTES", 16)
    path = tmp_path / "table.csv"
    cells = ["+4915112345678", "15112345678", "+15551234567"]
    rows = [f"a longer text,{cell},+{i}" for i, cell in enumerate(cells)]
    path.write_text("\n".join(["text,call,change", *rows]))
    table = read_texts(path)
    assert table["call"].to_pylist() == cells
    assert table["change"].to_pylist() == [0, 1, 2]  # twin: numbers with a sign


def test_large_numbers_with_a_sign_are_numbers_where_others_are_negative(tmp_path):
    path = tmp_path / "table.csv"
    rows = ["a longer text,+1234567,+1.5", "a longer text,-7,-2.5"]
    path.write_text("\n".join(["text,change,share", *rows]))
    table = read_texts(path)
    assert table["change"].to_pylist() == [1234567, -7]
    assert table["share"].to_pylist() == [1.5, -2.5]


def test_values_that_are_no_numbers_keep_their_digits(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(
        "text,zip,big,n\na,01234,98765432109876543210,1234567890123456789\n"
    )
    assert read_texts(path).to_pylist() == [
        {
            "text": "a",
            "zip": "01234",
            "big": "98765432109876543210",
            "n": 1234567890123456789,
        }
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("rows_before", [0, 70, 3000])
def test_codes_keep_their_zeros_wherever_the_first_one_is(
    encoding, rows_before, tmp_path, monkeypatch
):
    monkeypatch.setattr("nanosae.sources.csv_files.BLOCK_BYTES", 64)
    plain = {"zip": "10115", "dewey": "741.5", "big": "1", "x": "0.05", "n": "-5"}
    codes = {"zip": "00123", "dewey": "025", "big": "9" * 20, "x": "1.0", "n": "0"}
    written = [plain] * rows_before + [codes, plain, dict.fromkeys(plain, "")]
    path = tmp_path / "table.csv"
    pd.DataFrame(written).to_csv(path, index=False, encoding=encoding)
    expected = pd.DataFrame(written).astype({"x": object, "n": object})
    numbers = expected[["x", "n"]].apply(pd.to_numeric)
    found = read_texts(path, None, encoding=encoding).to_pandas()
    assert found[["zip", "dewey", "big"]].fillna("").equals(expected.iloc[:, :3])
    pd.testing.assert_frame_equal(found[["x", "n"]], numbers)


def test_countries_called_na_are_not_missing(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("text,country,n\na,NA,1\nb,,NA\nc,DE,3\n")
    table = read_texts(path)
    assert table["country"].to_pylist() == ["NA", None, "DE"]
    assert table["n"].to_pylist() == [1, None, 3]


def test_dates_that_mysql_lacks_are_missing(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("text,day\n0000-00-00,2024-01-02\nb,0000-00-00\n")
    table = read_texts(path, "text")
    assert table["day"].to_pylist() == [datetime.date(2024, 1, 2), None]
    assert table["text"].to_pylist() == ["0000-00-00", "b"]


def test_questions_are_names(tmp_path):
    path = tmp_path / "survey.csv"
    question = (
        "What could we do better for you and your family next year in your own words?"
    )
    path.write_text(f"{question},Other,Other\nmore light,x,y\n")
    assert read_texts(path).column_names == [question, "Other", "Other (2)"]


def test_numbered_columns_have_a_header(tmp_path):
    path = tmp_path / "table.csv"
    pd.DataFrame([["a text", 0.5], ["b", 1.5]]).to_csv(path)
    assert read_texts(path).to_pylist() == [
        {"column1": 0, "0": "a text", "1": 0.5},
        {"column1": 1, "0": "b", "1": 1.5},
    ]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_unicode_text_of_excel_is_read(encoding, tmp_path):
    path = tmp_path / "unicode.csv"
    content = "sep=\t\ntext\tn\ncafé\t1\n" * 1 + "naïve\t2\n" * 50_000
    mark = "" if encoding == "utf-16" else "\ufeff"
    for begin in {mark, ""}:
        path.write_bytes((begin + content).encode(encoding))
        table = read_texts(path)
        assert table.slice(0, 2).to_pylist() == [
            {"text": "café", "n": 1},
            {"text": "naïve", "n": 2},
        ]
        assert len(table) == 50_001


def test_excel_files_may_have_titles_above_the_header(tmp_path):
    pytest.importorskip("openpyxl")
    path = tmp_path / "report.xlsx"
    rows = [["Report 2024", None], [None, None], ["comment", "stars"], ["007", 1]]
    pd.DataFrame([*rows, [3, 2]]).to_excel(path, header=False, index=False)
    assert read_texts(path).to_pylist() == [
        {"comment": "007", "stars": 1},
        {"comment": "3", "stars": 2},
    ]


@pytest.mark.parametrize(
    "title",
    [
        "Monthly report\nmade on 2024-05-02, by J. Doe\n\n",
        "Monthly report,,\n,,\n",
        '"A title, of\ntwo lines"\n',
    ],
)
def test_titles_above_a_header_are_no_rows(title, tmp_path):
    path = tmp_path / "report.csv"
    rows = [f'"a text, {i}",{i % 3},{i}.5\n' for i in range(8)]
    path.write_text(title + "comment,stars,price\n" + "".join(rows))
    table = read_texts(path)
    assert table.column_names == ["comment", "stars", "price"]
    assert table["price"].to_pylist() == [i + 0.5 for i in range(8)]
    assert "above the header" in notes_of(table)[0]


def test_a_header_above_sparse_rows_is_no_title(tmp_path):
    path = tmp_path / "rows.csv"
    flags = ["", "", "", "x", "", "x", "", "", "x"]
    rows = "".join(f"text {i},{flag}\n" for i, flag in enumerate(flags))
    path.write_text(f"comment,\n{rows}")
    table = read_texts(path)
    assert table["comment"].to_pylist() == [f"text {i}" for i in range(9)]
    assert notes_of(table) == []
    path.write_text(rows)
    assert len(read_texts(path)) >= 8  # the first text may be taken for a name
    title = "Monthly report,,\n,,\n"
    path.write_text(title + "comment,n,m\n" + "a,1,2\nb,,\n,,\n" * 9)
    assert read_texts(path).column_names == ["comment", "n", "m"]


def test_sparse_rows_and_texts_of_lines_are_no_titles(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text(",text,n,m\n" + "".join(f"{i},,,\n" for i in range(9)))
    assert len(read_texts(path)) == 9
    path.write_text("".join(f"{i},,,\n" for i in range(4)) + "5,2,3,4\n" * 9)
    assert len(read_texts(path)) == 13  # without a header nothing is left out
    assert notes_of(read_texts(path)) == []


def test_the_largest_sheet_is_read(tmp_path):
    pytest.importorskip("openpyxl")
    path = tmp_path / "book.xlsx"
    rows = pd.DataFrame({"comment": list("abcdef"), "stars": range(6)})
    with pd.ExcelWriter(path) as writer:
        cover = pd.DataFrame({"Report": ["confidential", "by J. Doe"]})
        cover.to_excel(writer, sheet_name="cover", index=False)
        rows.to_excel(writer, sheet_name="data", index=False)
    table = read_texts(path)
    assert table["comment"].to_pylist() == list("abcdef")
    assert notes_of(table) == ["Skipped sheets with other columns than 'data': cover."]


def test_lists_of_records_are_lists_of_their_names(tmp_path):
    labels = [[{"id": 1, "name": "bug"}, {"id": 2, "name": "net"}], [], None] * 2
    comments = [[{"user": "a", "likes": 2}]] * 6
    table = pa.table({"text": list("abcdef"), "labels": labels, "comments": comments})
    pq.write_table(table.slice(1), tmp_path / "issues.parquet")
    read = read_texts(tmp_path / "issues.parquet")
    assert read["labels"].to_pylist() == [[], None, ["bug", "net"], [], None]
    assert read["comments"].to_pylist() == comments[1:]


def test_sheets_with_the_same_columns_are_one_table(tmp_path):
    pytest.importorskip("openpyxl")
    path = tmp_path / "years.xlsx"
    sheets = {
        "2023": pd.DataFrame({"comment": ["a", "b"], "stars": [1, 2], "none": None}),
        "legend": pd.DataFrame({"stars": [1], "means": ["bad"]}),
        "2024": pd.DataFrame({"comment": ["c"], "stars": [4], "none": None}),
    }
    with pd.ExcelWriter(path) as writer:
        for name, sheet in sheets.items():
            sheet.to_excel(writer, sheet_name=name, index=False)
    table = read_texts(path)
    assert table["comment"].to_pylist() == ["a", "b", "c"]
    assert table["stars"].to_pylist() == [1, 2, 4]
    assert table["sheet"].to_pylist() == ["2023", "2023", "2024"]
    assert notes_of(table) == ["Skipped sheets with other columns than '2023': legend."]
    many = pa.table({"sheet": table["sheet"].combine_chunks().take([0, 2] * 30)})
    (column,) = column_roles(many)
    assert column.role == "category"  # though its values read as numbers
    assert notes_of(many) == []


def test_values_of_several_types_in_json_become_text(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "a", "n": 5}\n{"text": "b", "n": "five"}\n')
    assert read_texts(path)["n"].to_pylist() == ["5", "five"]
    path.write_text('{"text": "a", "n": 5}\n{"text": "b", "n"\n')
    with pytest.raises(DataError, match=r"rows\.jsonl cannot be read"):
        read_texts(path)


HALF = "cut \ud83d"  # half of an emoji
SHAPES = {
    "objects.json": [{"text": "a"}, {"text": HALF}],
    "texts.json": ["a", HALF],
    "columns.json": {"text": ["a", HALF], "n": [1, 2]},
    "rows.jsonl": [{"text": "a"}, {"text": HALF}],
    "mixed.jsonl": [{"text": "a", "n": 1}, {"text": HALF, "n": "x"}],
    "texts.jsonl": ["a", HALF],
}


@pytest.mark.parametrize("name", SHAPES)
def test_half_of_a_character_in_json_is_named_with_file_and_row(name, tmp_path):
    path = tmp_path / name
    lines = SHAPES[name] if path.suffix == ".jsonl" else [SHAPES[name]]
    path.write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(
        DataError,
        match=rf"{name}: row 1 \(0-based\), column text holds .*not valid text",
    ) as found:
        read_texts(path)
    assert (found.value.file, found.value.row) == (path, 1)


def test_another_encoding_is_a_question(tmp_path):
    path = tmp_path / "latin.csv"
    path.write_bytes("text,n\ncafé,1\n".encode("latin-1"))
    with pytest.raises(
        DataError, match=r"latin\.csv is not in UTF-8.*--encoding cp1252"
    ):
        read_texts(path)
    assert read_texts(path, encoding="cp1252")["text"].to_pylist() == ["café"]
    late = "text,n\n" + "plain,1\n" * 40_000
    path.write_bytes(late.encode() + "café,1\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"'text', is not in UTF-8.*--encoding cp1252"):
        read_texts(path)


@pytest.mark.parametrize(("form", "sign"), [("tsv", "\t"), ("csv", ";")])
def test_quotation_marks_that_are_not_closed_swallow_no_rows(form, sign, tmp_path):
    texts = [f'"in row {i}' if i % 4 == 3 else f'5" wide {i}' for i in range(12)]
    texts[6] = '"closed"'
    path = tmp_path / f"rows.{form}"
    lines = [f"{i}{sign}{text}{sign}1.5\n" for i, text in enumerate(texts)]
    path.write_text(sign.join(["id", "text", "n"]) + "\n" + "".join(lines))
    table = read_texts(path)
    texts[6] = "closed"
    assert table["text"].to_pylist() == texts
    assert table["n"].to_pylist() == [1.5] * 12
    assert "quotation marks" in notes_of(table)[0]


UNCLOSED = {
    "first column": ['"one,1', '"two,2', '"three,3', '"four,4'],
    "middle column": ['1,"one,x', '2,"two,x', "3,three,x", '4,"four,x', '5,"five,x'],
    "last column": ['1,"one', "2,two", '3,"three', "4,four"],
    "last row": ["1,one", '2,"two', "3,three"],
    "one column": ["one", '"two', "three", '"four'],
}


@pytest.mark.parametrize("lines", UNCLOSED.values(), ids=UNCLOSED.keys())
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_rows_that_begin_with_unclosed_quotation_marks_stay_rows(lines, end, tmp_path):
    path = tmp_path / "rows.csv"
    names = ["a", "b", "c"][: lines[0].count(",") + 1]
    path.write_bytes((end.join([",".join(names), *lines]) + end).encode())
    table = read_texts(path)
    rows = zip(*(map(str, table[name].to_pylist()) for name in names), strict=True)
    assert [",".join(row) for row in rows] == lines
    assert "quotation marks are not closed" in notes_of(table)[0]


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        ('0,"a, b"\n1,"open\n2,"again\n3,"c, d"\n', 4),  # two rows are one
        ('0,"a\nb"\n1,"x\ny"\n2,"see\nthe "end" of it"\n', 7),
    ],
)
def test_quoted_cells_that_may_be_several_rows_are_noted(rows, line, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("id,text\n" + rows)
    (note,) = notes_of(read_texts(path))
    assert note.startswith(f"Line {line}: a cell goes on after its closing")


def test_reading_leaves_the_limits_of_the_csv_module(tmp_path):
    before = csv.field_size_limit(10**7)
    path = tmp_path / "rows.csv"
    path.write_text('id,text\n0,"a\nb"\n1,c\n')
    try:
        assert read_texts(path)["text"].to_pylist() == ["a\nb", "c"]
        assert csv.field_size_limit() == 10**7
    finally:
        csv.field_size_limit(before)


def test_quoted_cells_may_hold_what_looks_like_rows(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text('text,n\n"see:\na,b\nc",1\n"d",2\n')
    table = read_texts(path)
    assert table["text"].to_pylist() == ["see:\na,b\nc", "d"]
    assert notes_of(table) == []
    letter = "Dear Bob,\nI like it, really\nbye"  # each of its lines has two cells
    path.write_text(f'text,n\n"{letter}",1\nplain,2\n')
    assert read_texts(path).to_pydict() == {"text": [letter, "plain"], "n": [1, 2]}


def test_a_mark_that_ends_another_row_closes_nothing(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text('n,text\n1,a\n2,"open\n3,x\n4,5"\n5,c\n')
    table = read_texts(path)
    assert table["n"].to_pylist() == [1, 2, 3, 4, 5]
    assert table["text"].to_pylist() == ["a", '"open', "x", '5"', "c"]
    assert "quotation marks are not closed" in notes_of(table)[0]


ESCAPED = {
    "in a line": ('"a \\"b\\" c",1', 'a "b" c'),
    "with a delimiter": ('"a \\"b\\", c",1', 'a "b", c'),
    "in lines": ('"a \\"b\\",\nc",1', 'a "b",\nc'),
    "and backslashes": ('"a \\"b\\" c:\\\\d",1', 'a "b" c:\\d'),
    "only a backslash at the end": ('"c:\\",1', "c:\\"),
    "doubled, of JSON": ('"{""a"": ""b \\""c\\""""}",1', '{"a": "b \\"c\\""}'),
    "a path": ("c:\\new,1", "c:\\new"),
}


@pytest.mark.parametrize(("line", "text"), ESCAPED.values(), ids=ESCAPED.keys())
def test_backslashes_before_quotation_marks(line, text, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text(f'text,n\n{line}\n"plain",2\n')
    table = read_texts(path)
    assert table.to_pydict() == {"text": [text, "plain"], "n": [1, 2]}
    assert notes_of(table) == []


def test_spaces_around_names_are_no_part_of_them(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("text , n\na,1\nb,2\n")
    assert read_texts(path, "text").to_pydict() == {"text": ["a", "b"], "n": [1, 2]}


@pytest.mark.parametrize("name", ["rows.csv", "rows.txt"])
def test_a_zero_byte_does_not_make_a_file_utf_16(name, tmp_path):
    path = tmp_path / name
    path.write_bytes(b"text\na\0b\nc\n")
    texts = read_texts(path, "text")["text"].to_pylist()
    assert texts[-2:] == ["a\0b", "c"]
    path.write_bytes("text\né上\nc\n".encode("utf-16-le"))
    assert read_texts(path, "text")["text"].to_pylist()[-2:] == ["é上", "c"]


def test_texts_keep_quotes_newlines_and_length(tmp_path):
    texts = ['a "quoted"\ntext, of two lines', "x" * 5_000_000]
    path = tmp_path / "table.csv"
    pd.DataFrame({"text": texts, "n": [1, 2]}).to_csv(path, index=False)
    assert read_texts(path)["text"].to_pylist() == texts


def test_a_line_is_a_text(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("first\n\n  \nsecond, with a comma\n", "utf-8-sig")
    lines = ["first", "", "  ", "second, with a comma"]
    assert read_texts(path)["text"].to_pylist() == lines
    kept, _ = drop_empty_texts(read_texts(path))
    assert kept["text"].to_pylist() == ["first", "second, with a comma"]


def test_json_in_its_forms(tmp_path):
    rows = [{"text": "one", "n": 1}, {"text": "two", "n": 2}]
    lines = tmp_path / "rows.jsonl"
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows))
    array = tmp_path / "rows.json"
    array.write_text(json.dumps(rows))
    inside = tmp_path / "inside.json"
    inside.write_text(json.dumps({"version": 1, "data": rows}))
    for path in (lines, array, inside):
        assert read_texts(path).to_pylist() == rows
    array.write_text(json.dumps(["one", "two"]))
    assert read_texts(array)["text"].to_pylist() == ["one", "two"]


@pytest.mark.parametrize(
    "written",
    [
        '[{"text": "one"}, {"text": "two"}]',  # an array in a file of lines
        '[\n  {"text": "one"},\n  {"text": "two"}\n]\n',
        '"one"\n"two"\n',
        '["text"]\n["one"]\n["two"]\n',
    ],
)
def test_lines_that_are_no_objects_are_rows_too(written, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(written)
    texts = read_texts(path).column(0).to_pylist()
    assert [text for text in texts if text != "text"] == ["one", "two"]


def test_integers_beyond_64_bits_keep_their_digits(tmp_path):
    rows = [{"text": "a", "id": 2**64, "n": 1e30}, {"text": "b", "id": 7, "n": 2.5}]
    written = {
        "rows.json": json.dumps(rows),
        "rows.jsonl": "\n".join(map(json.dumps, rows)),
    }
    for name, content in written.items():
        path = tmp_path / name
        path.write_text(content)
        table = read_texts(path, "text")
        assert table["id"].to_pylist() == ["18446744073709551616", "7"]
        assert table["n"].to_pylist() == [1e30, 2.5]


@pytest.mark.parametrize("digits", [16, 17, 18])
@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl", "json"])
def test_integers_beside_fractions_keep_their_digits(form, digits, tmp_path):
    large = [int("9" * digits), -int("9" * digits), 10**digits + 1]
    columns = {"id": [*large, 1.5], "gap": [*large, None], "n": [0.25, 0.5, 3, 4]}
    text = ["a", "b", "c", "d"]
    path = tmp_path / f"rows.{form}"
    table = pd.DataFrame(columns | {"text": text}, dtype=object)
    records = table.to_dict("records")
    if form == "json":
        path.write_text(json.dumps(records))
    elif form == "jsonl":
        path.write_text("\n".join(map(json.dumps, records)))
    else:
        table.to_csv(path, index=False, sep="," if form == "csv" else "\t")
    read = read_texts(path, "text").to_pydict()
    assert read["id"] == list(map(str, columns["id"]))
    assert read["gap"] == columns["gap"]
    assert read["n"] == columns["n"]


@pytest.mark.parametrize("sign", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c"])
def test_only_ends_of_lines_end_lines(sign, tmp_path):
    names = f"id;the{sign}text;n"
    rows = [f"{i};one{sign}text;{i}" for i in range(60)]
    for lines in (
        ["id;text;n", *rows],
        [names, *rows],
        ["My report", "", names, *rows],
    ):
        path = tmp_path / "rows.csv"
        path.write_text("\n".join(lines), "utf-8")
        table = read_texts(path)
        assert table.column(1).to_pylist() == [f"one{sign}text"] * 60
        assert table["id"].to_pylist() == list(range(60))


@pytest.mark.parametrize("delimiter", [",", "\t", "|", ";"])
def test_commas_separate_thousands_except_between_semicolons(delimiter, tmp_path):
    path = tmp_path / "rows.csv"
    rows = [("a", "1,200"), ("b", "95"), ("c", "12,500")]
    with path.open("w", newline="") as stream:
        csv.writer(stream, delimiter=delimiter).writerows([("text", "income"), *rows])
    table = read_texts(path)
    kept = [income for _, income in rows]
    in_europe = [1.2, 95, 12.5]
    assert table["income"].to_pylist() == (in_europe if delimiter == ";" else kept)


def test_names_of_a_chat_s_authors_do_not_replace_its_texts(tmp_path):
    path = tmp_path / "rows.jsonl"
    chat = [
        {"role": "user", "name": "ann", "content": "Hello"},
        {"role": "assistant", "name": "bot", "content": "Hi Ann"},
    ]
    path.write_text(json.dumps({"messages": chat, "labels": [{"name": "new"}]}))
    table = read_texts(path)
    assert table["messages"].to_pylist() == ["Hello\nHi Ann"]
    assert table["labels"].to_pylist() == [["new"]]  # twin: other records have names


def test_fields_of_records_named_like_a_column_have_names_of_their_own(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"post.title": "x", "post": {"title": "y"}}))
    expected = {"post.title": ["x"], "post.title (2)": ["y"]}
    assert read_texts(path).to_pydict() == expected


@pytest.mark.parametrize(
    ("lines", "row"),
    [
        ("null", 0),
        ("\ufeffnull", 0),
        (' null\n{"text": "a"}', 0),
        ('{"text": "a"}\n\r\n\tnull \n{"text": "b"}\n', 1),
    ],
)
@pytest.mark.parametrize("column", [None, "text"])
def test_lines_of_null_are_refused(lines, row, column, tmp_path, monkeypatch):
    """Arrow ends the process by them."""
    monkeypatch.setattr("nanosae.sources.json_files.BLOCK_BYTES", 16)
    path = tmp_path / "rows.jsonl"
    path.write_text(lines, "utf-8")
    with pytest.raises(DataError, match=rf"row {row} .* is None, not an object"):
        read_texts(path, column)


def test_lines_in_another_encoding_or_nested_too_deeply_are_refused(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes('{"text": "café"}\n'.encode("cp1252"))
    with pytest.raises(DataError, match=r"rows\.jsonl is not in UTF-8.*Save it"):
        read_texts(path)
    path = tmp_path / "rows.json"
    path.write_text("[" * 100_000)
    with pytest.raises(DataError, match=r"rows\.json cannot be read"):
        read_texts(path)


def test_parts_of_messages_are_texts(tmp_path):
    question = [{"type": "text", "text": "What is this?"}, {"type": "image_url"}]
    asked = {"role": "user", "content": question}
    answer = {"role": "assistant", "content": "A cat."}
    path = tmp_path / "chats.jsonl"
    for messages, text in (
        ([asked], "What is this?"),
        ([asked, answer], "What is this?\nA cat."),
        ([None, answer], "A cat."),
    ):
        path.write_text(json.dumps({"messages": messages}))
        assert read_texts(path)["messages"].to_pylist() == [text]


def test_a_delimiter_at_the_end_of_all_rows_but_the_header_loses_no_row(tmp_path):
    path = tmp_path / "rows.csv"
    for has_end in (True, False):
        end = "," if has_end else ""
        path.write_text("text,kind\n" + "".join(f"t {i},k{end}\n" for i in range(9)))
        table = read_texts(path)
        assert table["text"].to_pylist() == [f"t {i}" for i in range(9)]
        assert table["kind"].to_pylist() == ["k"] * 9


def test_chats_become_texts(tmp_path):
    chat = {
        "id": 7,
        "messages": [
            {"role": "user", "content": "Hi"},
            {"role": "bot", "content": "Yes?"},
        ],
    }
    path = tmp_path / "log.jsonl.gz"
    with gzip.open(path, "wt") as stream:
        stream.write(json.dumps(chat) + "\n")
    assert read_texts(path).to_pylist() == [{"id": 7, "messages": "Hi\nYes?"}]


def test_files_of_a_folder_are_joined_in_order(tmp_path):
    for i in (2, 1):
        (tmp_path / f"part{i}.csv").write_text(f"text,n\nrow {i},{i}\n")
    for where in (tmp_path, tmp_path / "part*.csv"):
        assert read_texts(where)["text"].to_pylist() == ["row 1", "row 2"]
    (tmp_path / "other.txt").write_text("a line\n")
    with pytest.raises(DataError, match=r"several types: \.csv, \.txt"):
        read_texts(tmp_path)


def test_what_cannot_be_read_is_named(tmp_path):
    with pytest.raises(MissingError, match=r"nothing\.csv does not exist"):
        read_texts(tmp_path / "nothing.csv")
    empty = tmp_path / "empty.csv"
    empty.write_text("")
    with pytest.raises(DataError, match=r"empty\.csv is empty"):
        read_texts(empty)
    junk = tmp_path / "junk.parquet"
    junk.write_bytes(b"junk")
    with pytest.raises(
        DataError, match=r"junk\.parquet cannot be read as a \.parquet file"
    ):
        read_texts(junk)
    other = tmp_path / "picture.png"
    other.write_bytes(b"x")
    with pytest.raises(DataError, match=r"is a file of type \.png"):
        read_texts(other)
    ragged = tmp_path / "ragged.csv"
    ragged.write_text("text,n\nfine,1\nbad,2,3\n")
    with pytest.raises(
        DataError, match=r"ragged\.csv, line 3: Expected 2 columns, got 3\. Quote cells"
    ):
        read_texts(ragged)
    ragged.write_text('text,n\n"two\nlines",1\nshort\n')
    with pytest.raises(DataError, match=r"line 4: Expected 2 columns, got 1\. Quote"):
        read_texts(ragged)


def test_empty_texts_are_dropped_and_returned(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(
        "".join(json.dumps({"text": text}) + "\n" for text in ("a", "", None, "  "))
    )
    kept, dropped = drop_empty_texts(read_texts(path))
    assert (kept["text"].to_pylist(), dropped) == (["a"], ["", "", ""])


def test_texts_that_stand_for_a_missing_one_are_dropped():
    texts = [
        "N/A here",
        "N/A",
        " n/a",
        "none",
        "None",
        "-",
        "NULL",
        "--",
        "null and void",
    ]
    kept, dropped = drop_empty_texts(pa.table({"text": texts}))
    assert kept["text"].to_pylist() == [
        "N/A here",
        "none",
        "None",
        "--",
        "null and void",
    ]
    assert dropped == ["N/A", "n/a", "-", "NULL"]


def test_of_many_text_files_each_is_a_text_in_its_own_encoding(tmp_path):
    text = "première ligne\nMüller"
    for i in range(60):
        folder = tmp_path / "ab"[i % 2]
        folder.mkdir(exist_ok=True)
        encoding = ["utf-8", "utf-8-sig", "utf-16", "cp1252"][i // 2 % 4]
        (folder / f"doc{i}.txt").write_bytes(f"{text} {i}\n".encode(encoding))
    table = read_texts(tmp_path / "*" / "*.txt", encoding="cp1252")
    assert len(table) == 60
    numbers = {f"doc{i}.txt": f"{text} {i}" for i in range(60)}
    for row in table.to_pylist():
        assert row["text"] == numbers[row["file"]]
    assert table["folder"].to_pylist() == ["a"] * 30 + ["b"] * 30
    with pytest.raises(DataError, match=r"doc6\.txt is not in UTF-8.*cp1252"):
        read_texts(tmp_path / "a", "text")  # 30 files: a text per line, as in a shard
    one_folder = read_texts(tmp_path / "*" / "*.txt", "body", encoding="cp1252")
    assert one_folder.column_names == ["body", "file", "folder"]


def test_folders_in_a_folder_are_read(tmp_path):
    for i in range(6):
        folder = tmp_path / "notes" / "ab"[i % 2]
        folder.mkdir(exist_ok=True, parents=True)
        (folder / f"{i}.md").write_text(f"---\ntags: x\n---\n# Head {i}\n\n---\nend\n")
    table = read_texts(tmp_path / "notes")
    assert sorted(table["text"].to_pylist()) == [
        f"# Head {i}\n\n---\nend" for i in range(6)
    ]
    assert table["folder"].to_pylist() == ["a"] * 3 + ["b"] * 3
    for day in ("1", "2"):
        (tmp_path / "notes" / "a" / f"{day}.csv").write_text(f"text\nof day {day}\n")
    assert read_texts(tmp_path / "notes")["text"].to_pylist() == [
        "of day 1",
        "of day 2",
    ]
    (tmp_path / "notes" / "b" / "3.csv").write_text("text\nof day 3\n")
    assert read_texts(tmp_path / "notes")["folder"].to_pylist() == ["a", "a", "b"]
    archive = tmp_path / "notes.zip"
    archive.write_bytes(b"PK")
    with pytest.raises(DataError, match=r"\.zip\..*Unpack it first"):
        read_texts(archive)


def test_few_text_files_are_lines_and_it_is_said(tmp_path):
    for i in range(3):
        (tmp_path / f"{i}.txt").write_text(f"one {i}\ntwo {i}\n")
    table = read_texts(tmp_path)
    assert len(table) == 6
    (note,) = notes_of(table)
    assert note.startswith("Each line of the 3 files is read as a text; with 50 files")
    rows = table.to_pylist()
    assert all(
        row["text"].split()[1] == row["file"].removesuffix(".txt") for row in rows
    )
    assert read_texts(tmp_path / "0.txt").column_names == ["text"]


def test_the_fields_of_records_are_columns(tmp_path):
    posts = [
        {"post": {"title": "a", "by": {"name": "Ann"}}, "tags": ["x"]},
        {"post": {"title": "b", "by": None}, "tags": []},
    ]
    path = tmp_path / "posts.parquet"
    pq.write_table(pa.Table.from_pylist(posts), path)
    table = read_texts(path, "post.title")
    assert table["post.title"].to_pylist() == ["a", "b"]
    assert table["post.by.name"].to_pylist() == ["Ann", None]
    assert table["tags"].to_pylist() == [["x"], []]


def test_names_under_merged_cells_are_those_of_the_columns(tmp_path):
    path = tmp_path / "merged.xlsx"
    upper = ["Form", "Team", "Scores", None]
    rows = [["fine", "A", 1, 2], ["late", "B", 2, 3], ["lost", "A", 3, 3]]
    lower = ["Comment", "Team name", "Before", "After"]
    pd.DataFrame([upper, lower, *rows]).to_excel(path, header=False, index=False)
    table = read_texts(path)
    assert table.column_names == lower
    assert table["Before"].to_pylist() == [1, 2, 3]
    unnamed = [["Comment", "Team", None], ["fine", "x", "A"], ["late", "y", "A"]]
    pd.DataFrame(unnamed).to_excel(path, header=False, index=False)
    assert len(read_texts(path)) == 2  # a row of texts is no header


def test_a_byte_order_mark_says_that_a_file_is_utf_8(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("id,text\n1,café\n2,x\n", "utf-8-sig")
    expected = {"id": [1, 2], "text": ["café", "x"]}
    for encoding in ("utf-8", "cp1252"):
        assert read_texts(path, encoding=encoding).to_pydict() == expected


@pytest.mark.parametrize("form", ["parquet", "feather"])
def test_an_index_without_a_name_is_called_so_as_in_memory(form, tmp_path):
    table = pd.DataFrame({"text": ["a", "b", "c"]}, index=[7, 3, 5])
    if form == "feather":
        pa.feather.write_feather(pa.Table.from_pandas(table), tmp_path / "x.feather")
    else:
        table.to_parquet(tmp_path / "x.parquet")
    assert read_texts(tmp_path / f"x.{form}").to_pydict() == {
        "text": ["a", "b", "c"],
        "index": [7, 3, 5],
    }


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("survye.csv", "In its folder, near is survey.csv."),
        ("surv.csv", "In its folder, near is survey.csv."),
        ("other.csv", "No file there has a similar name."),
        ("none/survey.csv", "There is no folder .*none."),
        ("surv*.xlsx", "Supported are .csv, .*"),
        ("survey.pdf", "Supported are .csv, .*"),
    ],
)
def test_a_missing_file_is_looked_for(name, remedy, tmp_path):
    (tmp_path / "survey.csv").write_text("text\na\n")
    with pytest.raises(MissingError, match=f"does not exist. {remedy}$"):
        read_texts(tmp_path / name)


def test_a_pattern_of_files_of_no_known_type_is_told_from_one_of_no_files(tmp_path):
    (tmp_path / "copyright").write_text("all rights reserved\n")
    with pytest.raises(
        MissingError, match=r"copy\* holds no supported file. Supported"
    ):
        read_texts(tmp_path / "copy*")
    with pytest.raises(MissingError, match=r"nothing\* does not exist. Supported"):
        read_texts(tmp_path / "nothing*")
