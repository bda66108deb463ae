"""Training rows: each once per epoch, at an exact position.

`Dataset` holds rows out, centres and scales the rest so that E‖(x − mean)·scale‖² = width, and
deals shuffled batches. The order of an epoch depends on (seed, epoch) alone: one integer, the rows
consumed so far, is the whole position.

Data that fits `buffer_rows` lies in memory as one array and is permuted as a whole. Larger data is
streamed through buffers of M = buffer_rows ÷ 4 rows, of which two exist at a time: one in use, one
being read. The data is cut into chunks of C = M ÷ 2,048 neighbouring rows, read in one go (128 rows
by default; row groups of Parquet are not cut), and into stretches of as many chunks as there are
buffers; each buffer gets a random chunk of every stretch and is permuted. So each buffer is a
sample of the whole, however the data is sorted. Against a full shuffle, the share p of a class of
neighbouring rows varies in batches of b rows by a factor of

    1 + b·(C ÷ M)² ÷ 3p(1 − p)   for classes longer than a stretch: 1.00 for b = 4,096, p = 0.1
    1 + b·C ÷ M                  at worst, for classes as long as a chunk: 1.5 for b = 1,024

Not covered: iterators (`stream.py`), and rows that change between epochs. Of streamed data, mean,
scale, counts and held-out rows come from one buffer; duplicates elsewhere are not seen.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count, cycle, islice, pairwise
from typing import Any

import numpy as np

from nanosae.sources import Rows, open_rows

__all__ = ["Dataset", "Rows", "open_rows"]

CHUNKS = 2048  # chunks in a buffer: more mix better, fewer are read faster
CHUNK = 8  # rows in a chunk at least
Batch = tuple[np.ndarray, np.ndarray]


class Dataset:
    """Rows prepared for training: a part held out, centred, scaled, dealt in shuffled batches.

    Of a `Rows` that was opened with targets, every row carries its target behind it: `heldout`,
    `sample` and the buffers of `batches` have width + target width columns; split them at `width`.
    The two sides are centred and scaled separately, and held-out rows are chosen by inputs alone.

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
        width: Length of a row, without its target.
        columns: Names of the vector columns, as in `Rows`.
        mean: Mean of the training rows (streamed: of a buffer of them), (width,), float32.
        scale: Factor after centring, so that the mean squared length is `width`.
        target_mean, target_scale: The same of the targets; empty and 1 without.
        heldout: Held-out rows, normalised, (n_heldout, width + target width), float32.
        fingerprint: Hash of the rows' shape and some values: the same in any container.
        source: The path that they came from, None for objects.
        notes: Sentences on the data: zero rows, duplicates, few rows, streaming.
        in_memory: Whether all rows lie in memory.

    Raises:
        ValueError: If all rows are equal, or one cannot be read.

    Example:
        >>> rows = np.random.default_rng(0).normal(size=(100, 4))
        >>> data = Dataset(open_rows(rows, targets=rows[:, :3]), seed=0)
        >>> buffer, idx = next(data.batches(32))
        >>> buffer[idx].shape, data.n_train, data.width
        ((32, 7), 95, 4)
    """

    def __init__(
        self, rows, *, seed, heldout_share=0.05, heldout_max=1e4, buffer_rows=2**20, normalise=True
    ):
        n, self.width, self.columns, self._seed = rows.n_rows, rows.width, rows.columns, seed
        self._rows: Any = rows
        self.in_memory = n <= buffer_rows
        self._limit = n if self.in_memory else max(2 * CHUNK, buffer_rows // 4)
        self._hold_out(np.empty(0, np.int64))
        # All rows, or those of a buffer; groups of rows may leave one almost empty.
        pool, _ = max(islice(self._plan(0), 4), key=lambda part: len(part[0]))
        self._all = x = rows.take(pool)
        keys = np.concatenate([hash_rows(some[:, : self.width]) for some in split(x)])
        _, group, sizes = np.unique(keys, return_inverse=True, return_counts=True)
        if len(sizes) == 1 < n:
            raise ValueError(f"All {len(x)} rows read are equal: there is nothing to learn.")
        target = int(min(heldout_max, max(1, round(n * heldout_share)), len(x) // 2))
        # Duplicates form groups, held out as a whole; those too large to fit come last.
        random = np.random.default_rng([seed, 0]).random(len(sizes))
        rank = np.argsort(np.argsort(random + (sizes > target)))[group]
        out = rank < max(1, np.sort(rank)[target])
        train = np.flatnonzero(~out | (n == 1))
        mean = square = np.zeros(rows.total_width)
        if normalise:
            mean = np.sum([x[i].sum(0, dtype=float) for i in split(train)], 0) / len(train)
            square = np.sum([np.square(x[i] - mean).sum(0) for i in split(train)], 0) / len(train)
        sides, widths = np.split(square, [self.width]), [self.width, rows.target_width]
        scales = [float((s.size / s.sum()) ** 0.5) if s.any() else 1.0 for s in sides]
        self._mean, self._scale = np.array([mean, np.repeat(scales, widths)], np.float32)
        self.mean, self.target_mean = np.split(self._mean, [self.width])
        self.scale, self.target_scale = scales
        self.heldout = self._normal(x[out])
        self.n_heldout = len(self.heldout)
        self._hold_out(pool[out][: n - 1])
        self._all = self._normal(x) if self.in_memory else x[:0].copy()
        self.fingerprint, self._rows = rows.fingerprint(), None if self.in_memory else rows
        self.source = rows.source
        counts = {"all zero": np.sum(keys == 0), "copies of others": len(keys) - len(sizes)}
        self.notes = [f"{k:,} of {len(x):,} rows are {what}." for what, k in counts.items() if k]
        few = f"There are only {n} rows, fewer than a usual batch of 1,024."
        self.notes += [few] * (n < 1024) + ["The one row is also held out."] * (n == 1)
        sample = f"Mean, scale and counts come from {len(x):,} of {n:,} rows."
        chunk, limit = np.diff(self._edges).max(), self._limit
        mixing = f"Up to {chunk:,} neighbours at a time are read into buffers of {limit:,} rows: "
        mixing += "if rows are sorted, raise buffer_rows, or convert with `nanosae cache`."
        self.notes += [sample] * (n > len(x)) + [mixing] * bool(n > len(x) and limit < 1000 * chunk)

    def batches(self, batch_size: int, start_row: int = 0) -> Iterator[Batch]:
        """Deal shuffled batches without end; every epoch holds each training row once.

        Args:
            batch_size: Rows in a batch; batches may cross the end of an epoch.
            start_row: Rows consumed before, over all epochs.

        Yields:
            A buffer, (m, width + target width), float32, normalised, and the rows of it that make
            up the batch, (batch_size,), int64: the batch is `buffer[idx]`. To be used before the
            next is asked for: streamed buffers are filled again.
        """
        rest = self.heldout[:0]  # a batch begun in the part before
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
        """Draw n normalised training rows (streamed: of one buffer) and return a part of them.

        Args:
            n: Number of rows to draw, distinct while these are enough.
            seed: Of the draw.
            part: Which of the drawn rows to return; all by default.

        Returns:
            (n, width + target width), float32.
        """
        pool, _ = next(self._plan(0, seed))
        picks = np.random.default_rng([seed, 2]).choice(len(pool), min(n, len(pool)), replace=False)
        rows, back = np.unique(np.resize(picks, n)[part], return_inverse=True)
        return self._get(pool[rows])[back]

    def _stream(self, start_row: int) -> Iterator[Batch]:
        """Yield buffers and the order of their rows; read the next one in the background."""
        plan = self._plan(start_row)
        if self.in_memory:
            yield from ((self._all, rows[order]) for rows, order in plan)
        spare = cycle(np.empty((2, self._limit, self._rows.total_width), np.float32))
        with ThreadPoolExecutor(1) as pool:
            reads = ((pool.submit(self._get, rows, next(spare)), order) for rows, order in plan)
            for (buffer, order), _next in pairwise(reads):
                yield buffer.result(), order

    def _get(self, rows: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        return self._all[rows] if self.in_memory else self._normal(self._rows.take(rows, out))

    def _normal(self, x: np.ndarray) -> np.ndarray:
        """Centre and scale in place."""
        for some in split(x):
            some[:] = (some - self._mean) * self._scale
        return x

    def _hold_out(self, held: np.ndarray) -> None:
        """Number the rows that are not held out, and cut them into chunks to be read in one go."""
        n, groups = self._rows.n_rows, self._rows.group_starts
        self.n_train, self._gaps = n - len(held), held - np.arange(len(held))
        size = max(CHUNK, self._limit // (2 if groups else CHUNKS))
        cuts = np.array([0, n] if self.in_memory else groups or [0, n])
        cuts -= np.searchsorted(held, cuts)
        chunks = [np.arange(a, b, n if self.in_memory else size) for a, b in pairwise(cuts)]
        self._edges = np.concatenate([*chunks, [self.n_train]])

    def _plan(self, start_row: int, seed: int | None = None) -> Iterator[Batch]:
        """Yield the rows of each buffer, ascending, and the order in which to use them."""
        first, skip = divmod(start_row, self.n_train)
        edges, sizes, n = self._edges, np.diff(self._edges), len(self._edges) - 1
        n_buffers = min(n, -(-self.n_train // (self._limit - sizes.max() + 1)))
        stretches = np.arange(n + -n % n_buffers).reshape(-1, n_buffers)
        for epoch in count(first):
            rng = np.random.default_rng([self._seed if seed is None else seed, 1, epoch])
            chunks = rng.permuted(stretches, axis=1).T.ravel()
            chunks = chunks[chunks < n]
            share = (np.cumsum(sizes[chunks]) - 1) * n_buffers // self.n_train
            for some in np.split(chunks, np.flatnonzero(np.diff(share)) + 1):
                rows = np.concatenate([np.arange(*edges[c : c + 2]) for c in np.sort(some)])
                order = rng.permutation(len(rows))
                if skip < len(rows):
                    yield rows + np.searchsorted(self._gaps, rows, side="right"), order[skip:]
                skip = max(0, skip - len(rows))


def split(x: np.ndarray) -> list[np.ndarray]:
    """Cut rows, or their numbers, into pieces small enough for the processor's cache."""
    return np.array_split(x, len(x) // 1024 + 1)


def hash_rows(x: np.ndarray) -> np.ndarray:
    """Hash rows, (n, width) float32, to 64 bits; an all-zero row to 0."""
    factors = np.random.default_rng(0).integers(1, 2**63, x.shape[1], np.uint64)
    bits = x.view(np.uint32) ^ (x.view(np.uint32) >> 15)  # fills the low bits of round numbers
    return np.einsum("ij,j->i", bits, factors)
