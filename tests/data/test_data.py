"""Every row once per epoch, from every container, with errors that name the cell.

Run: pytest tests/test_data.py
"""

import os
import re
import subprocess
import sys
import threading
from itertools import islice, pairwise
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from sklearn.preprocessing import StandardScaler

from nanosae.cli import main
from nanosae.data import dataset as module
from nanosae.data.dataset import Dataset
from nanosae.sources import rows as reader
from nanosae.sources.rows import open_rows

N, WIDTH = 50, 12
quick = settings(max_examples=25, deadline=None)


def vectors(n=N, width=WIDTH, seed=0):
    """Random rows whose values fit float16 exactly, so that every container holds the same."""
    return np.random.default_rng(seed).normal(size=(n, width)).astype(np.float16).astype(np.float32)


def numbered(n, width=3):
    """Rows that carry their own number in the first place."""
    x = np.random.default_rng(0).normal(size=(n, width)).astype(np.float32)
    x[:, 0] = np.arange(n)
    return x


def frame(x, prefix="e"):
    """A frame as users have it: vector columns in the wrong order, between a text and an id."""
    names = [f"{prefix}{i}" for i in range(x.shape[1])]
    vector = pd.DataFrame(x, columns=names)[names[::-1]]
    text = pd.Series([f"text é {i}\nline two" for i in range(len(x))], name="text")
    return pd.concat([text, vector, pd.Series(np.arange(len(x)) + 7, name="id")], axis=1)


# Batches


def row_numbers(dataset, rows):
    """Undo the normalisation of the first column of `numbered` rows."""
    return np.rint(rows[:, 0] / np.float32(dataset.scale) + dataset.mean[0]).astype(int)


