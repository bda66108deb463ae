"""Metadata columns of the explorer: at a glance, on the map and beside one text."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from nanosae.codes import write_codes
from nanosae.runs.tables import save_features
from nanosae.view.explorer.colors import color_points
from nanosae.view.explorer.columns import BINS, columns
from nanosae.view.explorer.corpus import OpenCorpus
from nanosae.view.explorer.rows import show_row
from nanosae.view.explorer.selections import select_rows

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


def opened(folder, metadata):
    """A corpus with these columns."""
    n_rows = len(pd.DataFrame(metadata))
    activations = sp.csr_array(np.ones((n_rows, 1), np.float32))
    write_codes(folder / "codes" / "default", activations, metadata=metadata)
    return OpenCorpus(folder)


def legend_of(corpus, name):
    rows = np.arange(corpus.codes.n_rows)
    return color_points(corpus, "rows", f"column:{name}", rows)[0]


def test_whole_numbers_stay_whole_beside_missing_ones(tmp_path):
    stars = pd.array([5, 4, None, 5, 5, 4], dtype="Int64")
    corpus = opened(tmp_path, {"stars": stars})
    names = [entry["name"] for entry in legend_of(corpus, "stars")["entries"]]
    assert names == ["5", "4"]
    assert dict(columns(corpus)["columns"][0]["values"]) == {"5": 0.6, "4": 0.4}
    assert show_row(corpus, 0)["columns"] == {"stars": "5"}
    assert select_rows(corpus, {"value": ["stars", "4"]}).tolist() == [1, 5]


def test_long_numbers_that_hardly_differ_have_a_histogram(tmp_path):
    ids = 2**60 + 100 * np.arange(30)  # every third is another float
    corpus = opened(tmp_path, {"id": ids, "year": 2000 + np.arange(30)})
    found = {line["name"]: line["histogram"] for line in columns(corpus)["columns"]}
    assert sum(found["id"]) == sum(found["year"]) == 30
    assert np.array_equal(found["year"], np.histogram(2000 + np.arange(30), BINS)[0])


def test_ends_of_a_scale_are_exact(tmp_path):
    seconds = 1_700_000_001 + np.arange(30)  # float32 rounds to 128
    evenings = pd.date_range("2021-05-03 23:30", periods=30, freq="D")
    corpus = opened(tmp_path, {"seconds": seconds, "evening": evenings})
    assert legend_of(corpus, "seconds")["ends"] == [1_700_000_001, 1_700_000_030]
    assert legend_of(corpus, "evening")["ends"] == ["2021-05-03", "2021-06-01"]
    ends = {line["name"]: line["ends"] for line in columns(corpus)["columns"]}
    assert ends["seconds"] == [1_700_000_001, 1_700_000_030]
    assert ends["evening"] == ["2021-05-03", "2021-06-01"]


def test_values_of_several_fields_are_groups(tmp_path):
    corpus = opened(tmp_path, pd.DataFrame({"place": [{"x": 1}, {"x": 2}, {"x": 1}]}))
    names = [entry["name"] for entry in legend_of(corpus, "place")["entries"]]
    assert names == ["{'x': 1}", "{'x': 2}"]
    assert select_rows(corpus, {"value": ["place", names[0]]}).tolist() == [0, 2]


def test_a_run_without_families_has_no_colours_of_them(tmp_path):
    corpus = opened(tmp_path, {"place": list("abc")})
    none = pd.DataFrame({"feature": [0], "family": pd.array([None], dtype="Int64")})
    save_features(tmp_path, none, corpus.codes)
    assert corpus.groups("family") is None
    legend, _ = color_points(corpus, "rows", "family", np.arange(3))
    assert legend == {"kind": "none", "title": ""}
    save_features(tmp_path, none.assign(family=0), corpus.codes)  # twin
    assert list(OpenCorpus(tmp_path).groups("family").names.values()) == ["family 0"]


def test_a_column_without_values_has_no_scale(tmp_path):
    nothing = {"empty": np.full(9, np.nan), "endless": np.full(9, np.inf)}
    corpus = opened(tmp_path, nothing)
    assert columns(corpus)["columns"] == []
    for name in nothing:
        legend = legend_of(corpus, name)
        assert legend == {"kind": "none", "title": f"{name} (no values)"}


def test_a_value_of_many_is_told_from_the_rest_of_the_values(tmp_path):
    letters = np.resize(list("aabcdefghi") + ["others"] * 3, 130)
    entries = legend_of(opened(tmp_path, {"x": letters.astype(object)}), "x")["entries"]
    rest = [entry["name"] for entry in entries if entry.get("rest")]
    assert entries[0]["name"] == "others"
    assert rest == ["others"]
    assert entries[-1].get("rest")


def test_a_value_found_on_a_sample_filters_all_rows(tmp_path, monkeypatch):
    number = np.resize([1, 2], 400)
    number[:10] = np.arange(100, 110)  # rare, so that the column is one of numbers
    corpus = opened(tmp_path, {"number": number})
    monkeypatch.setattr("nanosae.view.explorer.columns.SAMPLE", 40)
    (line,) = columns(corpus)["columns"]
    shown = [value for value, _ in line["values"]]
    assert set(shown) >= {"1", "2"}
    for value in shown:
        found = select_rows(corpus, {"value": ["number", value]})
        assert found.tolist() == np.flatnonzero(number == int(value)).tolist()
