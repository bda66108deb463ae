"""Targets stay with their rows, whatever is dealt."""

import numpy as np
import pytest
from hypothesis import settings

from containers import write_row_groups
from nanosae.data.dataset import Dataset
from nanosae.errors import DataError
from nanosae.sources import open_rows
from numbered import deal_batches, numbered, row_numbers

quick = settings(max_examples=25, deadline=None)


@pytest.mark.parametrize("buffer_rows", [10**6, 480])
@pytest.mark.parametrize("kind", ["array", "parquet"])
def test_targets_stay_with_their_rows(buffer_rows, kind, tmp_path):
    n = 600
    x, y = numbered(n), 1000 + 5 * numbered(n, width=2)[::-1]
    source = (
        write_row_groups(tmp_path / "x.parquet", [100] * 6) if kind == "parquet" else x
    )
    data = Dataset(open_rows(source, targets=y), seed=0, buffer_rows=buffer_rows)
    assert (data.width, data.mean.shape, data.target_mean.shape) == (3, (3,), (2,))
    epoch = deal_batches(data, 50, data.n_train // 50)
    for rows in (epoch, data.heldout, data.sample(40, seed=3)):
        assert rows.shape[1] == 5
        number = row_numbers(data, rows)
        assert np.allclose(
            rows[:, :3] / data.scale + data.mean, x[number], rtol=1e-3, atol=1e-3
        )
        targets = rows[:, 3:] / data.target_scale + data.target_mean
        assert np.allclose(targets, y[number], rtol=1e-3, atol=1e-2)
        # twin: off by one
        assert not np.allclose(targets, y[number - 1], rtol=1e-3, atol=1e-2)
    if data.in_memory:
        assert np.square(epoch[:, 3:]).sum(1).mean() == pytest.approx(2, rel=0.1)
        assert np.square(epoch[:, :3]).sum(1).mean() == pytest.approx(3, rel=0.1)


def test_rows_with_targets_deal_in_the_order_of_rows_alone():
    alone = Dataset(open_rows(numbered(500)), seed=0, buffer_rows=200)
    data = Dataset(
        open_rows(numbered(500), targets=numbered(500)[:, :1]), seed=0, buffer_rows=200
    )
    assert np.array_equal(
        deal_batches(data, 32, 50)[:, :3], deal_batches(alone, 32, 50)
    )
    assert np.array_equal(data.heldout[:, :3], alone.heldout)


def test_bad_targets_are_named():
    x = numbered(30)
    with pytest.raises(ValueError, match=r"There are 29 targets for 30 rows"):
        open_rows(x, targets=x[1:])
    y = x.copy()
    y[7, 1] = np.nan
    with pytest.raises(
        ValueError, match=r"target of row 7 \(0-based\), column 1 holds nan"
    ):
        Dataset(open_rows(x, targets=y), seed=0)
    rows = open_rows(x)
    assert open_rows(rows, targets=x).total_width == 6
    assert rows.width == 3  # the one given is left alone
    prints = {open_rows(x, targets=t).fingerprint() for t in (None, x, x[::-1])}
    assert len(prints) == 3


def test_targets_that_are_all_equal_are_refused():
    x = np.random.default_rng(0).normal(size=(50, 4))
    equal = np.full((50, 3), 2.5)
    with pytest.raises(DataError, match="All 50 targets read are equal: there is noth"):
        Dataset(open_rows(x, targets=equal), seed=0)
    equal[17, 1] = 2
    assert Dataset(open_rows(x, targets=equal), seed=0).has_targets
