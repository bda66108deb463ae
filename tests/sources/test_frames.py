"""Texts in memory: frames with their indices and types, records, columns and lists."""

import datetime
import decimal
import re

import datasets
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from pyarrow import feather

from nanosae.errors import DataError, DataTypeError
from nanosae.sources import open_rows
from nanosae.sources.frames import table_of_texts
from nanosae.sources.roles import column_roles
from nanosae.sources.texts import read_texts

TEXTS = [f"a text about the river and the boat number {i}" for i in range(60)]


def test_pandas_frames_keep_their_index_and_types():
    places = pd.Series(["north", "south", "east"] * 20)
    frame = pd.DataFrame(
        {
            "text": pd.array(TEXTS, "string"),
            "n": pd.array([1, None, 3, 4] * 15, "Int64"),
            "good": pd.array([True, None, False, True, False] * 12, "boolean"),
            "month": pd.period_range("2020-01", periods=60, freq="M"),
            "kind": pd.Categorical(["a", "b"] * 30),
        }
    ).set_index([places.rename("place"), pd.RangeIndex(60, name="row")])
    table = table_of_texts(frame)
    roles = {column.name: column.role for column in column_roles(table)}
    assert roles == {
        "text": "text",
        "n": "number",
        "good": "category",
        "month": "date",
        "kind": "category",
        "place": "category",
        "row": "id",
    }
    assert table["n"].to_pylist()[:4] == [1, None, 3, 4]
    assert table["month"][1].as_py() == datetime.datetime(2020, 2, 1)
    plain = frame.reset_index(drop=True)
    assert table_of_texts(plain).column_names == plain.columns.tolist()


@pytest.mark.parametrize(
    "index",
    [
        np.arange(1940, 2000),  # not years
        np.arange(60)[::-1],
        np.repeat(np.arange(30), 2),
        [f"row {i}" for i in range(60)],
        pd.MultiIndex.from_product([range(30), ["x", "y"]]),
        pd.MultiIndex.from_product([range(30), ["x", "y"]], names=["one", None]),
    ],
)
def test_an_index_without_a_name_is_kept_as_pandas_resets_it(index):
    frame = pd.DataFrame({"text": TEXTS}, index=index)
    table = table_of_texts(frame)
    as_reset = frame.reset_index()
    assert sorted(table.column_names) == sorted(as_reset.columns)
    for name in as_reset:
        assert table[name].to_pylist() == as_reset[name].tolist()
    roles = {column.name: column.role for column in column_roles(table)}
    assert roles.get("index", "id") == roles.get("level_0", "id") == "id"


SEVERAL = [np.arange(4.0 * n).reshape(n, 4) for n in (3, 1, 2)]
LISTS = [rows.tolist() for rows in SEVERAL]
NESTED = {
    "lists": lambda: pa.table({"hidden": pa.array(LISTS), "text": list("abc")}),
    "fixed": lambda: pa.table(
        {"hidden": pa.array([LISTS[0]] * 2, pa.list_(pa.list_(pa.float32(), 4), 3))}
    ),
    "tensors": lambda: pa.table(
        {"hidden": pa.FixedShapeTensorArray.from_numpy_ndarray(np.ones((2, 3, 4)))}
    ),
    "pandas": lambda: pd.DataFrame({"hidden": LISTS, "text": list("abc")}),
    "pandas arrays": lambda: pd.DataFrame({"hidden": SEVERAL}),
    "polars": lambda: pl.DataFrame({"hidden": LISTS}),
    "data set": lambda: datasets.Dataset.from_dict({"hidden": LISTS}),
}


@pytest.mark.parametrize("make", NESTED.values(), ids=NESTED.keys())
@pytest.mark.parametrize("columns", [None, ["hidden"]])
def test_several_vectors_in_a_row_are_said_with_a_way_to_flatten_them(make, columns):
    reason = r"Column 'hidden' holds several vectors in each row \(.*\); needed is one"
    with pytest.raises(DataError, match=reason):
        open_rows(make(), columns=columns)


def test_the_ways_to_flatten_several_vectors_work(tmp_path):
    expected = np.concatenate(SEVERAL)
    frame = NESTED["pandas"]()
    exploded = open_rows(frame.explode("hidden"))
    np.testing.assert_array_equal(exploded.read(0, 6), expected)
    data = NESTED["data set"]()
    array = open_rows(np.concatenate(list(data["hidden"])))
    np.testing.assert_array_equal(array.read(0, 6), expected)
    frame.to_parquet(tmp_path / "x.parquet")
    with pytest.raises(DataError, match=r"x\.parquet: Column 'hidden' holds several"):
        open_rows(tmp_path / "x.parquet")
    read = pd.read_parquet(tmp_path / "x.parquet").explode("hidden")
    np.testing.assert_array_equal(open_rows(read).read(0, 6), expected)


@pytest.mark.parametrize("kind", [list, np.asarray, torch.tensor])
def test_a_list_of_several_vectors_each_is_refused(kind):
    with pytest.raises(DataError, match=r"several vectors each .* np\.concatenate"):
        open_rows([kind(rows) for rows in LISTS])


