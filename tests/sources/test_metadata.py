"""The columns beside the vectors: one schema over shards, nothing lost, nothing bent."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from containers import X
from nanosae.errors import DataError
from nanosae.schemas import common_schema
from nanosae.sources import open_rows

VECTORS = pd.DataFrame(X).add_prefix("e")


def shards(folder, *columns):
    """Write a Parquet shard of vectors for each table of other columns, and open them."""
    for number, others in enumerate(columns):
        table = pa.Table.from_pandas(VECTORS[:2], preserve_index=False)
        for name, values in others.items():
            table = table.append_column(name, values)
        pq.write_table(table, folder / f"{number}.parquet")
    return open_rows(folder)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (pa.array([1, 2]), pa.array([0.5, None]), [1.0, 2.0, 0.5, None]),
        (pa.nulls(2), pa.array(["a", "b"]), [None, None, "a", "b"]),
        (
            pa.array(["a", "b"]),
            pa.array(["c", None], pa.large_string()),
            ["a", "b", "c", None],
        ),
        (pa.array([1, 2]), pa.array(["a", "b"]), ["1", "2", "a", "b"]),
        (pa.array([True, False]), pa.array([3, 4]), ["true", "false", "3", "4"]),
        (
            pa.array(["a", "b"]).dictionary_encode(),
            pa.array(["b", "c"])
            .dictionary_encode()
            .cast(pa.dictionary(pa.int8(), pa.string())),
            ["a", "b", "b", "c"],
        ),
    ],
)
def test_shards_of_other_types_get_one_schema(first, second, expected, tmp_path):
    rows = shards(tmp_path, {"y": first}, {"y": second})
    table = rows.metadata()
    assert table["y"].to_pylist() == expected
    assert {batch.schema for batch in rows.metadata_batches()} == {table.schema}


def test_a_column_that_a_shard_lacks_is_null(tmp_path):
    rows = shards(tmp_path, {}, {"y": pa.array([1, 2])}, {"z": pa.array(["a", "b"])})
    expected = {"y": [None, None, 1, 2, None, None], "z": [None] * 4 + ["a", "b"]}
    assert rows.metadata().to_pydict() == expected
    assert rows.metadata().num_rows == rows.n_rows


def test_large_ids_do_not_pass_through_floats(tmp_path):
    ids = [2**60 + 1, 2**60 + 3]
    rows = shards(tmp_path, {"id": pa.array(ids)}, {"id": pa.array([None, ids[0]])})
    assert rows.metadata()["id"].to_pylist() == [*ids, None, ids[0]]
    rows = shards(tmp_path, {"id": pa.array(ids)}, {"id": pa.array([None, 2.0**60])})
    with pytest.raises(
        DataError, match="'id' is int64 in one shard and cannot be converted to double"
    ):
        rows.metadata()


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pd.Series([2**70, 5], dtype=object), [str(2**70), "5"]),
        (pd.Series([2**60 + 1, None], dtype=object), [2**60 + 1, None]),
        (pd.cut(pd.Series([1, 5]), [0, 3, 9]), ["(0, 3]", "(3, 9]"]),
        (pd.cut(pd.Series([1, 99]), [0, 3, 9]), ["(0, 3]", None]),
        (
            pd.Series(pd.arrays.IntervalArray.from_breaks([0, 3, 9])),
            ["(0, 3]", "(3, 9]"],
        ),
        (pd.Series([{"a": 1}, "x"]), ["{'a': 1}", "x"]),
    ],
)
def test_columns_of_frames_that_arrow_lacks_a_type_for(column, expected):
    rows = open_rows(VECTORS[:2].assign(y=column))
    assert rows.metadata()["y"].to_pylist() == expected


def test_half_a_character_is_named():
    texts = ["fine", "cut \ud83d"]
    with pytest.raises(
        DataError, match=r"row 1 \(0-based\), column text holds .*not valid text"
    ):
        open_rows(VECTORS[:2].assign(text=pd.Series(texts, dtype=object)))


@pytest.mark.parametrize("large", [False, True])
def test_other_encodings_are_refused(large, tmp_path, monkeypatch):
    if large:
        monkeypatch.setattr("nanosae.sources.csv_files.LARGE", 0)
    path = tmp_path / "x.csv"
    VECTORS.assign(text="café").to_csv(path, index=False, encoding="latin-1")
    with pytest.raises(DataError, match=r"x.csv.* is not in UTF-8.*save the file"):
        open_rows(path)
    VECTORS.assign(text="café").to_csv(path, index=False)
    assert open_rows(path).metadata()["text"].to_pylist() == ["café"] * len(X)


def test_metadata_of_a_large_csv_have_types_that_hold_all_rows(tmp_path, monkeypatch):
    monkeypatch.setattr("nanosae.sources.csv_files.LARGE", 0)
    monkeypatch.setattr("nanosae.sources.csv_files.BLOCK_BYTES", 2**12)
    first = {"zip": "10115", "n": "1", "m": "1", "s": "7", "day": "2024-01-02"}
    last = {"zip": "00123", "n": " 0.5", "m": "", "s": "n/a", "day": "soon"}
    rows = [first] * (len(X) - 1) + [last]
    VECTORS.join(pd.DataFrame(rows)).to_csv(tmp_path / "x.csv", index=False)
    table = open_rows(tmp_path / "x.csv").metadata().to_pylist()
    expected = {"zip": "10115", "n": 1.0, "m": 1, "s": "7", "day": "2024-01-02"}
    assert table[0] == expected
    assert table[-1] == last | {"n": 0.5, "m": None}


@pytest.mark.parametrize("large", [False, True])
def test_codes_keep_their_digits_and_their_plus(large, tmp_path, monkeypatch):
    if large:
        monkeypatch.setattr("nanosae.sources.csv_files.LARGE", 0)
    cells = {"call": "+4915112345678", "key": "98765432109876543210", "zip": "00123"}
    numbers = {"change": "+12345678", "share": "-0.5"}
    lines = pd.DataFrame([cells | numbers] * len(X))
    lines.loc[0, "change"] = "-1"
    path = tmp_path / "x.csv"
    VECTORS.join(lines).to_csv(path, index=False)
    rows = open_rows(path, columns=list(VECTORS))
    assert rows.metadata().to_pylist()[1] == cells | {"change": 12345678, "share": -0.5}
    assert np.array_equal(rows.read(0, len(X)), X)


def test_damage_found_late_names_the_file(tmp_path, monkeypatch):
    path = tmp_path / "x.csv"
    monkeypatch.setattr("nanosae.sources.csv_files.LARGE", 0)
    monkeypatch.setattr("nanosae.sources.csv_files.BLOCK_BYTES", 2**15)
    table = VECTORS.assign(text=["a" * 4000] * (len(X) - 1) + ["é"])
    table.to_csv(path, index=False)
    rows = open_rows(path)
    table.to_csv(path, index=False, encoding="latin-1")
    for read in (rows.metadata, lambda: open_rows(path)):
        with pytest.raises(DataError, match=r"Cannot read .*x\.csv.*UTF8") as error:
            read()
        assert error.value.file == path


def large_csv(tmp_path, monkeypatch, texts, form="{}", delimiter=","):
    """Return a CSV of vectors and texts that is read in blocks."""
    monkeypatch.setattr("nanosae.sources.csv_files.LARGE", 0)
    path = tmp_path / "x.csv"
    vectors = [delimiter.join(map(str, row)) for row in VECTORS.to_numpy()]
    vectors = vectors if delimiter == "," else [v.replace(".", ",") for v in vectors]
    names = delimiter.join([*VECTORS, "text"])
    cells = [*map(form.format, texts), *["a"] * (len(vectors) - len(texts))]
    rows = [f"{v}{delimiter}{c}" for v, c in zip(vectors, cells, strict=True)]
    path.write_text("\n".join([names, *rows]) + "\n")
    return path


def test_unclosed_quotation_marks_of_a_large_csv_are_refused(tmp_path, monkeypatch):
    path = large_csv(tmp_path, monkeypatch, ["a", '"open', "b", '"again'])
    with pytest.raises(DataError, match=r"line 5: a cell goes on after .*Close each"):
        open_rows(path)
    path = large_csv(tmp_path, monkeypatch, ["a", '"two\nlines', "b"], form='"{}"')
    path = large_csv(tmp_path, monkeypatch, ["a", '"two\nlines, ""b"""', "c"])
    read = open_rows(path)  # twin: closed marks
    assert read.n_rows == len(X)
    assert read.metadata()["text"][1].as_py() == 'two\nlines, "b"'


def test_escaped_quotation_marks_of_a_large_csv_are_read(tmp_path, monkeypatch):
    path = large_csv(tmp_path, monkeypatch, ['"say \\"hi\\""', '"b"'])
    rows = open_rows(path)
    assert rows.metadata()["text"].to_pylist()[:3] == ['say "hi"', "b", "a"]
    np.testing.assert_array_equal(rows.read(0, 3), X[:3])


def test_decimal_commas_of_a_large_csv_are_read(tmp_path, monkeypatch):
    path = large_csv(tmp_path, monkeypatch, ["1,5"], delimiter=";")
    np.testing.assert_array_equal(open_rows(path).read(0, len(X)), X)


def test_a_common_type_keeps_equal_types_as_they_are():
    schema = pa.schema({"when": pa.timestamp("ns"), "n": pa.int8()})
    assert common_schema([schema, schema]) == schema
    wider = common_schema([schema, pa.schema({"n": pa.int64()})])
    assert wider.field("n").type == pa.int64()
    assert wider.names == ["when", "n"]
