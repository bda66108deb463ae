"""A stream of batches that are made on the fly, as a dataset."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import numpy as np

from nanosae.data.dataset import Batch, Dataset
from nanosae.sources import open_rows


class Stream(Dataset):
    """Rows that come in batches, once: activations of a model, say.

    They are collected into buffers of buffer_rows ÷ 4, each of which is shuffled while the next one
    is filled in the background: rows mix within a buffer, not across buffers. Mean, scale, held-out
    rows and counts come from the first buffer, so the first rows should be typical. A stream that
    ends within its first buffer is kept and dealt in epochs, like any data in memory; a longer one
    is dealt once, and training ends with it.

    To resume, give a stream that yields the same rows again from its first one on: those already
    used are read and passed over, up to the exact position. If its first rows differ, `runs.start`
    refuses to go on. Rows that remain at the end and make no whole batch are not used.

    Args:
        batches: An iterator or generator of (n, width) arrays or tensors, of (inputs, targets), or
            of what `activations` yields; or a function that returns a new one.
        seed: Decides the held-out rows and every order.
        input_size: Width that the rows must have.
        buffer_rows: Rows to hold in memory at most.
        options: As of `Dataset`.

    Example:
        >>> data = Stream((np.random.randn(100, 4) for _ in range(9)), seed=0, buffer_rows=800)
        >>> sum(len(idx) for _, idx in data.batches(32))
        864
    """

    def __init__(self, batches, *, seed, input_size=None, buffer_rows=2**20, **options):
        self._size, self._closed = max(1, buffer_rows // 4), False
        self._source = self._read(batches, input_size)
        self._rest = next(self._source, np.empty((0, 0)))
        if not len(first := self._fill()):
            raise ValueError("the stream ended before its first row.")
        targets = first[:, self._own :]
        rows = open_rows(first[:, : self._own], targets=targets if targets.size else None)
        self._ended = len(first) < self._size
        super().__init__(rows, seed=seed, buffer_rows=len(first), **options)
        self.notes += [f"Mean, scale and held-out rows come from the first {len(first):,} rows."]

    def _read(self, batches: Any, width: int | None) -> Iterator[np.ndarray]:
        """Check the batches and put targets beside their inputs."""
        source: Any = batches() if callable(batches) else batches
        for i, batch in enumerate(source):
            batch = getattr(batch, "rows", batch)
            x, y = batch if isinstance(batch, tuple) else (batch, None)
            try:
                rows = open_rows(x, input_size=width, targets=y)
                block = rows.read(0, rows.n_rows)
            except ValueError as error:
                raise ValueError(f"batch {i} of the stream: {error}") from error
            width = self._own = rows.width
            yield block

    def _fill(self) -> np.ndarray:
        """Collect the rows of a buffer; fewer at the end."""
        blocks, n = [self._rest], len(self._rest)
        while (
            n < self._size and not self._closed and (block := next(self._source, None)) is not None
        ):
            blocks, n = [*blocks, block], n + len(block)
        x = np.concatenate(blocks)
        self._rest = x[self._size :].copy()
        return x[: self._size]

    def _stream(self, start_row: int) -> Iterator[Batch]:
        if self._ended:
            yield from super()._stream(start_row)
        rows, order = next(self._plan(0))
        buffer, order, n_rows = self._all, rows[order], 0
        with ThreadPoolExecutor(1) as pool:
            try:
                for i in count(1):
                    ahead = pool.submit(self._fill)
                    if start_row < len(order):
                        yield buffer, order[start_row:]
                    n_rows, start_row = n_rows + len(order), max(0, start_row - len(order))
                    if not len(filled := ahead.result()):
                        self.notes += [f"The stream ended after {n_rows:,} training rows."]
                        return
                    buffer = self._normal(filled)
                    order = np.random.default_rng([self._seed, 1, i]).permutation(len(buffer))
            finally:
                self._closed = True  # or the executor would wait for a whole buffer
