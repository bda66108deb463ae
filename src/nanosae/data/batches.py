"""Batches on the device that trains: gathered there where the rows fit, else copied ahead of need.

A GPU holds the rows of data that lies in memory, if they take up to `SHARE` of its free memory.
Otherwise each batch is gathered into pinned memory and copied while the step before it runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nanosae.data.dataset import Dataset

SHARE = 0.5


def device_batches(
    data: Dataset, batch_size: int, start_row: int, device: torch.device
) -> Iterator[Tensor]:
    """Yield the batches of `data.batches` on a device, each (batch_size, width).

    Args:
        data: The rows.
        batch_size: Rows in a batch.
        start_row: Rows consumed before.
        device: Where to.
    """
    batches = data.batches(batch_size, start_row)
    if device.type == "cuda":
        yield from _ahead(data, batches, device)
    for buffer, index in batches:
        yield torch.from_numpy(buffer).index_select(0, torch.from_numpy(index)).to(device)


def _ahead(
    data: Dataset, batches: Iterator[tuple[np.ndarray, np.ndarray]], device: torch.device
) -> Iterator[Tensor]:
    """Prepare the next batch in a thread and a stream of its own."""
    stream, held = torch.cuda.Stream(device), {}
    limit = SHARE * torch.cuda.mem_get_info(device)[0] if data.in_memory else 0

    def load() -> tuple[Tensor, Any] | None:
        if (found := next(batches, None)) is None:
            return None
        rows, index = (torch.from_numpy(part) for part in found)
        if not held and len(rows) > len(index) and rows.nbytes < limit:
            held[rows.data_ptr()] = rows.to(stream.device)
        with torch.cuda.stream(stream):
            if (there := held.get(rows.data_ptr())) is not None:
                index = index.pin_memory().to(stream.device, non_blocking=True)
                batch = there.index_select(0, index)
            else:
                pinned = torch.empty(len(index), rows.shape[1], pin_memory=True)
                torch.index_select(rows, 0, index, out=pinned)
                batch = pinned.to(stream.device, non_blocking=True)
            return batch, stream.record_event()

    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(load)
        while (ready := ahead.result()) is not None:
            ahead = pool.submit(load)
            current = torch.cuda.current_stream(device)
            current.wait_event(ready[1])
            ready[0].record_stream(current)
            yield ready[0]
