"""Why a feature is active on a text: words and sentences, against encoding by hand."""

from types import SimpleNamespace

import numpy as np
import pytest

from explored import get
from nanosae.errors import DataError
from nanosae.view.explorer import evidence
from nanosae.view.explorer.evidence import (
    can_weigh,
    feature_words,
    split_sentences,
    weigh_sentences,
)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("It rained today. Then the sun came!", ["It rained today. ", "Then the sun came!"]),
        ("One clause only, without an end", ["One clause only, without an end"]),
        ("Go, e.g. 1.2, is out. It works well.", ["Go, e.g. 1.2, is out. ", "It works well."]),
        ("A first line here\nA second line here", ["A first line here\n", "A second line here"]),
        ("Ja. Nein. Das hier ist ein ganzer Satz.", None),
        ("", []),
        ("...", None),
        ("\n\n\nwhatever comes after empty lines", None),
    ],
)  # fmt: skip
def test_sentences_together_are_the_text(text, wanted):
    parts = [text[start:stop] for start, stop in split_sentences(text)]
    assert "".join(parts) == text
    if wanted is not None:
        assert parts == wanted


def test_words_of_a_feature_are_those_of_its_name_and_its_keywords():
    line = {"keywords": "halo, dark matter, galaxy"}
    assert feature_words(line, "dark matter, lensing") == [
        "dark matter",
        "lensing",
        "halo",
        "galaxy",
    ]
    assert feature_words({"keywords": float("nan")}, "a, b") == ["a", "b"]
    assert feature_words({}, "") == []
    assert feature_words({}, "talks of dark halos") == [
        "talks of dark halos",
        "talks",
        "dark",
        "halos",
    ]
    grammar = {"keywords": "the, halo, und, having, der"}
    assert feature_words(grammar, "the") == ["the", "halo", "und", "der"]
    german = ["der Hof um den Mond und die Sonne", "ein Hof und der Mond ist da"]
    assert feature_words(grammar, "Hof", german) == ["Hof", "halo"]


def test_a_sentence_weighs_what_is_lost_without_it(corpus, monkeypatch):
    row, feature = 5, 3
    direction = corpus.model.W_enc[:, feature]
    strengths = {"This one matters a lot. ": 0.8, "This one is of no matter.": 0.0}

    def encode(texts):
        assert all(text.startswith("passage: ") for text in texts)
        sums = [sum(v for s, v in strengths.items() if s in text) for text in texts]
        lengths = (np.array(sums) + 0.4 - corpus.model.b_enc[feature]) / (
            direction @ direction
        )
        return np.outer(lengths, direction).astype(np.float32)

    monkeypatch.setitem(corpus.model.metadata, "embedder", "mine")
    monkeypatch.setitem(corpus.model.metadata, "prompt", "passage: ")
    monkeypatch.setattr(
        evidence, "received_embedder", lambda name: SimpleNamespace(encode=encode)
    )
    monkeypatch.setattr(
        type(corpus.codes), "texts", lambda self, rows: ["".join(strengths)]
    )
    found = weigh_sentences(corpus, row, feature)
    (first, lost), (second, kept) = found["sentences"]
    assert [first, second] == list(strengths)
    assert lost == pytest.approx(0.8 / 1.2, abs=1e-5)
    assert kept == pytest.approx(0, abs=1e-5)


def test_a_path_that_a_received_run_names_is_not_loaded(corpus, monkeypatch, tmp_path):
    row, feature = 5, int(corpus.codes.row(5)[0][0])
    monkeypatch.setitem(corpus.model.metadata, "embedder", str(tmp_path))
    monkeypatch.setattr(
        type(corpus.codes), "texts", lambda self, rows: ["It rained all day. " * 3]
    )
    with pytest.raises(DataError, match="not the name of a model"):
        weigh_sentences(corpus, row, feature)


def test_without_an_embedder_it_says_so(client):
    answer = client.get("/api/sentences", params={"row": 5, "feature": 3})
    assert answer.status_code == 400
    assert "sentence" in answer.json()["error"] or "embedder" in answer.json()["error"]
    assert (
        client.get("/api/sentences", params={"row": 900, "feature": 3}).status_code
        == 400
    )
    assert client.get("/api/sentences", params={"row": 5}).status_code == 400


def test_a_card_names_the_words_to_mark(client, planted):
    words = get(client, "/api/card/5")["words"]
    assert words[0] == planted.names[5]
    assert set(words[1:]) <= set(planted.names[5].split())


def test_texts_of_several_sentences_can_be_weighed(corpus):
    assert can_weigh(corpus, "It rained all day. Then the sun came out.")
    assert not can_weigh(corpus, "It rained all day.")
    assert not can_weigh(corpus, "It rained all day. " * 41)
