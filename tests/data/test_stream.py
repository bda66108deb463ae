"""Data larger than memory: how well batches mix, what is read when, targets, streams, conversion.

Run: pytest tests/test_stream.py
"""

import threading
from functools import partial
from itertools import islice, pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import csv as pa_csv
from pyarrow import feather
from scipy import stats

from nanosae import SAETrainer, TrainConfig
from nanosae.cli import main
from nanosae.data import cache as cache_module
from nanosae.data.dataset import Dataset
from nanosae.data.stream import Stream
from nanosae.runs import checkpoints as runs
from nanosae.sources import arrow_files, csv_files, open_rows
from nanosae.sources import rows as rows_module
from nanosae.train.step import Training

quick = settings(max_examples=25, deadline=None)


def numbered(n, width=3):
    """Rows that carry their own number in the first place."""
    x = np.random.default_rng(0).normal(size=(n, width)).astype(np.float32)
    x[:, 0] = np.arange(n)
    return x


def raw(data, rows):
    """Undo the normalisation of the first column."""
    return np.rint(rows[:, 0] / np.float32(data.scale) + data.mean[0]).astype(int)


def deal(data, batch_size, n_batches, start_row=0):
    """Concatenate batches."""
    batches = islice(data.batches(batch_size, start_row), n_batches)
    return np.concatenate([buffer[idx] for buffer, idx in batches])


# Mixing


def class_counts(labels, batch_size, n_batches, **options):
    """How many rows of each class there are in each batch, and the shares to be expected."""
    x = np.stack([labels, np.arange(len(labels))], axis=1).astype(np.float32)
    data = Dataset(open_rows(x), seed=1, normalise=False, **options)
    assert not data.in_memory
    heldout = np.bincount(data.heldout[:, 0].astype(int), minlength=labels.max() + 1)
    shares = (np.bincount(labels) - heldout) / data.n_train
    dealt = deal(data, batch_size, n_batches)[:, 0].astype(int).reshape(-1, batch_size)
    return np.stack([np.bincount(batch, minlength=len(shares)) for batch in dealt]), shares


def chi_square(counts, shares):
    """Pearson's statistic of each batch against the shares of the whole."""
    expected = counts.sum(1, keepdims=True) * shares
    return ((counts - expected) ** 2 / expected).sum(1)


def two_sided(counts, shares):
    """The p-value of the batches being random samples of the whole."""
    statistic = chi_square(counts, shares).sum()
    p = stats.chi2.sf(statistic, len(counts) * (len(shares) - 1))
    return 2 * min(p, 1 - p)


N = 3_000_000  # three times the default buffer_rows
BY_CLASS = np.sort(np.random.default_rng(0).choice(10, N, p=np.arange(1, 11) / 55))


@pytest.mark.parametrize("batch_size", [256, 1024])
def test_batches_of_sorted_data_look_like_those_of_shuffled_data(batch_size):
    counts, shares = class_counts(BY_CLASS, batch_size, 2000)
    assert two_sided(counts, shares) > 0.01
    shuffled = np.random.default_rng(2).permutation(BY_CLASS)
    others = class_counts(shuffled, batch_size, 2000)
    same = stats.ks_2samp(chi_square(counts, shares), chi_square(*others))
    assert same.pvalue > 0.01


@pytest.mark.parametrize(("batch_size", "buffer_rows"), [(1024, 2048), (64, 512), (16, 64)])
def test_the_mixing_check_fails_for_a_buffer_that_is_too_small(batch_size, buffer_rows):
    labels = BY_CLASS[::20]
    counts, shares = class_counts(labels, batch_size, 140, buffer_rows=buffer_rows)
    assert two_sided(counts, shares) < 1e-4


