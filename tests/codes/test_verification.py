"""What is read from codes is compared with its checksum."""

import json

import pytest

from nanosae.codes import Codes, CodesWriter
from nanosae.codes.format import fingerprint
from nanosae.errors import DamagedFileError
from written_codes import M, N


def test_codes_of_another_format_are_refused(corpus):
    codes, *_ = corpus
    manifest = json.loads((codes.path / "manifest.json").read_text())
    del manifest["checksum"]
    (codes.path / "manifest.json").write_text(json.dumps(manifest | {"format": 1}))
    with pytest.raises(DamagedFileError, match=r"has format 1; .* encode"):
        Codes.open(codes.path)
    with pytest.raises(DamagedFileError, match="has format 1"):
        CodesWriter(codes.path, n_features=M, append=True)


@pytest.mark.parametrize(
    "file", ["row_values.npy", "feature_indices.npy", "row_ptr.npy", "rows.parquet"]
)
@pytest.mark.parametrize("damage", ["truncate", "empty", "remove"])
def test_a_damaged_file_is_named(corpus, file, damage):
    codes, *_ = corpus
    path = codes.path / "00001" / file
    content = path.read_bytes()
    if damage == "remove":
        path.unlink()
    else:
        path.write_bytes(content[: len(content) // 2] if damage == "truncate" else b"")
    again = Codes.open(codes.path)  # the other shards stay readable
    assert again.rows(0, 64).shape == (64, M)
    with pytest.raises(ValueError, match=f"00001/{file}"):
        again.texts() if file == "rows.parquet" else (
            list(again.shards()),
            again.features([0]),
        )
    with pytest.raises(ValueError, match=f"00001/{file} is damaged"):
        again.verify()


def test_verify_finds_a_single_flipped_bit(corpus):
    codes, *_ = corpus
    codes.verify()
    path = codes.path / "00002" / "feature_values.npy"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"00002/feature_values\.npy is damaged"):
        Codes(codes.path).verify()


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"format": 2}', '{"format": 2, "n_rows": 0, "shards": []}'],
)
def test_a_damaged_manifest_is_named(corpus, content):
    codes, *_ = corpus
    (codes.path / "manifest.json").write_text(content)
    with pytest.raises(ValueError, match=r"manifest\.json is damaged"):
        Codes.open(codes.path)


def test_a_manifest_that_disagrees_with_its_shards(corpus):
    codes, *_ = corpus
    manifest = codes.manifest | {"n_rows": N + 1}
    (codes.path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=r"manifest\.json is damaged"):
        Codes.open(codes.path)


def test_fingerprint_notices_size_head_and_tail(tmp_path):
    path = tmp_path / "f"
    seen = set()
    for content in (
        b"",
        b"a",
        b"aa",
        b"a" * 2**22,
        b"b" + b"a" * (2**22 - 1),
        b"a" * (2**22 - 1) + b"b",
    ):
        path.write_bytes(content)
        seen.add(fingerprint(path))
    assert len(seen) == 6
