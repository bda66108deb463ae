"""Every training row once per epoch, normalised; held-out rows by duplicate groups."""

import threading
from itertools import islice, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

from nanosae.data.dataset import Dataset, fingerprint_of
from nanosae.data.order import rows_per_buffer
from nanosae.sources import open_rows
from numbered import deal, numbered, row_numbers, vectors

quick = settings(max_examples=25, deadline=None)


def is_partition(epoch, heldout, n):
    """Whether an epoch and the held-out rows together are each row once."""
    return sorted([*epoch, *heldout]) == list(range(n))


sizes = {
    "n": st.integers(2, 200),
    "batch_size": st.integers(1, 250),
    "buffer_rows": st.sampled_from([1, 64, 100, 199, 10**6]),
    "seed": st.integers(0, 3),
}


@quick
@given(**sizes)
def test_every_row_comes_once_per_epoch(n, batch_size, buffer_rows, seed):
    data = Dataset(open_rows(numbered(n)), seed=seed, buffer_rows=buffer_rows)
    assert data.in_memory == (n <= buffer_rows)
    assert (data.n_heldout, data.n_train + data.n_heldout) == (len(data.heldout), n)
    got = row_numbers(data, deal(data, batch_size, 3 * data.n_train)).reshape(3, -1)
    heldout = row_numbers(data, data.heldout)
    assert all(is_partition(epoch, heldout, n) for epoch in got)