def test_the_worst_case_is_as_stated():
    chunk, buffer, batch_size = 8, 2**13, 512
    labels = np.arange(2**18) // chunk  # as long as the chunks
    options = {"buffer_rows": 4 * buffer, "heldout_max": 1}  # few gaps: chunks stay aligned
    counts, shares = class_counts(labels, batch_size, 480, **options)
    factor = chi_square(counts, shares).mean() / (len(shares) - 1)
    assert 1.25 < factor < 1 + batch_size * chunk / buffer  # the held-out row shifts the chunks
    shuffled = np.random.default_rng(0).permutation(labels)
    shuffled = class_counts(shuffled, batch_size, 480, **options)
    assert chi_square(*shuffled).mean() / (len(shares) - 1) == pytest.approx(1, rel=0.1)


# What is read when


def grouped(path, sizes, width=3):
    """Write a Parquet file with row groups of these sizes."""
    frame = pd.DataFrame(numbered(sum(sizes), width), columns=[f"e{i}" for i in range(width)])
    table = pa.Table.from_pandas(frame)
    with pq.ParquetWriter(path, table.schema) as out:
        for start, stop in pairwise(np.cumsum([0, *sizes])):
            out.write_table(table[start:stop])
    return path


@settings(max_examples=15, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 120), min_size=1, max_size=12),
    buffer_rows=st.integers(1, 400),
    start=st.integers(0, 500),
)
def test_row_groups_come_once_per_epoch_and_resume_anywhere(
    sizes, buffer_rows, start, tmp_path_factory
):
    n = sum(sizes)
    path = grouped(tmp_path_factory.mktemp("groups") / "x.parquet", [*sizes, 2])
    data = Dataset(open_rows(path), seed=0, buffer_rows=buffer_rows)
    dealt = deal(data, 1, 2 * data.n_train + start)
    for epoch in raw(data, dealt)[: 2 * data.n_train].reshape(2, -1):
        assert sorted([*epoch, *raw(data, data.heldout)]) == list(range(n + 2))
    again = Dataset(open_rows(path), seed=0, buffer_rows=buffer_rows)
    assert np.array_equal(deal(again, 1, data.n_train, start), dealt[start : start + data.n_train])
    limit = n + 2 if data.in_memory else max(16, buffer_rows // 4)
    assert max(len(order) for _, order in islice(data._plan(0), 9)) <= limit


def test_a_row_group_is_decoded_once_per_epoch(tmp_path, monkeypatch):
    path, asked = grouped(tmp_path / "x.parquet", [100] * 40), []
    data = Dataset(open_rows(path), seed=0, buffer_rows=2000)
    original = pq.ParquetFile.iter_batches
    monkeypatch.setattr(
        pq.ParquetFile,
        "iter_batches",
        lambda self, n, groups, names: asked.append(groups[0]) or original(self, n, groups, names),
    )
    deal(data, data.n_train, 1)
    n_read_ahead = 2 * 5  # groups of the buffers begun beyond the first epoch
    assert sorted(asked[:40]) == list(range(40))
    assert len(asked) <= 40 + n_read_ahead


def test_large_row_groups_are_noted(tmp_path):
    rows = open_rows(grouped(tmp_path / "x.parquet", [300] * 9))
    notes = Dataset(rows, seed=0, buffer_rows=2400).notes
    assert "Up to 300 neighbours at a time are read into buffers of 600 rows" in notes[-1]
    assert "`nanosae cache`" in notes[-1]


def test_thousands_of_shards_are_not_held_open(tmp_path):
    resource = pytest.importorskip("resource")
    n_open = len([*Path("/proc/self/fd").glob("*")]) or 64
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    for i in range(70):
        grouped(tmp_path / f"{i}.parquet", [3])
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (n_open + 20, before[1]))
        assert open_rows(tmp_path).n_rows == 210
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


# Targets