def deal(dataset, batch_size, n_rows, start_row=0):
    """Concatenate batches to the first n_rows rows."""
    n_batches = -(-n_rows // batch_size)
    batches = islice(dataset.batches(batch_size, start_row), n_batches)
    return np.concatenate([buffer[idx] for buffer, idx in batches])[:n_rows]


def is_partition(epoch, heldout, n):
    """Whether an epoch and the held-out rows together are each row once."""
    return sorted([*epoch, *heldout]) == list(range(n))


sizes = {
    "n": st.integers(2, 200),
    "batch_size": st.integers(1, 250),
    "buffer_rows": st.sampled_from([1, 64, 100, 199, 10**6]),
    "seed": st.integers(0, 3),
}


@quick
@given(**sizes)
def test_every_row_comes_once_per_epoch(n, batch_size, buffer_rows, seed):
    data = Dataset(open_rows(numbered(n)), seed=seed, buffer_rows=buffer_rows)
    assert data.in_memory == (n <= buffer_rows)
    assert (data.n_heldout, data.n_train + data.n_heldout) == (len(data.heldout), n)
    got = row_numbers(data, deal(data, batch_size, 3 * data.n_train)).reshape(3, -1)
    heldout = row_numbers(data, data.heldout)
    assert all(is_partition(epoch, heldout, n) for epoch in got)


def test_a_dealer_that_drops_the_last_short_batch_is_caught():
    data = Dataset(open_rows(numbered(100)), seed=0)
    epoch = row_numbers(data, deal(data, 1, data.n_train))
    heldout = row_numbers(data, data.heldout)
    assert is_partition(epoch, heldout, 100)
    assert not is_partition(epoch[: data.n_train // 32 * 32], heldout, 100)
    assert not is_partition(np.append(epoch[1:], epoch[1]), heldout, 100)


@quick
@given(start=st.integers(0, 500), **sizes)
def test_resumed_batches_are_those_of_the_uninterrupted_stream(
    n, batch_size, buffer_rows, seed, start
):
    rows = open_rows(numbered(n))
    data = Dataset(rows, seed=seed, buffer_rows=buffer_rows)
    whole = deal(data, 17, start + 300)
    again = Dataset(rows, seed=seed, buffer_rows=buffer_rows)
    assert np.array_equal(deal(again, batch_size, 300, start), whole[start:])
    if data.n_train > 3:  # twin: a position that is off by one is seen
        assert not np.array_equal(deal(again, batch_size, 300, start + 1), whole[start:])


@pytest.mark.parametrize("buffer_rows", [10**6, 400])
def test_order_depends_on_seed_and_epoch(buffer_rows):
    def epochs(seed):
        data = Dataset(open_rows(numbered(800)), seed=seed, buffer_rows=buffer_rows)
        return row_numbers(data, deal(data, 100, 2 * data.n_train)).reshape(2, -1)

    first, second = epochs(0)
    assert not np.array_equal(first, second)
    assert not np.array_equal(np.sort(first), first)
    assert np.array_equal(epochs(0)[0], first)
    assert set(epochs(1)[0]) != set(first)  # other rows are held out


def test_batches_are_int64_rows_of_a_normalised_float32_buffer():
    data = Dataset(open_rows(numbered(500)), seed=0)
    buffer, idx = next(data.batches(64))
    assert (buffer.dtype, idx.dtype, idx.shape) == (np.float32, np.int64, (64,))
    assert buffer.flags.c_contiguous
    assert buffer is next(data.batches(64))[0]  # nothing is copied per batch


@pytest.mark.parametrize("buffer_rows", [10**6, 300])
def test_a_batch_may_be_larger_than_an_epoch(buffer_rows):
    data = Dataset(open_rows(numbered(400)), seed=0, buffer_rows=buffer_rows)
    buffer, idx = next(data.batches(1000))
    rows = row_numbers(data, buffer[idx])
    assert np.bincount(rows[: 2 * data.n_train]).max() == 2
    assert len(rows) == 1000


def test_streaming_reads_ahead_in_one_thread_and_stops_with_its_iterator():
    data = Dataset(open_rows(numbered(2000)), seed=0, buffer_rows=400)
    before = threading.active_count()
    batches = data.batches(32)
    next(batches)
    assert threading.active_count() == before + 1
    del batches
    assert threading.active_count() == before


def test_streaming_holds_two_buffers(monkeypatch):
    data = Dataset(open_rows(numbered(5000)), seed=0, buffer_rows=1600)
    bases = {
        id(buffer if buffer.base is None else buffer.base)
        for buffer, _ in islice(data.batches(8), 500)
    }
    assert len(bases) <= 1 + 500 * 8 // 400  # one block for both, and a copy where a batch crosses


def test_a_bad_row_beyond_the_start_is_found_when_it_is_reached(tmp_path):
    x = numbered(3000)
    data = Dataset(open_rows(x), seed=0, buffer_rows=400)
    seen = set(row_numbers(data, deal(data, 32, 256))) | set(row_numbers(data, data.heldout))
    late = max(set(range(3000)) - seen)
    x[late, 1] = np.nan  # after the start: the source is not copied
    with pytest.raises(ValueError, match=rf"row {late} \(0-based\), column 1 holds nan"):
        deal(data, 32, 3000)


# Normalisation, held-out rows, notes


@pytest.mark.parametrize("buffer_rows", [10**6, 2000])
def test_rows_are_centred_and_scaled_to_mean_square_one(buffer_rows):
    x = np.random.default_rng(1).normal(3, 5, size=(4000, 8)) * np.arange(1, 9)
    data = Dataset(open_rows(x), seed=0, buffer_rows=buffer_rows)
    epoch = deal(data, 256, data.n_train).astype(np.float64)
    tolerance = 1e-5 if data.in_memory else 0.25  # streamed: estimated on some of the rows
    assert epoch.mean(0) == pytest.approx(np.zeros(8), abs=tolerance)
    assert np.square(epoch).sum(1).mean() == pytest.approx(8, rel=tolerance)
    raw = epoch / data.scale + data.mean
    if data.in_memory:
        scaler = StandardScaler().fit(raw)
        mean, variance = np.array([scaler.mean_, scaler.var_], float)
        assert data.mean == pytest.approx(mean, rel=1e-4)
        assert data.scale == pytest.approx(np.sqrt(8 / variance.sum()), rel=1e-4)
        uncentred = np.square(raw).sum(1).mean()
        assert data.scale != pytest.approx(np.sqrt(8 / uncentred), rel=0.05)  # twin


def test_statistics_come_from_training_rows_alone():
    x = vectors(40)
    outlier = Dataset(open_rows(x), seed=0)
    held = np.flatnonzero(
        [
            any(
                np.allclose(row / outlier.scale + outlier.mean, r, atol=1e-4)
                for row in outlier.heldout
            )
            for r in x
        ]
    )
    assert len(held) == outlier.n_heldout == 2
    assert outlier.mean == pytest.approx(np.delete(x, held, 0).mean(0), abs=1e-5)
    assert outlier.mean != pytest.approx(x.mean(0), abs=1e-5)


def test_float32_data_far_from_zero_keeps_its_scale():
    x = (np.random.default_rng(0).normal(size=(2000, 4)) + 1e4).astype(np.float32)
    data = Dataset(open_rows(x), seed=0)
    exact = x.astype(np.float64).var(0).sum()
    assert data.scale == pytest.approx(np.sqrt(4 / exact), rel=0.02)
    naive = np.square(x).mean(0) - np.square(x.mean(0))  # twin: one pass in float32
    assert naive.sum() != pytest.approx(exact, rel=0.02)


def test_normalise_false_leaves_rows_alone():
    x = vectors()
    data = Dataset(open_rows(x), seed=0, normalise=False)
    assert data.scale == 1
    assert not data.mean.any()
    assert {row.tobytes() for row in deal(data, 10, data.n_train)} < {row.tobytes() for row in x}


def test_held_out_share_and_maximum():
    rows = open_rows(vectors(1000))
    assert Dataset(rows, seed=0).n_heldout == 50
    assert Dataset(rows, seed=0, heldout_share=0.2).n_heldout == 200
    assert Dataset(rows, seed=0, heldout_max=7).n_heldout == 7
    assert Dataset(rows, seed=0, heldout_share=0.0).n_heldout == 1


@pytest.mark.parametrize("copies", [1, 3, 400])
def test_copies_of_a_row_stay_on_one_side(copies):
    distinct = vectors(60)
    x = np.concatenate([distinct, *[distinct[:20]] * copies])
    for seed in range(5):
        data = Dataset(open_rows(x), seed=seed, normalise=False)
        train = {row.tobytes() for row in deal(data, 64, data.n_train)}
        heldout = {row.tobytes() for row in data.heldout}
        assert heldout
        assert not train & heldout
        assert len(train | heldout) == 60
    rows = np.random.default_rng(0).permutation(len(x))  # twin: rows split one by one
    cut = max(1, len(x) // 20)
    assert {x[i].tobytes() for i in rows[:cut]} & {x[i].tobytes() for i in rows[cut:]}


def test_zero_rows_and_copies_are_counted():
    x = np.random.default_rng(0).integers(0, 3, size=(3000, 6)).astype(np.float32)
    copies = len(x) - len(np.unique(x, axis=0))
    zeros = int((x == 0).all(1).sum())
    assert copies > 1000
    assert zeros > 0
    notes = Dataset(open_rows(x), seed=0).notes
    assert f"{zeros} of 3,000 rows are all zero." in notes
    assert f"{copies:,} of 3,000 rows are copies of others." in notes
    assert Dataset(open_rows(vectors(1500)), seed=0).notes == []


def test_small_and_streamed_data_is_noted():
    assert "20 rows" in Dataset(open_rows(vectors(20)), seed=0).notes[0]
    sample, mixing = Dataset(open_rows(vectors(2000)), seed=0, buffer_rows=800).notes
    assert sample == "Mean, scale and counts come from 184 of 2,000 rows."
    assert "Up to 8 neighbours at a time are read into buffers of 200 rows" in mixing


def test_one_row_is_trained_on_and_held_out():
    data = Dataset(open_rows([[1.0, 2.0]]), seed=0)
    assert (data.n_train, data.n_heldout) == (1, 1)
    assert data.mean.tolist() == [1, 2]
    assert "also held out" in data.notes[-1]
    buffer, idx = next(data.batches(3))
    assert buffer[idx].tolist() == [[0, 0]] * 3


@pytest.mark.parametrize("value", [0, 1.5])
def test_equal_rows_are_refused(value):
    with pytest.raises(ValueError, match=r"All 30 rows read are equal"):
        Dataset(open_rows(np.full((30, 4), value)), seed=0)


@pytest.mark.parametrize("buffer_rows", [10**6, 480])
def test_sample_takes_distinct_training_rows(buffer_rows):
    data = Dataset(open_rows(numbered(500)), seed=0, buffer_rows=buffer_rows)
    rows = row_numbers(data, data.sample(80, seed=1))
    assert len(set(rows)) == 80
    assert not set(rows) & set(row_numbers(data, data.heldout))
    assert not np.array_equal(rows, np.sort(rows))
    assert np.array_equal(row_numbers(data, data.sample(80, seed=1)), rows)
    assert not np.array_equal(row_numbers(data, data.sample(80, seed=2)), rows)
    assert np.array_equal(row_numbers(data, data.sample(80, 1, slice(7, 30))), rows[7:30])
    more = row_numbers(data, data.sample(2 * data.n_train, seed=1))
    counts = np.bincount(more)[np.unique(more)]
    assert set(counts) == {2} if data.in_memory else np.ptp(counts) <= 1


# Containers


def write(path, table):
    """Write an Arrow stream file, as Hugging Face does."""
    with pa.ipc.new_stream(path, table.schema) as out:
        out.write_table(table, max_chunksize=9)
    return path


def shards(folder, save):
    """Write five shards whose names sort wrongly as text."""
    folder.mkdir()
    for i in range(5):
        save(folder / f"part-{8 + i}", slice(10 * i, 10 * i + 10))
    return folder


def saved(path, save):
    """Save and give the path back."""
    save(path)
    return path


X = vectors()
LISTS = pd.DataFrame({"text": [f"t{i}" for i in range(N)], "vector": list(X)})
ARRAYS = {
    "float32": lambda _: X,
    "float16": lambda _: X.astype(np.float16),
    "float64 columns first": lambda _: np.asfortranarray(X.astype(float)),
    "strided": lambda _: np.repeat(X, 2, axis=0)[::2],
    "objects": lambda _: X.astype(object),
    "array of arrays": lambda _: LISTS.vector.to_numpy(),
    "list of lists": lambda _: X.tolist(),
    "list of arrays": lambda _: list(X),
    "list of tensors": lambda _: list(torch.from_numpy(X)),
    "tensor": lambda _: torch.from_numpy(X),
    "tensor with gradient": lambda _: torch.from_numpy(X).double().requires_grad_(),
    "transposed tensor": lambda _: torch.from_numpy(X.T.copy()).T,
    "sparse": lambda _: sp.csr_array(X),
    "npy": lambda d: saved(d / "x.npy", lambda p: np.save(p, X.astype(np.float16))),
    "npz": lambda d: saved(d / "x.npz", lambda p: np.savez(p, x=X, y=np.arange(N))),
    "safetensors": lambda d: saved(
        d / "x.safetensors", lambda p: save_file({"x": torch.from_numpy(X)}, p)
    ),
    "pt": lambda d: saved(d / "x.pt", lambda p: torch.save(torch.from_numpy(X).half(), p)),
    "pt dict": lambda d: saved(
        d / "x.pt", lambda p: torch.save({"x": torch.from_numpy(X), "n": 3}, p)
    ),
    "memmap": lambda d: np.load(ARRAYS["npy"](d), mmap_mode="r"),
    "npy shards": lambda d: shards(d / "s", lambda p, s: np.save(p.with_suffix(".npy"), X[s])),
    "glob": lambda d: str(ARRAYS["npy shards"](d) / "part-*.npy"),
}
TABLES = {
    "pandas": lambda _: frame(X),
    "pandas float16": lambda _: frame(X.astype(np.float16)),
    "polars": lambda _: pl.from_pandas(frame(X)),
    "arrow": lambda _: pa.Table.from_pandas(frame(X)),
    "chunked arrow": lambda _: pa.concat_tables(
        pa.Table.from_pandas(frame(X)[i : i + 9]) for i in range(0, N, 9)
    ),
    "csv": lambda d: saved(d / "x.csv", lambda p: frame(X).to_csv(p, index=False)),
    "tsv": lambda d: str(saved(d / "x.tsv", lambda p: frame(X).to_csv(p, index=False, sep="\t"))),
    "parquet": lambda d: saved(d / "x.parquet", lambda p: frame(X).to_parquet(p, row_group_size=7)),
    "feather": lambda d: saved(d / "x.feather", lambda p: frame(X).to_feather(p)),
    "arrow file": lambda d: saved(d / "x.arrow", lambda p: pl.from_pandas(frame(X)).write_ipc(p)),
    "arrow stream": lambda d: write(d / "x.arrow", pa.Table.from_pandas(frame(X))),
    "parquet shards": lambda d: shards(
        d / "s", lambda p, s: frame(X)[s].to_parquet(p.with_suffix(".parquet"))
    ),
    "csv shards": lambda d: shards(
        d / "s", lambda p, s: frame(X)[s].to_csv(p.with_suffix(".csv"), index=False)
    ),
}
LISTED = {
    "pandas": lambda _: LISTS,
    "polars": lambda _: pl.from_pandas(LISTS),
    "polars arrays": lambda _: pl.from_pandas(LISTS).with_columns(
        pl.col("vector").cast(pl.Array(pl.Float32, WIDTH))
    ),
    "parquet": lambda d: saved(d / "x.parquet", lambda p: LISTS.to_parquet(p, row_group_size=7)),
    "half lists": lambda _: pa.table(
        {"text": LISTS.text, "vector": pa.array(list(X.astype(np.float16)))}
    ),
    "Hugging Face": lambda _: datasets.Dataset.from_pandas(LISTS),
    "Hugging Face selection": lambda _: datasets.Dataset.from_pandas(LISTS.iloc[::-1]).select(
        range(N)[::-1]
    ),
}


def assert_holds(rows, expected):
    """Compare reads of all kinds with the expected array."""
    picks = np.array([0, 3, 4, 17, len(expected) - 1])
    assert (rows.n_rows, rows.width) == expected.shape
    assert np.array_equal(rows.read(0, rows.n_rows), expected)
    assert np.array_equal(rows.read(5, 9), expected[5:9])
    assert np.array_equal(rows.take(picks), expected[picks])
    assert np.array_equal(np.concatenate([*rows.blocks(13)]), expected)
    assert rows.read(0, 2).dtype == np.float32
    assert rows.fingerprint() == open_rows(expected).fingerprint()


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
            "e3": pa.array([0.5, 1], pa.float16()),
        }
    )
    assert open_rows(table).read(0, 2).tolist() == [[1, 1, 1, 0.5], [2, 0, 2, 1]]


def test_blocks_of_a_large_table_are_joined(monkeypatch):
    monkeypatch.setattr(reader, "BLOCK", 7)
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
    prints = [open_rows(x).fingerprint() for x in (X, X + 1, X[:-1], X[:, :-1], X[::-1])]
    assert len(set(prints)) == 5
    zeros, minus = np.zeros((3, 2)), -np.zeros((3, 2))
    assert open_rows(zeros).fingerprint() == open_rows(minus).fingerprint()


def test_parquet_reads_only_vectors_one_group_at_a_time(tmp_path, monkeypatch):
    frame(X).to_parquet(tmp_path / "x.parquet", row_group_size=10)
    asked = []
    original = pq.ParquetFile.iter_batches

    def spy(self, batch_size, groups, columns):
        asked.append((batch_size, groups, columns))
        return original(self, batch_size, groups, columns)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", spy)
    monkeypatch.setattr(reader, "BLOCK", 4)
    rows = open_rows(tmp_path / "x.parquet")
    assert asked == []
    assert np.array_equal(rows.read(12, 15), X[12:15])
    assert np.array_equal(rows.read(14, 18), X[14:18])  # goes on where the last read ended
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
                [start] * (not np.array_equal(rows.read(start, start + 9), X[start : start + 9]))
            )

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_csv_needs_no_torch_polars_or_datasets(tmp_path):
    path = TABLES["csv"](tmp_path)
    code = (
        "import sys; from nanosae.data.dataset import open_rows, Dataset; "
        f"[Dataset(open_rows({str(path)!r}), seed=0, buffer_rows=n) for n in (99, 40)]; "
        "print(*sorted({'torch', 'polars', 'datasets'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ}
    )
    assert done.stdout.strip() == ""


# Which columns are vectors


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
        ({"v": "v", "e0": "f", "e1": "f", "e2": "f"}, None, ["v"]),
        ({"a": "f", "b": "f", "t": "t"}, None, ["a", "b"]),
        ({"a": "i", "b": "i"}, None, ["a", "b"]),
        ({"a": "i", "b": "f", "t": "t"}, 2, ["a", "b"]),
        ({"layer1_e0": "f", "layer1_e1": "f", "layer2_x": "f"}, None, ["layer1_e0", "layer1_e1"]),
    ],
)
def test_vector_columns_are_found(kinds, size, expected):
    assert columns_of(kinds=kinds, size=size) == expected


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        ({"v": "v", "w": "v"}, "Which are the vectors: v or w?"),
        ({"e0": "f", "e1": "f", "x0": "f", "x1": "f"}, "Which are the vectors: e0 or x0?"),
        ({"id": "i", "b": "f", "t": "t"}, "{'id': 'int64', 'b': 'double', 't': "),
        ({"t": "t", "id": "i"}, "Found no vectors, or not only vectors. There are 2 columns"),
        ({"t": "t"}, "Found no vectors, or not only vectors. There are 1 columns"),
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
    with pytest.raises(ValueError, match=r"2 columns are missing: \['e77', 'q'\]. There are 14"):
        open_rows(frame(X), columns=["e1", "e77", "q"])


