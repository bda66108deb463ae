"""Training rows: each once per epoch, with an exact position.

`Dataset` holds out some rows, centres and scales the others so that E‖(x − mean)·scale‖² = width,
and yields shuffled batches. The order of an epoch depends only on (seed, epoch) (`order.py`), so
that one integer, the rows consumed so far, is the whole position. Data of up to `buffer_rows` rows
is held in memory as one array; larger data is streamed through two buffers.

Iterators are in `stream.py`. For streamed data, mean, scale, counts and held-out rows come from one
buffer, and duplicates outside it are not detected.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice, pairwise

import numpy as np

from nanosae.data.blocks import small_blocks
from nanosae.data.heldout import DuplicateGroups, choose_heldout, group_duplicates
from nanosae.data.normalisation import estimate_normalisation, longest_row
from nanosae.data.order import TrainingOrder, rows_per_buffer
from nanosae.errors import DataError
from nanosae.sources import Rows

# a buffer, and which of its rows make up the batch
Batch = tuple[np.ndarray, np.ndarray]
MAX_HELDOUT = 10_000
SAMPLED_ROWS = 4096  # of streamed rows, for their fingerprint
USUAL_BATCH = 1024
OUTLIER_SHARE = 0.2  # share of the variance in a single row that is worth a note
OUTLIER_ROWS = 100  # with fewer rows, such a share is not unusual


class Dataset:
    """Rows prepared for training: held out in part, centred and scaled, in shuffled batches.

    If the rows were opened with targets, each row is followed by its target: `heldout`, `sample`
    and the buffers of `batches` have width + target width columns, to be split at `width`. Inputs
    and targets are centred and scaled separately; held-out rows are chosen by their inputs.

    Args:
        rows: The opened rows.
        seed: Seed of the held-out rows and of every order.
        heldout_share: Share of the rows to hold out, at least one row and at most `MAX_HELDOUT`.
        buffer_rows: Maximal number of rows in memory; larger data is streamed.

    Attributes:
        n_train: Number of training rows.
        n_heldout: Number of held-out rows.
        width: Width of a row, without its target.
        columns: Names of the vector columns, as in `Rows`.
        mean: Mean of the training rows (if streamed, of one buffer), (width,), float32.
        scale: Factor after centring, such that the mean squared norm is `width`.
        target_mean, target_scale: The same for targets; without targets, empty and 1.
        heldout: Held-out rows, normalised, (n_heldout, width + target width), float32.
        fingerprint: Hash of the rows (see `fingerprint_of`).
        source: The path of the data, or None for objects.
        provenance: What the rows were made from, as in `Rows`.
        notes: Remarks on the data: zero rows, duplicates, few rows, streaming.
        in_memory: Whether all rows are in memory.

    Raises:
        DataError: If all rows or all targets are equal, or a row cannot be read.

    Example:
        >>> from nanosae.sources import open_rows
        >>> rows = np.random.default_rng(0).normal(size=(100, 4))
        >>> data = Dataset(open_rows(rows, targets=rows[:, :3]), seed=0)
        >>> buffer, index = next(data.batches(32))
        >>> buffer[index].shape, data.n_train, data.width
        ((32, 7), 95, 4)
    """

    def __init__(
        self,
        rows: Rows,
        *,
        seed: int,
        heldout_share: float = 0.05,
        buffer_rows: int = 2**20,
    ) -> None:
        self.width = rows.width
        self.columns = rows.columns
        self.source = rows.source
        self.provenance = rows.provenance
        self.in_memory = rows.n_rows <= buffer_rows
        self._limit = None if self.in_memory else rows_per_buffer(buffer_rows)
        self._seed = seed

        numbers = self._representative_rows(rows)
        x = rows.take(numbers)
        self.fingerprint = _fingerprint_of(rows, x if self.in_memory else None)
        groups = group_duplicates(x[:, : rows.width])
        _check_variety(groups)
        _check_targets_vary(x[:, rows.width :])
        n_wanted = max(1, round(rows.n_rows * heldout_share))
        n_wanted = min(n_wanted, MAX_HELDOUT, len(x) // 2)
        heldout, training = _split(groups, n_wanted, seed)
        self._hash_order = numbers[groups.first_of_each(training)]
        unused = np.setdiff1d(heldout, training)
        self._order = self._order_of(rows, heldout=numbers[unused])
        self.n_train = self._order.n_train

        normalisation = estimate_normalisation(x, training, rows.width)
        self._normalisation = normalisation
        self.mean = normalisation.mean
        self.scale = normalisation.scale
        self.target_mean = normalisation.target_mean
        self.target_scale = normalisation.target_scale
        normalisation.apply_(x)

        self.heldout = x[heldout]
        self.n_heldout = len(heldout)
        self.notes = _notes_on_rows(x[:, : rows.width], numbers, groups)
        self.notes += _notes_on_size(rows.n_rows, n_read=len(x))
        if rows.n_rows > len(x):
            self.notes += _notes_on_mixing(
                rows_per_buffer(buffer_rows), self._order.longest_chunk
            )
        # the source is needed only if the rows are not in memory
        self._memory = x if self.in_memory else None
        self._rows = None if self.in_memory else rows

    @property
    def has_targets(self) -> bool:
        """Whether each row is followed by a target."""
        return len(self.target_mean) > 0

    def _representative_rows(self, rows: Rows) -> np.ndarray:
        """Return the numbers of all rows, or of those of one buffer."""
        if self.in_memory:
            return np.arange(rows.n_rows)
        order = self._order_of(rows, heldout=np.array([], np.int64))
        # row groups may leave one of the buffers almost empty
        buffers = [numbers for numbers, _ in islice(order.buffers(0), 4)]
        return max(buffers, key=len)

    def _order_of(self, rows: Rows, heldout: np.ndarray) -> TrainingOrder:
        return TrainingOrder(
            rows.n_rows,
            heldout,
            seed=self._seed,
            limit=self._limit,
            group_starts=rows.group_starts,
        )

    def batches(self, batch_size: int, start_row: int = 0) -> Iterator[Batch]:
        """Yield shuffled batches without end; each training row comes once per epoch.

        Args:
            batch_size: Rows per batch; batches may cross the end of an epoch.
            start_row: Rows consumed before, over all epochs.

        Yields:
            A buffer, (m, width + target width), float32, normalised, and an index, (batch_size,),
            int64: the batch is `buffer[index]`. Use it before asking for the next one, as streamed
            buffers are overwritten.
        """
        # rows of a batch that the previous buffer could not complete
        partial = self.heldout[:0]
        for buffer, order in self._buffers(start_row):
            n_missing = -len(partial) % batch_size
            if n_missing:
                partial = np.concatenate([partial, buffer[order[:n_missing]]])
                if len(partial) < batch_size:
                    continue
                yield partial, np.arange(batch_size)
            stop = len(order) - (len(order) - n_missing) % batch_size
            for start in range(n_missing, stop, batch_size):
                yield buffer, order[start : start + batch_size]
            partial = buffer[order[stop:]]

    def sample(self, n: int, seed: int) -> np.ndarray:
        """Draw n normalised training rows (if streamed, from one buffer).

        Args:
            n: Number of rows to draw; distinct, unless there are fewer.
            seed: Seed of the draw.

        Returns:
            (n, width + target width), float32.
        """
        numbers, _ = next(self._order.buffers(0, seed))
        n_distinct = min(n, len(numbers))
        rng = np.random.default_rng([seed, 2])
        picks = rng.choice(len(numbers), n_distinct, replace=False)
        return self._take_any(numbers[np.resize(picks, n)])

    def rows_by_hash(self, first: int, end: int) -> np.ndarray:
        """Return normalised training rows in the order of a hash of their content.

        Equal rows count once. The result does not depend on a seed or on the order of the rows, and
        changes little when rows are added. Rows repeat if there are too few. If streamed, they come
        from one buffer.

        Args:
            first: First place in the order.
            end: Place after the last.

        Returns:
            (end - first, width + target width), float32.
        """
        places = np.arange(first, end) % len(self._hash_order)
        return self._take_any(self._hash_order[places])

    def _take_any(self, rows: np.ndarray) -> np.ndarray:
        """Return normalised rows by their numbers, in any order and possibly repeated."""
        distinct, positions = np.unique(rows, return_inverse=True)
        return self._take(distinct)[positions]

    def _buffers(self, start_row: int) -> Iterator[Batch]:
        """Yield buffers and the order of their rows; streamed buffers are read ahead."""
        buffers = self._order.buffers(start_row)
        if self._memory is not None:
            for rows, order in buffers:
                yield self._memory, rows[order]
        else:
            yield from self._read_ahead(buffers)

    def _read_ahead(self, buffers: Iterator[Batch]) -> Iterator[Batch]:
        """Read the next buffer in the background while one is in use."""
        assert self._rows is not None
        assert self._limit is not None
        shape = (2, self._limit, self._rows.total_width)
        spare = cycle(np.empty(shape, np.float32))
        with ThreadPoolExecutor(1) as reader:
            reads = (
                (reader.submit(self._take, rows, next(spare)), order)
                for rows, order in buffers
            )
            for (read, order), _next in pairwise(reads):
                yield read.result(), order

    def _take(self, rows: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Return normalised rows by their numbers."""
        if self._memory is not None:
            return self._memory[rows]
        assert self._rows is not None
        return self._normalisation.apply_(self._rows.take(rows, out))