@pytest.mark.parametrize("buffer_rows", [10**6, 480])
@pytest.mark.parametrize("kind", ["array", "parquet"])
def test_targets_stay_with_their_rows(buffer_rows, kind, tmp_path):
    n = 600
    x, y = numbered(n), 1000 + 5 * numbered(n, width=2)[::-1]
    source = grouped(tmp_path / "x.parquet", [100] * 6) if kind == "parquet" else x
    data = Dataset(open_rows(source, targets=y), seed=0, buffer_rows=buffer_rows)
    assert (data.width, data.mean.shape, data.target_mean.shape) == (3, (3,), (2,))
    epoch = deal(data, 50, data.n_train // 50)
    for rows in (epoch, data.heldout, data.sample(40, seed=3)):
        assert rows.shape[1] == 5
        number = raw(data, rows)
        assert np.allclose(rows[:, :3] / data.scale + data.mean, x[number], rtol=1e-3, atol=1e-3)
        targets = rows[:, 3:] / data.target_scale + data.target_mean
        assert np.allclose(targets, y[number], rtol=1e-3, atol=1e-2)
        assert not np.allclose(targets, y[number - 1], rtol=1e-3, atol=1e-2)  # twin: off by one
    if data.in_memory:
        assert np.square(epoch[:, 3:]).sum(1).mean() == pytest.approx(2, rel=0.1)
        assert np.square(epoch[:, :3]).sum(1).mean() == pytest.approx(3, rel=0.1)


def test_rows_with_targets_deal_in_the_order_of_rows_alone():
    alone = Dataset(open_rows(numbered(500)), seed=0, buffer_rows=200)
    data = Dataset(open_rows(numbered(500), targets=np.ones((500, 1))), seed=0, buffer_rows=200)
    assert np.array_equal(deal(data, 32, 50)[:, :3], deal(alone, 32, 50))
    assert np.array_equal(data.heldout[:, :3], alone.heldout)


def test_bad_targets_are_named():
    x = numbered(30)
    with pytest.raises(ValueError, match=r"There are 29 targets for 30 rows"):
        open_rows(x, targets=x[1:])
    y = x.copy()
    y[7, 1] = np.nan
    with pytest.raises(ValueError, match=r"target of row 7 \(0-based\), column 1 holds nan"):
        Dataset(open_rows(x, targets=y), seed=0)
    rows = open_rows(x)
    assert open_rows(rows, targets=x).total_width == 6
    assert rows.width == 3  # the one given is left alone
    prints = {open_rows(x, targets=t).fingerprint() for t in (None, x, x[::-1])}
    assert len(prints) == 3


# Streams


def pieces(x, size=70):
    """Batches of uneven sizes, in the order of the rows."""
    cuts = np.cumsum(np.random.default_rng(0).integers(1, size, len(x)))
    return [part for part in np.split(x, cuts[cuts < len(x)]) if len(part)]


@quick
@given(
    n=st.integers(20, 600),
    batch_size=st.integers(1, 100),
    buffer_rows=st.integers(40, 400),
    start=st.integers(0, 300),
)
def test_a_stream_deals_each_row_once_and_resumes_anywhere(n, batch_size, buffer_rows, start):
    x = numbered(n)
    data = Stream(iter(pieces(x)), seed=0, buffer_rows=buffer_rows)
    if n < buffer_rows // 4:  # kept, and dealt without end
        assert len(deal(data, batch_size, 2 + n // batch_size)) > n
        return
    batch_size = min(batch_size, n - data.n_heldout)
    dealt = raw(data, deal(data, batch_size, n))
    left_over = (n - data.n_heldout) % batch_size
    assert len(dealt) == n - data.n_heldout - left_over
    rows = [*dealt, *raw(data, data.heldout)]
    assert len(set(rows)) == len(rows)
    assert set(rows) <= set(range(n))
    again = Stream(lambda: pieces(x, size=9), seed=0, buffer_rows=buffer_rows)
    start = min(start, len(dealt) - 1) // batch_size * batch_size
    assert np.array_equal(raw(data, deal(again, batch_size, n, start)), dealt[start:])


def test_a_stream_is_read_ahead_by_no_more_than_a_buffer():
    taken = []
    source = (taken.append(i) or part for i, part in enumerate(pieces(numbered(9000), 3)))
    data = Stream(source, seed=0, buffer_rows=400)
    assert sum(len(p) for p in pieces(numbered(9000), 3)[: len(taken)]) <= 102
    batches = data.batches(10)
    for _ in range(12):  # into the second buffer
        next(batches)
    del batches
    assert sum(len(p) for p in pieces(numbered(9000), 3)[: len(taken)]) <= 306


def test_a_stream_that_is_given_up_does_not_fill_its_buffer():
    def slow():
        for part in pieces(numbered(9000), 3):
            yield part
            if len(taken) > 90:  # the first buffer is full
                gate.wait(20)
            taken.append(1)

    taken, gate = [], threading.Event()
    batches = Stream(slow, seed=0, buffer_rows=400).batches(10)
    next(batches)
    threading.Timer(0.2, gate.set).start()
    del batches
    assert sum(len(p) for p in pieces(numbered(9000), 3)[: len(taken)]) < 200


def test_streams_of_pairs_tensors_and_blocks():
    x, y = numbered(500), numbered(500, 2)[::-1]
    pairs = zip(pieces(x), pieces(y), strict=True)
    data = Stream(pairs, seed=0, buffer_rows=400)
    assert (data.width, len(data.target_mean)) == (3, 2)
    rows = deal(data, 20, 20)
    targets = rows[:, 3:] / data.target_scale + data.target_mean
    assert np.allclose(targets, y[raw(data, rows)], rtol=1e-3, atol=1e-2)
    tensors = Stream((torch.from_numpy(p).half() for p in pieces(x)), seed=0, buffer_rows=400)
    assert tensors.width == 3
    blocks = Stream((SimpleNamespace(rows=p) for p in pieces(x)), seed=0, buffer_rows=400)
    assert np.array_equal(deal(blocks, 20, 10), rows[:200, :3])


def test_bad_streams_are_named():
    x = numbered(300)
    with pytest.raises(ValueError, match="ended before its first row"):
        Stream(iter([]), seed=0)
    with pytest.raises(ValueError, match=r"batch 1 of the stream: .*width 2, expected 3"):
        Stream(iter([x, x[:, :2]]), seed=0)
    x[120, 1] = np.inf
    data = Stream(iter(np.split(x, 6)), seed=0, buffer_rows=160)
    with pytest.raises(ValueError, match=r"batch 2 of the stream: row 20 .* column 1 holds inf"):
        deal(data, 10, 30)
    with pytest.raises(ValueError, match="expected 4"):
        Stream(iter([x[:9]]), seed=0, input_size=4)


def config(**options):
    sizes = {"hidden_size": 16, "k": 3, "batch_size": 32, "steps": 30, "buffer_rows": 800}
    return TrainConfig(**sizes | options)


def same(one, two):
    return all(torch.equal(one.tensors()[n], two.tensors()[n]) for n in one.tensors())


class Stop(Exception):
    pass


def cut_at(monkeypatch, step):
    """Let training die before a step."""
    original = Training.step

    def dies(self, batch):
        if self.scalars["step"] == step:
            raise Stop
        original(self, batch)

    monkeypatch.setattr(Training, "step", dies)


@pytest.mark.parametrize("kind", ["memmap", "parquet", "stream"])
def test_a_run_resumed_in_the_middle_of_large_data_is_bit_exact(kind, tmp_path, monkeypatch):
    x = np.random.default_rng(0).normal(size=(3000, 8)).astype(np.float16)
    np.save(tmp_path / "x.npy", x)
    names = [f"e{i}" for i in range(8)]
    pd.DataFrame(x, columns=names).to_parquet(tmp_path / "x.parquet", row_group_size=90)
    data = {"memmap": np.load(tmp_path / "x.npy", mmap_mode="r"), "stream": lambda: pieces(x)}
    data = data.get(kind, tmp_path / "x.parquet")
    asked = config(checkpoint_every=7)
    whole = SAETrainer(asked, run=tmp_path / "whole").train(data, progress=False)
    cut_at(monkeypatch, 23)  # in the fourth buffer
    with pytest.raises(Stop):
        SAETrainer(asked, run=tmp_path / "cut").train(data, progress=False)
    monkeypatch.undo()
    resumed = SAETrainer(asked, run=tmp_path / "cut").train(data, resume=True, progress=False)
    assert same(whole, resumed)
    other = config(checkpoint_every=7, data_seed=1)
    assert not same(whole, SAETrainer(other).train(data, progress=False))  # twin


def test_training_ends_with_the_stream(tmp_path):
    x = np.random.default_rng(0).normal(size=(1000, 8))
    trainer = SAETrainer(config(steps=500), run=tmp_path / "run")
    model = trainer.train(iter(np.split(x, 10)), progress=False)
    assert trainer.metrics_["step"] == 990 // 32
    assert model.features(x).shape == (1000, 16)
    assert "The stream ended after 990 training rows." in trainer.notes_
    assert any("come from the first 200 rows" in note for note in trainer.notes_)


def test_another_stream_is_not_resumed(tmp_path, monkeypatch):
    x = np.random.default_rng(0).normal(size=(2000, 8))
    cut_at(monkeypatch, 20)
    asked = config(checkpoint_every=7)
    with pytest.raises(Stop):
        SAETrainer(asked, run=tmp_path / "run").train(iter(np.split(x, 10)), progress=False)
    monkeypatch.undo()
    rest = iter(np.split(x, 10)[7:])
    with pytest.raises(ValueError, match="was trained on other rows"):
        SAETrainer(asked, run=tmp_path / "run").train(rest, resume=True, progress=False)


def test_bad_rows_found_late_leave_the_checkpoint(tmp_path):
    x = np.random.default_rng(0).normal(size=(3000, 8))
    x[2900, 3] = np.nan
    trainer = SAETrainer(config(checkpoint_every=5, steps=90), run=tmp_path / "run")
    with pytest.raises(ValueError, match=r"batch 29 of the stream: row 0 .* column 3 holds nan"):
        trainer.train(iter(np.split(x, 30)), progress=False)
    kept = runs.last_checkpoint(tmp_path / "run")
    assert kept is not None
    assert int(kept[5:]) > 70
    x[2900, 3] = 0
    model = trainer.train(iter(np.split(x, 30)), resume=True, progress=False)
    assert model.W_enc.isfinite().all()


# Conversion


def texts(n):
    """Columns that are no vectors, of kinds that must survive."""
    words = [f'text é {i}, "quoted"\nline two' if i % 3 else "" for i in range(n)]
    numbers = {
        "id": np.arange(n) * 10**12,
        "rating": np.arange(n) / 7,
        "group": [f"g{i % 5}" for i in range(n)],
    }
    return pd.DataFrame({"text": words, **numbers, "empty": [None] * n})


def with_texts(x, path):
    """Write vectors and texts as CSV, Parquet or compressed Feather."""
    vectors = pd.DataFrame(x, columns=[f"e{i}" for i in range(x.shape[1])])
    frame = pd.concat([vectors, texts(len(x))], axis=1)
    frame.to_csv(path, index=False) if path.suffix == ".csv" else None
    frame.to_parquet(path, row_group_size=70) if path.suffix == ".parquet" else None
    feather.write_feather(frame, path, "lz4", chunksize=70) if path.suffix == ".feather" else None
    return path


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".feather", "large .csv"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_conversion_keeps_rows_and_texts(suffix, dtype, tmp_path, monkeypatch):
    x = np.random.default_rng(0).normal(size=(500, 6)).astype(dtype)
    if suffix.startswith("large"):
        monkeypatch.setattr(csv_files, "LARGE", 0)
    monkeypatch.setattr(cache_module, "SHARD_ROWS", 120)
    monkeypatch.setattr(rows_module, "BLOCK_ROWS", 50)
    monkeypatch.setattr(arrow_files, "BATCH_ROWS", 50)
    path = with_texts(x, tmp_path / f"x{suffix.split()[-1]}")
    assert cache_module.cache(path, tmp_path / "out", dtype=dtype) == 500
    shards = sorted((tmp_path / "out").glob("*.npy"))
    assert [np.load(shard).dtype for shard in shards] == [dtype] * 5
    rows = open_rows(tmp_path / "out")
    assert np.array_equal(rows.read(0, 500), x.astype(np.float32))
    beside = rows.metadata()
    assert beside is not None
    kept = beside.to_pandas()
    assert kept.drop(columns="empty").equals(texts(500).drop(columns="empty"))
    assert kept["empty"].replace("", None).isna().all()
    assert {p.name for p in tmp_path.iterdir()} == {path.name, "out"}


def test_arrays_are_converted_without_columns(tmp_path):
    assert cache_module.cache(numbered(30), tmp_path / "out") == 30
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["00000.npy"]
    assert open_rows(tmp_path / "out").metadata() is None


@pytest.mark.parametrize("problem", ["exists", "bad cell", "too large", "full disk"])
def test_conversion_is_whole_or_not_at_all(problem, tmp_path, monkeypatch):
    x, options, error = numbered(300), {}, ValueError
    if problem == "exists":
        (tmp_path / "out").mkdir()
        error = FileExistsError
    if problem == "bad cell":
        x[250, 1] = np.nan
    if problem == "too large":
        x[250, 1], options = 1e5, {"dtype": "float16"}
    if problem == "full disk":
        error, save, calls = OSError, np.save, []

        def fails(*args):
            calls.append(1)
            if len(calls) == 3:
                raise OSError(28, "No space left on device")
            save(*args)

        monkeypatch.setattr(np, "save", fails)
    monkeypatch.setattr(cache_module, "SHARD_ROWS", 100)
    with pytest.raises(error, match=r"exists: delete|row 250|row 200 or one after|No space left"):
        cache_module.cache(x, tmp_path / "out", **options)
    assert [p.name for p in tmp_path.iterdir()] == ["out"] * (problem == "exists")


def test_a_large_csv_names_its_bad_cells(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_files, "LARGE", 0)
    path = tmp_path / "x.csv"
    good = "".join(f"{i},{i / 2},t{i}\n" for i in range(200))
    path.write_text("e0,e1,text\n" + good + "3,n/a,x\n")
    rows = open_rows(path)
    assert rows.n_rows == 201
    assert rows.read(0, 200)[:, 1].tolist() == [i / 2 for i in range(200)]
    with pytest.raises(ValueError, match=r"row 200 .*line 202.* column e1 holds 'n/a'"):
        rows.read(150, 201)
    path.write_text("e0,e1\n1,2\n1\n")
    with pytest.raises(ValueError, match="Expected 2 columns, got 1"):
        open_rows(path)


def test_numbers_that_turn_fractions_late_are_read_in_a_large_csv(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_files, "LARGE", 0)
    small = partial(pa_csv.ReadOptions, block_size=64)
    monkeypatch.setattr(pa_csv, "ReadOptions", lambda block_size: small())
    path = tmp_path / "x.csv"
    path.write_text("e0,e1\n" + "1,2\n" * 40 + "0.5,1e-3\n")
    assert open_rows(path).read(40, 41).tolist() == [[0.5, np.float32(1e-3)]]


def test_the_command_converts_trains_and_encodes_with_texts(tmp_path, capsys):
    x = np.random.default_rng(0).normal(size=(400, 6)).astype(np.float32)
    path, out, run = with_texts(x, tmp_path / "x.csv"), str(tmp_path / "out"), str(tmp_path / "run")
    assert main(["cache", str(path), "-o", out]) == 0
    assert "400 rows" in capsys.readouterr().out
    assert main(["cache", str(path), "-o", out]) == 2
    assert f"error: {out} exists" in capsys.readouterr().err
    sizes = ["--hidden-size", "16", "--k", "3", "--steps", "4"]
    assert main(["train", out, "-o", run, *sizes]) == 0
    assert main(["encode", run, out]) == 0
    assert "no texts" not in capsys.readouterr().out
    from nanosae.codes import Codes

    assert Codes.open(run).texts([4]) == [texts(5).text[4]]
