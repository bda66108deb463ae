"""Batches on the device: the same as in memory, whatever the way."""

from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from nanosae.data.batches import device_batches
from nanosae.data.dataset import Dataset
from nanosae.sources import open_rows


def dataset(**options):
    rows = np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32)
    return Dataset(open_rows(rows), seed=0, **options)


def batches(data, start_row=0, n=12):
    """Batches as the data deals them: over two epochs, some from both."""
    dealt = data.batches(16, start_row)
    return [
        torch.from_numpy(buffer[index])
        for buffer, index in (next(dealt) for _ in range(n))
    ]


def fed(data, device, start_row=0, n=12):
    source = device_batches(data, 16, start_row, torch.device(device))
    return [next(source).cpu() for _ in range(n)]


def same(one, two):
    return all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


@pytest.mark.parametrize("start_row", [0, 48, 96])
def test_on_a_cpu_batches_are_those_of_the_data(start_row):
    assert same(fed(dataset(), "cpu", start_row), batches(dataset(), start_row))
    assert not same(
        fed(dataset(), "cpu", start_row), batches(dataset(), start_row + 16)
    )


class Stream:
    """What a CUDA stream does, on a CPU: nothing, at once."""

    def __init__(self, device):
        self.device = torch.device("cpu")

    def record_event(self):
        return None

    def wait_event(self, event):
        return None


@pytest.fixture
def pretended(monkeypatch):
    """A GPU that is the CPU; the list of what was copied to it."""
    copied, to, empty = [], torch.Tensor.to, torch.empty

    def copy(tensor, *args, **options):
        copied.append(len(tensor))
        return to(tensor, *args, **options)

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10_000, 20_000))
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda tensor, stream: None)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
    monkeypatch.setattr(torch.Tensor, "to", copy)
    monkeypatch.setattr(torch, "empty", lambda *size, pin_memory: empty(*size))
    return SimpleNamespace(copied=copied)


def test_rows_that_fit_are_copied_once(pretended):
    assert same(fed(dataset(), "cuda"), batches(dataset()))
    assert pretended.copied.count(100) == 1


@pytest.mark.parametrize(("reserved", "fits"), [(6800, False), (6790, True)])
def test_rows_fit_if_training_leaves_twice_their_memory(pretended, reserved, fits):
    """Of 10,000 free bytes, the rows take 100 · 4 · 4 = 1,600."""
    next(device_batches(dataset(), 16, 0, torch.device("cuda"), reserved))
    assert (100 in pretended.copied) == fits


@pytest.mark.parametrize("why", ["too large for the device", "larger than memory"])
def test_rows_that_do_not_fit_are_copied_batch_by_batch(why, pretended, monkeypatch):
    options = {}
    if why == "larger than memory":
        options["buffer_rows"] = 64
    else:
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 20_000))
    assert same(fed(dataset(**options), "cuda"), batches(dataset(**options)))
    assert set(pretended.copied) == {16}


def test_data_that_ends_ends_the_feed(pretended):
    data = SimpleNamespace(in_memory=False)
    rows, index = np.ones((20, 4), np.float32), np.arange(8)
    data.batches = lambda size, start: iter([(rows, index), (rows, index + 8)])
    assert [
        len(batch) for batch in device_batches(data, 8, 0, torch.device("cuda"))
    ] == [8, 8]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("buffer_rows", [64, 1000])
def test_on_a_gpu_batches_are_those_of_the_data(buffer_rows):
    data = dataset(buffer_rows=buffer_rows)
    assert same(fed(data, "cuda"), batches(dataset(buffer_rows=buffer_rows)))
