"""The order in which training rows are used: a pure function of (seed, epoch).

Data in memory is permuted as a whole. Larger data is streamed through two buffers of M =
buffer_rows ÷ 4 rows, one in use and one being read. The data is divided into chunks of C = M ÷
2,048 neighbouring rows, which are read together (by default 85 rows of width 384; row groups of
Parquet files are not divided), and into stretches of as many chunks as there are buffers. Each
buffer gets a random chunk of every stretch and is permuted, so that it is a sample of the whole,
even if the data is sorted.

The share p of a class of neighbouring rows in batches of b rows has a variance that exceeds that of
a full shuffle by a factor of

    1 + b·(C ÷ M)² ÷ 3p(1 − p)   for classes longer than a stretch: 1.00 for b = 4,096, p = 0.1
    1 + b·C ÷ M                  at worst, for classes as long as a chunk: 1.5 for b = 1,024
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count, pairwise

import numpy as np

CHUNKS = 2048  # chunks per buffer: more mix better, fewer are read faster
CHUNK_ROWS = 8  # minimal number of rows in a chunk


def rows_in_bytes(n_bytes: int, width: int) -> int:
    """Return how many float32 rows fit into `n_bytes`, at least one."""
    return max(1, n_bytes // (4 * width))


def rows_per_buffer(buffer_rows: int) -> int:
    """Return the rows per buffer of streamed data, if `buffer_rows` may be held in memory."""
    return max(2 * CHUNK_ROWS, buffer_rows // 4)


class TrainingOrder:
    """The rows of each buffer, and the order in which they are used.

    Args:
        n_rows: Number of rows, including held-out rows.
        heldout: Numbers of the held-out rows, ascending.
        seed: Seed of the order.
        limit: Maximal number of rows in a buffer; if None, an epoch is one buffer.
        group_starts: First row of each group that can only be read as a whole, and `n_rows`; empty
            if single rows can be read.
    """

    def __init__(
        self,
        n_rows: int,
        heldout: np.ndarray,
        *,
        seed: int,
        limit: int | None = None,
        group_starts: Sequence[int] = (),
    ) -> None:
        self.n_train = n_rows - len(heldout)
        self._limit = n_rows if limit is None else limit
        self._seed = seed
        # training row t is row t + h of the data, where h held-out rows precede it
        self._n_before_heldout = heldout - np.arange(len(heldout))
        borders = np.array([0, n_rows])
        chunk_rows = n_rows
        if limit is not None and group_starts:
            borders = np.array(group_starts)
            chunk_rows = max(CHUNK_ROWS, limit // 2)
        elif limit is not None:
            chunk_rows = max(CHUNK_ROWS, limit // CHUNKS)
        borders -= np.searchsorted(heldout, borders)
        chunks = [
            np.arange(start, stop, chunk_rows) for start, stop in pairwise(borders)
        ]
        self._chunk_edges = np.concatenate([*chunks, [self.n_train]])
        self._chunk_sizes = np.diff(self._chunk_edges)

    @property
    def longest_chunk(self) -> int:
        """Number of rows in the longest chunk."""
        return int(self._chunk_sizes.max())

    def buffers(
        self, start_row: int, seed: int | None = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the rows of each buffer, without end.

        Args:
            start_row: Training rows used before, over all epochs.
            seed: Replaces the seed of the order.

        Yields:
            Row numbers, ascending, and the order in which to use them, as positions among these
            rows, without those used before.
        """
        if seed is None:
            seed = self._seed
        first_epoch, n_used = divmod(start_row, self.n_train)
        for epoch in count(first_epoch):
            rng = np.random.default_rng([seed, 1, epoch])
            for chunks in self._deal_chunks(rng):
                rows = self._rows_of(np.sort(chunks))
                order = rng.permutation(len(rows))
                if n_used < len(rows):
                    yield rows, order[n_used:]
                n_used = max(0, n_used - len(rows))

    def _deal_chunks(self, rng: np.random.Generator) -> list[np.ndarray]:
        """Return the chunks of each buffer of an epoch: a random one of every stretch."""
        n_chunks = len(self._chunk_sizes)
        # a buffer may exceed this by less than one chunk
        mean_rows = self._limit - self.longest_chunk + 1
        n_buffers = min(n_chunks, -(-self.n_train // mean_rows))
        n_places = n_chunks + -n_chunks % n_buffers
        stretches = np.arange(n_places).reshape(-1, n_buffers)
        chunks = rng.permuted(stretches, axis=1).T.ravel()
        chunks = chunks[chunks < n_chunks]
        last_rows = np.cumsum(self._chunk_sizes[chunks]) - 1
        buffer_of_chunk = last_rows * n_buffers // self.n_train
        first_chunks = np.flatnonzero(np.diff(buffer_of_chunk)) + 1
        return np.split(chunks, first_chunks)

    def _rows_of(self, chunks: np.ndarray) -> np.ndarray:
        """Return the row numbers of chunks."""
        starts = self._chunk_edges[chunks]
        stops = self._chunk_edges[chunks + 1]
        rows = np.concatenate(list(map(np.arange, starts, stops)))
        return rows + np.searchsorted(self._n_before_heldout, rows, side="right")
