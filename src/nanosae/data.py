"""Training rows: each once per epoch, at an exact position.

`Dataset` holds rows out, centres and scales the rest so that E‖(x − mean)·scale‖² = width, and
deals shuffled batches. The order of an epoch depends on (seed, epoch) alone: one integer, the rows
consumed so far, is the whole position.

Data that fits `buffer_rows` lies in memory as one array and is permuted as a whole. Larger data is
cut into chunks of `CHUNK` neighbouring rows; an epoch takes them in random order, fills buffers of
about buffer_rows ÷ 4 rows and permutes each; two buffers exist at a time. On data sorted by class
this multiplies the variance of class shares in a batch of b rows by 1 + (CHUNK − 1)·b ÷ buffer.

Not covered: endless streams, and rows that change between epochs. Of streamed data, mean, scale,
counts and held-out rows come from one random buffer; duplicates elsewhere are not seen.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count, cycle
from typing import Any

import numpy as np

from nanosae.rows import Rows, open_rows

__all__ = ["Dataset", "Rows", "open_rows"]

CHUNK = 16  # neighbouring rows that stay together until their buffer is permuted
Batch = tuple[np.ndarray, np.ndarray]


class Dataset:
    """Rows prepared for training: a part held out, centred, scaled, dealt in shuffled batches.

    Args:
        rows: The opened `Rows`.
        seed: Decides the held-out rows and every order.
        heldout_share: Share of the rows to hold out, at least one row.
        heldout_max: Number of rows to hold out at most.
        buffer_rows: Rows to hold in memory at most; more are streamed.
        normalise: Centre and scale; otherwise mean is 0 and scale 1.

    Attributes:
        n_train: Number of training rows.
        n_heldout: Number of held-out rows.
        width: Length of a row.
        columns: Names of the vector columns, as in `Rows`.
        mean: Mean of the training rows (streamed: of a random buffer), (width,), float32.
        scale: Factor after centring, so that the mean squared length is `width`.
        heldout: Held-out rows, normalised, (n_heldout, width), float32.
        notes: Sentences on the data: zero rows, duplicates, few rows, streaming.
        in_memory: Whether all rows lie in memory.

    Raises:
        ValueError: If all rows are equal, or one cannot be read.

    Example:
        >>> data = Dataset(open_rows(np.random.default_rng(0).normal(size=(100, 4))), seed=0)
        >>> buffer, idx = next(data.batches(32))
        >>> buffer[idx].shape, data.n_train
        ((32, 4), 95)
    """

    def __init__(
        self, rows, *, seed, heldout_share=0.05, heldout_max=1e4, buffer_rows=2**20, normalise=True
    ):
        n, self.width, self.columns, self._seed = rows.n_rows, rows.width, rows.columns, seed
        rng, self.in_memory = np.random.default_rng([seed, 0]), n <= buffer_rows
        self._chunks = (n if self.in_memory else buffer_rows // 4) // CHUNK + 1  # of a buffer
        self._all = x = rows.read(0, n) if self.in_memory else np.empty((0, self.width))
        self._get: Any = x.__getitem__ if self.in_memory else lambda *a: self._normal(rows.take(*a))
        self.mean, self.scale = np.zeros(self.width, np.float32), 1.0
        self.target_mean, self.target_scale = np.empty(0, np.float32), 1.0
        self.n_train, self._gaps = n, np.empty(0, np.int64)
        pool, _ = next(self._plan(0))  # all rows, or those of a random buffer
        keys = np.concatenate([_hash(self._get(some)) for some in _split(pool)])
        _, group, sizes = np.unique(keys, return_inverse=True, return_counts=True)
        if len(sizes) == 1 < n:
            raise ValueError(f"All {len(pool)} rows read are equal: there is nothing to learn.")
        target = int(min(heldout_max, max(1, round(n * heldout_share)), len(pool) // 2))
        # Duplicates form groups, held out as a whole; those too large to fit come last.
        rank = np.argsort(np.argsort(rng.random(len(sizes)) + (sizes > target)))[group]
        out = rank < max(1, np.sort(rank)[target])
        held, train = pool[out], pool[~out | (n == 1)]
        self.n_heldout, self.n_train = len(held), max(1, n - len(held))
        if normalise:
            mean = sum(self._get(i).sum(0, dtype=float) for i in _split(train)) / len(train)
            square = sum(np.square(self._get(i) - mean).sum() for i in _split(train)) / len(train)
            self.scale = float((self.width / square) ** 0.5) if square else 1.0
            self.mean = np.asarray(mean, np.float32)
        self._gaps = (held - np.arange(len(held)))[: n - 1]  # training rows before each
        self._normal(self._all)
        self.heldout = self._get(held)
        counts = {"all zero": np.sum(keys == 0), "copies of others": len(keys) - len(sizes)}
        self.notes = [f"{k:,} of {len(pool):,} rows are {what}." for what, k in counts.items() if k]
        few = f"There are only {n} rows, fewer than a usual batch of 1,024."
        self.notes += [few] * (n < 1024) + ["The one row is also held out."] * (n == 1)
        sample = f"Mean, scale and counts come from {len(pool):,} of {n:,} rows."
        self.notes += [sample] * (n > len(pool))

    def batches(self, batch_size: int, start_row: int = 0) -> Iterator[Batch]:
        """Deal shuffled batches without end; every epoch holds each training row once.

        Args:
            batch_size: Rows in a batch; batches may cross the end of an epoch.
            start_row: Rows consumed before, over all epochs.

        Yields:
            A buffer, (m, width), float32, normalised, and the rows of it that make up the batch,
            (batch_size,), int64: the batch is `buffer[idx]`. To be used before the next is asked
            for: streamed buffers are filled again.
        """
        rest = np.empty((0, self.width), np.float32)  # a batch begun in the part before
        for buffer, order in self._stream(start_row):
            start = -len(rest) % batch_size
            if start:
                rest = np.concatenate([rest, buffer[order[:start]]])
                if len(rest) < batch_size:
                    continue
                yield rest, np.arange(batch_size)
            stop = len(order) - (len(order) - start) % batch_size
            for at in range(start, stop, batch_size):
                yield buffer, order[at : at + batch_size]
            rest = buffer[order[stop:]]

    def sample(self, n: int, seed: int, part: slice = slice(None)) -> np.ndarray:
        """Draw n normalised training rows, distinct while there are enough; return a part of them.

        Args:
            n: Number of rows to draw.
            seed: Of the draw.
            part: Which of the drawn rows to return; all by default.

        Returns:
            (n, width), float32.
        """
        picks = np.random.default_rng([seed, 2]).choice(self.n_train, min(n, self.n_train), False)
        rows, back = np.unique(np.resize(picks, n)[part], return_inverse=True)
        return self._get(rows + np.searchsorted(self._gaps, rows, side="right"))[back]

    def _stream(self, start_row: int) -> Iterator[Batch]:
        """Yield buffers and the order of their rows; read the next one in the background."""
        plan, n_rows = self._plan(start_row), 0 if self.in_memory else self._chunks * CHUNK
        spare = cycle(np.empty((2, n_rows, self.width), np.float32))
        with ThreadPoolExecutor(1) as pool:
            ahead = pool.submit(self._load, *next(plan), next(spare))
            while True:
                buffer, order = ahead.result()
                ahead = pool.submit(self._load, *next(plan), next(spare))
                yield buffer, order

    def _load(self, rows: np.ndarray, order: np.ndarray, out: np.ndarray) -> Batch:
        return (self._all, rows[order]) if self.in_memory else (self._get(rows, out), order)

    def _normal(self, x: np.ndarray) -> np.ndarray:
        """Centre and scale in place."""
        for some in _split(x):
            some[:] = (some - self.mean) * self.scale
        return x

    def _plan(self, start_row: int) -> Iterator[Batch]:
        """Yield the rows of each buffer, ascending, and the order in which to use them."""
        first, skip = divmod(start_row, self.n_train)
        n_chunks = -(-self.n_train // CHUNK)
        for epoch in count(first):
            rng = np.random.default_rng([self._seed, 1, epoch])
            for chunks in np.array_split(rng.permutation(n_chunks), -(-n_chunks // self._chunks)):
                rows = np.add.outer(np.sort(chunks) * CHUNK, np.arange(CHUNK)).ravel()
                rows = rows[rows < self.n_train]
                order = rng.permutation(len(rows))
                if skip < len(rows):
                    yield rows + np.searchsorted(self._gaps, rows, side="right"), order[skip:]
                skip = max(0, skip - len(rows))


def _split(x: np.ndarray) -> list[np.ndarray]:
    return np.array_split(x, len(x) // 1024 + 1)  # small enough for the cache


def _hash(x: np.ndarray) -> np.ndarray:
    """Hash rows, (n, width) float32, to 64 bits; an all-zero row to 0."""
    factors = np.random.default_rng(0).integers(1, 2**63, x.shape[1], np.uint64)
    bits = x.view(np.uint32) ^ (x.view(np.uint32) >> 15)  # fills the low bits of round numbers
    return np.einsum("ij,j->i", bits, factors)
