"""Words and phrases of texts: counts against scikit-learn, weights against BM25's definition."""

import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer

from nanosae.text import unspaced
from nanosae.text.words import ASCII_TOKEN, Words, _token_pattern, _tokenise
from oracles import saturated


def test_words_and_phrases_are_counted_as_by_sklearn():
    rng = np.random.default_rng(0)
    texts = [
        " ".join(rng.choice(["alpha", "beta", "gamma", "delta"], 12)) for _ in range(30)
    ]
    words = Words(np.array(texts, dtype=object), np.ones(30, bool))
    counter = CountVectorizer(ngram_range=(1, 3), binary=True, min_df=2).fit(texts)
    order = [counter.vocabulary_[term] for term in words.terms]
    assert sorted(order) == list(range(len(counter.vocabulary_)))
    assert np.array_equal(
        words.presence.toarray(), counter.transform(texts).toarray()[:, order]
    )


def test_terms_of_many_texts_stand_in_one_of_50_000(monkeypatch):
    monkeypatch.setattr("nanosae.text.words.MIN_SHARE", 0.002)
    texts = ["common rare"] * 4 + ["common other"] * 5 + ["common"] * 2491
    words = Words(np.array(texts, object), np.ones(2500, bool))
    assert words.terms.tolist() == ["common", "other", "common other"]
    monkeypatch.setattr("nanosae.text.words.MIN_SHARE", 2e-5)
    words = Words(np.array(texts, object), np.ones(2500, bool))
    assert "rare" in words.terms.tolist()


def test_phrases_do_not_cross_punctuation_and_words_keep_marks():
    words = Words(
        np.array(
            ["don't stop. हिन्दी भाषा, node.js", "Don't STOP; हिन्दी भाषा node.js"],
            dtype=object,
        ),
        np.ones(2, bool),
    )
    assert set(words.terms) == {
        "don't",
        "stop",
        "don't stop",
        "हिन्दी",
        "भाषा",
        "हिन्दी भाषा",
    } | {
        "node",
        "js",
        "node js",
    }


def test_links_and_addresses_are_no_words():
    texts = [
        "help me https://t.co/a1B2 now",
        "Help me WWW.shop.example/help?me now",
        "help me <first.last+tag@mail.shop.example> now",
        "help me jürgen@müller.example, now",
        "\x1b[33mhelp me\x1b[1;31m now\x1b[0K",
    ] * 2
    words = Words(np.array(texts, dtype=object), np.ones(10, bool))
    assert sorted(words.terms) == ["help", "help me", "me", "now"]
    assert words.presence.sum(0).tolist() == [10.0] * 4
    names = Words(np.array(["ask @anna @ home"] * 2, dtype=object), np.ones(2, bool))
    assert {"anna", "home"} <= set(names.terms)


def test_scripts_without_spaces_give_words_and_phrases():
    texts = np.array(["画像を変換する", "画像を変換してください", "猫"], dtype=object)
    words = Words(texts, np.ones(3, bool))
    assert set(words.terms) == {"画像", "変換", "画像を", "を変換", "画像を変換"}


def test_spellings_are_beginnings_letters_and_numbers_of_many_words():
    texts = ["overact a 20", "overdo a 20 b", "the overt sea", "sea over the sea 7"]
    words = Words(np.array(texts, dtype=object), np.ones(4, bool), with_spellings=True)
    spellings = words.terms[words.spelling]
    # in two texts, and no word has more than half of the texts: "over" has one of four
    assert sorted(spellings) == ["20", "a", "ov-", "ove-", "over-"]
    assert not words.single[words.spelling].any()
    for spelling in spellings:
        has = [
            any(
                word.startswith(spelling[:-1])
                if spelling.endswith("-")
                else word == spelling
                for word in text.split()
            )
            for text in texts
        ]
        own = words.presence[:, words.terms.tolist().index(spelling)].toarray()
        assert own.ravel().tolist() == has
    plain = Words(np.array(texts, dtype=object), np.ones(4, bool))
    assert plain.terms.tolist() == words.terms[~words.spelling].tolist()


def test_terms_are_whole_in_half_of_their_places(monkeypatch):
    cuts = {"甲乙": ["甲乙"], "甲乙丙": ["甲", "乙丙"]}
    monkeypatch.setattr(unspaced, "unspaced_words", lambda run, text: cuts[run])
    for n_whole, is_term in ((2, True), (1, False)):
        texts = ["甲乙"] * n_whole + ["甲乙丙"] * 2
        words = Words(np.array(texts, dtype=object), np.ones(len(texts), bool))
        assert ("甲乙" in words.terms) is is_term
        assert "乙丙" in words.terms
        if is_term:  # wherever it stands
            assert words.presence.sum(0)[words.terms == "甲乙"] == len(texts)


def test_a_run_of_katakana_is_one_word():
    texts = ["音楽プレーヤーを使う", "音楽プレーヤー、テキストファイル"]
    texts.append("テキストファイルを使う")
    words = Words(np.array(texts, dtype=object), np.ones(3, bool))
    whole = {"プレーヤー", "音楽プレーヤー", "テキストファイル"}  # of eight characters
    assert whole <= set(words.terms)
    assert not any(term in words.terms for term in ("プレ", "プレーヤ", "楽プレー"))


