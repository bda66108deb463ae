"""Batches on the training device: gathered there if the rows fit, else copied ahead of time.

A GPU holds all rows of in-memory data if they take at most `SHARE` of the memory that training will
leave. Otherwise each batch is gathered into pinned memory and copied while the previous step runs.
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
    data: Dataset,
    batch_size: int,
    start_row: int,
    device: torch.device,
    reserved: int = 0,
) -> Iterator[Tensor]:
    """Yield the batches of `data.batches` on a device, each (batch_size, width + target width).

    Args:
        data: The rows.
        batch_size: Rows per batch.
        start_row: Rows consumed before.
        device: Target device.
        reserved: Bytes on the device that are free, but will be needed.
    """
    batches = data.batches(batch_size, start_row)
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        room = SHARE * (free - reserved) if data.in_memory else 0
        yield from _read_ahead(_Loader(batches, device, room), device)
    else:
        for buffer, index in batches:
            rows = torch.from_numpy(buffer).index_select(0, torch.from_numpy(index))
            yield rows.to(device)


def _read_ahead(loader: _Loader, device: torch.device) -> Iterator[Tensor]:
    """Prepare the next batch in another thread and CUDA stream."""
    with ThreadPoolExecutor(1) as executor:
        ahead = executor.submit(loader.load)
        while (loaded := ahead.result()) is not None:
            ahead = executor.submit(loader.load)
            current = torch.cuda.current_stream(device)
            current.wait_event(loaded.copied)
            loaded.batch.record_stream(current)
            yield loaded.batch


class _Loaded(NamedTuple):
    """A batch on the device, and the event that marks the end of its copy."""

    batch: Tensor
    copied: Any


class _Loader:
    """Copies batches to a GPU in its own CUDA stream.

    Args:
        batches: The output of `Dataset.batches`.
        device: Target device.
        room: Bytes of rows that may be kept on the device; 0 keeps none.
    """

    def __init__(
        self, batches: Iterator[Batch], device: torch.device, room: float
    ) -> None:
        self._batches = batches
        self._room = room
        self._stream = torch.cuda.Stream(device)
        # the buffer that is kept on the device, and its copy there
        self._held: np.ndarray | None = None
        self._copy: Tensor | None = None

    def load(self) -> _Loaded | None:
        """Load the next batch, or return None after the last one."""
        found = next(self._batches, None)
        if found is None:
            return None
        buffer, index = found
        self._hold(buffer, index)
        with torch.cuda.stream(self._stream):
            if buffer is self._held:
                batch = self._gather_on_device(index)
            else:
                batch = self._gather_on_host(buffer, index)
            return _Loaded(batch, self._stream.record_event())

    def _hold(self, buffer: np.ndarray, index: np.ndarray) -> None:
        """Keep the first buffer on the device, if it fits and serves several batches."""
        fits = buffer.nbytes < self._room
        if self._held is None and fits and len(buffer) > len(index):
            self._held = buffer
            self._copy = torch.from_numpy(buffer).to(self._stream.device)

    def _gather_on_device(self, index: np.ndarray) -> Tensor:
        assert self._copy is not None
        pinned = torch.from_numpy(index).pin_memory()
        return self._copy.index_select(
            0, pinned.to(self._stream.device, non_blocking=True)
        )

    def _gather_on_host(self, buffer: np.ndarray, index: np.ndarray) -> Tensor:
        pinned = torch.empty(len(index), buffer.shape[1], pin_memory=True)
        torch.index_select(
            torch.from_numpy(buffer), 0, torch.from_numpy(index), out=pinned
        )
        return pinned.to(self._stream.device, non_blocking=True)
