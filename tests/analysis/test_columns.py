"""Metadata columns as labels and numbers."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from nanosae.analysis.columns import (
    as_numbers,
    class_matrix,
    column_to_compare,
    is_grouping,
    is_missing,
    one_per_row,
)
from nanosae.cli import main
from nanosae.codes import write_codes
from nanosae.sources.frames import table_of_frame
from nanosae.sources.roles import column_roles


def test_label_cells_hold_several_labels():
    names, matrix = class_matrix(np.array(["b|a", None, "a", "", "a|a"], dtype=object))
    assert names == ["a", "b"]
    assert matrix.toarray().tolist() == [[1, 1], [0, 0], [1, 0], [0, 0], [1, 0]]


def test_an_empty_label_of_a_cell_is_no_label():
    names, matrix = class_matrix(np.array(["a|", "|b|", "|", "b||a"], dtype=object))
    assert names == ["a", "b"]
    assert matrix.toarray().tolist() == [[1, 0], [0, 1], [0, 0], [1, 1]]


def test_lists_of_labels_are_labels():
    values = np.empty(4, dtype=object)
    values[:] = [{"a", "b"}, [], ["b", None], np.array(["a"], dtype=object)]
    names, matrix = class_matrix(values)
    assert names == ["a", "b"]
    assert matrix.toarray().tolist() == [[1, 1], [0, 0], [0, 1], [1, 0]]
    assert is_missing(values).tolist() == [False, True, False, False]


def test_infinite_numbers_are_missing():
    assert is_missing(np.array([1.0, np.inf, -np.inf, np.nan])).tolist() == [
        False,
        True,
        True,
        True,
    ]


@pytest.mark.parametrize("dtype", ["string", "Int64", "boolean", "category"])
def test_cells_that_pandas_calls_missing_are_empty(dtype):
    given = pd.Series([1, None, 0, 1], dtype="Int64").astype(dtype)
    cells = np.asarray(given, dtype=object)
    assert is_missing(cells).tolist() == [False, True, False, False]
    names, matrix = class_matrix(cells)
    assert len(names) == 2
    assert matrix.toarray().sum(axis=1).tolist() == [1, 0, 1, 1]


@pytest.mark.parametrize("unit", ["D", "s", "us", "ns"])
def test_dates_are_labels_as_they_are_written_whatever_their_unit(unit):
    dates = np.array(["2024-05-31", "NaT", "2024-06-01"], f"M8[{unit}]")
    assert is_missing(dates).tolist() == [False, True, False]
    names, matrix = class_matrix(dates)
    assert names == ["2024-05-31 00:00:00", "2024-06-01 00:00:00"]
    assert matrix.toarray().tolist() == [[1, 0], [0, 0], [0, 1]]


def test_numbers_in_words_that_are_not_finite_are_empty():
    cells = np.array(["1", "nan", "inf", None, "-2.5"], object)
    assert as_numbers(cells).tolist() == pytest.approx(
        [1, np.nan, np.nan, np.nan, -2.5], nan_ok=True
    )


N = 200
MANY_KINDS_OF_COLUMN = pd.DataFrame(
    {
        "id": [f"package-{i}" for i in range(N)],
        "number": np.arange(N) % 7,
        "share": np.arange(N) / 7,
        "day": [f"2024-05-{1 + i % 9:02}" for i in range(N)],
        "moment": pd.date_range("2024-01-01", periods=N),
        "constant": ["same"] * N,
        "rare": [f"kind {i // 2}" for i in range(N)],
        "flag": np.arange(N) % 2 == 0,
        "two": np.arange(N) % 2,
        "kind": [("devel", "admin", None)[i % 3] for i in range(N)],
        "tags": [["a"], ["b", "c"], []] * 66 + [["a"]] * 2,
    }
)


def test_the_columns_to_compare_are_those_that_a_run_compares():
    roles = column_roles(table_of_frame(MANY_KINDS_OF_COLUMN.drop(columns="two")))
    roles += column_roles(table_of_frame(MANY_KINDS_OF_COLUMN[["two"]]))
    compared = {role.name for role in roles if role.role in ("category", "tags")}
    assert compared == {"flag", "two", "kind", "tags"}
    for name, values in MANY_KINDS_OF_COLUMN.items():
        cells = values.to_numpy()
        assert is_grouping(cells) == (name in compared), name


@pytest.mark.slow
def test_a_suggested_comparison_makes_sense_or_is_left_out(tmp_path, capsys):
    active = np.random.default_rng(0).random((N, 8)) < 0.3
    texts = [f"a text on {'abc'[i % 3] * 4} number {i}" for i in range(N)]
    for columns, suggested in ((["id", "kind"], "kind"), (["id", "number"], None)):
        run = tmp_path / f"{suggested}"
        codes = write_codes(
            run / "codes" / "default",
            active.astype(np.float32),
            texts=texts,
            metadata=MANY_KINDS_OF_COLUMN[columns],
        )
        assert column_to_compare(codes) == suggested
        assert main(["describe", str(run)]) == 0
        capsys.readouterr()
        assert main(["label", str(run)]) == 0
        told = capsys.readouterr().out
        assert f"nanosae topics {run}" in told
        assert ("--by kind" in told) == (suggested is not None)
        assert "--by id" not in told
        assert main(["report", str(run)]) == 0
        page = (run / "report.html").read_text("utf-8")
        assert "--by id" not in page
        assert "--classes id" not in page


def test_whole_numbers_beside_missing_ones_are_classes_without_fractions(tmp_path):
    columns = {"n": pa.array([2**60 + 1, None, 3]), "x": pa.array([0.5, None, 3.0])}
    acts = np.eye(3, dtype=np.float32)
    codes = write_codes(tmp_path / "c", acts, metadata=pa.table(columns))
    names = {name: class_matrix(one_per_row(codes, name))[0] for name in columns}
    assert names == {"n": [str(2**60 + 1), "3"], "x": ["0.5", "3.0"]}
    numbers = as_numbers(one_per_row(codes, "n"))
    np.testing.assert_array_equal(numbers, [2.0**60, np.nan, 3.0])
