"""Trends against the planted slopes."""

import numpy as np
import pandas as pd
from scipy.stats import beta

from nanosae.analysis.over_time import over_time
from nanosae.codes import write_codes


def test_trends_are_found_with_their_slopes(compared_codes, compared):
    result = over_time(compared_codes, "year")
    found = result.findings.set_index("feature")
    assert set(compared.year_slopes) <= set(found.index)
    assert len(found) <= len(compared.year_slopes) + 1
    inside = [
        found.loc[j, "low"] < slope < found.loc[j, "high"]
        for j, slope in compared.year_slopes.items()
    ]
    assert sum(inside) >= len(inside) - 1  # each interval may miss with 5 %
    one = result.shares.query(f"feature == {found.index[0]}")
    truth = pd.crosstab(
        compared.columns["year"],
        compared.activations[:, [found.index[0]]].toarray()[:, 0] > 0,
    )
    assert one["n_active"].tolist() == truth[True].tolist()
    assert one["n"].tolist() == truth.sum(axis=1).tolist()
    low, high = beta.ppf(
        [[0.025], [0.975]], one["n_active"] + 0.5, one["n"] - one["n_active"] + 0.5
    )
    np.testing.assert_allclose(one["low"], low)  # Jeffreys' interval
    np.testing.assert_allclose(one["high"], high)
    interval = one[["low", "share", "high"]].to_numpy() + np.array([-1e-5, 0, 0])
    assert (np.diff(interval, axis=1) >= 0).all()


def test_dates_are_read_as_years(compared_codes, compared, tmp_path):
    dates = pd.to_datetime(
        [f"{y}-{1 + i % 12:02d}-15" for i, y in enumerate(compared.columns["year"])]
    )
    metadata = {"date": dates, "text_date": dates.strftime("%Y-%m-%d").to_numpy(object)}
    other = write_codes(
        tmp_path / "codes", compared.activations, metadata=pd.DataFrame(metadata)
    )
    results = [over_time(other, c) for c in ("date", "text_date")]
    assert results[0].table["effect"].tolist() == results[1].table["effect"].tolist()
    assert set(compared.year_slopes) <= set(results[0].findings["feature"])
    assert results[0].shares["period"].drop_duplicates().size == 10
    assert "per year" in results[0].sentences(1)[0]


def test_many_different_numbers_become_periods(compared_codes, compared, tmp_path):
    time = compared.columns["year"] + np.random.default_rng(0).random(2000)
    other = write_codes(tmp_path / "codes", compared.activations, metadata={"t": time})
    result = over_time(other, "t")
    assert set(compared.year_slopes) <= set(result.findings["feature"])
    assert result.shares["period"].drop_duplicates().size == 36
