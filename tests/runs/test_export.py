"""Tables as flat text, which no spreadsheet runs."""

import csv
import json

import numpy as np
import pandas as pd
import pytest

from nanosae.runs.export import for_csv, records, write

EVIL = ["=HYPERLINK('x')", "+A1", "-1+1", "@SUM(A1)", "\tx", "fine", "a=b", None]


def cells(path):
    with path.open(newline="", encoding="utf-8") as stream:
        return list(
            csv.reader(stream, delimiter="\t" if path.suffix == ".tsv" else ",")
        )


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_no_cell_begins_like_a_formula(suffix, tmp_path):
    table = pd.DataFrame(
        {
            "text": EVIL,
            "=name": 1,
            "effect": -0.5,
            "minus": "-2.5",
            "rows": [["=1", 2]] * 8,
        }
    )
    path = tmp_path / f"x{suffix}"
    write(table, path)
    header, *rows = cells(path)
    assert header == ["text", "'=name", "effect", "minus", "rows"]
    assert [row[0] for row in rows] == [
        *(f"'{text}" for text in EVIL[:5]),
        "fine",
        "a=b",
        "",
    ]
    assert {row[2] for row in rows} == {"-0.5"}  # a number is none
    assert {row[3] for row in rows} == {"-2.5"}
    assert {row[4] for row in rows} == {"'=1|2"}
    write(table, path, formulas=True)
    assert [row[0] for row in cells(path)[1:6]] == EVIL[:5]


def test_lists_are_joined():
    table = pd.DataFrame(
        {
            "top_rows": [np.array([3, 1]), np.array([], int)],
            "cosines": [[0.5, 0.123456789], None],
            "tags": pd.Series([["a"], ["b", "c"]]),
            "kept": pd.Categorical(["x", "y"]),
        }
    )
    assert for_csv(table).astype(object).fillna("").to_numpy().tolist() == [
        ["3|1", "0.5|0.123456789", "a", "x"],
        ["", "", "b|c", "y"],
    ]
    assert table["top_rows"][0].tolist() == [3, 1]  # the table itself is as it was


def test_records_keep_small_numbers_and_dates():
    table = pd.DataFrame(
        {
            "p": [3.25e-11, np.nan, 1.0],
            "third": [1 / 3, np.inf, 0.0],
            "day": pd.to_datetime(["2024-05-01 00:00", None, "2024-05-02 10:30"]),
            "tags": [["a"], None, np.array([0.5, np.nan])],
            "n": pd.array([2**60, None, 1], dtype="Int64"),
            "group": pd.Categorical(["x", None, "y"]),
        }
    )
    assert records(table) == [
        {
            "p": 3.25e-11,
            "third": 1 / 3,
            "day": "2024-05-01T00:00:00",
            "tags": ["a"],
            "n": 2**60,
            "group": "x",
        },
        dict.fromkeys(table),
        {
            "p": 1.0,
            "third": 0.0,
            "day": "2024-05-02T10:30:00",
            "tags": [0.5, None],
            "n": 1,
            "group": "y",
        },
    ]
    assert records(table.head(0)) == []


def test_json_files_hold_the_records(tmp_path):
    table = pd.DataFrame({"p": [1e-300, 0.1], "text": ["é\n", None]})
    write(table, tmp_path / "x.json")
    lines = json.loads((tmp_path / "x.json").read_text("utf-8"))
    assert lines == [{"p": 1e-300, "text": "é\n"}, {"p": 0.1, "text": None}]


def test_csv_files_keep_all_digits(tmp_path):
    table = pd.DataFrame(
        {
            "n": pd.array([2**60 + 1, None], dtype="Int64"),
            "p": [1 / 3, 1e-300],
            "numbers": [[1 / 3, 1234567.0], [np.float32(0.1)]],
        }
    )
    write(table, tmp_path / "x.csv")
    (n, p, numbers), second = cells(tmp_path / "x.csv")[1:]
    assert (int(n), float(p)) == (2**60 + 1, 1 / 3)
    assert [float(number) for number in numbers.split("|")] == [1 / 3, 1234567.0]
    assert second == ["", "1e-300", "0.1"]


def test_times_inside_of_cells_are_in_iso_8601():
    times = np.array(["2024-05-01T10:00:00.5", "NaT"], "M8[ns]")
    table = pd.DataFrame({"times": [times, times[:0]]})
    assert records(table) == [
        {"times": ["2024-05-01T10:00:00.500000", None]},
        {"times": []},
    ]
