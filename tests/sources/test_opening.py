"""Every container gives the same rows and the same metadata."""

import contextlib
import os
import subprocess
import sys
import threading

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from pyarrow import feather
from safetensors.torch import save_file

from containers import ARRAYS, LISTED, LISTS, TABLES, WIDTH, X, assert_holds, frame
from nanosae.errors import DataError
from nanosae.sources import arrow_files, open_rows
from nanosae.sources import rows as rows_module


@pytest.mark.parametrize("kind", ARRAYS)
def test_every_array_gives_the_same_rows(kind, tmp_path):
    rows = open_rows(ARRAYS[kind](tmp_path), input_size=WIDTH, columns=["ignored"])
    assert_holds(rows, X)
    assert rows.columns is None
    assert rows.metadata() is None


@pytest.mark.parametrize("kind", TABLES)
def test_every_table_gives_the_same_rows(kind, tmp_path):
    rows = open_rows(TABLES[kind](tmp_path))
    assert_holds(rows, X)
    assert rows.columns == [f"e{i}" for i in range(WIDTH)]
    extra = rows.metadata()
    assert extra is not None
    assert extra.column("text").to_pylist() == frame(X).text.tolist()
    assert extra.column("id").to_pylist() == frame(X).id.tolist()
    assert extra.num_columns == 2


@pytest.mark.parametrize("kind", LISTED)
def test_every_list_column_gives_the_same_rows(kind, tmp_path):
    rows = open_rows(LISTED[kind](tmp_path))
    assert_holds(rows, X)
    assert rows.columns == ["vector"]
    extra = rows.metadata()
    assert extra is not None
    assert extra.to_pydict() == {"text": LISTS.text.tolist()}


def test_the_comparison_sees_one_wrong_value_and_two_swapped_rows():
    wrong = X.copy()
    wrong[17, 3] += 1
    with pytest.raises(AssertionError):
        assert_holds(open_rows(wrong), X)
    with pytest.raises(AssertionError):
        assert_holds(open_rows(X[::-1]), X)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "bool", ">f4"])
def test_other_number_types(dtype):
    x = (np.random.default_rng(0).integers(0, 100, (20, 3)) // 50).astype(dtype)
    assert np.array_equal(open_rows(x).read(0, 20), x.astype(np.float32))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.int8])
def test_tensors_of_other_types(dtype, tmp_path):
    x = torch.randint(-5, 5, (20, 3)).to(dtype)
    save_file({"x": x}, tmp_path / "x.safetensors")
    for data in (x, tmp_path / "x.safetensors"):
        assert np.array_equal(open_rows(data).read(0, 20), x.float().numpy())


def test_other_column_types():
    table = pa.table(
        {
            "e0": pa.array([1, 2], pa.int64()),
            "e1": pa.array([True, False]),
            "e2": pa.array([1, 2], pa.decimal128(5, 2)),
            "e3": pa.array(np.array([0.5, 1], np.float16)),
        }
    )
    assert open_rows(table).read(0, 2).tolist() == [[1, 1, 1, 0.5], [2, 0, 2, 1]]


def test_blocks_of_a_large_table_are_joined(monkeypatch):
    monkeypatch.setattr(rows_module, "BLOCK_ROWS", 7)
    assert_holds(open_rows(frame(X)), X)
    assert_holds(open_rows(LISTS), X)
    assert_holds(open_rows(X), X)


def test_empty_row_groups_are_passed_over(tmp_path):
    table = pa.Table.from_pandas(frame(X))
    with pq.ParquetWriter(tmp_path / "x.parquet", table.schema) as out:
        for part in (table[:0], table[:20], table[:0], table[20:]):
            out.write_table(part)
    assert_holds(open_rows(tmp_path / "x.parquet"), X)


def test_open_rows_are_taken_as_they_are():
    rows = open_rows(X)
    assert open_rows(rows, input_size=WIDTH) is rows


def test_fingerprint_sees_values_shape_and_order():
    prints = [
        open_rows(x).fingerprint() for x in (X, X + 1, X[:-1], X[:, :-1], X[::-1])
    ]
    assert len(set(prints)) == 5
    for row in (0, 5, 25, 49):  # at the start, in the middle and at the end
        changed = X.copy()
        changed[row, 0] += 1
        assert open_rows(changed).fingerprint() != prints[0]
    zeros, minus = np.zeros((3, 2)), -np.zeros((3, 2))
    assert open_rows(zeros).fingerprint() == open_rows(minus).fingerprint()