def test_names_of_several_levels_have_points():
    frame = pd.DataFrame({("post", "text"): TEXTS, ("post", "year"): [2020] * 60})
    assert table_of_texts(frame).column_names == ["post.text", "post.year"]


def test_polars_frames_are_read_with_all_types():
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame(
        {
            "body": TEXTS,
            "tags": [["x", "y"], ["z"]] * 30,
            "at": [datetime.datetime(2024, 1, 1 + i % 28) for i in range(60)],
            "kind": pl.Series(["a", "b"] * 30, dtype=pl.Categorical),
            "price": pl.Series(["1.50", "2.25"] * 30).cast(pl.Decimal(10, 2)),
            "hour": [datetime.time(i % 24) for i in range(60)],
        }
    )
    table = table_of_texts(frame)
    by_name = {column.name: column.role for column in column_roles(table)}
    assert by_name == {
        "body": "text",
        "tags": "tags",
        "at": "date",
        "kind": "category",
        "price": "number",
        "hour": "unused",
    }
    assert table["price"][1].as_py() == decimal.Decimal("2.25")
    assert table_of_texts(frame["body"])["text"].to_pylist() == TEXTS
    with pytest.raises(DataTypeError, match=r"collect\(\)"):
        table_of_texts(frame.lazy())


def test_views_of_strings_are_strings(tmp_path):
    """Functions of Arrow have no kernels for them."""
    views = pa.table(
        {
            "text": pa.array(TEXTS, pa.string_view()),
            "tags": pa.array([["a"], ["b"]] * 30, pa.list_(pa.string_view())),
        }
    )
    kinds = [pa.string(), pa.list_(pa.string())]
    assert table_of_texts(views).schema.types == kinds
    feather.write_feather(views, tmp_path / "views.feather")
    assert read_texts(tmp_path / "views.feather").schema.types == kinds


def test_dictionaries_have_signed_indices():
    """Before version 23 or so, Arrow converts no others to pandas."""
    numbers = pa.array([0, 1, None], pa.uint32())
    words = pa.array(["a", "b"], pa.string_view())
    kinds = pa.DictionaryArray.from_arrays(numbers, words)
    table = table_of_texts(pa.table({"text": TEXTS[:3], "kind": kinds}))
    assert table.schema.field("kind").type == pa.dictionary(pa.int64(), pa.string())
    assert table["kind"].to_pylist() == ["a", "b", None]


def test_records_are_rows():
    rows = [{"text": "a", "n": 1}, {"text": "b", "n": None}]
    assert table_of_texts(rows).to_pylist() == rows
    assert table_of_texts(iter(["a", None]))["text"].to_pylist() == ["a", None]
    with pytest.raises(DataTypeError, match="a table or a list of strings"):
        table_of_texts([("a", 1), "b"])


def test_records_may_lack_keys_and_differ_in_type():
    day = pd.Timestamp("2024-01-01")
    records = [{"text": "a"}, {"text": "b", "n": 2**70, "kind": "x", "day": day}]
    records.append({"text": float("nan"), "n": "five", "kind": float("nan")})
    assert table_of_texts(records).to_pydict() == {
        "text": ["a", "b", None],
        "n": [None, str(2**70), "five"],
        "kind": [None, "x", None],
        "day": [None, day, None],
    }
    assert table_of_texts(["a", float("nan")])["text"].to_pylist() == ["a", None]


def test_arrow_arrays_and_records_are_rows():
    rows = [[1.0, 2.0], [3.0, 4.0]]
    for data in (
        pa.array(rows),
        pa.chunked_array([rows[:1], rows[1:]]),
        [{"x": x, "y": y} for x, y in rows],
    ):
        assert open_rows(data).read(0, 2).tolist() == rows


HALF = "cut \ud83d"  # half of an emoji


@pytest.mark.parametrize(
    ("data", "row", "column"),
    [
        (["a", HALF], 1, "text"),
        ([{"text": "a"}, {"text": "b", "n": HALF}], 1, "n"),
        ([{"text": "a", "of": {"by": [HALF]}}], 0, "of"),
        ({"text": ["a", "b", HALF]}, 2, "text"),
        ([("a", "x"), ("b", HALF)], 1, "column2"),
        ([{"text": "a", HALF: 1}], None, repr(HALF)),
    ],
)
def test_half_of_a_character_is_named_with_its_row(data, row, column):
    where = rf"column {re.escape(column)} .*is not valid text\. Fix it"
    if row is not None:
        where = rf"row {row} \(0-based\), {where}"
    with pytest.raises(DataError, match=where) as found:
        table_of_texts(data)
    assert found.value.row == row


PAIRS = [("a text", "x"), ("another", "y")]


@pytest.mark.parametrize(
    "rows",
    [
        PAIRS,
        [list(pair) for pair in PAIRS],
        np.array(PAIRS, object),
    ],
)
def test_rows_of_cells_are_rows(rows):
    columns = {"column1": ["a text", "another"], "column2": ["x", "y"]}
    assert table_of_texts(rows).to_pydict() == columns


