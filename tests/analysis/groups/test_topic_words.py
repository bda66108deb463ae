"""Words of topics against Monroe's z by hand; phrases, inflections, scripts, empty topics."""

import math
from collections import Counter

import numpy as np
import pytest
from sklearn.metrics import f1_score

from nanosae.analysis.groups.topic_words import most_telling_first, topic_words
from nanosae.analysis.names.meaning import corpus_meaning
from nanosae.text.words import Words
from small_corpora import corpus


def words_of(texts):
    return Words(np.array(texts, dtype=object), np.ones(len(texts), bool))


def z_by_hand(term, texts, topic, wanted):
    """Return the z of a word with a prior of 20 texts, of counts made by splitting texts."""
    here = [
        term in text.split()
        for text, t in zip(texts, topic, strict=True)
        if t == wanted
    ]
    there = [
        term in text.split()
        for text, t in zip(texts, topic, strict=True)
        if t not in (-1, wanted)
    ]
    n_with = sum(term in text.split() for text in texts)
    prior = 20 * (n_with + 0.5) / (len(texts) + 1)
    counts = []
    for side in (here, there):
        has = sum(side) + prior
        counts.append((has, len(side) + 20 - has))
    (a, b), (c, d) = counts
    return math.log(a / b * d / c) / math.sqrt(1 / a + 1 / b + 1 / c + 1 / d)


VOCABULARY = ["ash", "birch", "cedar", "dogwood", "elm"]
VOCABULARY += ["fir", "ginkgo", "hazel", "ironwood", "juniper"]


def drawn_texts(seed):
    """Texts of three topics and of none, each with its own shares of ten words."""
    rng = np.random.default_rng(seed)
    topic = rng.integers(-1, 3, 200)
    shares = rng.dirichlet(np.ones(10), 4)
    texts = []
    for t in topic:
        drawn = rng.choice(10, 3, replace=False, p=shares[t])
        texts.append(", ".join(VOCABULARY[word] for word in drawn))  # no phrases
    return texts, topic


def check_words(find, seed):
    texts, topic = drawn_texts(seed)
    plain = [text.replace(",", "") for text in texts]
    found = find(words_of(texts), topic, 3, 4)
    for wanted in range(3):
        own = " ".join(t for t, of in zip(plain, topic, strict=True) if of == wanted)
        times: Counter[str] = Counter(own.split())
        z = {
            word: z_by_hand(word, plain, topic, wanted)
            for word in VOCABULARY
            if times[word] >= 2
        }
        positive = [word for word in z if z[word] > 0]
        expected = sorted(positive, key=lambda word: -z[word])[:4]
        assert found[wanted] == expected


@pytest.mark.parametrize("seed", range(5))
def test_words_are_those_of_largest_z(seed):
    check_words(topic_words, seed)


def test_frequent_words_are_rejected():
    def by_counts(words, topic, n, n_words):
        presence = words.presence.toarray()
        counts = np.array([presence[topic == own].sum(axis=0) for own in range(n)])
        return [
            words.terms[np.argsort(-own, kind="stable")[:n_words]].tolist()
            for own in counts
        ]

    with pytest.raises(AssertionError):
        check_words(by_counts, 0)


def test_a_phrase_stands_for_words_that_mostly_stand_in_it():
    texts = ["dark matter"] * 4 + ["matter"] * 3 + ["sea", "a sea"] * 3
    topic = np.array([0] * 7 + [1] * 6)
    assert topic_words(words_of(texts), topic, 2, 3) == [["dark matter"], ["sea"]]
    rarely = ["dark matter"] * 4 + ["matter"] * 7 + ["sea", "a sea"] * 3
    topic = np.array([0] * 11 + [1] * 6)
    found = topic_words(words_of(rarely), topic, 2, 3)
    assert found[0] == ["matter"]