def test_digest_sees_every_value():
    x = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)
    digest = open_rows(x).digest()
    for row in (0, 100, 299):
        changed = x.copy()
        changed[row, 2] = np.nextafter(changed[row, 2], 9, dtype=np.float32)
        assert open_rows(changed).digest() != digest
    swapped = x[[*range(100), 101, 100, *range(102, 300)]]
    assert open_rows(swapped).digest() != digest
    assert open_rows(swapped).fingerprint() == open_rows(x).fingerprint()
    assert open_rows(x.reshape(600, 2)).digest() != digest
    assert open_rows(x.tolist()).digest() == digest
    assert open_rows(x).digest(np.array_split(x, 7)) == digest
    zeros, minus = np.zeros((3, 2)), -np.zeros((3, 2))
    assert open_rows(zeros).digest() == open_rows(minus).digest()


def test_parquet_reads_only_vectors_one_group_at_a_time(tmp_path, monkeypatch):
    frame(X).to_parquet(tmp_path / "x.parquet", row_group_size=10)
    asked = []
    original = pq.ParquetFile.iter_batches

    def spy(self, batch_size, groups, columns):
        asked.append((batch_size, groups, columns))
        return original(self, batch_size, groups, columns)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", spy)
    monkeypatch.setattr(arrow_files, "BATCH_ROWS", 4)
    rows = open_rows(tmp_path / "x.parquet")
    assert asked == []
    assert np.array_equal(rows.read(12, 15), X[12:15])
    # goes on where the last read ended
    assert np.array_equal(rows.read(14, 18), X[14:18])
    assert asked == [(4, [1], rows.columns)]
    rows.read(13, 14)  # goes back
    assert asked == 2 * [(4, [1], rows.columns)]


def test_npy_is_mapped_not_loaded(tmp_path):
    np.save(tmp_path / "x.npy", X)
    rows = open_rows(tmp_path / "x.npy")
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r+")
    mapped[3] = 7
    mapped.flush()
    assert (rows.read(3, 4) == 7).all()


def test_threads_may_read_together(tmp_path):
    frame(X).to_parquet(tmp_path / "x.parquet", row_group_size=5)
    rows = open_rows(tmp_path / "x.parquet")
    wrong = []

    def work(seed):
        for start in np.random.default_rng(seed).integers(0, 40, 20):
            wrong.extend(
                [start]
                * (
                    not np.array_equal(
                        rows.read(start, start + 9), X[start : start + 9]
                    )
                )
            )

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.slow
def test_csv_needs_no_torch_polars_or_datasets(tmp_path):
    path = TABLES["csv"](tmp_path)
    code = (
        "import sys; from nanosae.sources import open_rows; "
        "from nanosae.data.dataset import Dataset; "
        f"[Dataset(open_rows({str(path)!r}), seed=0, buffer_rows=n) for n in (99, 40)]; "
        "print(*sorted({'torch', 'polars', 'datasets'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ},
    )
    assert done.stdout.strip() == ""


@pytest.mark.parametrize("asked", [(0, 4), (3, 4), (-1, 2)])
def test_rows_that_do_not_exist_are_not_made_up(asked):
    rows = open_rows(np.eye(3))
    with pytest.raises(IndexError, match="requested of 3"):
        rows.read(*asked)
    assert len(rows.read(3, 3)) == 0


@pytest.mark.parametrize("suffix", ["parquet", "feather"])
def test_a_damaged_file_is_named_wherever_the_damage_is(suffix, tmp_path):
    table = pa.table({"v": np.eye(8).tolist(), "a text": ["words"] * 8})
    path = tmp_path / f"x.{suffix}"
    if suffix == "parquet":
        pq.write_table(table, path, compression="snappy")
    else:
        feather.write_feather(table, path, compression="uncompressed")
    whole = path.read_bytes()
    n_read = 0
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + b"\xff" * 6 + whole[place + 6 :])
        with contextlib.suppress(DataError):  # no other error, and no crash
            open_rows(path).read(0, 8)
            open_rows(path).metadata()
            n_read += 1
    assert 0 < n_read < len(whole) / 14
