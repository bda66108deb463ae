"""Stop words in the languages of the texts, which decide what can name features and topics."""

import numpy as np
import pytest
from stop_words import LANGUAGE_MAPPING

from nanosae.analysis.groups.topic_words import topic_words
from nanosae.text.stop_words import (
    _stop_words,
    is_stop_word,
    languages_of,
    stop_words_of,
)
from nanosae.text.words import Words

SENTENCES = {
    "english": "The shoes were sent to me after two weeks, and they are not as good as I thought.",
    "german": "Die Schuhe wurden mir nach zwei Wochen geschickt, und sie sind nicht so gut wie ich "
    "dachte.",
    "french": "Les chaussures ont été envoyées après deux semaines et elles ne sont pas aussi "
    "bonnes que je le pensais.",
    "spanish": "Los zapatos me los enviaron después de dos semanas y no son tan buenos como yo "
    "pensaba.",
    "dutch": "De schoenen zijn na twee weken naar mij gestuurd en ze zijn niet zo goed als ik "
    "dacht.",
    "russian": "Обувь мне отправили только через две недели, и она не такая хорошая, как я думал.",
    "korean": "신발은 이 주 후에 받았으며 생각만큼 좋지 않습니다.",
    "hindi": "जूते दो सप्ताह बाद भेजे गए और वे उतने अच्छे नहीं हैं।",
    "greek": "Τα παπούτσια στάλθηκαν μετά από δύο εβδομάδες.",
    "hebrew": "הנעליים נשלחו אחרי שבועיים והן לא טובות כמו שחשבתי.",
    "polish": "Buty zostały do mnie wysłane po dwóch tygodniach i nie są tak dobre, jak myślałem.",
}


@pytest.mark.parametrize("language", SENTENCES)
def test_the_language_of_sentences_is_found(language):
    assert languages_of([SENTENCES[language]]) == [language]


def test_each_language_of_a_mixed_corpus_is_found_the_most_frequent_first():
    texts = (
        [SENTENCES["french"]] * 5
        + [SENTENCES["english"]] * 3
        + [SENTENCES["german"]] * 2
    )
    assert languages_of(texts) == ["french", "english", "german"]


def test_a_language_of_few_texts_does_not_count():
    assert languages_of([SENTENCES["english"]] * 99 + [SENTENCES["german"]]) == [
        "english"
    ]


def test_one_frequent_word_is_no_language():
    # "car", "son" and "on" are stop words of French
    titles = [f"car {word}part {word}brand {word}size" for word in "bcdefghijk"]
    assert languages_of([*titles, "on my son"]) == ["english"]


@pytest.mark.parametrize("texts", [[], [""], ["1 2 3"], ["靴は十二日後に届き"]])
def test_texts_without_stop_words_are_taken_for_english(texts):
    assert languages_of(texts) == ["english"]


def test_contractions_are_stop_words_but_not_what_follows_an_article():
    stop_words = stop_words_of([SENTENCES["french"]])
    stops = ["don't", "isn’t", "they'll", "le"]
    others = ["l'utilisateur", "o'clock", "chaussures", "rock'n'roll"]
    assert [word for word in stops + others if is_stop_word(word, stop_words)] == stops


def typical_words(ends, texts_of_topics):
    texts = [text for texts in texts_of_topics for text in texts] + ends
    topic = [number for number, texts in enumerate(texts_of_topics) for _ in texts]
    topic = np.array(topic + [-1] * len(ends))
    words = Words(np.array(texts), np.ones(len(texts), bool))
    return topic_words(words, topic, len(texts_of_topics), 3)


def test_topics_are_not_named_by_stop_words_of_their_language():
    prose = [f"es ist nicht so gut und wie ich es mit dem {word}" for word in "abcdef"]
    cars = [f"Auto {word}" for word in "abcdef"]
    first, second = typical_words([SENTENCES["german"]] * 3, [prose, cars])
    assert first == ["gut"]
    assert second == ["auto"]


@pytest.mark.parametrize("language", LANGUAGE_MAPPING.values())
def test_stop_words_are_words(language):
    words = _stop_words(language)
    edges = {edge for word in words for edge in (word[:1], word[-1:])}
    assert not [edge for edge in edges if not edge.isprintable() or edge in '",.:!? ']
    assert "" not in edges


def test_hebrew_stop_words_have_no_quotation_marks():
    stop_words = stop_words_of([SENTENCES["hebrew"]])
    assert {"אחרי", "אבל"} <= stop_words


def test_topics_are_not_named_by_korean_function_words():
    prose = [f"{noun} 또는 " for noun in ("파일", "소리")] + ["수 있습니다"] * 3
    cars = ["자동차 운전", "자동차 여행"]
    (first, _) = typical_words([], [prose * 3, cars * 3])
    assert set(first) == {"파일", "소리"}


def test_topics_are_not_named_by_particles():
    (first, _) = typical_words([], [["Avahi は"] * 4, ["画像を"] * 4])
    assert first == ["avahi"]


def test_topics_are_not_named_by_function_words_of_three_hiragana():
    files = [f"{noun}として転送および保存という{noun}" for noun in ("画像", "音声")]
    cars = ["車を運転する", "車で旅行する"]
    (first, _) = typical_words([], [files * 3, cars * 3])
    assert not {"として", "および", "という"} & set(first)
    assert {"画像", "転送"} & set(first)