def test_a_dealer_that_drops_the_last_short_batch_is_caught():
    data = Dataset(open_rows(numbered(100)), seed=0)
    epoch = row_numbers(data, deal(data, 1, data.n_train))
    heldout = row_numbers(data, data.heldout)
    assert is_partition(epoch, heldout, 100)
    assert not is_partition(epoch[: data.n_train // 32 * 32], heldout, 100)
    assert not is_partition(np.append(epoch[1:], epoch[1]), heldout, 100)


@pytest.mark.parametrize("buffer_rows", [200, 100])
def test_fingerprints_see_every_row_and_need_no_data_set(buffer_rows):
    x = numbered(200)
    data = Dataset(open_rows(x), seed=0, buffer_rows=buffer_rows)
    assert data.in_memory == (buffer_rows == 200)
    assert fingerprint_of(open_rows(x), buffer_rows) == data.fingerprint
    for row in (0, 60, 199):  # fewer than are sampled of streamed rows
        changed = x.copy()
        changed[row] += 1
        other = Dataset(open_rows(changed), seed=0, buffer_rows=buffer_rows)
        assert other.fingerprint != data.fingerprint


def test_streamed_rows_of_groups_are_not_read_twice_for_a_fingerprint():
    rows = open_rows(numbered(200))
    rows.group_starts = [0, 100, 200]
    assert fingerprint_of(rows, 100) == rows.fingerprint()
    assert fingerprint_of(rows, 200) == rows.digest()


@pytest.mark.slow
@quick
@given(start=st.integers(0, 500), **sizes)
def test_resumed_batches_are_those_of_the_uninterrupted_stream(
    n, batch_size, buffer_rows, seed, start
):
    rows = open_rows(numbered(n))
    data = Dataset(rows, seed=seed, buffer_rows=buffer_rows)
    whole = deal(data, 17, start + 300)
    again = Dataset(rows, seed=seed, buffer_rows=buffer_rows)
    assert np.array_equal(deal(again, batch_size, 300, start), whole[start:])
    if data.n_train > 3:  # twin: a position that is off by one is seen
        assert not np.array_equal(
            deal(again, batch_size, 300, start + 1), whole[start:]
        )


@pytest.mark.parametrize("buffer_rows", [10**6, 400])
def test_order_depends_on_seed_and_epoch(buffer_rows):
    def epochs(seed):
        data = Dataset(open_rows(numbered(800)), seed=seed, buffer_rows=buffer_rows)
        return row_numbers(data, deal(data, 100, 2 * data.n_train)).reshape(2, -1)

    first, second = epochs(0)
    assert not np.array_equal(first, second)
    assert not np.array_equal(np.sort(first), first)
    assert np.array_equal(epochs(0)[0], first)
    assert set(epochs(1)[0]) != set(first)  # other rows are held out


def test_batches_are_int64_rows_of_a_normalised_float32_buffer():
    data = Dataset(open_rows(numbered(500)), seed=0)
    buffer, idx = next(data.batches(64))
    assert (buffer.dtype, idx.dtype, idx.shape) == (np.float32, np.int64, (64,))
    assert buffer.flags.c_contiguous
    assert buffer is next(data.batches(64))[0]  # nothing is copied per batch


@pytest.mark.parametrize("buffer_rows", [10**6, 300])
def test_a_batch_may_be_larger_than_an_epoch(buffer_rows):
    data = Dataset(open_rows(numbered(400)), seed=0, buffer_rows=buffer_rows)
    buffer, idx = next(data.batches(1000))
    rows = row_numbers(data, buffer[idx])
    assert np.bincount(rows[: 2 * data.n_train]).max() == 2
    assert len(rows) == 1000


def test_streaming_reads_ahead_in_one_thread_and_stops_with_its_iterator():
    data = Dataset(open_rows(numbered(2000)), seed=0, buffer_rows=400)
    before = threading.active_count()
    batches = data.batches(32)
    next(batches)
    assert threading.active_count() == before + 1
    del batches
    assert threading.active_count() == before


def test_streaming_holds_two_buffers(monkeypatch):
    data = Dataset(open_rows(numbered(5000)), seed=0, buffer_rows=1600)
    bases = {
        id(buffer if buffer.base is None else buffer.base)
        for buffer, _ in islice(data.batches(8), 500)
    }
    # one block for both, and a copy where a batch crosses
    assert len(bases) <= 1 + 500 * 8 // 400


def test_a_bad_row_beyond_the_start_is_found_when_it_is_reached(tmp_path):
    x = numbered(3000)
    data = Dataset(open_rows(x), seed=0, buffer_rows=400)
    seen = set(row_numbers(data, deal(data, 32, 256))) | set(
        row_numbers(data, data.heldout)
    )
    late = max(set(range(3000)) - seen)
    x[late, 1] = np.nan  # after the start: the source is not copied
    with pytest.raises(
        ValueError, match=rf"row {late} \(0-based\), column 1 holds nan"
    ):
        deal(data, 32, 3000)


# Normalisation, held-out rows, notes


@pytest.mark.parametrize("buffer_rows", [10**6, 2000])
def test_rows_are_centred_and_scaled_to_mean_square_one(buffer_rows):
    x = np.random.default_rng(1).normal(3, 5, size=(4000, 8)) * np.arange(1, 9)
    data = Dataset(open_rows(x), seed=0, buffer_rows=buffer_rows)
    epoch = deal(data, 256, data.n_train).astype(np.float64)
    # streamed: estimated on some of the rows
    tolerance = 1e-5 if data.in_memory else 0.25
    assert epoch.mean(0) == pytest.approx(np.zeros(8), abs=tolerance)
    assert np.square(epoch).sum(1).mean() == pytest.approx(8, rel=tolerance)
    raw = epoch / data.scale + data.mean
    if data.in_memory:
        scaler = StandardScaler().fit(raw)
        mean, variance = np.array([scaler.mean_, scaler.var_], float)
        assert data.mean == pytest.approx(mean, rel=1e-4)
        assert data.scale == pytest.approx(np.sqrt(8 / variance.sum()), rel=1e-4)
        uncentred = np.square(raw).sum(1).mean()
        assert data.scale != pytest.approx(np.sqrt(8 / uncentred), rel=0.05)  # twin


def test_statistics_come_from_training_rows_alone():
    x = vectors(40)
    outlier = Dataset(open_rows(x), seed=0)
    held = np.flatnonzero(
        [
            any(
                np.allclose(row / outlier.scale + outlier.mean, r, atol=1e-4)
                for row in outlier.heldout
            )
            for r in x
        ]
    )
    assert len(held) == outlier.n_heldout == 2
    assert outlier.mean == pytest.approx(np.delete(x, held, 0).mean(0), abs=1e-5)
    assert outlier.mean != pytest.approx(x.mean(0), abs=1e-5)


def test_float32_data_far_from_zero_keeps_its_scale():
    x = (np.random.default_rng(0).normal(size=(2000, 4)) + 1e4).astype(np.float32)
    data = Dataset(open_rows(x), seed=0)
    exact = x.astype(np.float64).var(0).sum()
    assert data.scale == pytest.approx(np.sqrt(4 / exact), rel=0.02)
    naive = np.square(x).mean(0) - np.square(x.mean(0))  # twin: one pass in float32
    assert naive.sum() != pytest.approx(exact, rel=0.02)


def test_held_out_share_and_maximum():
    rows = open_rows(vectors(1000))
    assert Dataset(rows, seed=0).n_heldout == 50
    assert Dataset(rows, seed=0, heldout_share=0.2).n_heldout == 200
    assert Dataset(rows, seed=0, heldout_share=0.0).n_heldout == 1
    many = open_rows(np.arange(40_000.0)[:, None])
    assert Dataset(many, seed=0, heldout_share=0.4).n_heldout == 10_000


@pytest.mark.parametrize("copies", [1, 3, 400])
def test_copies_of_a_row_stay_on_one_side(copies):
    distinct = vectors(60)
    x = np.concatenate([distinct, *[distinct[:20]] * copies])
    for seed in range(5):
        data = Dataset(open_rows(x), seed=seed)
        train = {row.tobytes() for row in deal(data, 64, data.n_train)}
        heldout = {row.tobytes() for row in data.heldout}
        assert heldout
        assert not train & heldout
        assert len(train | heldout) == 60
    rows = np.random.default_rng(0).permutation(len(x))  # twin: rows split one by one
    cut = max(1, len(x) // 20)
    assert {x[i].tobytes() for i in rows[:cut]} & {x[i].tobytes() for i in rows[cut:]}


def test_zero_rows_and_copies_are_counted():
    x = np.random.default_rng(0).integers(0, 3, size=(3000, 6)).astype(np.float32)
    copies = len(x) - len(np.unique(x, axis=0))
    zeros = int((x == 0).all(1).sum())
    assert copies > 1000
    assert zeros > 0
    notes = Dataset(open_rows(x), seed=0).notes
    assert f"{zeros} of 3,000 rows are all zero." in notes
    assert f"{copies:,} of 3,000 rows are duplicates of others." in notes
    assert Dataset(open_rows(vectors(1500)), seed=0).notes == []


def test_small_and_streamed_data_is_noted():
    assert "20 rows" in Dataset(open_rows(vectors(20)), seed=0).notes[0]
    sample, mixing = Dataset(open_rows(vectors(2000)), seed=0, buffer_rows=800).notes
    assert sample == "Mean, scale and counts come from 184 of 2,000 rows."
    assert "Up to 8 neighbouring rows at a time are read into buffers of 200" in mixing


def test_one_row_is_trained_on_and_held_out():
    data = Dataset(open_rows([[1.0, 2.0]]), seed=0)
    assert (data.n_train, data.n_heldout) == (1, 1)
    assert data.mean.tolist() == [1, 2]
    assert "also held out" in data.notes[-1]
    buffer, idx = next(data.batches(3))
    assert buffer[idx].tolist() == [[0, 0]] * 3


@pytest.mark.parametrize("value", [0, 1.5])
def test_equal_rows_are_refused(value):
    with pytest.raises(ValueError, match=r"All 30 rows read are equal"):
        Dataset(open_rows(np.full((30, 4), value)), seed=0)


@pytest.mark.parametrize("buffer_rows", [10**6, 480])
def test_sample_takes_distinct_training_rows(buffer_rows):
    data = Dataset(open_rows(numbered(500)), seed=0, buffer_rows=buffer_rows)
    rows = row_numbers(data, data.sample(80, seed=1))
    assert len(set(rows)) == 80
    assert not set(rows) & set(row_numbers(data, data.heldout))
    assert not np.array_equal(rows, np.sort(rows))
    assert np.array_equal(row_numbers(data, data.sample(80, seed=1)), rows)
    assert not np.array_equal(row_numbers(data, data.sample(80, seed=2)), rows)
    more = row_numbers(data, data.sample(2 * data.n_train, seed=1))
    counts = np.bincount(more)[np.unique(more)]
    assert set(counts) == {2} if data.in_memory else np.ptp(counts) <= 1


@pytest.mark.parametrize("buffer_rows", [10**6, 480])
def test_rows_by_hash_are_distinct_training_rows_in_no_order_of_theirs(buffer_rows):
    data = Dataset(open_rows(numbered(500)), seed=0, buffer_rows=buffer_rows)
    rows = row_numbers(data, data.rows_by_hash(0, 60))
    assert len(set(rows)) == 60
    assert not set(rows) & set(row_numbers(data, data.heldout))
    assert abs(np.corrcoef(rows, np.arange(60))[0, 1]) < 0.4  # 3 standard errors
    assert np.array_equal(row_numbers(data, data.rows_by_hash(7, 30)), rows[7:30])
    n_all = len(set(row_numbers(data, data.rows_by_hash(0, 500))))
    again = data.rows_by_hash(n_all, n_all + 10)  # all were there once
    assert np.array_equal(row_numbers(data, again), rows[:10])


def first_by_hash(x, seed):
    """The first hundred rows by hash, not normalised, as a set."""
    data = Dataset(open_rows(x), seed=seed)
    rows = data.rows_by_hash(0, 100) / np.float32(data.scale) + data.mean
    return {tuple(row) for row in rows.round(3).tolist()}


def test_the_order_by_hash_is_that_of_the_content():
    x = np.random.default_rng(3).normal(size=(600, 5)).astype(np.float32)
    first = first_by_hash(x, seed=0)
    twice = np.random.default_rng(4).permutation(np.concatenate([x, x]))
    assert len(first & first_by_hash(twice, seed=1)) >= 80  # 5 % are held out in each
    longer = np.concatenate([x, x[:60] + 1])
    assert len(first & first_by_hash(longer, seed=0)) >= 75  # a tenth is new
    assert len(first & first_by_hash(x + 1, seed=0)) == 0


@quick
@given(
    n=st.integers(1, 300), buffer_rows=st.integers(1, 300), start=st.integers(0, 1000)
)
def test_buffers_stay_within_bounds(n, buffer_rows, start):
    data = Dataset(open_rows(numbered(n + 1)), seed=0, buffer_rows=buffer_rows)
    limit = n + 1 if data.in_memory else rows_per_buffer(buffer_rows)
    for rows, order in islice(data._order.buffers(start), 10):
        assert 0 < len(order) <= len(rows) <= limit
        assert all(a < b for a, b in pairwise(rows.tolist()))


@pytest.mark.parametrize("seed", range(3))
def test_a_row_that_holds_most_of_the_variance_is_noted(seed):
    x = vectors(2000)
    data = Dataset(open_rows(x), seed=seed)
    assert data.notes == []
    heldout = data.heldout[0] / data.scale + data.mean
    for row in (7, int(np.argmin(np.abs(x - heldout).sum(1)))):
        outlier = x.copy()
        outlier[row] *= 1e4
        (note,) = Dataset(open_rows(outlier), seed=seed).notes
        assert (
            f"Row {row} (0-based) alone holds 99.9% of the variance of 2,000 rows"
            in note
        )
        outlier[row] = x[row] * 5  # twin: long, but no outlier
        assert Dataset(open_rows(outlier), seed=seed).notes == []
