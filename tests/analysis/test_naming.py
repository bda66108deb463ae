"""The few terms that make a label."""

import numpy as np
import pytest

from nanosae.analysis import naming
from nanosae.analysis.keywords import feature_words
from nanosae.analysis.labels import label
from nanosae.text.words import Words
from small_corpora import NOISE, corpus


def siblings(tmp_path):
    rng = np.random.default_rng(0)
    texts, active = [], np.zeros((900, 2))
    for i in range(900):
        noise = " ".join(rng.choice(NOISE, 5))
        sort = i % 3
        topic = " perl module cpan" if sort < 2 else ""
        own = [" xml", " http", ""][sort] if rng.random() < 0.8 else ""
        texts.append(noise + topic + own)
        if sort < 2:
            active[i, sort] = 1 + rng.random()
            if rng.random() < 0.7:
                active[i, 1 - sort] = 0.5
    return corpus(tmp_path / "c", active, texts)


def test_siblings_get_names_that_tell_them_apart(tmp_path):
    codes = siblings(tmp_path)
    first, second = label(codes).label
    assert "xml" in first
    assert "http" not in first
    assert "http" in second
    assert "xml" not in second
    alone = label(codes, [0]).label[0]  # nobody to be told apart from
    assert alone.split(", ")[0] in ("perl module cpan", "perl", "module", "cpan")


def test_names_keep_the_usual_spelling(tmp_path):
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(NOISE, 6)) for _ in range(200)]
    active = np.zeros((200, 1))
    for i in range(60):
        texts[i] += " Bank of America" if i % 5 else " bank of america"
        active[i] = 1 if i % 5 else 2  # the strongest texts are unusual
    assert label(corpus(tmp_path / "c", active, texts)).label[0] == "Bank of America"


@pytest.mark.parametrize(
    ("phrase", "filler"),
    [
        ("機械学習", "今日本語文章天気良東京都駅前新聞電話車道海山川"),
        ("מכונת כביסה", ["שלום", "בית", "ילד", "ספר", "מים", "לחם", "עץ"]),
        ("भाषा विज्ञान", ["घर", "पानी", "किताब", "लड़का", "दिन", "रात"]),
        ("обработка текста", ["дом", "река", "город", "книга", "день", "ночь"]),
    ],
)
def test_any_script_is_named(tmp_path, phrase, filler):
    rng = np.random.default_rng(0)
    glue = "" if isinstance(filler, str) else " "
    texts = [glue.join(rng.choice(list(filler), 8)) for _ in range(200)]
    active = np.zeros((200, 1))
    for i in range(60):
        texts[i] = f"{texts[i]}{glue}{phrase}{glue}{texts[-i - 1]}"
        active[i] = 1
    frame = label(corpus(tmp_path / "c", active, texts))
    assert frame.label[0].split(", ")[0] == phrase
    assert frame.label_auc[0] > 0.9


def test_common_words_without_meaning_are_not_named(tmp_path):
    rng = np.random.default_rng(0)
    topics = [f"topic{k}x" for k in range(30)]
    texts, active = [], np.zeros((1500, 30))
    for i in range(1500):
        k = i % 30
        texts.append(f"a note of the {topics[k]} for {rng.choice(['you', 'me', 'us'])}")
        active[i, k] = 1
    frame = label(corpus(tmp_path / "c", active, texts))
    assert frame.label.tolist() == topics


def test_features_of_form_are_named_by_phrases_never_by_lone_stop_words(tmp_path):
    rng = np.random.default_rng(0)
    texts, active = [], np.zeros((400, 21))
    for i in range(400):
        ask = i % 4 == 0
        start = "how do i" if ask else rng.choice(["we", "you", "they"]) + " and i do"
        topic = rng.integers(20)
        texts.append(f"{start} {rng.choice(['the', 'a', 'any'])} {NOISE[topic]}")
        active[i, 1 + topic] = 1
        active[i, 0] = ask
    assert label(corpus(tmp_path / "c", active, texts), [0]).label[0] in ("how do i", "how do")


def test_no_two_words_of_a_name_are_forms_of_one(tmp_path):
    rng = np.random.default_rng(0)
    texts, active = [], np.zeros((300, 12))
    for i in range(300):
        word = rng.choice(["flower", "flowers", "shrub"]) if i % 12 == 0 else f"topic{i % 12}"
        texts.append(f"{word} {rng.choice(NOISE)} {rng.choice(NOISE)}")
        active[i, i % 12] = 1
    name = label(corpus(tmp_path / "c", active, texts), [0]).label[0]
    assert name.startswith(("flower", "shrub"))
    assert not ("flower," in name and "flowers" in name)


