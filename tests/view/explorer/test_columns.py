"""Metadata columns of the explorer: at a glance, on the map and beside one text."""

import numpy as np
import pandas as pd
import pytest

from nanosae.codes import write_codes
from nanosae.view.explorer.colors import color_points
from nanosae.view.explorer.columns import columns
from nanosae.view.explorer.corpus import OpenCorpus
from nanosae.view.explorer.rows import show_row

N_ROWS = 900
SECTIONS = np.resize(["perl", "doc", "doc", "libs", "doc", None], N_ROWS)
DATES = pd.date_range("2021-03-01", periods=N_ROWS, freq="D")


@pytest.fixture
def corpus(planted, tmp_path):
    texts = ["One thing is here. Another thing is there.", *["a word"] * (N_ROWS - 1)]
    columns = {
        "section": SECTIONS,
        "key": [f"package {row}" for row in range(N_ROWS)],
        "date": DATES.strftime("%Y-%m-%d").to_numpy(object),
        "rating": np.where(np.arange(N_ROWS) < 3, np.nan, np.arange(N_ROWS) / 10),
        "tags": pd.Series([["c", "gui"], ["c"], []] * (N_ROWS // 3)),
        "empty": np.full(N_ROWS, np.nan),
    }
    codes_path = tmp_path / "codes" / "default"
    write_codes(codes_path, planted.activations, texts=texts, metadata=columns)
    return OpenCorpus(tmp_path)


def test_columns_are_shown_by_values_or_spread_but_not_keys(corpus):
    found = {line.pop("name"): line for line in columns(corpus)["columns"]}
    assert set(found) == {"section", "date", "rating", "tags"}
    shares = {"doc": 0.6, "perl": 0.2, "libs": 0.2}  # of the rows that have one
    assert dict(found["section"]["values"]) == pytest.approx(shares)
    assert found["section"]["values"][0][0] == "doc"  # the commonest first
    assert found["section"]["n_values"] == 3
    assert dict(found["tags"]["values"]) == {"c, gui": 0.5, "c": 0.5}
    assert found["date"]["ends"] == ["2021-03-01", str(DATES[-1].date())]
    assert found["date"]["histogram"].sum() == N_ROWS
    assert found["rating"]["ends"] == pytest.approx([0.3, 89.9])
    first_bin = np.arange(3, N_ROWS) / 10 < 0.3 + (89.9 - 0.3) / 20
    assert found["rating"]["histogram"][0] == np.count_nonzero(first_bin)


def test_of_many_rows_a_sample_is_looked_at(corpus, monkeypatch):
    monkeypatch.setattr("nanosae.view.explorer.columns.SAMPLE", 300)
    found = {line.pop("name"): line for line in columns(corpus)["columns"]}
    assert found["date"]["histogram"].sum() == 300
    assert dict(found["section"]["values"])["doc"] == pytest.approx(0.6, abs=0.1)


def test_a_legend_has_days_at_its_ends_for_dates_and_numbers_for_numbers(corpus):
    rows = np.arange(10, 20)
    legend, _ = color_points(corpus, "rows", "column:date", rows)
    assert legend["ends"] == ["2021-03-11", "2021-03-20"]
    legend, _ = color_points(corpus, "rows", "column:rating", rows)
    assert legend["ends"] == pytest.approx([1.0, 1.9])


def test_lists_of_tags_colour_the_map(corpus):
    legend, places = color_points(corpus, "rows", "column:tags", np.arange(3))
    names = [entry["name"] for entry in legend["entries"]]
    assert [names[int(place)] for place in places[:2]] == ["c, gui", "c"]
    assert places[2] == -1  # no tag


def test_what_is_missing_of_a_row_is_left_out(corpus):
    assert show_row(corpus, 5)["columns"] == {
        "key": "package 5",
        "date": "2021-03-06",
        "rating": "0.5",
    }
    assert show_row(corpus, 0)["columns"]["tags"] == "c, gui"
