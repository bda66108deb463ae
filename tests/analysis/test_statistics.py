"""Estimates and false discovery rates against outside oracles."""

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.stats import norm
from statsmodels.stats.weightstats import DescrStatsW

from nanosae.analysis.statistics import (
    clustered_mean,
    false_discovery,
    mean_estimate,
    two_sided_p,
)


@pytest.mark.parametrize("n", [2, 5, 200])
def test_mean_has_the_usual_interval(n):
    values = np.random.default_rng(0).normal(size=n)
    summary = mean_estimate(values)
    expected = DescrStatsW(values).tconfint_mean()
    assert (summary.low, summary.high) == pytest.approx(expected)


def test_no_value_and_one_value_have_no_interval():
    assert np.isnan(mean_estimate([]).value)
    single = mean_estimate([3.0])
    assert single.value == 3
    assert np.isnan([single.low, single.high]).all()


@pytest.mark.parametrize("n_clusters", [4, 60])
def test_the_interval_of_clustered_rows_agrees_with_statsmodels(n_clusters):
    rng = np.random.default_rng(0)
    cluster = rng.integers(0, n_clusters, 300)
    values = rng.normal(size=n_clusters)[cluster] + rng.normal(size=300)
    influence = (values - values.mean())[:, None] / 300
    ours = clustered_mean(np.array([values.mean()]), influence, cluster)
    model = sm.OLS(values, np.ones(300))
    outside = model.fit(cov_type="cluster", cov_kwds={"groups": cluster}, use_t=True)
    assert (ours.low, ours.high) == pytest.approx(outside.conf_int()[0])


def test_intervals_of_few_values_cover_the_mean():
    rng = np.random.default_rng(0)
    samples = rng.normal(size=(2000, 5))
    estimates = [mean_estimate(sample) for sample in samples]
    covered = np.mean([estimate.low <= 0 <= estimate.high for estimate in estimates])
    assert 0.935 <= covered <= 0.965
    normal = 1.96 * samples.std(1) / 5**0.5  # too narrow
    assert np.mean(np.abs(samples.mean(1)) <= normal) < 0.85


def test_p_is_two_sided():
    z = np.array([-3.0, -1.0, 0.0, 0.5, 4.0])
    assert two_sided_p(z) == pytest.approx(2 * norm.sf(np.abs(z)))


def test_q_is_the_step_up_procedure_by_hand():
    """Rejected are the i smallest p, with the largest i for which p_(i) ≤ i q ÷ n."""
    n = 40
    p = np.random.default_rng(0).random(n) ** 3
    rank = np.arange(1, n + 1)
    for level in (0.01, 0.05, 0.2):
        passes = np.flatnonzero(np.sort(p) <= level * rank / n)
        n_rejected = passes.max() + 1 if len(passes) else 0
        assert (false_discovery(p) <= level).sum() == n_rejected
    scaled = np.sort(p) * n / rank
    expected = [scaled[place:].min() for place in range(n)]
    assert np.sort(false_discovery(p)) == pytest.approx(expected)
    assert len(false_discovery([])) == 0


def test_clusters_widen_the_interval_as_much_as_they_repeat():
    values = np.random.default_rng(0).normal(size=100)
    alone = mean_estimate(values)
    influence = (np.repeat(values, 4) - values.mean())[:, None] / 400
    clustered = clustered_mean(
        np.array([values.mean()]), influence, np.repeat(np.arange(100), 4)
    )
    assert clustered.high - clustered.value == pytest.approx(alone.high - alone.value)