def test_weights_are_bm25s_and_shares_those_of_the_seen_texts():
    texts = np.array(
        ["red red car", "big red bus", "car car car park", "bus bus"], dtype=object
    )
    words = Words(texts, np.array([True, True, True, False]))
    for term, has in (("red", 2), ("car", 2), ("bus", 1)):
        place = words.terms.tolist().index(term)
        mine = words.weight[:, place].toarray()
        np.testing.assert_allclose(mine, saturated(texts, term), rtol=1e-5)
        assert not np.allclose(mine, saturated(texts[:3], term)[:1], rtol=1e-5)
        assert words.share[place] == (has + 0.5) / 4


def test_no_words_at_all():
    words = Words(np.array(["", "?", "1 2"], dtype=object), np.ones(3, bool))
    assert words.presence.shape == words.weight.shape == (3, 0)


def test_the_word_that_nearly_always_stands_beside_a_phrase_is_known():
    rng = np.random.default_rng(0)
    vocabulary = ["red", "car", "big", "dog", "of", "a"]
    texts = [
        ". ".join(" ".join(rng.choice(vocabulary, 6)) for _ in range(2))
        + rng.choice([" a number of dogs", " number of cats. a number of"])
        for _ in range(40)
    ]
    words = Words(np.array(texts, dtype=object), np.ones(40, bool))
    clauses = [
        ["", *clause.split(), ""] for text in texts for clause in text.split(".")
    ]
    n_cut = 0
    for term, before, after in zip(words.terms, words.before, words.after, strict=True):
        own = term.split()
        n_own = len(own)
        neighbours = [
            (clause[i - 1], clause[i + n_own])
            for clause in clauses
            for i in range(1, len(clause) - n_own)
            if clause[i : i + n_own] == own
        ]
        for found, side in zip(
            (before, after), zip(*neighbours, strict=True), strict=True
        ):
            usual = max(set(side), key=side.count)
            is_usual = side.count(usual) >= 0.8 * len(side) and n_own > 1
            assert found == (usual if is_usual else "")
            n_cut += found != ""
    assert n_cut > 3
    assert words.after[words.terms.tolist().index("a number")] == "of"


def test_pictures_are_words():
    texts = ["🔋 dead", "🔋🔋", "my 🔋", "😡", "so 😡", "😡 no", "★★★ ✓ fine", "fine"]
    three = np.array(texts * 3, dtype=object)
    terms = Words(three, np.ones(len(three), bool)).terms
    assert {"🔋", "😡", "fine"} <= set(terms)
    assert not {"★", "✓"} & set(terms)


@given(
    st.text(st.characters(max_codepoint=127) | st.sampled_from("ab'_,. 1"), max_size=30)
)
def test_ascii_texts_are_divided_as_texts_in_all_scripts_are(text):
    lower = text.lower()
    assert ASCII_TOKEN.findall(lower) == _token_pattern().findall(lower)


def test_tokens_are_numbered_by_first_occurrence_and_clauses_end_at_punctuation():
    texts = ["red car, red bus", "", "é car", "東京 bus"]
    tokens = _tokenise(np.array(texts, dtype=object))
    assert tokens.vocabulary == ["red", "car", "bus", "é", "東", "京"]
    assert tokens.words.tolist() == [0, 1, 0, 2, 3, 1, 4, 5, 2] + [0] * 6
    assert tokens.n_words.tolist() == [4, 0, 2, 3]
    assert tokens.begins.tolist() == [*[True] * 7, False, *[True] * 7]
    clauses = [[0, 1], [2, 3], [4, 5], [6, 7, 8], range(9, 15)]
    assert len(set(tokens.clauses.tolist())) == len(clauses)
    for of_clause in clauses:
        assert len(set(tokens.clauses[list(of_clause)].tolist())) == 1


@pytest.mark.parametrize("terms", [[], [4], [3, 0, 5, 1]])
def test_which_texts_have_which_terms(terms):
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(["a1", "b1", "c1", "d1"], 3)) for _ in range(50)]
    words = Words(np.array(texts, dtype=object), np.ones(50, bool))
    rows = np.array([7, 3, 3, 49])
    have = words.have_terms(rows, terms)
    for row, of_row in zip(rows, have, strict=True):
        expected = [f" {words.terms[term]} " in f" {texts[row]} " for term in terms]
        assert of_row.tolist() == expected


def test_terms_are_as_if_invisible_letters_were_not_there():
    hidden = np.array(["die Daten\u00adbank läuft", "Daten\u00adbank, groß"])
    words = Words(hidden, np.ones(2, bool))
    assert "datenbank" in words.terms
    assert not {"daten", "bank"} & set(words.terms)


def test_repeated_characters_of_japanese_are_written_without_a_space():
    texts = np.array(["人々が歩く。", "人々は話す。", "人々と犬。"])
    terms = Words(texts, np.ones(3, bool)).terms.tolist()
    assert "人々" in terms
    assert not [term for term in terms if " " in term]


@pytest.mark.parametrize("sign", ["،", "؟", "؛", "।", "」「", "）"])
def test_phrases_do_not_cross_the_punctuation_of_any_script(sign):
    texts = np.array([f"été red{sign} car"] * 3)
    terms = Words(texts, np.ones(3, bool)).terms.tolist()
    assert sorted(terms) == ["car", "red", "été", "été red"]


def test_texts_with_accents_as_marks_have_the_terms_of_those_without():
    texts = ["le café est là, à côté", "tiếng Việt", "ó còn café"] * 2
    terms = {}
    for form in ("NFC", "NFD"):
        written = np.array([unicodedata.normalize(form, text) for text in texts])
        words = Words(written, np.ones(len(texts), bool))
        terms[form] = words.terms.tolist()
        assert words.is_stop_word("à")
    assert terms["NFC"] == terms["NFD"]
    assert "café" in terms["NFC"]
