"""A topic of the explorer: what is told of it, its rows, and its colour on the map of texts."""

import numpy as np
import pandas as pd
import pytest

from explored import make_run
from nanosae.errors import DataError
from nanosae.runs.results import save_result
from nanosae.view.explorer.colors import color_points
from nanosae.view.explorer.corpus import OpenCorpus
from nanosae.view.explorer.features import card
from nanosae.view.explorer.rows import show_row
from nanosae.view.explorer.selections import select_rows
from nanosae.view.explorer.topics import topic

N_ROWS = 900
ROW_TOPIC = np.where(np.arange(N_ROWS) % 9 == 0, 0, 1)  # 100 and 800 rows


@pytest.fixture
def corpus(tmp_path, planted):
    opened = OpenCorpus(make_run(tmp_path / "run", planted))
    topics = pd.DataFrame(
        {
            "Topic": [0, 1],
            "Count": [100, 800],
            "Name": ["0_one_two", "1_a_b"],
            "Representation": [["one", "two"], list("abcdefg")],
            "Representative_Rows": [[9, 0, 18], [1, 2, 3]],
            "Features": [[3, 4], []],
        }
    )
    rows = pd.DataFrame({"topic": ROW_TOPIC.astype(np.int32)})
    sentences = pd.DataFrame(
        {
            "sentence": ["It is more here.", "Another is.", "It makes up 11 %."],
            "topic": pd.array([0, 1, 0], "Int64"),
            "feature": pd.array([None, 3, 3], "Int64"),
            "q": [0.01, 0.02, None],
        }
    )
    save_result(opened.codes, "topics.parquet", topics, {"n": 2})
    save_result(opened.codes, "topic_rows.parquet", rows, {"n": 2})
    save_result(opened.codes, "findings.parquet", sentences, {})
    return opened


def test_a_topic_is_told_with_its_features_findings_and_typical_texts(corpus):
    found = topic(corpus, 0)
    assert (found["name"], found["rows"]) == ("one, two", 100)
    assert found["share"] == pytest.approx(1 / 9)
    counts = corpus.codes.counts
    names = corpus.labels
    assert found["features"] == [[j, names[j], counts[j]] for j in (3, 4)]
    assert found["findings"] == ["It is more here."]  # what was tested
    assert [line["row"] for line in found["examples"]] == [9, 0, 18]
    assert found["has_rows"]
    assert topic(corpus, 1)["features"] == []
    with pytest.raises(DataError, match="there is no topic 7"):
        topic(corpus, 7)


def test_a_text_and_the_legend_lead_to_its_topic(corpus):
    assert show_row(corpus, 9)["topic"] == [0, "one, two"]
    assert show_row(corpus, 1)["topic"] == [1, "a, b, c"]
    legend, _ = color_points(corpus, "rows", "topic", np.arange(N_ROWS))
    assert [entry["number"] for entry in legend["entries"]] == [1, 0]


def test_a_feature_is_told_with_what_was_found_about_it(corpus):
    assert card(corpus, 3)["findings"] == ["Another is."]  # what was tested
    assert card(corpus, 4)["findings"] == []


def test_its_texts_can_be_selected_alone_and_with_other_conditions(corpus):
    of_topic = np.flatnonzero(ROW_TOPIC == 0)
    assert select_rows(corpus, {"topic": 0}).tolist() == of_topic.tolist()
    with_feature = select_rows(corpus, {"topic": 0, "features": [3]})
    active, _ = corpus.codes.feature(3)
    assert sorted(with_feature.tolist()) == np.intersect1d(active, of_topic).tolist()
    rows = pd.DataFrame({"topic": (1 - ROW_TOPIC).astype(np.int32)})
    save_result(corpus.codes, "topic_rows.parquet", rows, {"n": 2})  # made anew
    assert len(select_rows(corpus, {"topic": 0})) == 800


def test_topics_without_rows_are_shown_but_select_nothing(corpus):
    (corpus.run / "topic_rows.parquet").unlink()
    assert not topic(corpus, 0)["has_rows"]
    with pytest.raises(DataError, match="nanosae topics"):
        select_rows(corpus, {"topic": 1})


def test_texts_have_the_colour_of_their_own_topic(corpus):
    legend, places = color_points(corpus, "rows", "topic", np.arange(N_ROWS))
    names = [entry["name"] for entry in legend["entries"]]
    assert names[:2] == ["a, b, c", "one, two"]  # the largest first
    assert places.tolist() == (1 - ROW_TOPIC).tolist()


def test_the_server_answers_about_topics(client):
    answer = client.get("/api/topic/999")
    assert answer.status_code == 400
    assert "there is no topic 999" in answer.json()["error"]
    assert client.get("/api/topic/x").status_code == 400