# Errors


def fails(data, *parts, kind: type[Exception] = ValueError, **options):
    """Open and read; expect an error that holds each part."""
    with pytest.raises(kind) as error:
        next(open_rows(data, **options).blocks())
    assert [part for part in parts if part not in str(error.value)] == []


def test_not_finite_values_are_named():
    x = vectors()
    x[7, 2], x[9, 1] = np.nan, -np.inf
    fails(x, "row 7 (0-based), column 2 holds nan, one of 2", "Drop those rows or fill")
    fails(frame(x), "row 7 (0-based), column e2 holds nan")
    fails(pl.from_pandas(frame(x[8:])), "row 1 (0-based), column e1 holds -inf, one of 1")
    fails(LISTS.assign(vector=list(x)), "row 7 (0-based), column 2 holds nan")
    fails(np.full((3, 2), 1e300), "row 0 (0-based), column 0 holds inf")
    fails(pd.DataFrame({"e0": pd.array([1, None], "Int64"), "e1": [1, 2]}), "row 1", "column e0")
    big = np.full((3, 2), 3e38, np.float32)  # twin: finite, though their sum is not
    assert np.array_equal(open_rows(big).read(0, 3), big)


@pytest.mark.parametrize("prefix", ["e", "col_x"])
@pytest.mark.parametrize("bad", ["n/a", "1,5", "NULL"])
def test_bad_cells_are_named(tmp_path, prefix, bad):
    table = frame(X, "e").drop(columns=["id", "text"]).astype(object)
    table.columns = [f"{prefix}{i}" if prefix == "e" else chr(97 + i) for i in range(WIDTH)][::-1]
    name = table.columns[5]
    table.loc[13, name] = bad
    fails(table, f"row 13 (0-based), column {name} holds '{bad}'", "correct it")
    table.to_csv(tmp_path / "x.csv", index=False)
    fails(tmp_path / "x.csv", "row 13 (0-based; line 15", f"column {name} holds '{bad}'")
    with pytest.raises(AssertionError):  # twin: another row is not accepted
        fails(table, "row 12 (0-based)")


