"""Trends against the planted slopes."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from scipy.stats import beta

from nanosae.analysis.comparisons.over_time import over_time
from nanosae.analysis.comparisons.sentences import percent
from nanosae.analysis.comparisons.summary import findings
from nanosae.analysis.splits import duplicate_groups
from nanosae.codes import write_codes
from nanosae.runs.results import save_result
from nanosae.runs.tables import save_features


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
    group = duplicate_groups(compared_codes)
    weight = pd.Series(1 / np.bincount(group)[group])
    is_active = compared.activations[:, [found.index[0]]].toarray()[:, 0] > 0
    n = weight.groupby(compared.columns["year"]).sum()
    n_active = (weight * is_active).groupby(compared.columns["year"]).sum()
    assert one["n_active"].tolist() == n_active.round().tolist()
    assert one["n"].tolist() == n.round().tolist()
    np.testing.assert_allclose(one["share"], n_active / n)
    low, high = beta.ppf([[0.025], [0.975]], n_active + 0.5, n - n_active + 0.5)
    np.testing.assert_allclose(one["low"], low)  # Jeffreys' interval
    np.testing.assert_allclose(one["high"], high)
    interval = one[["low", "share", "high"]].to_numpy()
    assert (np.diff(interval, axis=1) >= 0).all()


def test_the_interval_of_no_row_begins_at_0_and_that_of_all_rows_ends_at_1(tmp_path):
    year = np.repeat(np.arange(4), 50)
    active = np.zeros((200, 1), np.float32)
    active[100:] = 1
    codes = write_codes(tmp_path, sp.csr_array(active), metadata={"year": year})
    shares = over_time(codes, "year", covariates=()).shares
    assert shares["share"].tolist() == [0, 0, 1, 1]
    high_of_none = beta.ppf(0.975, 0.5, 50.5)
    assert shares["low"].tolist() == pytest.approx([0, 0, *[1 - high_of_none] * 2])
    assert shares["high"].tolist() == pytest.approx([*[high_of_none] * 2, 1, 1])
    assert (shares["low"] <= shares["share"]).all()
    assert (shares["share"] <= shares["high"]).all()


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
    first = findings(results[:1])["sentence"][0]
    assert first.endswith("in 2024.")
    assert " % in 2015 to " in first


def test_many_different_numbers_become_periods(compared_codes, compared, tmp_path):
    time = compared.columns["year"] + np.random.default_rng(0).random(2000)
    other = write_codes(tmp_path / "codes", compared.activations, metadata={"t": time})
    result = over_time(other, "t")
    assert set(compared.year_slopes) <= set(result.findings["feature"])
    assert result.shares["period"].drop_duplicates().size == 36


def growing(tmp_path, n_months=7, **columns):
    """Codes in which feature 0 rises within months of 2024 and the others stay."""
    rng = np.random.default_rng(0)
    month = np.sort(rng.integers(0, n_months, 1400))
    active = rng.random((1400, 12)) < 0.2
    active[:, 0] = rng.random(1400) < 0.02 + 0.07 * month / (n_months - 1)
    dates = [f"2024-{m + 1:02d}-{d:02d}" for m, d in zip(month, 1 + month, strict=True)]
    codes = write_codes(
        tmp_path / "codes" / "default",
        sp.csr_array(active.astype(np.float32)),
        metadata={"date": dates} | columns,
    )
    return codes, active, month


def test_a_trend_is_told_in_months_of_the_calendar(tmp_path):
    codes, active, month = growing(tmp_path)
    result = over_time(codes, "date")
    share = [active[month == m, 0].mean() for m in (0, 6)]
    (sentence,) = findings([result])["sentence"]
    assert sentence == (
        f"Texts about “feature 0” rise from {percent(share[0])} in January 2024 to "
        f"{percent(share[1])} in July 2024."
    )
    (told,) = result.sentences()
    assert "per month" in told
    assert "per year" not in told
    slope = np.polyfit(month, active[:, 0], 1)[0]
    line = result.findings.iloc[0]
    assert line["share_change"] == pytest.approx(6 * slope, rel=0.02)
    assert line["odds_ratio"] < 2  # of a year it would be a dozen


def test_shares_of_periods_count_each_text_once_as_the_tests_do(tmp_path):
    """A form letter without the feature fills the last year, in which the feature is frequent."""
    rng = np.random.default_rng(0)
    year = np.repeat(np.arange(2018, 2024), 60)
    active = rng.random(360) < 0.05 + 0.1 * (year - 2018)
    letters = rng.integers(97, 123, (360, 12)).astype(np.uint8)
    texts = [bytes(letters_of_text).decode() for letters_of_text in letters]
    n_copies = 600
    frame = pd.DataFrame({"text": texts, "year": year, "active": active})
    letter = pd.DataFrame({"text": ["dear sir"], "year": 2023, "active": False})
    all_rows = pd.concat([frame, *[letter] * n_copies], ignore_index=True)
    all_rows = all_rows.sample(frac=1, random_state=0)
    codes = write_codes(
        tmp_path,
        all_rows[["active"]].to_numpy(np.float32),
        texts=all_rows["text"].tolist(),
        metadata={"year": all_rows["year"].to_numpy()},
    )
    result = over_time(codes, "year")
    by_year = all_rows.drop_duplicates().groupby("year")["active"]
    shares = result.shares
    assert shares["n"].tolist() == by_year.size().tolist() == [60] * 5 + [61]
    assert shares["n_active"].tolist() == by_year.sum().tolist()
    assert shares["share"].tolist() == pytest.approx(by_year.mean().tolist())
    ends = beta.ppf(0.975, by_year.sum() + 0.5, by_year.size() - by_year.sum() + 0.5)
    assert shares["high"].tolist() == pytest.approx(ends.tolist())
    (sentence,) = findings([result])["sentence"]
    assert f"{percent(by_year.mean()[2023])} in 2023" in sentence
    of_rows = all_rows.groupby("year")["active"].mean()
    assert of_rows[2023] < of_rows[2018] + 0.02  # by rows there would be no trend


def test_a_collection_that_changes_is_told_from_a_topic_that_does(tmp_path):
    """In a second source, which grows, features 6 to 11 are frequent and the others rare."""
    rng = np.random.default_rng(1)
    codes, active, month = growing(tmp_path / "one")
    assert not over_time(codes, "date").about["notes"][1:]
    other = rng.random(1400) < 0.1 + 0.7 * month / 6
    from_other = np.repeat([False, True], 6) == other[:, None]
    active = (rng.random(active.shape) < np.where(from_other, 0.3, 0.02)).astype(
        np.float32
    )
    both = write_codes(
        tmp_path / "two" / "codes" / "default",
        sp.csr_array(active),
        metadata={"date": codes.column("date")},
    )
    (note,) = over_time(both, "date").about["notes"][1:]
    assert "12 of 12 features change: perhaps the collection has changed" in note
    topics = pd.DataFrame({"feature": range(12), "topic": [0] * 6 + [1] * 6})
    save_features(both.run, topics, both)
    notes = "\n".join(over_time(both, "date").about["notes"])
    assert "6 of the 6 features of the topic 0 fall together" in notes
    assert "6 of the 6 features of the topic 1 rise together" in notes

    rows = pd.DataFrame({"topic": np.zeros(both.n_rows, np.int32)})
    words = pd.DataFrame({"Representation": [["parcel", "late"], []]})
    save_result(both, "topic_rows.parquet", rows, {"n": 2})
    save_result(both, "topics.parquet", words, {"n": 2})
    notes = "\n".join(over_time(both, "date").about["notes"])
    assert "features of the topic “parcel, late” fall together" in notes
    families = pd.DataFrame({"feature": range(12), "family": [0] * 6 + [1] * 6})
    named = [{"family": 0, "label": "parcel"}, {"family": 1, "label": "refund"}]
    again = write_codes(
        tmp_path / "three" / "codes" / "default",
        sp.csr_array(active),
        metadata={"date": codes.column("date")},
    )
    save_features(again.run, families, again)
    empty = {"format": 1, "edges": [], "stats": {}, "parameters": {}}
    save_result(again, "families.json", empty | {"families": named}, {})
    notes = "\n".join(over_time(again, "date").about["notes"])
    assert "features of the family “refund” rise together" in notes


def test_a_sentinel_among_the_dates_is_set_aside(tmp_path):
    codes, *_ = growing(tmp_path / "a")
    dates = codes.column("date").astype(object)
    dates[3] = "9999-12-31"
    other = write_codes(
        tmp_path / "b", codes.take(np.arange(1400)), metadata={"date": dates}
    )
    result = over_time(other, "date")
    assert result.findings["feature"].tolist() == [0]
    assert result.about["n_rows"] == 1399
    assert "far from all other values (9999-12-31)" in result.about["notes"][0]


def test_rows_of_one_moment_have_no_trend(compared, tmp_path):
    n_rows = len(compared.texts)
    codes = write_codes(
        tmp_path, compared.activations, metadata={"year": np.full(n_rows, 2024.3)}
    )
    result = over_time(codes, "year")
    assert result.table.empty
    assert "All rows lie in one period, 2024.3." in result.about["notes"]
