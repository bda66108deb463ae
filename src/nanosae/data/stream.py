"""A dataset from a stream of batches that are made on the fly."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import numpy as np
import torch

from nanosae.data.dataset import Batch, Dataset
from nanosae.data.order import rows_in_bytes
from nanosae.errors import DataError, DataTypeError
from nanosae.sources import open_rows
from nanosae.sources.frames import ONE_OF_SEVERAL, several_arrays


class Stream(Dataset):
    """Rows that come once, in batches: the activations of a model, for example.

    They are collected in buffers of a quarter of `buffer_bytes`. Each buffer is shuffled while the
    next one is filled in the background, so that rows mix within a buffer, but not across buffers.
    Mean, scale, held-out rows and counts come from the first buffer: the first rows should be
    typical. A stream that ends within its first buffer is kept and used for several epochs, like
    data in memory; a longer one is used once, and training ends with it.

    To resume, give a stream that yields the same rows again from the start: rows already used are
    read and skipped, up to the exact position. If its first rows differ, the run refuses to
    continue. Rows at the end that do not fill a batch are not used.

    Args:
        batches: An iterator, generator or `DataLoader` over (n, width) arrays, tensors or
            DataFrames, over (inputs, targets), or over the output of `activations`; or a function
            that returns a new one. Empty batches are skipped.
        seed: Seed of the held-out rows and of every order.
        input_size: Required width of the rows, if given.
        heldout_share: Share of the first buffer to hold out; at least one row is.
        buffer_bytes: Memory for rows.

    Raises:
        DataError: If there are no rows, or a batch cannot be read; the message names the batch.

    Example:
        >>> batches = (np.random.randn(100, 4) for _ in range(9))
        >>> data = Stream(batches, seed=0, buffer_bytes=12_800)
        >>> sum(len(index) for _, index in data.batches(32))
        864
    """

    def __init__(
        self,
        batches: Any,
        *,
        seed: int,
        input_size: int | None = None,
        heldout_share: float = 0.05,
        buffer_bytes: int = 2**30,
    ) -> None:
        self._is_abandoned = False
        source = _start(batches)
        self._blocks = _read_blocks(source, input_size)
        nothing = 0, np.empty((0, 0))
        with torch.no_grad():
            width, self._surplus = next(self._blocks, nothing)
        total_width = max(1, self._surplus.shape[1])
        self._rows_per_buffer = rows_in_bytes(buffer_bytes // 4, total_width)
        first = self._fill_buffer()
        if not len(first):
            raise DataError(
                "the stream ended before its first row.", remedy="Check what makes it."
            )
        self._has_ended = len(first) < self._rows_per_buffer
        targets = first[:, width:] if first.shape[1] > width else None
        rows = open_rows(first[:, :width], targets=targets)
        super().__init__(
            rows, seed=seed, heldout_share=heldout_share, buffer_rows=len(first)
        )
        self.provenance = _provenance(source)
        self.notes.append(
            f"Mean, scale and held-out rows come from the first {len(first):,} rows."
        )

    @torch.no_grad()  # in each thread; and what the batches set lasts no longer
    def _fill_buffer(self) -> np.ndarray:
        """Collect the rows of a buffer, fewer at the end of the stream."""
        blocks = [self._surplus]
        n_rows = len(self._surplus)
        while n_rows < self._rows_per_buffer and not self._is_abandoned:
            _, block = next(self._blocks, (0, None))
            if block is None:
                break
            blocks.append(block)
            n_rows += len(block)
        x = np.concatenate(blocks)
        self._surplus = x[self._rows_per_buffer :].copy()
        return x[: self._rows_per_buffer]

    def _buffers(self, start_row: int) -> Iterator[Batch]:
        if self._has_ended:
            yield from super()._buffers(start_row)
        else:
            yield from self._buffers_of_long_stream(start_row)

    def _buffers_of_long_stream(self, start_row: int) -> Iterator[Batch]:
        """Yield each buffer once while the next one is filled in the background."""
        rows, order = next(self._order.buffers(0))
        buffer, order = self._memory, rows[order]
        assert buffer is not None
        n_passed = 0
        with ThreadPoolExecutor(1) as reader:
            try:
                for number in count(1):
                    ahead = reader.submit(self._fill_buffer)
                    n_used = max(0, start_row - n_passed)
                    if n_used < len(order):
                        yield buffer, order[n_used:]
                    n_passed += len(order)
                    buffer = ahead.result()
                    if not len(buffer):
                        self.notes.append(
                            f"The stream ended after {n_passed:,} training rows."
                        )
                        return
                    self._normalisation.apply_(buffer)
                    rng = np.random.default_rng([self._seed, 1, number])
                    order = rng.permutation(len(buffer))
            finally:
                # otherwise the executor would wait for a whole buffer
                self._is_abandoned = True


def _read_blocks(
    batches: Iterator[Any], width: int | None
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the input width and the checked rows of each batch, followed by their targets."""
    total_width = None
    for number, batch in enumerate(batches):
        inputs, targets = _inputs_and_targets(batch, number)
        if getattr(inputs, "shape", ())[:1] == (0,):
            continue
        try:
            opened = open_rows(inputs, input_size=width, targets=targets)
            block = opened.read(0, opened.n_rows)
        except (DataError, DataTypeError) as error:
            raise type(error)(
                f"batch {number} of the stream: {error}",
                row=error.row,
                column=error.column,
            ) from error
        if total_width not in (None, opened.total_width):
            raise DataError(
                f"batch {number} of the stream has targets of width {opened.target_width}, batch 0 "
                f"of width {total_width - opened.width}.",
                remedy="Yield (inputs, targets) of the same widths in every batch.",
            )
        width, total_width = opened.width, opened.total_width
        yield width, block