def test_text_and_label_columns_are_not_bad_cells():
    texts = frame(X).assign(score=["1"] * 49 + ["?"], mostly=["n"] * 40 + ["1"] * 10)
    assert_holds(open_rows(texts), X)


def test_ragged_vectors_are_named():
    fails(
        [[1, 2, 3], [1, 2, 3], [1, 2]], "row 2 (0-based) has a vector of length 2, row 0 one of 3"
    )
    fails(pd.DataFrame({"v": [[1.0], [1.0, 2.0]]}), "row 1 (0-based)", "length 2, row 0 one of 1")
    fails(pd.DataFrame({"v": [[1.0], None, [2.0]]}), "row 1 (0-based)", "length None")


def test_ragged_files_are_named(tmp_path):
    table = pa.table({"v": [[1.0, 2.0]] * 30 + [[1.0]] + [[3.0, 4.0]] * 9})
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=8)
    fails(tmp_path / "x.parquet", "row 30 (0-based) has a vector of length 1, row 0 one of 2")
    (tmp_path / "y.csv").write_text("e0,e1\n1,2\n1\n")
    fails(tmp_path / "y.csv", "Cannot read", "Expected 2 columns, got 1")


def test_wrong_shapes_and_types():
    fails(np.zeros(5), "Reshape your data")
    fails([1.0, 2.0], "Reshape your data")
    fails(torch.zeros(5), "Reshape your data")
    fails(np.zeros((2, 2, 2)), "dim 3")
    fails(X + 1j, "Complex data not supported")
    fails(torch.from_numpy(X + 1j), "Complex data not supported")
    fails(np.zeros((0, 3)), "0 sample(s) (shape=(0, 3)) while a minimum of 1 is required")
    fails(np.zeros((3, 0)), "0 feature(s)", "a minimum of 1 is required")
    fails([], "Reshape your data")
    fails(frame(X)[:0], "no rows")
    fails(np.array([["a", "b"]]), "strings")
    fails([[1, 2], [3, "x"]], "'x'")
    fails(np.array([[1, {"a": 1}]], object), "a real number, not 'dict'", kind=TypeError)
    fails(np.array([["2020-01-01"]], "M8[D]"), "M8[D]", kind=TypeError)
    for other in (5, {"a": X}, iter(X), datasets.DatasetDict(), pl.LazyFrame()):
        fails(other, type(other).__name__, kind=TypeError)


