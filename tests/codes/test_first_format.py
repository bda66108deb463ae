"""Codes of the first format, which had one checksum a file and knew no sources."""

import json
import zlib

import numpy as np
import pytest
import scipy.sparse as sp

from nanosae.codes import Codes, CodesWriter
from nanosae.errors import DamagedFileError
from written_codes import M, N, rebuilt


@pytest.fixture
def old(corpus):
    """The corpus as the first version wrote it."""
    codes, *_ = corpus
    manifest = json.loads((codes.path / "manifest.json").read_text())
    for key in ("checksum", "sources", "schema", "draft"):
        del manifest[key]
    for shard in manifest["shards"]:
        for name in shard["files"]:
            content = (codes.path / shard["name"] / name).read_bytes()
            shard["files"][name] = zlib.crc32(content)
    (codes.path / "manifest.json").write_text(json.dumps(manifest | {"format": 1}))
    return codes.path


def test_it_is_read_as_before(old, dense, corpus):
    codes = Codes(old)
    codes.verify()
    np.testing.assert_array_equal(rebuilt(codes), dense)
    assert codes.texts().tolist() == corpus[0].texts().tolist()
    assert codes.column("year", [70, 3]).tolist() == [1970, 1903]
    assert codes.data == ""


def test_its_damage_is_noticed(old):
    path = old / "00002" / "feature_values.npy"
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    with pytest.raises(DamagedFileError, match=r"00002/feature_values\.npy"):
        Codes(old).top(0)


def test_rows_are_added_to_it(old, dense):
    table = {"text": ["new"] * 5, "group": ["g"] * 5, "year": [2000] * 5}
    with CodesWriter(old, n_features=M, append=True) as writer:
        writer.append(sp.csr_array(dense[:5]), table=table, vectors=np.zeros((5, 5)))
    codes = Codes(old)
    codes.verify()
    np.testing.assert_array_equal(rebuilt(codes), np.vstack([dense, dense[:5]]))
    assert codes.texts([N]).tolist() == ["new"]


def test_a_column_that_was_made_unreadable_is_read_as_text(old):
    import pyarrow.parquet as pq

    path = old / "00003" / "rows.parquet"
    table = pq.read_table(path)
    year = table.schema.get_field_index("year")
    words = table["year"].cast("string")
    pq.write_table(table.set_column(year, "year", words), path, row_group_size=10)
    manifest = json.loads((old / "manifest.json").read_text())
    manifest["shards"][3]["files"]["rows.parquet"] = zlib.crc32(path.read_bytes())
    (old / "manifest.json").write_text(json.dumps(manifest))
    assert Codes(old).column("year", [0, N - 1]).tolist() == ["1900", str(1900 + N - 1)]
