"""Batches on the device that trains: gathered there where the rows fit, else copied ahead of need.

A GPU holds the rows of data that lies in memory, if they take up to `SHARE` of its free memory.
Otherwise each batch is gathered into pinned memory and copied while the step before it runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from nanosae.data.dataset import Batch, Dataset

SHARE = 0.5


def device_batches(
    data: Dataset, batch_size: int, start_row: int, device: torch.device
) -> Iterator[Tensor]:
    """Yield the batches of `data.batches` on a device, each (batch_size, width + target width).

    Args:
        data: The rows.
        batch_size: Rows in a batch.
        start_row: Rows consumed before.
        device: Where to.
    """
    batches = data.batches(batch_size, start_row)
    if device.type == "cuda":
        room = SHARE * torch.cuda.mem_get_info(device)[0] if data.in_memory else 0
        yield from _read_ahead(_Loader(batches, device, room), device)
    else:
        for buffer, index in batches:
            rows = torch.from_numpy(buffer).index_select(0, torch.from_numpy(index))
            yield rows.to(device)


def _read_ahead(loader: _Loader, device: torch.device) -> Iterator[Tensor]:
    """Prepare the next batch in a thread and a stream of its own."""
    with ThreadPoolExecutor(1) as executor:
        ahead = executor.submit(loader.load)
        while (loaded := ahead.result()) is not None:
            ahead = executor.submit(loader.load)
            current = torch.cuda.current_stream(device)
            current.wait_event(loaded.copied)
            loaded.batch.record_stream(current)
            yield loaded.batch


class _Loaded(NamedTuple):
    """A batch on the device, and the event after which it is there."""

    batch: Tensor
    copied: Any


class _Loader:
    """Copies batches to a GPU in a stream of its own.

    Args:
        batches: What `Dataset.batches` yields.
        device: Where to.
        room: Bytes of rows that may be held on the device; 0 holds none.
    """

    def __init__(
        self, batches: Iterator[Batch], device: torch.device, room: float
    ) -> None:
        self._batches = batches
        self._room = room
        self._stream = torch.cuda.Stream(device)
        # the buffer of which the device has a copy, and that copy
        self._held: np.ndarray | None = None
        self._copy: Tensor | None = None

    def load(self) -> _Loaded | None:
        """Load the next batch; None after the last."""
        found = next(self._batches, None)
        if found is None:
            return None
        buffer, index = found
        self._hold(buffer, index)
        with torch.cuda.stream(self._stream):
            if buffer is self._held:
                batch = self._gather_there(index)
            else:
                batch = self._gather_here(buffer, index)
            return _Loaded(batch, self._stream.record_event())

    def _hold(self, buffer: np.ndarray, index: np.ndarray) -> None:
        """Keep a copy of the first buffer on the device, if it fits and serves several batches."""
        fits = buffer.nbytes < self._room
        if self._held is None and fits and len(buffer) > len(index):
            self._held = buffer
            self._copy = torch.from_numpy(buffer).to(self._stream.device)

    def _gather_there(self, index: np.ndarray) -> Tensor:
        assert self._copy is not None
        pinned = torch.from_numpy(index).pin_memory()
        return self._copy.index_select(
            0, pinned.to(self._stream.device, non_blocking=True)
        )

    def _gather_here(self, buffer: np.ndarray, index: np.ndarray) -> Tensor:
        pinned = torch.empty(len(index), buffer.shape[1], pin_memory=True)
        torch.index_select(
            torch.from_numpy(buffer), 0, torch.from_numpy(index), out=pinned
        )
        return pinned.to(self._stream.device, non_blocking=True)
