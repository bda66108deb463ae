"""Moved features and compared selections against search and contrast."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from explored import get
from nanosae.analysis.search.search import search
from nanosae.view.explorer import comparisons
from nanosae.view.explorer.comparisons import contrast_selection


def test_moved_features_rank_as_search_does_and_say_what_moved(client, corpus, dense):
    row = int(np.count_nonzero(dense, axis=1).argmax())
    j = int(dense[row].argmax())
    before = get(client, "/api/steer", row=row)
    after = get(client, "/api/steer", row=row, edit={str(j): 0})
    wanted = search(corpus.codes, row=row, edit={j: 0.0}, n=40)
    assert [hit["row"] for hit in after["hits"]] == [hit.row for hit in wanted.hits]
    assert [hit["row"] for hit in before["hits"]] != [
        hit["row"] for hit in after["hits"]
    ]
    first = [hit.row for hit in search(corpus.codes, row=row, n=100).hits]
    for hit in after["hits"]:
        assert hit["was"] == (first.index(hit["row"]) if hit["row"] in first else None)
    assert "cosine" in after["note"]
    assert {i: a for i, _, a in after["features"]}[j] == pytest.approx(dense[row, j])


def test_a_query_is_ranked_by_its_features(client, planted):
    found = get(client, "/api/steer", query=planted.names[3])
    assert planted.names[3] in [name for _, name, _ in found["features"]]
    assert found["hits"]


def test_a_comparison_finds_what_was_planted(client, planted):
    found = get(client, "/api/contrast", where={"value": ["group", "B"]})
    assert found["rows"] == (planted.columns["group"] == "B").sum()
    told = {f["feature"]: f["odds_ratio"] for f in found["findings"]}
    planted_ones = set(planted.group_odds) | set(planted.length_features)
    assert len(set(told) - planted_ones) <= 1  # one in twenty may be false
    assert len(set(told) & set(planted.group_odds)) >= 4
    for j in set(told) & set(planted.group_odds):
        assert (told[j] > 1) == (planted.group_odds[j] > 1)
    answer = client.get("/api/contrast", params={"where": "{}"})
    assert "at least two inside and two outside" in answer.json()["error"]


def test_what_defines_a_selection_is_no_finding(corpus, monkeypatch):
    table = pd.DataFrame({"feature": [3, 4, -1, -1], "topic": [1, 1, 1, 2]})
    about = {"notes": [], "n_tested": 4}
    found = SimpleNamespace(findings=table, about=about)
    monkeypatch.setattr(comparisons, "contrast", lambda *_, **__: found)
    monkeypatch.setattr(comparisons, "select_rows", lambda *_: np.arange(10))

    def left(where):
        findings = contrast_selection(corpus, where)["findings"]
        return [(line["feature"], line["topic"]) for line in findings]

    assert left({"features": [3]}) == [(4, 1), (-1, 1), (-1, 2)]
    assert left({"topic": 1}) == [(3, 1), (4, 1), (-1, 2)]
    assert len(left({"tag": "mine"})) == 4
