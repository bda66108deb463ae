"""Texts and metadata out of files: values as they are written, errors that name the file."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nanosae.errors import DataError, MissingError
from nanosae.sources import open_rows
from nanosae.sources.texts import read_texts

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
    table = read_texts(path)
    assert table["text"].to_pylist() == texts
    assert table["n"].to_pylist() == [1, 2]
    if form != "jsonl" and texts[0] != "NA":  # twin: types are inferred elsewhere
        assert read_texts(
            write(tmp_path, form, TABLE.assign(text=["007", "1", "2"])), "body"
        )["text"].to_pylist() == [7, 1, 2]


def test_mistakes_name_the_file_and_the_remedy(tmp_path):
    with pytest.raises(MissingError, match=r"gone\.csv does not exist"):
        read_texts(tmp_path / "gone.csv")
    for form in ("csv", "jsonl", "parquet"):
        path = write(tmp_path, form)
        with pytest.raises(
            DataError, match="no column 'text': choose one of body, year"
        ) as error:
            read_texts(path)
        assert (error.value.file, error.value.column) == (path, "text")
    (tmp_path / "broken.parquet").write_text("none")
    with pytest.raises(DataError, match=r"broken.parquet is no Parquet, CSV"):
        read_texts(tmp_path / "broken.parquet")
    (tmp_path / "numbers.jsonl").write_text('{"text": 1}\n{"text": 2}')
    with pytest.raises(DataError, match=r"numbers.jsonl is no .*text"):
        read_texts(tmp_path / "numbers.jsonl")


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
    with pytest.raises(DataError, match="no Parquet file in the folder"):
        read_texts(rows)