def fingerprint_of(rows: Rows, buffer_rows: int) -> str:
    """Return a hash of all rows, or of some if they are streamed, the same for any container.

    Args:
        rows: The opened rows.
        buffer_rows: Maximal number of rows in memory, as for `Dataset`.
    """
    if rows.n_rows > buffer_rows:
        return _fingerprint_of(rows, None)
    return rows.digest()


def _fingerprint_of(rows: Rows, all_rows: np.ndarray | None) -> str:
    if all_rows is not None:
        return rows.digest(small_blocks(all_rows))
    if rows.group_starts:  # every row costs as much as its group
        return rows.fingerprint()
    places = np.linspace(0, rows.n_rows - 1, SAMPLED_ROWS).astype(np.int64)
    return rows.digest([rows.take(np.unique(places))])


def _split(
    groups: DuplicateGroups, n_wanted: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of held-out and training rows; a single row is both."""
    is_heldout = choose_heldout(groups, n_wanted, seed)
    heldout = np.flatnonzero(is_heldout)
    if len(is_heldout) == 1:
        return heldout, heldout
    return heldout, np.flatnonzero(~is_heldout)


def _check_variety(groups: DuplicateGroups) -> None:
    n_rows = len(groups.group)
    if len(groups.sizes) == 1 and n_rows > 1:
        raise DataError(
            f"All {n_rows} rows read are equal: there is nothing to learn.",
            remedy="Check how the vectors were made.",
        )


def _check_targets_vary(targets: np.ndarray) -> None:
    n_rows, width = targets.shape
    if width and n_rows > 1 and (targets == targets[0]).all():
        raise DataError(
            f"All {n_rows} targets read are equal: there is nothing to predict.",
            remedy="Check how the targets were made.",
        )


def _notes_on_rows(
    x: np.ndarray, numbers: np.ndarray, groups: DuplicateGroups
) -> list[str]:
    """Return remarks on unusual rows; `numbers` are the numbers of the rows in the data."""
    notes = []
    n_read = len(x)
    if groups.n_zero:
        notes.append(f"{groups.n_zero:,} of {n_read:,} rows are all zero.")
    if groups.n_copies:
        notes.append(
            f"{groups.n_copies:,} of {n_read:,} rows are duplicates of others."
        )
    longest, share = longest_row(x)
    if share > OUTLIER_SHARE and len(x) >= OUTLIER_ROWS:
        notes.append(
            f"Row {numbers[longest]} (0-based) alone holds {share:.1%} of the variance of "
            f"{len(x):,} rows: remove it if it is an error."
        )
    return notes


def _notes_on_size(n_rows: int, n_read: int) -> list[str]:
    notes = []
    if n_rows < USUAL_BATCH:
        notes.append(
            f"There are only {n_rows} rows, fewer than a usual batch of {USUAL_BATCH:,}."
        )
    if n_rows == 1:
        notes.append("The only row is also held out.")
    if n_rows > n_read:
        notes.append(f"Mean, scale and counts come from {n_read:,} of {n_rows:,} rows.")
    return notes


def _notes_on_mixing(n_buffer: int, n_neighbours: int) -> list[str]:
    if n_buffer >= 1000 * n_neighbours:
        return []
    return [
        f"Up to {n_neighbours:,} neighbouring rows at a time are read into buffers of "
        f"{n_buffer:,} rows: if the data is sorted, increase buffer_bytes, or convert it with "
        "`nanosae cache`."
    ]
