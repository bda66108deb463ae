"""Headers of survey tools, and columns that share a name."""

import csv

import pandas as pd
import pyarrow as pa
import pytest

from nanosae.sources.header_rows import joined_names
from nanosae.sources.repeated_columns import with_repeated_as_lists
from nanosae.sources.texts import read_texts

QUESTIONS = ["Respondent ID", "What was bad?", "Which channels do you use?", "", "Age"]
CHOICES = ["", "Open-Ended Response", "Email", "Chat", "Response"]
ANSWERS = [
    [f"{i}", f"answer {i}, and more", "Email" * (i % 2), "Chat" * (i % 3 > 0), "18-24"]
    for i in range(60)
]
NAMES = [
    "Respondent ID",
    "What was bad?",
    "Which channels do you use?: Email",
    "Which channels do you use?: Chat",
    "Age",
]
SHORT = ["id", "Q1", "Q2_1", "Q2_2", "Q3"]
IMPORT_IDS = [f'{{"ImportId":"QID{i}"}}' for i in range(5)]


def write(path, rows):
    if path.suffix == ".xlsx":
        pytest.importorskip("openpyxl")
        pd.DataFrame(rows).to_excel(path, header=False, index=False)
        return
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


@pytest.mark.parametrize("form", ["csv", "xlsx"])
@pytest.mark.parametrize(
    ("header", "names"),
    [
        ([QUESTIONS, CHOICES], NAMES),
        ([SHORT, NAMES, IMPORT_IDS], NAMES),
        ([["Results", "", "", "", ""], QUESTIONS, CHOICES], NAMES),
    ],
)
def test_headers_of_survey_tools_are_joined(form, header, names, tmp_path):
    path = tmp_path / f"survey.{form}"
    write(path, header + ANSWERS)
    table = read_texts(path)
    assert table.column_names == names
    assert len(table) == len(ANSWERS)
    assert table[names[1]].to_pylist() == [row[1] for row in ANSWERS]
    assert table[names[3]][0].as_py() in (None, "")


@pytest.mark.parametrize(
    "rows",
    [
        [["id", "text", ""], ["1", "", "x"], ["2", "b", "y"], ["3", "c", "z"]],
        [["id", "text", "n"], ["", "late", "3"], ["2", "", "4"], ["3", "c", "5"]],
        [["id", "text"], ["a", "Response"], ["b", "late"]],
        [["id", "text"], ["a", "late"]],
    ],
)
def test_rows_with_gaps_are_no_headers(rows):
    assert joined_names(rows) is None


def test_a_field_of_several_values_is_a_list(tmp_path):
    rows = [["key", "Labels", "text", "Labels", "Labels"]]
    rows += [["A-1", "late", "a text", "lost", ""], ["A-2", "", "another", "", ""]]
    path = tmp_path / "issues.csv"
    write(path, rows)
    table = read_texts(path)
    assert table.column_names == ["key", "Labels", "text"]
    assert table["Labels"].to_pylist() == [["late", "lost"], []]


def test_columns_that_only_share_a_name_stay_apart():
    gaps = pa.Table.from_arrays(
        [pa.array([None, "a"]), pa.array(["b", None])], ["n", "n"]
    )
    assert with_repeated_as_lists(gaps).num_columns == 2
    numbers = pa.Table.from_arrays([pa.array([1, 2]), pa.array([3, None])], ["n", "n"])
    assert with_repeated_as_lists(numbers).num_columns == 2