def _inputs_and_targets(batch: Any, number: int) -> tuple[Any, Any]:
    """Return the rows of a batch, and its targets or None.

    Raises:
        DataTypeError: If it holds several arrays that are not inputs and targets.
    """
    rows = getattr(batch, "rows", batch)  # in the output of `activations`
    if callable(rows):
        rows = batch  # a polars frame, which has a method of that name
    if isinstance(rows, Mapping):
        raise DataTypeError(
            f"batch {number} of the stream {several_arrays(rows)}",
            remedy=ONE_OF_SEVERAL,
        )
    if not isinstance(rows, tuple | list):
        return rows, None
    parts = [*rows]
    if not parts or not all(map(_is_array, parts)):
        return rows if isinstance(rows, tuple) and len(rows) == 2 else (rows, None)
    shapes = [tuple(part.shape) for part in parts]
    n_dimensions = [len(shape) for shape in shapes]
    if len(parts) == 1 and n_dimensions != [1]:
        return parts[0], None  # a TensorDataset of one tensor, collated by a DataLoader
    if n_dimensions == [2, 2]:
        return parts[0], parts[1]
    if isinstance(rows, list) and set(n_dimensions) == {1}:
        return rows, None  # a list of rows
    raise DataTypeError(
        f"batch {number} of the stream holds {shapes}; needed are rows, (n, width), or rows and "
        "targets.",
        remedy="Select what is needed, for example with (x for x, _ in loader).",
    )


def _is_array(part: Any) -> bool:
    return hasattr(part, "shape") and hasattr(part, "dtype")


def _start(batches: Any) -> Iterator[Any]:
    source = batches() if callable(batches) else batches
    if not isinstance(source, Iterable):
        raise DataTypeError(
            f"The function returned {type(source).__name__}, which is not an iterator of batches.",
            remedy="Return an iterator that yields (n, width) arrays.",
        )
    return iter(source)


def _provenance(batches: Any) -> dict[str, Any]:
    """Return what the rows were made from, if the stream knows and has a single layer."""
    by_layer = getattr(batches, "provenance", {})
    return next(iter(by_layer.values())) if len(by_layer) == 1 else {}
