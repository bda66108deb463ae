"""Stop words of the languages in which texts are written."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache

import numpy as np
from stop_words import LANGUAGE_MAPPING, get_stop_words

from nanosae.text.tokens import words_of_letters

Texts = Sequence[str] | np.ndarray
ENGLISH = "english"
# Stop words make up a sixth to a half of the words of sentences, but those of other languages are
# often among them, such as "die" and "so".
FIRST_SHARE = 0.1  # minimum share of the words that are stop words of a language
NEXT_SHARE = 0.05  # of a further language, without stop words of the ones before
# of one word that counts: texts on cars are not French because of "car"
LARGEST_SHARE = 0.03
MIN_DISTINCT = 3  # stop words of a language
SAMPLE = 1000  # texts that are looked at
# languages of which no other language that is known here has the script
OWN_SCRIPTS = {
    "greek": re.compile("[\u0370-\u03ff]"),
    "gujarati": re.compile("[\u0a80-\u0aff]"),
    "hebrew": re.compile("[\u0590-\u05ff]"),
    "hindi": re.compile("[\u0900-\u097f]"),
    "korean": re.compile("[\uac00-\ud7a3]"),
}
# forms of "be", "have", "do" and "can", and words such as "for", "about" and "or"
MORE_KOREAN = """
    수 있는 있다 있도록 있습니다 있으며 있고 없는 없다 없습니다 입니다 것입니다 이다
    하는 하기 하고 하여 해서 할 한 합니다 하며 되는 되어 된 됩니다 되었습니다
    또는 및 위한 위해 위하여 대한 대해 통해 통한 따라 같은 등 때 때문에 더 은 는 이 가
"""
MARKS = '"”,،؛:!؟.…«»()[]{}/-–_ \ufeff\u200f'  # around words of the lists
ENDINGS = frozenset({"d", "ll", "m", "re", "s", "t", "ve"})  # of English contractions


def stop_words_of(texts: Texts) -> frozenset[str]:
    """Return the stop words of English and of the languages of some texts.

    Example:
        >>> stop_words = stop_words_of(["ein Baum und die Früchte", "der Baum ist hoch"])
        >>> [word for word in ("und", "and", "et", "Baum") if word in stop_words]
        ['und', 'and']
    """
    return frozenset().union(*map(_stop_words, [ENGLISH, *languages_of(texts)]))


def languages_of(texts: Texts) -> list[str]:
    """Return the languages of some texts, the most frequent first, judged by their stop words.

    Languages with a script of their own are found by its words: in Korean, few words are stop words
    as the list has them. Texts without stop words, and texts in scripts without spaces, are taken
    for English.

    Example:
        >>> languages_of(["ein Baum und die Früchte", "der Baum"]), languages_of(["red car"])
        (['german'], ['english'])
    """
    counts = _count_words(texts)
    n_words = counts.total()
    found: list[str] = []
    most = max(1, LARGEST_SHARE * n_words)
    while counts:
        n_of = {one: _count_stop_words(counts, one, most) for one in _languages()}
        n_of |= {one: _count_in_script(counts, one) for one in OWN_SCRIPTS}
        language = max(n_of, key=n_of.__getitem__)
        least = NEXT_SHARE if found else FIRST_SHARE
        if n_of[language] < least * n_words:
            break
        found.append(language)
        for word in [*_stop_words(language), *_words_in_script(counts, language)]:
            counts.pop(word, None)
    return found or [ENGLISH]


@lru_cache(maxsize=2**16)
def is_stop_word(word: str, stop_words: frozenset[str]) -> bool:
    """Return whether a word is a stop word, including contractions.

    Example:
        >>> words = ("the", "don't", "having", "bill", "o'clock", "tree")
        >>> english = stop_words_of(["the tree"])
        >>> [word for word in words if not is_stop_word(word, english)]
        ['bill', "o'clock", 'tree']
    """
    if word in stop_words:
        return True
    stem, *endings = re.split("['’]", word)
    if not endings or not ENDINGS.issuperset(endings):
        return False
    return stem in stop_words or stem.removesuffix("n") in stop_words  # isn't


def _count_words(texts: Texts) -> Counter[str]:
    stride = max(1, len(texts) // SAMPLE)
    counts: Counter[str] = Counter()
    for text in texts[::stride]:
        counts.update(words_of_letters(text.lower()))
    return counts


def _count_stop_words(counts: Mapping[str, int], language: str, most: float) -> float:
    """Return how many words are stop words of a language; each counts `most` times at most."""
    own = [counts[word] for word in _stop_words(language) if word in counts]
    if len(own) < MIN_DISTINCT:
        return 0
    return sum(min(count, most) for count in own)


def _count_in_script(counts: Mapping[str, int], language: str) -> int:
    return sum(counts[word] for word in _words_in_script(counts, language))


def _words_in_script(counts: Mapping[str, int], language: str) -> list[str]:
    """Return the words in the script of a language that has one of its own, otherwise none."""
    script = OWN_SCRIPTS.get(language)
    return [] if script is None else list(filter(script.search, counts))


@cache
def _languages() -> list[str]:
    """Return the languages whose words are separated by spaces."""
    unspaced = ("chinese", "japanese")
    return [one for one in LANGUAGE_MAPPING.values() if one not in unspaced]


@cache
def _stop_words(language: str) -> frozenset[str]:
    if language == ENGLISH:
        return _english_stop_words()
    # the list of Hebrew has quotation marks and commas, that of Persian punctuation
    stripped = {word.strip(MARKS) for word in get_stop_words(language)}
    words = frozenset(stripped - {""})
    return words | set(MORE_KOREAN.split()) if language == "korean" else words


def _english_stop_words() -> frozenset[str]:
    """Return scikit-learn's list without words that can be a topic, and with some additions."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    topics = "amount bill bottom call cry describe detail empty fill fire full interest mill mine"
    topics += " move name part serious show side sincere system thick thin top"
    more = "ca certain did didn does doing don especially got having just let like really said"
    more += " than used uses using usually various want wants won"
    return (ENGLISH_STOP_WORDS - set(topics.split())) | set(more.split())
