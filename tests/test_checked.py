"""Checksums inside files, and errors that name the file."""

import json

import pyarrow as pa
import pytest

from nanosae import checked
from nanosae.checked import (
    BLANK,
    check_file,
    file_checksum,
    is_sealed,
    read_json,
    read_sealed,
    seal,
    seal_file,
    table_checksum,
    write_sealed_json,
)
from nanosae.errors import DamagedFileError, MissingError


def test_every_flipped_bit_of_a_sealed_json_file_is_noticed(tmp_path):
    path = tmp_path / "a.json"
    facts = {"a": [1, 2.5, None], "b": "žluťoučký", "c": {"d": True}}
    write_sealed_json(path, facts)
    assert read_json(path, "") == facts
    assert json.loads(path.read_text("utf-8")).keys() == {*facts, "checksum"}
    data, messages, unnoticed = path.read_bytes(), set(), 0
    for i in range(len(data)):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[i] ^= 1 << bit
            path.write_bytes(flipped)
            try:
                unnoticed += read_json(path, "") != facts
            except DamagedFileError as error:
                messages.add(str(error))
    assert unnoticed == 0
    assert all("a.json is damaged" in message for message in messages)


def test_without_a_seal_a_flip_would_go_unnoticed(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"a": 1}')
    assert read_json(path, "") == {"a": 1}  # files of others are read as they are
    path.write_text('{"a": 3}')
    assert read_json(path, "") == {"a": 3}


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", "\x00\xff", '{"a": 1} x'])
def test_what_is_no_json_object_is_damaged(tmp_path, text):
    (tmp_path / "a.json").write_text(text, encoding="latin-1")
    with pytest.raises(DamagedFileError, match=r"a\.json is damaged.*Do this"):
        read_json(tmp_path / "a.json", "Do this.")


def test_what_is_missing_is_not_damaged(tmp_path):
    with pytest.raises(MissingError, match=r"a\.json does not exist\. Do this"):
        read_json(tmp_path / "a.json", "Do this.")


def test_the_seal_is_the_last_mark_and_texts_may_hold_others(tmp_path):
    path = tmp_path / "a.json"
    write_sealed_json(path, {"text": f"{BLANK} nanosae-crc32:12345678"})
    assert read_json(path, "")["text"].endswith("12345678")
    data = read_sealed(path, "")
    path.write_bytes(data.replace(b"12345678", b"12345679"))
    with pytest.raises(DamagedFileError):
        read_sealed(path, "")


def test_a_large_file_is_sealed_and_checked_piece_by_piece(tmp_path, monkeypatch):
    monkeypatch.setattr(checked, "CHUNK", 7)
    content = b"x" * 50 + BLANK.encode() + b"y" * 33
    path = tmp_path / "f"
    path.write_bytes(content)
    assert not is_sealed(path)
    seal_file(path)
    assert path.read_bytes() == seal(content)
    assert is_sealed(path)
    for i in (0, 49, 55, 66, 95):
        flipped = bytearray(seal(content))
        flipped[i] ^= 4
        path.write_bytes(flipped)
        assert not is_sealed(path), i
    path.write_bytes(b"")
    assert not is_sealed(path)


def test_a_file_is_compared_with_its_checksum(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"123456789")
    assert file_checksum(path) == "cbf43926"  # the check value of CRC-32
    check_file(path, "cbf43926", "list", "")
    with pytest.raises(
        DamagedFileError, match="its checksum is cbf43926, but 00000000 in list"
    ):
        check_file(path, "00000000", "list", "")


def test_the_checksum_of_a_table_depends_on_names_types_and_values_alone():
    table = pa.table({"a": [1, 2, None], "b": ["x", "y", "z"]})
    same = pa.concat_tables([table[:1], table[1:]]).replace_schema_metadata({"k": "v"})
    assert table_checksum(table) == table_checksum(same) == table_checksum(table[:3])
    others = [
        table.rename_columns(["a", "c"]),
        table.set_column(0, "a", pa.array([1, 2, 3])),
        table.set_column(0, "a", pa.array([1.0, 2.0, None])),
        table[:2],
        table.select(["b", "a"]),
    ]
    assert len({table_checksum(table), *map(table_checksum, others)}) == 1 + len(others)
    assert table_checksum(None) == ""