def test_widths_that_differ(tmp_path):
    fails(X, "width 12, expected 13 (input_size", "Choose", input_size=13)
    fails(frame(X), "width 12, expected 11 (input_size", input_size=11)
    np.save(tmp_path / "a1.npy", X)
    np.save(tmp_path / "a2.npy", X[:, :5])
    fails(tmp_path, "a2.npy", "width 5, expected 12")


def test_paths_that_lead_nowhere(tmp_path):
    fails(tmp_path / "no.csv", "no.csv: nothing there", ".parquet", kind=FileNotFoundError)
    fails(tmp_path, "nothing there", kind=FileNotFoundError)
    fails(str(tmp_path / "*.npy"), "nothing there", kind=FileNotFoundError)
    (tmp_path / "x.xyz").write_text("?")
    fails(tmp_path / "x.xyz", "x.xyz", ".parquet")
    np.save(tmp_path / "x.npy", X)
    assert_holds(open_rows(tmp_path), X)  # other files in the folder do not disturb
    frame(X).to_parquet(tmp_path / "x.parquet")
    fails(tmp_path, "files of one type", "x.npy", "x.parquet")


def test_files_that_are_not_what_their_names_say(tmp_path):
    np.save(tmp_path / "good.npy", X)
    frame(X).to_parquet(tmp_path / "good.parquet")
    contents = {s: (tmp_path / f"good{s}").read_bytes() for s in (".npy", ".parquet")}
    contents[".csv"] = b"e0,e1\n1,2\n"
    for suffix in reader.SUFFIXES:
        for actual, content in contents.items():
            if actual != suffix and (actual, suffix) != (".csv", ".tsv"):
                path = tmp_path / f"wrong{suffix}"
                path.write_bytes(content)
                fails(path, f"Cannot read {path} as a {suffix} file")
    (tmp_path / "cut.parquet").write_bytes(contents[".parquet"][:-20])
    fails(tmp_path / "cut.parquet", "Cannot read")
    (tmp_path / "empty.csv").touch()
    fails(tmp_path / "empty.csv", "Empty CSV file")


