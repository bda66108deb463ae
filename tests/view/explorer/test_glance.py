"""The corpus at a glance, and results that were made from something else."""

import numpy as np
import pandas as pd
import pytest

from explored import get, make_run
from nanosae.codes import write_codes
from nanosae.runs.results import save_result
from nanosae.runs.tables import save_features
from nanosae.view.explorer.corpus import OpenCorpus
from nanosae.view.explorer.features import list_features
from nanosae.view.explorer.glance import glance
from nanosae.view.explorer.overview import overview
from nanosae.view.explorer.prepare import Jobs


@pytest.fixture
def run(tmp_path, planted):
    return make_run(tmp_path / "run", planted)


def add_results(corpus):
    codes = corpus.codes
    topics = pd.DataFrame(
        {
            "Topic": [0, 1],
            "Count": [300, 600],
            "Representation": [["one", "two"], list("abcdefg")],
            "Features": [[3, 4], [7]],
        }
    )
    sentences = pd.DataFrame(
        {
            "sentence": ["A topic is big.", "A is B.", "A text is there thrice."],
            "feature": pd.array([7, 3, None], "Int64"),
            "topic": pd.array([1, None, None], "Int64"),
            "label": ["a", "x", ""],
            "side": ["topic", "A", "repeated"],
        }
    )
    save_result(codes, "topics.parquet", topics, {})
    save_result(codes, "findings.parquet", sentences, {})
    labels = {
        "feature": [3],
        "label": ["fresh"],
        "label_auc": [0.75],
        "label_auc_low": [0.99],
        "label_doubtful": [False],
    }
    save_features(corpus.run, pd.DataFrame(labels), codes)


def test_counts_topics_and_findings_are_shown(run, dense):
    corpus = OpenCorpus(run)
    add_results(corpus)
    found = glance(corpus)
    assert dict(map(tuple, found["counts"])) == {
        "texts": 900,
        "features": 48,
        "features with a label": 48,
        "features per text": pytest.approx(np.count_nonzero(dense) / 900),
    }
    assert found["topics"] == [
        {"topic": 1, "name": "a, b, c", "rows": 600},
        {"topic": 0, "name": "one, two", "rows": 300},
    ]
    assert found["findings"] == [  # topics are listed by themselves
        {"sentence": "A is B.", "feature": 3, "topic": None, "label": "x"},
        {
            "sentence": "A text is there thrice.",
            "feature": None,
            "topic": None,
            "label": "",
        },
    ]
    assert overview(corpus, Jobs())["stale"] == {}
    (line,) = list_features(corpus, "3")["lines"]
    assert line["score"] == 0.75


def test_a_run_without_results_has_counts_alone(client):
    found = get(client, "/api/glance")
    assert (found["topics"], found["findings"]) == ([], [])
    assert found["counts"][0] == ["texts", 900]


def test_what_was_made_from_other_codes_is_said_and_left_out(run, monkeypatch):
    corpus = OpenCorpus(run)
    add_results(corpus)
    assert corpus.labels[3] == "fresh"
    assert list_features(corpus)["lines"][0]["feature"] == 3
    monkeypatch.setattr(type(corpus.codes), "checksum", "changed")
    later = OpenCorpus(run)
    stale = overview(later, Jobs())["stale"]
    assert {"topics", "findings", "labels"} <= set(stale)
    assert "has changed since" in stale["topics"]
    found = glance(later)
    assert (found["topics"], found["findings"]) == ([], [])
    (line,) = list_features(later, "3")["lines"]
    assert line["score"] is None
    most_rows = int(np.argmax(later.codes.counts))
    assert list_features(later)["lines"][0]["feature"] == most_rows != 3


def test_results_of_another_corpus_are_said_and_left_out(run, planted):
    corpus = OpenCorpus(run)
    add_results(corpus)
    parts = {"feature": [3], "topic": [1], "family": [1], "n_active": [9]}
    save_features(run, pd.DataFrame(parts), corpus.codes)
    write_codes(run / "codes" / "other", planted.activations[:90])
    other = OpenCorpus(run, "other")
    stale = overview(other, Jobs())["stale"]
    assert set(stale) == {"topics", "findings", "families", "descriptions"}
    assert stale["topics"] == "it was made from the corpus 'default'"
    found = glance(other)
    assert (found["topics"], found["findings"]) == ([], [])
    assert other.groups("topic") is other.groups("family") is None
    (line,) = list_features(other, "3")["lines"]
    assert (line["name"], line["score"]) == ("fresh", 0.75)  # labels hold on any corpus


def test_labels_are_found_by_stems_typing_errors_and_ranked(client, corpus, planted):
    word = planted.names[5].split(",")[0].strip()
    found = get(client, "/api/features", words=word)
    assert found["lines"][0]["feature"] == 5
    mistyped = word[:2] + word[3:]
    assert 5 in [
        line["feature"]
        for line in get(client, "/api/features", words=mistyped)["lines"]
    ]
    assert get(client, "/api/features", words="qqqqqq")["total"] == 0


def test_names_that_may_be_chance_are_marked(client, corpus):
    lines = [
        line for at in (0, 40) for line in get(client, "/api/features", at=at)["lines"]
    ]
    for line in lines:
        assert line["doubtful"] == (0.9 * line["score"] < 0.5)
    assert 0 < sum(line["doubtful"] for line in lines) < 48
    assert get(client, "/api/card/0")["doubtful"]
    assert not get(client, "/api/card/47")["doubtful"]
