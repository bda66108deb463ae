"""The list of features and a feature's card against the dense activations."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from explored import get, make_run
from nanosae.runs import annotations
from nanosae.runs.tables import save_features
from nanosae.view.explorer.corpus import OpenCorpus
from nanosae.view.explorer.features import _search, card, list_features


def test_the_list_of_features_is_searched_and_sorted(client, planted, corpus):
    found = get(client, "/api/features")
    assert found["total"] == 48
    scores = [line["score"] for line in found["lines"]]
    assert scores == sorted(scores, reverse=True)
    assert found["lines"][0] == {
        "feature": 47,
        "name": planted.names[47],
        "rows": int(corpus.codes.counts[47]),
        "marked": False,
        "score": 1.0,
        "doubtful": False,
    }
    (one,) = get(client, "/api/features", words=planted.names[5])["lines"]
    assert one["feature"] == 5
    assert [
        x["feature"] for x in get(client, "/api/features", words="12")["lines"]
    ] == [12]
    by_rows = [
        line["rows"] for line in get(client, "/api/features", sort="rows")["lines"]
    ]
    assert by_rows == sorted(by_rows, reverse=True)
    names = [
        line["name"] for line in get(client, "/api/features", sort="name")["lines"]
    ]
    assert names == sorted(planted.names)[:40]
    rest = get(client, "/api/features", sort="name", at=40)["lines"]
    assert [line["name"] for line in rest] == sorted(planted.names)[40:]


def test_a_card_says_what_the_activations_say(client, corpus, dense, planted):
    j = int(corpus.codes.counts.argmax())
    found, acts = get(client, f"/api/card/{j}"), dense[:, j]
    assert (found["rows"], found["name"]) == (np.count_nonzero(acts), planted.names[j])
    assert found["density"] == pytest.approx(np.count_nonzero(acts) / 900)
    assert found["mean"] == pytest.approx(acts[acts > 0].mean(), rel=1e-5)
    assert sum(found["histogram"]) == found["rows"]
    assert found["histogram"][-1] == np.count_nonzero(acts >= 0.95 * acts.max())
    top = sorted(np.flatnonzero(acts), key=lambda i: (-acts[i], i))
    assert [line["row"] for line in found["examples"]["strongest"]] == top[:10]
    assert found["family"] == f"family {j % 9}"
    cosine = planted.directions @ planted.directions[j]
    cosine[j] = -1
    assert [i for i, _, _ in found["near"]] == np.argsort(-cosine)[:8].tolist()
    on = dense > 0
    both = (on.T @ on.astype(int))[j]
    with np.errstate(divide="ignore"):
        lift = both * 900 / (on[:, j].sum() * on.sum(0))
        npmi = np.where((both >= 5) & (lift > 1), np.log(lift) / -np.log(both / 900), 0)
    npmi[j] = 0
    for i, _, value in found["partners"]:
        assert value == pytest.approx(npmi[i], rel=1e-6)
    assert len(found["partners"]) == min(8, np.count_nonzero(npmi))


@pytest.mark.slow
def test_partners_are_active_together_often_enough_and_more_than_by_chance(
    corpus, dense
):
    on = dense > 0
    together = on.T.astype(int) @ on
    counts = on.sum(0)
    left_out = 0
    for j in range(48):
        wanted = {}
        for i in range(48):
            lift = (
                together[i, j] * 900 / (counts[i] * counts[j]) if together[i, j] else 0
            )
            if i != j and lift > 1:
                left_out += together[i, j] < 5
                if together[i, j] >= 5:
                    wanted[i] = np.log(lift) / -np.log(together[i, j] / 900)
        best = sorted(wanted, key=lambda i: (-wanted[i], i))[:8]
        found = card(corpus, j)["partners"]
        assert [value for _, _, value in found] == pytest.approx(
            [wanted[i] for i in best]
        )
    assert left_out > 0  # what fewer than five rows say is nothing


def test_near_misses_are_shown_if_this_corpus_was_described(finished, corpus):
    j = int(corpus.codes.counts.argmax())
    path = finished / "features.parquet"
    before = path.read_bytes()
    try:
        for n, shown in ((int(corpus.codes.counts[j]), True), (5, False)):
            table = pd.DataFrame({"feature": range(48), "n_active": n})
            save_features(finished, table.assign(near_misses=[[4, 2]] * 48))
            examples = card(OpenCorpus(finished), j)["examples"]
            found = examples.get("near misses")
            assert (found is not None) == shown
            assert found is None or [line["row"] for line in found] == [4, 2]
    finally:
        path.write_bytes(before)


def test_a_score_is_that_of_the_label_beside_it(tmp_path, planted):
    run = make_run(tmp_path / "r", planted)
    judged = {"feature": [3, 4], "llm_label": ["judged", ""], "llm_f1": [0.25, np.nan]}
    save_features(run, pd.DataFrame(judged))
    annotations.rename(run, 5, "mine")
    corpus = OpenCorpus(run)
    lines = {
        line["feature"]: line
        for at in (0, 40)
        for line in list_features(corpus, at=at)["lines"]
    }
    by_words = np.linspace(0, 1, 48)
    for j, name, score in (
        (3, "judged", 0.25),
        (4, planted.names[4], by_words[4]),
        (5, "mine", None),
    ):
        assert (lines[j]["name"], lines[j]["score"]) == (name, score)
        assert card(corpus, j)["score"] == score


def test_labels_that_come_later_are_seen(tmp_path, planted):
    run = make_run(tmp_path / "r", planted, labels=False)
    corpus = OpenCorpus(run)
    assert card(corpus, 3)["name"] == ""
    save_features(run, pd.DataFrame({"feature": [3], "label": ["late"]}))
    assert card(corpus, 3)["name"] == "late"


def test_a_doubtful_name_is_not_among_the_best(client, corpus, monkeypatch):
    best = get(client, "/api/features")["lines"][0]["feature"]
    monkeypatch.setattr(type(corpus), "doubtful", {best})
    lines = get(client, "/api/features")["lines"]
    assert best not in [line["feature"] for line in lines]
    surely = [line["score"] for line in lines if not line["doubtful"]]
    scored = [low for low in surely if low is not None]
    assert len(scored) > 5
    assert scored == sorted(scored, reverse=True)


def test_a_search_lists_doubtful_names_last():
    corpus: Any = SimpleNamespace(
        labels={0: "music", 1: "music, plays"},
        doubtful={0},
        codes=SimpleNamespace(counts=[5, 5], n_features=2),
    )
    assert _search(corpus, "music") == [1, 0]
    corpus.doubtful = set()
    assert _search(corpus, "music") == [0, 1]


def test_examples_have_different_texts(corpus, monkeypatch):
    rows = np.arange(40)
    strengths = np.linspace(1, 2, 40)
    monkeypatch.setattr(
        type(corpus.codes), "feature", lambda self, j: (rows, strengths)
    )
    monkeypatch.setattr(
        type(corpus.codes),
        "texts",
        lambda self, rows, marks="": np.array(
            ["even" if row % 2 == 0 else "odd" for row in rows], dtype=object
        ),
    )
    examples = card(corpus, 3)["examples"]
    assert [line["row"] for line in examples["strongest"]] == [39, 38]
    assert len(examples["from strong to weak"]) == 1


def test_few_texts_are_not_shown_twice(corpus, monkeypatch):
    rows = np.arange(40)
    strengths = np.linspace(1, 2, 40)
    monkeypatch.setattr(
        type(corpus.codes), "feature", lambda self, j: (rows[:n], strengths[:n])
    )
    n = 10
    assert set(card(corpus, 3)["examples"]) == {"strongest"}
    n = 40
    bands = [line["row"] for line in card(corpus, 3)["examples"]["from strong to weak"]]
    assert bands == [37, 33, 29, 25, 21, 17, 13, 9, 5, 1]  # the middles of tenths