def test_nothing_is_unpickled(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "exploded",))

    np.save(tmp_path / "x.npy", np.array([[Bomb()]], object), allow_pickle=True)
    np.savez(tmp_path / "x.npz", x=np.array([[Bomb()]], object))
    torch.save(Bomb(), tmp_path / "x.pt")
    for suffix in (".npy", ".npz", ".pt"):
        fails(tmp_path / f"x{suffix}", "Cannot read")
    assert not (tmp_path / "exploded").exists()
    np.load(tmp_path / "x.npy", allow_pickle=True)  # twin: the bomb works
    assert (tmp_path / "exploded").exists()


def test_files_with_several_arrays_are_refused(tmp_path):
    np.savez(tmp_path / "x.npz", a=X, b=X)
    fails(tmp_path / "x.npz", "it holds 2 2-d arrays, 1 is needed")
    torch.save({"n": 3}, tmp_path / "x.pt")
    fails(tmp_path / "x.pt", "it holds 0 2-d arrays, 1 is needed")


# Pieces


def test_hash_tells_rows_apart_as_bytes_do():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, size=(20_000, 24)).astype(np.float32)  # worst case: two values only
    by_bytes = len({row.tobytes() for row in x})
    assert len(np.unique(reader.hash_rows(x))) == by_bytes
    assert len(np.unique(reader.hash_rows(x).astype(np.uint16))) < by_bytes  # twin: too few bits


