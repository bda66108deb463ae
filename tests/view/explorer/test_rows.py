"""Rows: one row, its tags, and the export of a selection."""

import csv
import io
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse as sp

from explored import HOSTILE, get, rows_of
from nanosae.codes import write_codes
from nanosae.runs import annotations
from nanosae.runs.export import for_csv
from nanosae.view.explorer.corpus import OpenCorpus
from nanosae.view.explorer.rows import export_rows, show_row


def test_a_row_has_its_text_columns_and_features(client, dense, planted):
    row = get(client, "/api/row/0")
    assert row["text"] == HOSTILE
    assert row["columns"]["group"] == planted.columns["group"][0]
    assert {j: a for j, _, a in row["features"]} == pytest.approx(
        {j: dense[0, j] for j in np.flatnonzero(dense[0]).tolist()}
    )
    assert client.get("/api/row/900").status_code == 400


def test_a_selection_is_exported_as_csv(client, corpus, dense):
    j = int(corpus.codes.counts.argmax())
    annotations.tag(
        corpus.run, "default", 'a,"b"', [int(np.flatnonzero(dense[:, j])[0])]
    )
    answer = client.get("/api/export", params={"where": json.dumps({"features": [j]})})
    assert answer.headers["content-disposition"] == 'attachment; filename="texts.csv"'
    table = pd.read_csv(io.StringIO(answer.text), keep_default_na=False)
    assert table["row"].tolist() == rows_of(client, features=[j])
    assert table["text"].tolist() == corpus.codes.texts(table["row"]).tolist()
    assert table[f"feature_{j}"].to_numpy() == pytest.approx(dense[table["row"], j])
    assert (table["tags"] == 'a,"b"').sum() == 1
    whole = client.get("/api/export").text
    lines = list(csv.reader(io.StringIO(whole)))
    assert len(lines) == 901
    assert lines[1][1] == HOSTILE
    empty = client.get("/api/export", params={"where": json.dumps({"tag": "no"})}).text
    assert empty.startswith("row,text,")
    assert len(empty.splitlines()) == 1


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\t", "\r"])
def test_no_text_of_an_export_is_a_formula(sign):
    value = f'{sign}HYPERLINK("http://evil.example")'
    table = pd.DataFrame({value: [value, "-1.5", "+3", None, 7, "plain = text"]})
    safe = for_csv(table)
    assert list(safe) == ["'" + value]
    assert safe.iloc[:, 0].tolist()[:3] == ["'" + value, "-1.5", "+3"]
    assert safe.iloc[4:, 0].tolist() == [7, "plain = text"]


def test_tags_of_an_export_are_no_formulas(client, corpus):
    annotations.tag(corpus.run, "default", "@sum", [2], data=corpus.codes.data)
    table = pd.read_csv(io.StringIO(client.get("/api/export").text))
    assert table["tags"][2] == "'@sum"


def test_an_export_of_many_blocks_has_one_header(client, monkeypatch):
    whole = client.get("/api/export").text
    monkeypatch.setattr("nanosae.view.explorer.rows.EXPORT_BLOCK", 100)
    assert client.get("/api/export").text == whole
    assert whole.count("row,text,") == 1


def test_blocks_of_an_export_write_cells_alike(tmp_path, monkeypatch):
    midnights = ["2021-05-01", "2021-05-02", None, "2021-05-04"]
    times = [*midnights[:3], "2021-05-04 10:30"]
    metadata = {
        "day": pd.to_datetime(midnights),
        "time": pd.to_datetime(times, format="mixed"),
        "zoned": pd.to_datetime(midnights).tz_localize("Asia/Tokyo"),
        "exact": pd.to_datetime(
            [*midnights[:3], "2021-05-04 10:30:00.25"], format="mixed"
        ),
        "stars": pd.array([1, 2, None, 4], dtype="Int64"),
        "row": list("abcd"),
    }
    activations = sp.csr_array(np.ones((4, 1), np.float32))
    write_codes(tmp_path / "codes" / "default", activations, metadata=metadata)
    whole = "".join(export_rows(OpenCorpus(tmp_path)))
    monkeypatch.setattr("nanosae.view.explorer.rows.EXPORT_BLOCK", 1)
    assert "".join(export_rows(OpenCorpus(tmp_path))) == whole
    lines = list(csv.reader(io.StringIO(whole)))
    assert lines[0] == ["row", "day", "time", "zoned", "exact", "stars", "row_", "tags"]
    assert lines[1][1:4] == [
        "2021-05-01",
        "2021-05-01 00:00:00",
        "2021-05-01 00:00:00+09:00",
    ]
    assert lines[3][1:6] == ["", "", "", "", ""]
    assert lines[4][4] == "2021-05-04 10:30:00.250000"
    assert [line[5] for line in lines[1:]] == ["1", "2", "", "4"]


def test_pages_and_texts_have_an_end(client, corpus, monkeypatch):
    monkeypatch.setattr("nanosae.view.explorer.rows.MAX_TEXT", 5)
    page = get(client, "/api/texts")
    assert len(page["lines"]) == 40
    assert [line["text"] for line in page["lines"]] == [
        text[:5] for text in corpus.codes.texts(np.arange(40))
    ]
    rest = get(client, "/api/texts", at=880)["lines"]
    assert [line["row"] for line in rest] == list(range(880, 900))
    assert get(client, "/api/texts", at=900)["lines"] == []
    assert get(client, "/api/row/0")["text"] == corpus.codes.texts([0])[0]


def test_an_export_names_all_tags_of_a_row(client, corpus):
    annotations.tag(corpus.run, "default", "odd", [3, 5], data=corpus.codes.data)
    annotations.tag(corpus.run, "default", "a,b", [5], data=corpus.codes.data)
    table = pd.read_csv(
        io.StringIO(client.get("/api/export").text), keep_default_na=False
    )
    assert table["tags"][[3, 4, 5]].tolist() == ["odd", "", "a,b|odd"]


def test_tags_of_an_export_do_not_replace_a_column(tmp_path):
    table = {"text": ["a", "b"], "tags": ["red", "blue"]}
    acts = sp.csr_array(np.eye(2, dtype=np.float32))
    codes = write_codes(tmp_path / "codes" / "default", acts, metadata=table)
    annotations.tag(tmp_path, "default", "mine", [1], data=codes.data)
    exported = "".join(export_rows(OpenCorpus(tmp_path)))
    lines = list(csv.reader(io.StringIO(exported)))
    assert lines == [
        ["row", "text", "tags", "tags_"],
        ["0", "a", "red", ""],
        ["1", "b", "blue", "mine"],
    ]


def test_a_selection_is_exported_with_whole_numbers_in_every_block(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("nanosae.view.explorer.rows.EXPORT_BLOCK", 2)
    acts = sp.csr_array(np.eye(4, dtype=np.float32))
    table = pa.table({"text": list("abcd"), "n": pa.array([2**60 + 1, None, 3, 4])})
    write_codes(tmp_path / "codes" / "default", acts, metadata=table)
    corpus = OpenCorpus(tmp_path)
    exported = "".join(export_rows(corpus))
    lines = list(csv.reader(io.StringIO(exported)))
    assert [line[2] for line in lines] == ["n", str(2**60 + 1), "", "3", "4"]
    shown = [show_row(corpus, row)["columns"].get("n") for row in range(4)]
    assert shown == [str(2**60 + 1), None, "3", "4"]