@pytest.mark.parametrize(
    ("word", "other", "same"),
    [
        ("flower", "flowers", True),
        ("flower", "flow", True),
        ("flower", "flo", False),
        ("flowers", "flowering", True),
        ("cat", "cats", False),
        ("index", "indexes", True),
        ("indexes", "individual", False),
        ("機械学習", "学習", True),
        ("機械", "学習", False),
    ],
)
def test_words_with_a_long_common_stem_are_one(word, other, same):
    assert naming._same_word(word, other) is same
    assert naming._repeats(f"a {word}", f"{other} b") is same


def choose(terms, z, informative=None, taken=None):
    """Names chosen among terms in the order of z."""
    names, z = np.array(terms, dtype=object), np.array(z, dtype=float)
    informative = np.ones(len(z)) if informative is None else np.array(informative)
    taken = set() if taken is None else taken
    return [terms[i] for i in naming._choose_terms(names, np.arange(len(z)), z, informative, taken)]


def test_terms_are_added_while_they_are_strong():
    assert choose(["red", "green", "blue"], [10, 5, 4.1]) == ["red", "green", "blue"]
    assert choose(["red", "green", "blue"], [10, 5, 3.9]) == ["red", "green"]
    assert choose(["red", "green", "blue"], [10, 3.9, 3]) == ["red"]
    assert choose(["red", "green", "blue"], [10, 5, 4.5], [1, 1, 0.5]) == ["red", "green"]
    assert choose(["red", "green", "blue", "black"], [10, 9, 8, 7]) == ["red", "green", "blue"]


def test_a_label_that_is_taken_gets_more_terms():
    taken = {frozenset(["red"])}
    assert choose(["red", "green", "blue"], [10, 3, 3], taken=taken) == ["red", "green"]
    assert choose(["red", "green", "blue"], [10, 3, 3], taken=taken) == ["red", "blue"]
    assert choose(["red", "green", "blue"], [10, 3, 3], taken=taken) == ["red", "green", "blue"]
    assert choose(["red", "green", "blue"], [10, 3, 3], taken=taken) == ["red"]  # nothing is left


def test_a_label_has_at_most_six_words():
    taken = {frozenset(["red car"]), frozenset(["red car", "old tree"])}
    terms = ["red car", "old tree", "big house", "red", "car", "old", "tree", "big", "house"]
    strengths = [10, 3.8, 3.7, 3.5, 3.5, 3.5, 3.5, 3.5, 3.5]
    assert choose(terms, strengths, taken=set(taken)) == ["red car", "big house"]
    taken.add(frozenset(["red car", "big house"]))
    assert choose(terms, strengths, taken=set(taken)) == ["red car", "old tree", "big house"]
    terms[0] = "red tin car"  # seven words with both
    taken = {frozenset(["red tin car", *more]) for more in ((), ("old tree",), ("big house",))}
    assert choose(terms, strengths, taken=taken) == ["old tree"]


def test_a_phrase_needs_strong_words_at_its_ends():
    assert choose(["old cat", "cat", "old"], [10, 3.1, 3.1])[0] == "old cat"
    assert choose(["old cat", "cat", "old"], [10, 3.1, 2.9])[0] == "cat"


def test_a_longer_term_takes_the_place_of_what_it_contains():
    assert choose(["cat", "old cat", "old"], [10, 7.1, 7]) == ["old cat"]
    assert choose(["cat", "old cat", "old"], [10, 6.9, 6.8])[0] == "cat"
    assert "old cat" not in choose(["cat", "old cat", "old"], [10, 6.9, 6.8])


def test_a_feature_of_form_is_named_by_its_first_phrase():
    terms, informative = ["how", "how do i", "do i"], [0, 0, 0]
    taken: set = set()
    assert choose(terms, [9, 8, 7], informative, taken) == ["how do i"]
    assert choose(terms, [9, 8, 7], informative, taken) == ["do i"]
    assert choose(terms, [9, 8, 7], informative, taken) == []
    assert choose(["of", "tree"], [9, 2], [0, 1]) == []  # too weak beside the word of form
    assert choose(["of", "tree"], [9, 3], [0, 1]) == ["tree"]


def test_features_with_a_common_first_name_are_told_apart():
    rng = np.random.default_rng(0)
    texts = []
    for i in range(600):
        special = ["xml", "http"][i % 2] if rng.random() < 0.6 else ""
        texts.append(" ".join([*rng.choice(NOISE, 5), *["perl", special][: 2 * (i < 120)]]))
    words = Words(np.array(texts, dtype=object), np.ones(600, bool))
    far = np.arange(300, 400)
    pair = [
        feature_words(words, np.arange(first, 120, 2), np.ones(60), far, 500) for first in (0, 1)
    ]
    informative = np.ones(len(words.terms))
    (alone,) = naming.choose_names(words, informative, pair[:1])
    assert words.terms[alone[0]] == "perl"
    first, second = naming.choose_names(words, informative, pair)
    assert "xml" in words.terms[first[0]]
    assert "http" in words.terms[second[0]]