def test_names_sort_by_number():
    names = ["e10", "e9", "e1", "a2b10", "a2b9"]
    assert sorted(names, key=reader._natural) == ["a2b9", "a2b10", "e1", "e9", "e10"]


@quick
@given(n=st.integers(1, 300), buffer_rows=st.integers(1, 300), start=st.integers(0, 1000))
def test_buffers_stay_within_bounds(n, buffer_rows, start):
    data = Dataset(open_rows(numbered(n + 1)), seed=0, buffer_rows=buffer_rows)
    limit = n + 1 if data.in_memory else max(2 * module.CHUNK, buffer_rows // 4)
    for rows, order in islice(data._plan(start), 10):
        assert 0 < len(order) <= len(rows) <= limit
        assert all(a < b for a, b in pairwise(rows.tolist()))


# On the command line


def spoiled(folder, kind):  # noqa: C901 (a list of cases)
    """Write a file that cannot be trained on; return it and what its error line must say."""
    x = vectors(300)
    table, path = frame(x), folder / "x.csv"
    if kind == "bad cell":
        table = table.astype(object)
        table.loc[17, "e3"] = "n/a"
        table.to_csv(path, index=False)
        return path, "x.csv, row 17 (0-based; line ", "column e3 holds 'n/a'"
    if kind == "nan in a shard":
        shards(folder / "s", lambda p, s: table[s].to_parquet(p.with_suffix(".parquet")))
        table.loc[3, "e1"] = np.nan
        table[:10].to_parquet(folder / "s" / "part-9.parquet")
        return folder / "s", "part-9.parquet, row 3 (0-based), column e1 holds nan"
    if kind == "infinite":
        x[9, 2] = np.inf
        np.save(folder / "x.npy", x)
        return folder / "x.npy", "x.npy, row 9 (0-based), column 2 holds inf"
    if kind == "ragged":
        pd.DataFrame({"v": [*x[:30], x[0][:2]]}).to_parquet(folder / "x.parquet")
        return folder / "x.parquet", "x.parquet, row 30 (0-based) has a vector of length 2"
    if kind == "widths":
        shards(
            folder / "s", lambda p, s: np.save(p.with_suffix(".npy"), x[s, : 13 - s.start // 10])
        )
        return folder / "s", "part-10.npy", "width 11, expected 12"
    if kind == "no rows":
        table[:0].to_parquet(folder / "x.parquet")
        return folder / "x.parquet", "x.parquet", "The data has no rows"
    if kind == "equal":
        np.save(folder / "x.npy", np.ones((50, 6)))
        return folder / "x.npy", "All 50 rows read are equal"
    if kind == "another name":
        np.save(folder / "x.npy", x)
        return (folder / "x.npy").rename(path), "Cannot read", "x.csv as a .csv file"
    if kind == "same names":
        path.write_text("e0,e0,e1\n1,2,3\n4,5,6\n")
        return path, "Several columns are named 'e0'"
    if kind == "complex":  # the reader's own message has many lines
        np.save(folder / "x.npy", x + 1j)
        return folder / "x.npy", "Complex data not supported"
    table[["text", "id"]].to_csv(path, index=False)
    return path, "Found no vectors", "--columns"


KINDS = ["bad cell", "nan in a shard", "infinite", "ragged", "widths", "no rows", "equal"]
KINDS += ["another name", "same names", "complex", "no vectors"]


@pytest.mark.parametrize("kind", KINDS)
def test_bad_files_are_one_error_line_and_leave_no_run(kind, tmp_path, capsys):
    path, *words = spoiled(tmp_path, kind)
    before = sorted(tmp_path.iterdir())
    assert main(["train", str(path), "-o", str(tmp_path / "run"), "--steps", "3"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert [word for word in words if word not in err] == []
    assert sorted(tmp_path.iterdir()) == before


def test_few_rows_train_with_a_note(tmp_path, capsys):
    np.save(tmp_path / "x.npy", np.concatenate([vectors(20), np.zeros((2, WIDTH))]))
    run = ["-o", str(tmp_path / "run"), "--steps", "3", "--hidden-size", "8", "--k", "2"]
    assert main(["train", str(tmp_path / "x.npy"), *run]) == 0
    out = capsys.readouterr().out
    assert "note: There are only 22 rows, fewer than a usual batch of 1,024." in out
    assert "note: 2 of 22 rows are all zero." in out
    assert "note: 1 of 22 rows are copies of others." in out
