"""Which columns are the vectors; what is doubtful is asked for."""

import re

import numpy as np
import pandas as pd
import pytest

from containers import LISTS, N, X, frame
from nanosae.errors import DataError
from nanosae.sources import open_rows
from nanosae.sources.detection import natural_key


def columns_of(**options):
    """Names of the vector columns found in a frame of the given columns (values: types)."""
    kinds, size = options["kinds"], options.get("size")
    values = {
        "f": [0.5, 1.5],
        "i": [1, 2],
        "t": ["a", "b"],
        "v": [[1.0, 2], [3.0, 4]],
        "n": [None, None],
    }
    return open_rows(
        pd.DataFrame({k: values[v] for k, v in kinds.items()}), input_size=size
    ).columns


@pytest.mark.parametrize(
    ("kinds", "size", "expected"),
    [
        ({"e10": "f", "e9": "f", "id": "i", "e1": "i"}, None, ["e1", "e9", "e10"]),
        ({"0": "f", "2": "f", "1": "f", "label": "t"}, None, ["0", "1", "2"]),
        (
            {"dim_1": "f", "dim_2": "f", "y1": "i", "y2": "i", "dim_3": "f"},
            None,
            ["dim_1", "dim_2", "dim_3"],
        ),
        ({"Unnamed: 0": "i", "v02": "f", "v01": "f"}, None, ["v01", "v02"]),
        ({"a": "f", "b": "f", "t": "t"}, None, ["a", "b"]),
        ({"a": "i", "b": "i"}, None, ["a", "b"]),
        ({"a": "i", "b": "f", "t": "t"}, 2, ["a", "b"]),
        (
            {"layer1_e0": "f", "layer1_e1": "f", "layer2_x": "f"},
            None,
            ["layer1_e0", "layer1_e1"],
        ),
    ],
)
def test_vector_columns_are_found(kinds, size, expected):
    assert columns_of(kinds=kinds, size=size) == expected


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        ({"v": "v", "w": "v"}, "Which are the vectors: v or w?"),
        (
            {"e0": "f", "e1": "f", "x0": "f", "x1": "f"},
            "Which are the vectors: e0 or x0?",
        ),
        ({"v": "v", "e0": "f", "e1": "f"}, "Which are the vectors: v or e0?"),
        (
            {"id": "i", "b": "f", "t": "t"},
            "There are 3 columns: id (int64), b (double), t (",
        ),
        (
            {"t": "t", "id": "i"},
            "Found no vectors, or not only vectors. There are 2 columns",
        ),
        ({"t": "t"}, "Found no vectors, or not only vectors. There is 1 column"),
    ],
)
def test_doubtful_columns_are_asked_for(kinds, message):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        columns_of(kinds=kinds)
    assert 'columns=["name", ...] (--columns)' in str(error.value)


def test_columns_are_matched_by_name_in_the_given_order():
    rows = open_rows(frame(X), columns=["e3", "e0"])
    assert np.array_equal(rows.read(0, N), X[:, [3, 0]])
    both = LISTS.assign(other=list(X + 1))
    assert np.array_equal(open_rows(both, columns=["other"]).read(0, N), X + 1)
    with pytest.raises(
        ValueError, match=r"2 columns are missing: \['e77', 'q'\]. There are 14"
    ):
        open_rows(frame(X), columns=["e1", "e77", "q"])
    with pytest.raises(ValueError, match=r"1 column is missing: .* Choose the vector"):
        open_rows(frame(X), columns=["e1", "q"])


def test_the_name_of_a_column_may_be_a_string_or_a_number():
    assert np.array_equal(open_rows(LISTS, columns="vector").read(0, N), X)
    unnamed = pd.DataFrame(X)
    for columns in ([3, 0], np.array([3, 0]), unnamed.columns[[3, 0]]):
        rows = open_rows(unnamed, columns=columns)
        assert np.array_equal(rows.read(0, N), X[:, [3, 0]])


def test_names_sort_by_number():
    names = ["e10", "e9", "e1", "a2b10", "a2b9"]
    assert sorted(names, key=natural_key) == ["a2b9", "a2b10", "e1", "e9", "e10"]


def test_a_list_column_wins_over_a_shorter_run():
    scores = pd.DataFrame(X[:, :3], columns=["score1", "score2", "score3"])
    assert open_rows(scores.assign(v=list(X))).columns == ["v"]
    places = scores.assign(place=[[48.1, 11.5]] * N)
    with pytest.raises(DataError, match="Which are the vectors: place or score1"):
        open_rows(places)


@pytest.mark.parametrize("texts", [False, True])
def test_a_missing_header_line_is_noticed(texts, tmp_path):
    table = frame(X) if texts else pd.DataFrame(X)
    path = tmp_path / "x.csv"
    table.to_csv(path, header=False, index=False)
    with pytest.raises(DataError, match="the header line seems to be missing"):
        open_rows(pd.read_csv(path))
    if texts:
        with pytest.raises(DataError, match="the header line seems to be missing"):
            open_rows(path)
    else:
        assert np.array_equal(open_rows(path).read(0, N), X)
    table.to_csv(tmp_path / "x.csv", index=False)  # twin: the same with its header
    assert np.array_equal(open_rows(tmp_path / "x.csv").read(0, N), X)


def test_numbers_may_be_names(tmp_path):
    for names in (range(12), np.arange(12.0), np.linspace(0, 1, 12)):
        data = pd.DataFrame(X, columns=list(names))
        chosen = [str(name) for name in names] if 0 < names[1] < 1 else None
        assert np.array_equal(open_rows(data, columns=chosen).read(0, N), X)


def test_vectors_as_text_are_read_or_said_to_be_text(tmp_path):
    table = pd.DataFrame({"text": "t", "embedding": [str(x.tolist()) for x in X]})
    table.to_csv(tmp_path / "x.csv", index=False)
    for data in (table, tmp_path / "x.csv"):
        rows = open_rows(data)
        assert rows.columns == ["embedding"]
        np.testing.assert_allclose(rows.read(0, N), X, rtol=1e-6)
    table.to_parquet(tmp_path / "x.parquet", index=False)
    with pytest.raises(
        DataError, match=r"'embedding' holds vectors as text.*json.loads"
    ) as error:
        open_rows(tmp_path / "x.parquet")
    assert error.value.column == "embedding"


def test_one_list_column_is_chosen_alone():
    with pytest.raises(
        DataError, match=r"'vector' holds whole vectors, but 2 columns are chosen"
    ):
        open_rows(LISTS.assign(other=list(X)), columns=["vector", "other"])
