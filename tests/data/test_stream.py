"""Streams of batches: each row once, exact resumption, errors that name the batch."""

import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow.dataset import dataset as arrow_dataset

from nanosae import SAETrainer, TrainConfig
from nanosae.data.open import open_dataset
from nanosae.data.stream import Stream
from nanosae.errors import ConfigError, DataError, DataTypeError
from nanosae.runs import checkpoints as runs
from nanosae.train import loop
from numbered import deal_batches, numbered, row_numbers

quick = settings(max_examples=25, deadline=None)


def memory_for(n_rows, width=3):
    """Bytes of so many rows in float32."""
    return 4 * width * n_rows


def pieces(x, size=70):
    """Batches of uneven sizes, in the order of the rows."""
    cuts = np.cumsum(np.random.default_rng(0).integers(1, size, len(x)))
    return [part for part in np.split(x, cuts[cuts < len(x)]) if len(part)]


@pytest.mark.slow
@quick
@given(
    n=st.integers(20, 600),
    batch_size=st.integers(1, 100),
    buffer_rows=st.integers(40, 400),
    start=st.integers(0, 300),
)
def test_a_stream_deals_each_row_once_and_resumes_anywhere(
    n, batch_size, buffer_rows, start
):
    x = numbered(n)
    data = Stream(iter(pieces(x)), seed=0, buffer_bytes=memory_for(buffer_rows))
    if n < buffer_rows // 4:  # kept, and dealt without end
        assert len(deal_batches(data, batch_size, 2 + n // batch_size)) > n
        return
    batch_size = min(batch_size, n - data.n_heldout)
    dealt = row_numbers(data, deal_batches(data, batch_size, n))
    left_over = (n - data.n_heldout) % batch_size
    assert len(dealt) == n - data.n_heldout - left_over
    rows = [*dealt, *row_numbers(data, data.heldout)]
    assert len(set(rows)) == len(rows)
    assert set(rows) <= set(range(n))
    again = Stream(
        lambda: pieces(x, size=9), seed=0, buffer_bytes=memory_for(buffer_rows)
    )
    start = min(start, len(dealt) - 1) // batch_size * batch_size
    assert np.array_equal(
        row_numbers(data, deal_batches(again, batch_size, n, start)), dealt[start:]
    )


def test_a_stream_is_read_ahead_by_no_more_than_a_buffer():
    taken = []
    source = (
        taken.append(i) or part for i, part in enumerate(pieces(numbered(9000), 3))
    )
    data = Stream(source, seed=0, buffer_bytes=memory_for(400))
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
    batches = Stream(slow, seed=0, buffer_bytes=memory_for(400)).batches(10)
    next(batches)
    threading.Timer(0.2, gate.set).start()
    del batches
    assert sum(len(p) for p in pieces(numbered(9000), 3)[: len(taken)]) < 200


def test_streams_of_pairs_tensors_and_blocks():
    x, y = numbered(500), numbered(500, 2)[::-1]
    pairs = zip(pieces(x), pieces(y), strict=True)
    data = Stream(pairs, seed=0, buffer_bytes=memory_for(400, width=5))
    assert (data.width, len(data.target_mean)) == (3, 2)
    rows = deal_batches(data, 20, 20)
    targets = rows[:, 3:] / data.target_scale + data.target_mean
    assert np.allclose(targets, y[row_numbers(data, rows)], rtol=1e-3, atol=1e-2)
    tensors = Stream(
        (torch.from_numpy(p).half() for p in pieces(x)),
        seed=0,
        buffer_bytes=memory_for(400),
    )
    assert tensors.width == 3
    blocks = Stream(
        (SimpleNamespace(rows=p) for p in pieces(x)),
        seed=0,
        buffer_bytes=memory_for(400),
    )
    assert np.array_equal(deal_batches(blocks, 20, 10), rows[:200, :3])


def test_bad_streams_are_named():
    x = numbered(300)
    with pytest.raises(ValueError, match="ended before its first row"):
        Stream(iter([]), seed=0)
    with pytest.raises(
        ValueError, match=r"batch 1 of the stream: .*width 2, expected 3"
    ):
        Stream(iter([x, x[:, :2]]), seed=0)
    x[120, 1] = np.inf
    data = Stream(iter(np.split(x, 6)), seed=0, buffer_bytes=memory_for(160))
    with pytest.raises(
        ValueError, match=r"batch 2 of the stream: row 20 .* column 1 holds inf"
    ):
        deal_batches(data, 10, 30)
    with pytest.raises(ValueError, match="expected 4"):
        Stream(iter([x[:9]]), seed=0, input_size=4)


def config(**options):
    sizes = {
        "hidden_size": 16,
        "k": 3,
        "batch_size": 32,
        "steps": 30,
        "buffer_bytes": memory_for(800, width=8),
    }
    return TrainConfig(**sizes | options)


def same(one, two):
    return all(torch.equal(one.tensors()[n], two.tensors()[n]) for n in one.tensors())


class Stop(Exception):
    pass


def cut_at(monkeypatch, step):
    """Let training die before a step."""
    take_step = loop.take_step

    def dies(state, batch):
        if state.counters.step == step:
            raise Stop
        take_step(state, batch)

    monkeypatch.setattr(loop, "take_step", dies)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["memmap", "parquet", "stream"])
def test_a_run_resumed_in_the_middle_of_large_data_is_bit_exact(
    kind, tmp_path, monkeypatch
):
    x = np.random.default_rng(0).normal(size=(3000, 8)).astype(np.float16)
    np.save(tmp_path / "x.npy", x)
    names = [f"e{i}" for i in range(8)]
    pd.DataFrame(x, columns=names).to_parquet(tmp_path / "x.parquet", row_group_size=90)
    data = {
        "memmap": np.load(tmp_path / "x.npy", mmap_mode="r"),
        "stream": lambda: pieces(x),
    }
    data = data.get(kind, tmp_path / "x.parquet")
    asked = config(checkpoint_every=7)
    whole = SAETrainer(asked, run=tmp_path / "whole").train(data, progress=False)
    cut_at(monkeypatch, 23)  # in the fourth buffer
    with pytest.raises(Stop):
        SAETrainer(asked, run=tmp_path / "cut").train(data, progress=False)
    monkeypatch.undo()
    resumed = SAETrainer(asked, run=tmp_path / "cut").train(
        data, resume=True, progress=False
    )
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
        SAETrainer(asked, run=tmp_path / "run").train(
            iter(np.split(x, 10)), progress=False
        )
    monkeypatch.undo()
    rest = iter(np.split(x, 10)[7:])
    with pytest.raises(ValueError, match="was trained on other rows"):
        SAETrainer(asked, run=tmp_path / "run").train(rest, resume=True, progress=False)


@pytest.mark.slow
def test_bad_rows_found_late_leave_the_checkpoint(tmp_path):
    x = np.random.default_rng(0).normal(size=(3000, 8))
    x[2900, 3] = np.nan
    trainer = SAETrainer(config(checkpoint_every=5, steps=90), run=tmp_path / "run")
    with pytest.raises(
        ValueError, match=r"batch 29 of the stream: row 0 .* column 3 holds nan"
    ):
        trainer.train(iter(np.split(x, 30)), progress=False)
    kept = runs.last_checkpoint(tmp_path / "run")
    assert kept is not None
    assert int(kept[5:]) > 70
    x[2900, 3] = 0
    model = trainer.train(iter(np.split(x, 30)), resume=True, progress=False)
    assert model.W_enc.isfinite().all()


def test_batches_must_agree_on_their_targets():
    x, y = numbered(60), numbered(60, 2)
    data = Stream(iter([(x, y), x]), seed=0, buffer_bytes=memory_for(160, width=5))
    with pytest.raises(
        DataError, match="batch 1 of the stream has targets of width 0, batch 0 of"
    ):
        deal_batches(data, 10, 30)
    with pytest.raises(
        DataTypeError, match="The function returned int, which is not an iterator"
    ):
        Stream(lambda: 5, seed=0)
    with pytest.raises(
        DataTypeError, match="batch 0 of the stream is a dict of 1 parts"
    ):
        Stream(iter([{"layers.0": x}]), seed=0)


def test_targets_beside_a_stream_are_refused():
    with pytest.raises(ConfigError, match="Make the stream yield"):
        open_dataset(iter([numbered(60)]), numbered(60), TrainConfig())


def test_every_buffer_of_a_stream_has_an_order_of_its_own():
    def orders(seed):
        data = Stream(
            iter(pieces(numbered(900))), seed=seed, buffer_bytes=memory_for(400)
        )
        rows = row_numbers(data, deal_batches(data, 1, 900))[data.n_train :]
        return rows[:700].reshape(7, 100) % 100  # the second buffer and those after it

    first, second, *_ = orders(0)
    assert np.array_equal(orders(0)[0], first)
    assert not np.array_equal(first, second)
    assert not np.array_equal(orders(1)[0], first)


def test_a_short_stream_leaves_a_finished_run(tmp_path):
    """It ends before the first evaluation, so that there is no snapshot."""
    config = TrainConfig(
        hidden_size=8, k=2, steps=1000, batch_size=20, buffer_bytes=memory_for(200)
    )
    stream = iter(np.split(numbered(300), 6))
    model = SAETrainer(config, run=tmp_path).train(stream, progress=False)
    assert not [*(tmp_path / "snapshots").iterdir()]
    again = SAETrainer(config, run=tmp_path)
    resumed = again.train(iter([]), resume=True, progress=False)
    assert torch.equal(model.W_dec, resumed.W_dec)
    assert "nothing left to train" in again.notes_[0]


def test_batches_without_rows_are_passed_over():
    x = numbered(60)
    pieces_with_none = [x[:0], x[:40], torch.from_numpy(x[:0]), x[40:]]
    data = Stream(iter(pieces_with_none), seed=0)
    assert data.n_train + data.n_heldout == 60


def rows_of_training(data):
    """Return the rows that a stream deals, and those that it holds out, in their order."""
    stream = open_dataset(data, None, TrainConfig(data_seed=0))
    dealt = deal_batches(stream, 10, 40)
    return sorted({*row_numbers(stream, dealt), *row_numbers(stream, stream.heldout)})


def test_loaders_and_frames_are_streams():
    pl = pytest.importorskip("polars", reason="needs the extra 'data'")
    x = numbered(50)
    rows = torch.from_numpy(x)
    alone = torch.utils.data.TensorDataset(rows)
    loader = torch.utils.data.DataLoader(alone, batch_size=20)
    frame = pl.DataFrame({f"e{i}": x[:, i] for i in range(3)})
    streams = [
        loader,
        iter(loader),
        lambda: loader,
        torch.utils.data.DataLoader(rows, batch_size=20),  # type: ignore[arg-type]
        frame.iter_slices(20),
        (frame.to_pandas()[start : start + 20] for start in range(0, 50, 20)),
        iter([list(x[:30]), list(x[30:])]),
    ]
    for stream in streams:
        assert rows_of_training(stream) == list(range(50))


def test_a_loader_of_pairs_gives_rows_and_targets():
    x = torch.from_numpy(numbered(50))
    pairs = torch.utils.data.TensorDataset(x, 2 * x)
    loader = torch.utils.data.DataLoader(pairs, batch_size=20)
    stream = open_dataset(loader, None, TrainConfig())
    assert len(stream.target_mean) == 3
    np.testing.assert_allclose(stream.target_mean, 2 * stream.mean, rtol=1e-4)


def test_batches_of_other_dimensions_say_how_to_make_rows():
    x = torch.from_numpy(numbered(50))
    tokens = x.reshape(5, 10, 3)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(tokens))
    for batches, remedy in (
        (iter(x), r"batch 0 of the stream: .*\(3,\).*x.reshape\(1, -1\)"),
        (iter([tokens]), r"batch 0 of the stream: .*x.reshape\(-1, 3\)"),
        (loader, r"batch 0 of the stream: .*x.reshape\(-1, 3\)"),
    ):
        with pytest.raises(DataError, match=remedy):
            open_dataset(batches, None, TrainConfig())


