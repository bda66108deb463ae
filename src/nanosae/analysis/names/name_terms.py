"""Which terms can name a feature: terms with content, whole phrases, and terms of form.

A phrase is whole unless it nearly always stands before the same word, or after the same content
word ("includes a number", of; "driven software", event), or joins by a stop word two words that
mostly occur without each other ("tool to manage", but not "Bank of America"). Japanese and Chinese
terms that begin or end with a particle are not whole either. Terms that are not whole are used only
if there are no others.

Terms of form, such as numbers, letters and stop words, have no content.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from nanosae.analysis.names.meaning import Meaning, TermMeaning
from nanosae.text.tokens import is_unspaced
from nanosae.text.unspaced import unspaced_words
from nanosae.text.words import Words

# short words in Hiragana are mostly particles and endings, and so are these Chinese words
PARTICLE = re.compile("[\u3041-\u309f]{1,3}|[的了是和与或及为也它这那您]")
LONGEST_ALONE = 2  # characters of such a word that is a term by itself
WITH_CONTENT = 0.4  # minimum informativeness of a term with content
SPECIFIC = 1.0  # of a term that may follow others
COMMON = 3  # minimum number of training texts with a term, unless the corpus is small
SMALL_CORPUS = 2000  # training texts below which rare terms are allowed
JOINED = 0.25  # minimum share of the texts with the rarer end of a phrase that have the phrase
MIN_STOP_WORDS = 3  # in a phrase of stop words only


@dataclass(frozen=True)
class TermKinds:
    """Terms by what they can be used for.

    Attributes:
        with_content: See `has_content`.
        whole: See `is_whole`.
        common: See `is_common`.
        of_form: See `is_of_form`.
        loose: See `is_loose_phrase`.
    """

    with_content: set[int]
    whole: set[int]
    common: set[int]
    of_form: set[int]
    loose: set[int]


@dataclass(frozen=True)
class TermCorpus:
    """The data from which names are selected: the terms of training texts, and their meanings.

    Attributes:
        words: Terms of all texts.
        informative: Informativeness of each term, (T,); see `keywords.informativeness`.
        presence: Indicators of terms in training rows, csc_array (n_train, T).
        place_of_row: Position of each row among the training rows, -1 for others, (n_rows,).
        duplicate_group: Duplicate group of each training row, (n_train,).
        meaning: The space of the embeddings, if there are any.
        term_meaning: Meanings of the candidate terms, if there are embeddings.
        candidates: Terms from which names are selected, each once.
        place_of: Position of each term in `words.terms`.
    """

    words: Words
    informative: np.ndarray
    presence: Any
    place_of_row: np.ndarray
    duplicate_group: np.ndarray
    meaning: Meaning | None
    term_meaning: TermMeaning | None
    candidates: list[int]
    place_of: dict[str, int]

    @cached_property
    def kinds(self) -> TermKinds:
        """What the candidates can be used for."""
        return TermKinds(
            with_content={term for term in self.candidates if has_content(self, term)},
            whole={term for term in self.candidates if is_whole(self, term)},
            common={term for term in self.candidates if is_common(self, term)},
            of_form={term for term in self.candidates if is_of_form(self, term)},
            loose={term for term in self.candidates if is_loose_phrase(self, term)},
        )

    def rows_with(self, term: int) -> np.ndarray:
        """Return the positions of the training rows with a term."""
        start, stop = self.presence.indptr[term : term + 2]
        return self.presence.indices[start:stop]

    def n_texts(self, word: str) -> int:
        """Return the number of training texts with a word, 0 if it is not a term."""
        place = self.place_of.get(word)
        return 0 if place is None else len(self.rows_with(place))

    def says_something(self, word: str) -> bool:
        """Return whether a word has content; words that are not terms are assumed to."""
        place = self.place_of.get(word)
        is_informative = place is None or self.informative[place] >= WITH_CONTENT
        return is_informative and not self.words.is_stop_word(word)


def has_content(corpus: TermCorpus, term: int) -> bool:
    """Return whether a term is informative and neither begins nor ends with a stop word."""
    if corpus.informative[term] < WITH_CONTENT:
        return False
    return _ends_have_content(corpus.words, term)


def _ends_have_content(words: Words, term: int) -> bool:
    text = words.terms[term]
    if is_unspaced(text):
        return True
    word_list = text.split(" ")
    ends = (word_list[0], word_list[-1])
    return not any(words.is_stop_word(word) or len(word) < 2 for word in ends)


def is_whole(corpus: TermCorpus, term: int) -> bool:
    """Return whether a term is not a fragment of a longer phrase."""
    words = corpus.words
    if has_loose_end(words.terms[term]):
        return False
    before = words.before[term]
    is_cut_before = before != "" and corpus.says_something(before)
    is_cut_after = words.after[term] != ""
    if is_cut_before or is_cut_after:
        return False
    word_list = words.terms[term].split(" ")
    if not any(map(words.is_stop_word, word_list[1:-1])):
        return True
    first, last = word_list[0], word_list[-1]
    n_rarer = min(corpus.n_texts(first), corpus.n_texts(last))
    return len(corpus.rows_with(term)) >= JOINED * n_rarer


@lru_cache(maxsize=2**16)
def has_loose_end(text: str) -> bool:
    """Return whether a term without spaces begins or ends with a particle."""
    if not is_unspaced(text):
        return False
    word_list = unspaced_words(text, text)
    if len(word_list) == 1 and len(text) > LONGEST_ALONE:
        return False
    ends = (word_list[0], word_list[-1])
    return any(PARTICLE.fullmatch(word) for word in ends)


def is_of_form(corpus: TermCorpus, term: int) -> bool:
    """Return whether none of a term's words has content, and yet it can be a name.

    One or two stop words ("of the") cannot, but three ("how do i") or a rarer word can.
    """
    words = corpus.words
    word_list = words.terms[term].split(" ")
    if len(word_list) < MIN_STOP_WORDS and all(map(words.is_stop_word, word_list)):
        return False
    if len(word_list) == 1:
        return not has_content(corpus, term)
    return not any(corpus.says_something(word) for word in word_list)


def is_loose_phrase(corpus: TermCorpus, term: int) -> bool:
    """Return whether a phrase begins or ends with a stop word ("or relating to")."""
    text = corpus.words.terms[term]
    return " " in text and not _ends_have_content(corpus.words, term)


def is_common(corpus: TermCorpus, term: int) -> bool:
    """Return whether a term is in enough texts for its meaning to be known."""
    n_texts = len(corpus.rows_with(term))
    n_train = corpus.presence.shape[0]
    return n_texts >= COMMON or n_train < SMALL_CORPUS