def test_rare_words_are_left_out():
    texts = ["oak, rare"] * 2 + ["oak, seldom"] * 3 + ["oak"] * 145 + ["elm"] * 150
    topic = np.repeat([0, 1], 150)
    assert topic_words(words_of(texts), topic, 2, 5)[0] == ["oak", "seldom"]


def test_inflections_are_one_word():
    texts = ["loan", "loans", "a loan", "two loans", "sea", "sea"]
    found = topic_words(words_of(texts), np.array([0, 0, 0, 0, 1, 1]), 2, 3)
    assert len(found[0]) == 1
    assert found[0][0].startswith("loan")


@pytest.mark.parametrize(
    ("words", "others"),
    [
        (["โรงเรียน", "นักเรียน", "ครู"], ["อาหาร", "กาแฟ", "ปลา"]),
        (["コーヒー", "スーパー", "メニュー"], ["アメリカ", "カメラ", "テレビ"]),
        (["学校", "先生", "授業"], ["電車", "駅", "切符"]),
    ],
)
def test_words_of_letters_without_spaces_are_not_one_for_a_common_letter(words, others):
    texts = ["、".join(words)] * 4 + ["、".join(others)] * 4  # no phrases
    found = topic_words(words_of(texts), np.repeat([0, 1], 4), 2, 5)
    kept = [{word for word in side if len(word) > 1} for side in (words, others)]
    assert [set(side) for side in found] == kept


def test_words_without_spaces_that_share_a_word_are_one():
    texts = ["東京都、東京、京都"] * 4 + ["アメリカ人、アメリカ"] * 4
    found = topic_words(words_of(texts), np.repeat([0, 1], 4), 2, 5)
    assert [len(side) for side in found] == [1, 1]


def test_words_that_say_nothing_are_left_out():
    texts = ["the of the car", "of the car", "sea", "sea"]
    assert topic_words(words_of(texts), np.array([0, 0, 1, 1]), 2, 5)[0] == ["car"]


def test_scripts_without_spaces():
    texts = ["東京タワー", "東京タワー", "大阪城", "大阪城"]
    found = topic_words(words_of(texts), np.array([0, 0, 1, 1]), 2, 5)
    assert set(found[0][0]) <= set("東京タワー")
    assert set(found[1][0]) <= set("大阪城")
    assert len(found[0][0]) > 1


def test_topics_without_texts_have_no_words():
    texts = ["oak", "oak", "elm", "elm", "sea"]
    topic = np.array([0, 0, 2, 2, -1])
    found = topic_words(words_of(texts), topic, 4, 5)
    assert found == [["oak"], [], ["elm"], []]


def test_one_topic_has_the_words_of_most_texts():
    texts = ["oak", "oak", "elm", "elm", "elm, oak", "oak"]
    assert topic_words(words_of(texts), np.zeros(6, int), 1, 5) == [["oak", "elm"]]


def test_terms_that_find_the_topic_by_word_and_meaning_come_first(tmp_path):
    rng = np.random.default_rng(0)
    topic = np.repeat([0, 1], 100)
    vectors = rng.normal(size=(200, 8)).astype(np.float32)
    vectors[topic == 0, 0] += 3
    texts = np.full(200, "ash", dtype=object)
    texts[:90] = "ash elm"  # the topic's
    texts[50:150] += " fir"  # half of either
    texts[100:110] += " oak"
    rows = np.arange(200)

    codes = corpus(tmp_path / "c", np.ones((200, 1)), texts.tolist(), vectors=vectors)
    meaning = corpus_meaning(codes, rows)
    words = words_of(texts)
    given = [["fir", "elm"], ["elm", "oak"]]
    found = most_telling_first(words, topic, given, meaning)
    assert found == [["elm", "fir"], ["oak", "elm"]]
    # F1 by scikit-learn and the area by the normal model decide
    has = {term: np.array([term in text for text in texts]) for term in ("elm", "fir")}
    assert f1_score(topic == 0, has["elm"]) > f1_score(topic == 0, has["fir"])
