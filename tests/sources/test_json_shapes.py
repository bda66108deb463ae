"""JSON in the shapes in which programs write it."""

import json

import pandas as pd
import pytest

from nanosae.errors import DataError
from nanosae.sources.notes import notes_of
from nanosae.sources.texts import read_texts

FRAME = pd.DataFrame(
    {"text": [f"text {i}" for i in range(9)], "n": range(9), "kind": list("aab" * 3)}
)


def read(tmp_path, value):
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(value))
    return read_texts(path)


@pytest.mark.parametrize(
    "orient", ["split", "records", "index", "columns", "table", "values"]
)
def test_what_pandas_writes_is_read(orient, tmp_path):
    path = tmp_path / "rows.json"
    FRAME.to_json(path, orient=orient)
    table = read_texts(path).to_pandas()
    if orient == "values":
        table = table.set_axis(FRAME.columns, axis="columns")
    pd.testing.assert_frame_equal(table[list(FRAME)], FRAME, check_dtype=False)


@pytest.mark.parametrize(
    ("value", "columns", "n"),
    [
        (
            {"a": {"text": "x", "n": 1}, "b": {"text": "y", "n": 2}},
            ["key", "text", "n"],
            2,
        ),
        ({"data": {"items": [{"text": "x"}, {"text": "y"}]}}, ["text"], 2),
        ({"data": {"n": 2, "items": [{"text": "x"}, {"text": "y"}]}}, ["text"], 2),
        ({"good": ["x", "y"], "bad": ["z"]}, ["text", "label"], 3),
        ({"good": ["x", "y"], "bad": ["z", "w"]}, ["good", "bad"], 2),
        ({"x is good": "praise", "y is late": "complaint"}, ["key", "value"], 2),
        ([["text", "n"], ["x", 1], ["y", 2]], ["text", "n"], 2),
        ([["x", "a"], ["y", "b"]], ["column1", "column2"], 2),
        (
            {"data": {"children": [{"text": "x"}, {"text": "y"}]}, "kind": 1},
            ["text"],
            2,
        ),
        ({"values": [["text", "n"], ["x", 1]]}, ["text", "n"], 1),
        ({"count": 3}, None, 0),
        ({}, None, 0),
    ],
)
def test_rows_are_found_where_they_are(value, columns, n, tmp_path):
    if columns is None:
        with pytest.raises(DataError, match="no array of rows"):
            read(tmp_path, value)
        return
    table = read(tmp_path, value)
    assert table.column_names == columns
    assert len(table) == n
    assert notes_of(table) == []


ARTICLE = {"year": 1790, "text": "I meet you", "authors": ["A. Hamilton", "J. Jay"]}


def write_files(tmp_path, values):
    for i, value in enumerate(values):
        (tmp_path / f"{i}.json").write_text(json.dumps(value))
    return read_texts(tmp_path)


def test_files_of_one_record_each_are_a_row_each(tmp_path):
    longer = ARTICLE | {"text": "We meet again in better times", "authors": []}
    table = write_files(tmp_path, [ARTICLE, longer, longer | {"note": "last"}])
    assert table.column_names == ["year", "text", "authors", "note", "file"]
    assert table["text"].to_pylist() == [ARTICLE["text"], *[longer["text"]] * 2]
    assert table["authors"][0].as_py() == ARTICLE["authors"]
    assert table["note"].to_pylist() == [None, None, "last"]
    assert table["file"].to_pylist() == ["0.json", "1.json", "2.json"]


def test_files_of_two_texts_each_are_a_row_each(tmp_path):
    values = [{"title": f"title {i}", "body": "it rained"} for i in range(3)]
    assert write_files(tmp_path, values).column_names == ["title", "body", "file"]


@pytest.mark.parametrize(
    ("value", "n"),
    [
        ({"page": "one", "items": [{"text": "x"}, {"text": "y"}]}, 4),
        ({"label": "sea", "texts": ["waves rolled in", "the tide went out"]}, 4),
        ({"text": {"0": "x", "1": "y"}, "n": {"0": 1, "1": 2}}, 4),
        ({"save": "Save", "open": "Open", "close": "Close"}, 6),
        ([{"text": "x"}, {"text": "y"}], 4),
    ],
    ids=["page", "labelled", "columns", "translations", "array"],
)
def test_files_of_several_rows_each_stay_such(value, n, tmp_path):
    assert len(write_files(tmp_path, [value] * 2)) == n


def test_of_several_lists_the_longest_is_read_and_said(tmp_path):
    cards = [{"name": f"card {i}", "labels": [{"name": "late"}]} for i in range(5)]
    board = {"name": "b", "lists": [{"name": "To do"}], "cards": cards, "actions": []}
    table = read(tmp_path, board)
    assert table["name"].to_pylist() == [f"card {i}" for i in range(5)]
    assert table["labels"][0].as_py() == ["late"]
    assert notes_of(table) == [
        "Read the longest of several lists, 'cards'; skipped 'lists'."
    ]


def test_columns_beside_records_name_no_cells(tmp_path):
    data = [{"text": "one"}, {"text": "two"}, {"text": "three"}]
    for columns in (["a", "b"], 2, None):
        value = {"columns": columns, "data": data}
        assert read(tmp_path, value)["text"].to_pylist() == ["one", "two", "three"]


def test_cells_beyond_the_named_columns_are_not_dropped(tmp_path):
    value = {"columns": ["a", "b"], "data": [["one", 1, "more"], ["two", 2, "more"]]}
    assert "more" in str(read(tmp_path, value).to_pydict())
