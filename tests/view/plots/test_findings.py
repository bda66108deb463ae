"""Effects and shares over time against the dense matrix."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from drawn import dense
from nanosae import plot
from nanosae.analysis.comparisons.contrast import contrast
from nanosae.analysis.comparisons.explain import explain
from nanosae.analysis.comparisons.over_time import over_time
from nanosae.analysis.groups.topics import topics
from nanosae.runs.tables import load_features


def test_forests_show_effect_and_interval(codes):
    found = contrast(codes, "noun.plant", by="kind")
    dots = plot.contrast(found, n=3).data[0]
    table = found.findings.head(3)
    np.testing.assert_allclose(dots.x, np.exp(table["effect"]), rtol=1e-6)
    np.testing.assert_allclose(
        dots.x - dots.error_x.arrayminus, table["odds_low"], rtol=1e-6
    )
    np.testing.assert_allclose(
        dots.x + dots.error_x.array, table["odds_high"], rtol=1e-6
    )
    same = plot.contrast(json.loads(json.dumps(found.to_dict(), default=str)), n=3)
    np.testing.assert_allclose(same.data[0].x, dots.x)
    lengths = [len(t) for t in codes.texts()]
    numbers = plot.contrast(explain(codes, lengths, covariates=()))
    assert numbers.layout.xaxis.type != "log"


@pytest.mark.parametrize(
    ("high", "kind"), [(2.0, "plotly's"), (10.0, "1 2 5"), (1000.0, "decades")]
)
def test_an_axis_of_ratios_is_marked_by_whole_numbers(codes, high, kind):
    found = contrast(codes, "noun.plant", by="kind").to_dict()
    found = json.loads(json.dumps(found, default=str))
    lines = found["findings"][:2]
    for line, ratio in zip(lines, (1.0, high), strict=True):
        line |= {"odds_ratio": ratio, "odds_low": ratio, "odds_high": ratio}
    axis = plot.contrast(found | {"findings": lines}).layout.xaxis
    assert axis.dtick == (1 if kind == "decades" else None)
    assert (axis.tickvals is not None) == (kind == "1 2 5")
    if kind == "1 2 5":
        assert {0.2, 0.5, 1, 2, 5, 10} <= set(axis.tickvals.tolist())


@pytest.mark.slow
def test_shares_over_time_are_counted_right(codes, trend):
    year = codes.column("year")
    figure = plot.over_time(trend)
    j = trend.findings["feature"].iloc[0]
    on = dense(codes)[:, j] > 0
    expected = [on[year == y].mean() for y in np.unique(year)]
    np.testing.assert_allclose(figure.data[1].y, expected)
    assert figure.data[1].x[0] == year.min()
    merged = topics(codes, 8, load_features(codes.run))
    line = plot.over_time(merged, "year").data[1]
    np.testing.assert_allclose(
        line.y, [(merged.row_topic[year == y] == 0).mean() for y in np.unique(year)]
    )
    again = plot.over_time(
        merged, pd.to_datetime([f"{y}-01-01" for y in year]).to_numpy()
    )
    np.testing.assert_allclose(again.data[1].y, line.y)


@pytest.mark.slow
def test_dates_are_marked_as_dates(codes):
    rng = np.random.default_rng(0)
    months = pd.date_range("2023-01-01", periods=30, freq="MS")
    dates = months[rng.integers(0, 30, codes.n_rows)].to_numpy()
    found = topics(codes, 8, load_features(codes.run))
    shown = pd.DatetimeIndex(plot.over_time(found, dates).data[1].x)
    quarters = pd.DatetimeIndex(np.unique(dates)).to_period("Q").unique()
    assert shown.tolist() == quarters.to_timestamp().tolist()
    trend = over_time(codes, dates).to_dict()
    trend["findings"] = [{"feature": j, "label": str(j)} for j in range(3)]
    shares = [
        {"feature": j, "period": start, "share": 0.1, "low": 0.1, "high": 0.2}
        for j in range(3)
        for start in (2023.0, 2023.25)
    ]
    drawn = plot.over_time(trend | {"shares": shares}).data[1].x
    assert [str(date)[:10] for date in drawn] == ["2023-01-01", "2023-04-02"]


def test_the_largest_topics_are_drawn():
    table = pd.DataFrame(
        {
            "Topic": [0, 1, 2],
            "Count": [2, 1, 3],
            "Representation": [["a"], ["b"], ["c"]],
        }
    )
    row_topic = np.array([2, 0, 2, 1, 0, 2])
    found = SimpleNamespace(
        table=table, row_topic=row_topic, codes=SimpleNamespace(n_rows=6, columns=[])
    )
    years = [2020, 2020, 2020, 2021, 2021, 2021]
    figure = plot.over_time(found, years, n=2)
    assert [note.text for note in figure.layout.annotations] == ["c", "a"]
    assert figure.data[1].y == pytest.approx([2 / 3, 1 / 3])
