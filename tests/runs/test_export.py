"""Tables as flat text, which no spreadsheet runs."""

import csv

import numpy as np
import pandas as pd
import pytest

from nanosae.runs.export import for_csv, write

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
        ["3|1", "0.5|0.123457", "a", "x"],
        ["", "", "b|c", "y"],
    ]
    assert table["top_rows"][0].tolist() == [3, 1]  # the table itself is as it was