def test_arrays_of_strings_are_texts():
    for kind in (object, str):
        texts = np.array(["a text", "another"], kind)
        assert table_of_texts(texts).to_pydict() == {"text": ["a text", "another"]}


def test_arrays_of_records_are_tables():
    records = np.array([("a text", 1), ("b", 2)], [("body", "U9"), ("n", "i8")])
    assert table_of_texts(records).to_pydict() == {"body": ["a text", "b"], "n": [1, 2]}


def test_names_that_are_there_twice_get_numbers():
    frame = pd.DataFrame([["a", 1]], columns=["text", "text"])
    assert table_of_texts(frame).column_names == ["text", "text (2)"]


def test_what_arrow_knows_no_type_for_is_text():
    frame = pd.DataFrame({"z": [1 + 2j, 3j], "mixed": ["a", 1.5]}, dtype=object)
    assert table_of_texts(frame)["mixed"].to_pylist() == ["a", "1.5"]
    assert table_of_texts(pd.DataFrame({"z": [1 + 2j]}))["z"].to_pylist() == ["(1+2j)"]
    gaps = pd.DataFrame({"mixed": ["a", np.nan, None, pd.NA, 1.5]})
    assert table_of_texts(gaps)["mixed"].to_pylist() == ["a", None, None, None, "1.5"]


def test_tensors_in_cells_are_vectors():
    vectors = torch.arange(6.0).reshape(3, 2)
    for dtype in (torch.float32, torch.bfloat16):
        frame = pd.DataFrame({"v": list(vectors.to(dtype).requires_grad_())})
        for data in (frame, frame["v"]):
            assert open_rows(data).read(0, 3).tolist() == vectors.tolist()


def test_a_generator_is_refused_with_what_to_do():
    with pytest.raises(TypeError, match=r"generator is not .* Concatenate its batches"):
        open_rows(iter_batch for iter_batch in [np.ones((2, 3))])


def test_nan_in_a_list_of_texts_is_missing():
    columns = {"text": ["a", np.nan, None], "n": [1.5, np.nan, 2]}
    expected = {"text": ["a", None, None], "n": [1.5, None, 2]}
    assert table_of_texts(columns).to_pydict() == expected


def test_periods_may_have_one_name():
    month = pd.period_range("2024-01", periods=2, freq="M").to_series()
    frame = pd.concat([month, month], axis=1, keys=["when", "when"])
    table = table_of_texts(frame.reset_index(drop=True))
    for name in ("when", "when (2)"):
        assert str(table[name][1].as_py()) == "2024-02-01 00:00:00"


def test_columns_of_different_lengths_are_an_error():
    with pytest.raises(DataError, match="side by side"):
        table_of_texts({"text": ["a", "b"], "n": [1]})


def test_classes_of_a_dataset_have_their_names():
    datasets = pytest.importorskip("datasets")
    label = datasets.ClassLabel(names=["bad", "good"])
    features = datasets.Features({"text": datasets.Value("string"), "label": label})
    data = datasets.Dataset.from_dict(
        {"text": ["a", "b", "c"], "label": [1, 0, None]}, features=features
    )
    assert table_of_texts(data)["label"].to_pylist() == ["good", "bad", None]
    assert table_of_texts(data.select([1]))["label"].to_pylist() == ["bad"]
    unknown = datasets.Dataset.from_dict({"text": ["a"], "label": [-1]}, features)
    assert table_of_texts(unknown)["label"].to_pylist() == [None]
    with pytest.raises(DataTypeError, match="one of its splits"):
        table_of_texts(datasets.DatasetDict({"train": data}))
    assert table_of_texts(data.to_iterable_dataset())["text"].to_pylist() == [
        "a",
        "b",
        "c",
    ]


def test_a_frame_of_a_subclass_is_read_as_a_frame():
    class Places(pd.DataFrame):
        pass

    for text in ("a", 1):  # also of mixed types
        columns = {"x": [0.1, 0.2], "y": [0.3, 0.4], "text": ["a", text]}
        rows = open_rows(Places(columns, index=[0.5, 1.5]))
        assert rows.columns == ["x", "y"]
        assert rows.metadata()["text"].to_pylist() == ["a", str(text)]
        assert rows.metadata()["index"].to_pylist() == [0.5, 1.5]


@pytest.mark.parametrize("cell", ["true", "None", "1,5", "soon", "0x1p3"])
@pytest.mark.parametrize("row", [0, 1, 6, 7])
def test_the_cell_that_is_no_number_is_named_wherever_it_is(cell, row):
    cells = ["0.1", None, "inf", "nan", "1e3", "-.5", "2", "3."]
    frame = pd.DataFrame({"e0": cells, "e1": 0.1, "e2": 0.2})
    frame.loc[row, "e0"] = cell
    rows = open_rows(frame, columns=["e0", "e1", "e2"])
    with pytest.raises(DataError, match=rf"row {row} .* e0 holds '{cell}', which is"):
        rows.read(0, len(cells))
