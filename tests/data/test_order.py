"""The order of streamed data: how well batches mix, what is read when, exact resumption."""

from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from containers import write_row_groups
from nanosae.data.dataset import Dataset
from nanosae.data.order import TrainingOrder
from nanosae.sources import open_rows
from numbered import deal_batches, row_numbers

quick = settings(max_examples=25, deadline=None)


# Mixing


def class_counts(labels, batch_size, n_batches, **options):
    """How many rows of each class there are in each batch, and the shares to be expected."""
    x = np.stack([labels, np.arange(len(labels))], axis=1).astype(np.float32)
    data = Dataset(open_rows(x), seed=1, **options)
    assert not data.in_memory
    heldout = row_numbers(data, data.heldout)
    heldout = np.bincount(heldout, minlength=labels.max() + 1)
    shares = (np.bincount(labels) - heldout) / data.n_train
    dealt = row_numbers(data, deal_batches(data, batch_size, n_batches))
    dealt = dealt.reshape(-1, batch_size)
    return np.stack(
        [np.bincount(batch, minlength=len(shares)) for batch in dealt]
    ), shares


def chi_square(counts, shares):
    """Pearson's statistic of each batch against the shares of the whole."""
    expected = counts.sum(1, keepdims=True) * shares
    return ((counts - expected) ** 2 / expected).sum(1)


def two_sided(counts, shares):
    """The p-value of the batches being random samples of the whole."""
    statistic = chi_square(counts, shares).sum()
    p = stats.chi2.sf(statistic, len(counts) * (len(shares) - 1))
    return 2 * min(p, 1 - p)


N = 3_000_000  # three times the default buffer_rows
BY_CLASS = np.sort(np.random.default_rng(0).choice(10, N, p=np.arange(1, 11) / 55))


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [256, 1024])
def test_batches_of_sorted_data_look_like_those_of_shuffled_data(batch_size):
    counts, shares = class_counts(BY_CLASS, batch_size, 2000)
    assert two_sided(counts, shares) > 0.01
    shuffled = np.random.default_rng(2).permutation(BY_CLASS)
    others = class_counts(shuffled, batch_size, 2000)
    same = stats.ks_2samp(chi_square(counts, shares), chi_square(*others))
    assert same.pvalue > 0.01


@pytest.mark.parametrize(
    ("batch_size", "buffer_rows"), [(1024, 2048), (64, 512), (16, 64)]
)
def test_the_mixing_check_fails_for_a_buffer_that_is_too_small(batch_size, buffer_rows):
    labels = BY_CLASS[::20]
    counts, shares = class_counts(labels, batch_size, 140, buffer_rows=buffer_rows)
    assert two_sided(counts, shares) < 1e-4


@pytest.mark.slow
def test_the_worst_case_is_as_stated():
    chunk, buffer, batch_size = 8, 2**13, 512
    labels = np.arange(2**18) // chunk  # as long as the chunks
    # few gaps: chunks stay aligned
    options = {"buffer_rows": 4 * buffer, "heldout_share": 0.0}
    counts, shares = class_counts(labels, batch_size, 480, **options)
    factor = chi_square(counts, shares).mean() / (len(shares) - 1)
    # the held-out row shifts the chunks
    assert 1.25 < factor < 1 + batch_size * chunk / buffer
    shuffled = np.random.default_rng(0).permutation(labels)
    shuffled = class_counts(shuffled, batch_size, 480, **options)
    assert chi_square(*shuffled).mean() / (len(shares) - 1) == pytest.approx(1, rel=0.1)


# What is read when


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 120), min_size=1, max_size=12),
    buffer_rows=st.integers(1, 400),
    start=st.integers(0, 500),
)
def test_row_groups_come_once_per_epoch_and_resume_anywhere(
    sizes, buffer_rows, start, tmp_path_factory
):
    n = sum(sizes)
    path = write_row_groups(
        tmp_path_factory.mktemp("groups") / "x.parquet", [*sizes, 2]
    )
    data = Dataset(open_rows(path), seed=0, buffer_rows=buffer_rows)
    dealt = deal_batches(data, 1, 2 * data.n_train + start)
    for epoch in row_numbers(data, dealt)[: 2 * data.n_train].reshape(2, -1):
        assert sorted([*epoch, *row_numbers(data, data.heldout)]) == list(range(n + 2))
    again = Dataset(open_rows(path), seed=0, buffer_rows=buffer_rows)
    assert np.array_equal(
        deal_batches(again, 1, data.n_train, start), dealt[start : start + data.n_train]
    )
    limit = n + 2 if data.in_memory else max(16, buffer_rows // 4)
    assert max(len(order) for _, order in islice(data._order.buffers(0), 9)) <= limit


def test_a_row_group_is_decoded_once_per_epoch(tmp_path, monkeypatch):
    path, asked = write_row_groups(tmp_path / "x.parquet", [100] * 40), []
    data = Dataset(open_rows(path), seed=0, buffer_rows=2000)
    original = pq.ParquetFile.iter_batches
    monkeypatch.setattr(
        pq.ParquetFile,
        "iter_batches",
        lambda self, n, groups, names: (
            asked.append(groups[0]) or original(self, n, groups, names)
        ),
    )
    deal_batches(data, data.n_train, 1)
    n_read_ahead = 2 * 5  # groups of the buffers begun beyond the first epoch
    assert sorted(asked[:40]) == list(range(40))
    assert len(asked) <= 40 + n_read_ahead


def test_large_row_groups_are_noted(tmp_path):
    rows = open_rows(write_row_groups(tmp_path / "x.parquet", [300] * 9))
    notes = Dataset(rows, seed=0, buffer_rows=2400).notes
    assert (
        "Up to 300 neighbouring rows at a time are read into buffers of 600"
        in notes[-1]
    )
    assert "`nanosae cache`" in notes[-1]


def test_thousands_of_shards_are_not_held_open(tmp_path):
    resource = pytest.importorskip("resource")
    n_open = len([*Path("/proc/self/fd").glob("*")]) or 64
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    for i in range(70):
        write_row_groups(tmp_path / f"{i}.parquet", [3])
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (n_open + 20, before[1]))
        assert open_rows(tmp_path).n_rows == 210
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("limit", [None, 32])
def test_the_order_of_the_same_rows_depends_on_the_seed(limit):
    def order(seed, other=None):
        orders = TrainingOrder(200, np.array([3, 50]), seed=seed, limit=limit)
        rows, use = next(orders.buffers(0, other))
        return rows[use]

    assert np.array_equal(order(0), order(0))
    assert not np.array_equal(order(0), order(1))
    assert np.array_equal(order(0, other=1), order(1))