class RowByRow(torch.utils.data.Dataset):
    def __getitem__(self, index):
        return torch.zeros(3)


class Unending(torch.utils.data.IterableDataset):
    def __iter__(self):
        return iter(lambda: torch.zeros(3), None)


def test_what_is_no_stream_of_rows_says_what_would_be_one():
    x = torch.from_numpy(numbered(50))
    labelled = torch.utils.data.TensorDataset(x, torch.arange(50))
    mistakes = [
        (
            torch.utils.data.DataLoader(labelled, batch_size=20),
            r"\(x for x, _ in loader",
        ),
        (iter([(x, x, x)]), r"\(50, 3\)\]; needed are rows"),
        (
            iter([{"layers.1": x, "layers.2": x}]),
            "'layers.1', 'layers.2'.*concatenate them",
        ),
        ({"layers.1": x}, "dict of 1 parts.*concatenate them"),
        (labelled, "or a DataLoader of it"),
        (RowByRow(), "RowByRow is not a frame.*Give a DataLoader of it"),
        (Unending(), "Unending is not a frame.*Give a function that yields"),
        (arrow_dataset(pa.table({"a": [1.0]})), r"Call \.to_table\(\) on it"),
        ([Path("a.npy"), Path("b.npy")], "The list holds paths.*Give their folder"),
    ]
    for data, reason in mistakes:
        with pytest.raises(DataTypeError, match=reason):
            open_dataset(data, None, TrainConfig())
