"""Metrics: hand numbers, scikit-learn as an outside oracle, and the five metamorphic checks."""

import numpy as np
import pytest
import torch
from sklearn.metrics import r2_score

from nanosae.model.measures import Pool


def pooled(x, recon, blocks=1):
    pool = Pool(3)
    for a, b in zip(
        np.array_split(x, blocks), np.array_split(recon, blocks), strict=True
    ):
        none = torch.zeros(0, dtype=torch.int64)
        pool.add(torch.from_numpy(a), torch.from_numpy(b), none, none)
    return pool.fvu


def batch_mean_of_ratios(x, recon, blocks=1):
    """A peer's formula, known to be wrong: it depends on how rows are cut into batches."""
    parts = zip(np.array_split(x, blocks), np.array_split(recon, blocks), strict=True)
    return np.mean(
        [((a - b) ** 2).sum() / ((a - a.mean(0)) ** 2).sum() for a, b in parts]
    )


def squared_mean(x, recon, blocks=1):
    """Another: the mean is not taken per dimension."""
    return ((x - recon) ** 2).sum() / (x**2 - x.mean() ** 2).sum()


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 4)) * [1, 2, 3, 4] + 5
    return x, x + rng.normal(size=x.shape)


def checks(fvu, x, recon):
    """Perfect = 0; mean = 1; unchanged by shift, by scale, by the cut into batches."""
    base = fvu(x, recon)
    mean = np.broadcast_to(x.mean(0), x.shape).copy()
    return [
        np.isclose(fvu(x, x), 0),
        np.isclose(fvu(x, mean), 1),
        np.isclose(fvu(x + 3, recon + 3), base),
        np.isclose(fvu(8 * x, 8 * recon), base),
        np.isclose(fvu(x, recon, blocks=7), base),
    ]


def test_fvu_passes_the_five_checks(rows):
    assert checks(pooled, *rows) == [True] * 5


@pytest.mark.parametrize("mean", [1e6, 1e9])
def test_fvu_keeps_its_digits_where_rows_lie_far_from_zero(rows, mean):
    x, recon = rows[0] + mean, rows[1] + mean
    wanted = ((x - recon) ** 2).sum() / ((x - x.mean(0)) ** 2).sum()
    for blocks in (1, 7):
        assert pooled(x, recon, blocks) == pytest.approx(wanted, rel=1e-9)
    equal = np.full((8, 4), mean)
    assert np.isnan(pooled(equal, equal + 1, blocks=2))


@pytest.mark.parametrize("wrong", [batch_mean_of_ratios, squared_mean])
def test_the_checks_can_fail(wrong, rows):
    assert not all(checks(wrong, *rows))


def test_fvu_is_one_minus_scikit_learn_s_r2(rows):
    x, recon = rows
    r2 = r2_score(x, recon, multioutput="variance_weighted")
    assert pooled(x, recon) == pytest.approx(1 - r2)


def test_rows_that_do_not_vary_have_no_fvu():
    assert np.isnan(pooled(np.ones((5, 2)), np.zeros((5, 2))))


def test_l0_density_and_quantiles_by_hand():
    pool = Pool(3)
    x = torch.zeros(2, 1)
    pool.add(x, x, torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1]))
    pool.add(x, x, torch.tensor([1, 1, 1]), torch.tensor([0, 1, 2]))
    summary = pool.summary()
    assert summary["l0"] == 6 / 4
    assert summary["l0_quantiles"][2] == np.quantile([2, 1, 0, 3], 0.5)
    assert pool.active_rows.tolist() == [2, 3, 1]
    assert sum(summary["density_histogram"]) == 3
