"""Tables of texts as people have them."""

import gzip
import json

import pandas as pd
import pytest

from nanosae.errors import DataError, MissingError
from nanosae.sources.text_files import drop_empty_texts, read_table


def test_the_delimiter_is_found(tmp_path):
    for delimiter in ",;\t|":
        path = tmp_path / "table.csv"
        rows = [["text", "n"], ["one, two; three", "1"], ['a "quoted" | text', "2"]]
        frame = pd.DataFrame(rows[1:], columns=rows[0])
        frame.to_csv(path, sep=delimiter, index=False)
        assert read_table(path).to_pydict() == {
            "text": [r[0] for r in rows[1:]],
            "n": [1, 2],
        }


def test_semicolons_come_with_decimal_commas(tmp_path):
    path = tmp_path / "excel.csv"
    path.write_text("Kommentar;Note\ngut;1,5\nschlecht;4,25\n", "utf-8-sig")
    assert read_table(path).to_pydict() == {
        "Kommentar": ["gut", "schlecht"],
        "Note": [1.5, 4.25],
    }


def test_a_missing_header_is_no_row_lost(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text('1,"good, really"\n2,bad\n')
    assert read_table(path).to_pydict() == {
        "column1": [1, 2],
        "column2": ["good, really", "bad"],
    }
    text = "a text that is far too long to be the name of a column of a table"
    path.write_text(f"{text},x\n{text},y\n")
    assert read_table(path).num_rows == 2


def test_another_encoding_is_a_question(tmp_path):
    path = tmp_path / "latin.csv"
    path.write_bytes("text,n\ncafé,1\n".encode("latin-1"))
    with pytest.raises(
        DataError, match=r"latin\.csv is not in utf-8.*--encoding cp1252"
    ):
        read_table(path)
    assert read_table(path, encoding="cp1252")["text"].to_pylist() == ["café"]
    late = "text,n\n" + "plain,1\n" * 40_000
    path.write_bytes(late.encode() + "café,1\n".encode("latin-1"))
    with pytest.raises(DataError, match="--encoding cp1252"):
        read_table(path)


def test_texts_keep_quotes_newlines_and_length(tmp_path):
    texts = ['a "quoted"\ntext, of two lines', "x" * 5_000_000]
    path = tmp_path / "table.csv"
    pd.DataFrame({"text": texts, "n": [1, 2]}).to_csv(path, index=False)
    assert read_table(path)["text"].to_pylist() == texts


def test_a_line_is_a_text(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("first\n\n  \nsecond, with a comma\n", "utf-8-sig")
    assert read_table(path)["text"].to_pylist() == ["first", "second, with a comma"]


def test_json_in_its_forms(tmp_path):
    rows = [{"text": "one", "n": 1}, {"text": "two", "n": 2}]
    lines = tmp_path / "rows.jsonl"
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows))
    array = tmp_path / "rows.json"
    array.write_text(json.dumps(rows))
    inside = tmp_path / "inside.json"
    inside.write_text(json.dumps({"version": 1, "data": rows}))
    for path in (lines, array, inside):
        assert read_table(path).to_pylist() == rows
    array.write_text(json.dumps(["one", "two"]))
    assert read_table(array)["text"].to_pylist() == ["one", "two"]


def test_chats_become_texts(tmp_path):
    chat = {
        "id": 7,
        "messages": [
            {"role": "user", "content": "Hi"},
            {"role": "bot", "content": "Yes?"},
        ],
    }
    path = tmp_path / "log.jsonl.gz"
    with gzip.open(path, "wt") as stream:
        stream.write(json.dumps(chat) + "\n")
    assert read_table(path).to_pylist() == [{"id": 7, "messages": "Hi\nYes?"}]


def test_files_of_a_folder_are_joined_in_order(tmp_path):
    for i in (2, 1):
        (tmp_path / f"part{i}.csv").write_text(f"text,n\nrow {i},{i}\n")
    for where in (tmp_path, tmp_path / "part*.csv"):
        assert read_table(where)["text"].to_pylist() == ["row 1", "row 2"]
    (tmp_path / "other.txt").write_text("a line\n")
    with pytest.raises(DataError, match=r"several types: \.csv, \.txt"):
        read_table(tmp_path)


def test_what_cannot_be_read_is_named(tmp_path):
    with pytest.raises(MissingError, match=r"nothing\.csv does not exist"):
        read_table(tmp_path / "nothing.csv")
    empty = tmp_path / "empty.csv"
    empty.write_text("")
    with pytest.raises(DataError, match=r"empty\.csv is empty"):
        read_table(empty)
    junk = tmp_path / "junk.parquet"
    junk.write_bytes(b"junk")
    with pytest.raises(
        DataError, match=r"junk\.parquet cannot be read as a \.parquet file"
    ):
        read_table(junk)
    other = tmp_path / "picture.png"
    other.write_bytes(b"x")
    with pytest.raises(DataError, match=r"\.png file; read are"):
        read_table(other)
    ragged = tmp_path / "ragged.csv"
    ragged.write_text("text,n\nfine,1\nbad,2,3\n")
    with pytest.raises(DataError, match=r"ragged\.csv cannot be read"):
        read_table(ragged)


def test_empty_texts_are_dropped_and_counted(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(
        "".join(json.dumps({"text": text}) + "\n" for text in ("a", "", None, "  "))
    )
    kept, n_dropped = drop_empty_texts(read_table(path), "text")
    assert (kept["text"].to_pylist(), n_dropped) == (["a"], 3)
