"""Search among labels: order, languages, and what is not found."""

import pytest

from nanosae.analysis.search import label_search
from nanosae.analysis.search.label_search import rank_labels

LABELS = {
    2: "bank account, balance",
    3: "bank",
    5: "blank page",
    7: "vehicle, cars",
    11: "苹果和香蕉",
    13: "Straße",
    17: "oak trees",
}


def found(query, labels=LABELS):
    return rank_labels(labels, query)["feature"].tolist()


def test_the_label_that_is_asked_for_is_first_and_others_follow():
    table = rank_labels(LABELS, "bank")
    assert table["feature"].tolist()[:2] == [3, 2]
    assert table["score"].iloc[0] == 1.0
    assert table["score"].is_monotonic_decreasing
    assert found("BANK ACCOUNT")[0] == 2


@pytest.mark.parametrize(
    ("query", "feature"),
    [
        ("banks", 3),
        ("acc", 2),
        ("acount", 2),
        ("STRASSE", 13),
        ("香蕉", 11),
        ("tree", 17),
        ("vehicel", 7),
    ],
)
def test_inflections_beginnings_and_typing_errors_are_found(query, feature):
    assert found(query)[0] == feature


def test_a_label_of_the_same_meaning_is_found_after_those_with_the_word():
    labels = {0: "automobile", 1: "car insurance", 2: "symphony orchestra"}
    table = rank_labels(labels, "car")
    assert table["feature"].tolist() == [1, 0]
    assert table["match"].tolist() == ["words", "meaning"]


def test_without_word_vectors_words_alone_are_searched(monkeypatch):
    monkeypatch.setattr(label_search, "is_installed", lambda: False)
    label_search._LabelIndex.cache_clear()
    assert found("car", {0: "automobile", 1: "car insurance"}) == [1]
    label_search._LabelIndex.cache_clear()


@pytest.mark.parametrize("query", ["", "?!", "qqqzzz"])
def test_nothing_like_the_query_is_an_empty_table(query):
    table = rank_labels(LABELS, query)
    assert table.columns.tolist() == ["feature", "label", "score", "match"]
    assert len(table) == 0
    assert len(rank_labels({}, "bank")) == 0


def test_rare_words_count_more_than_common_ones():
    labels = {j: f"set a{j}" for j in range(20)} | {20: "volume"}
    assert found("set the volume", labels)[0] == 20
