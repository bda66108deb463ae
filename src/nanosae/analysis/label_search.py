"""Search among labels: by their words, however inflected or mistyped, and by what they mean."""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache

import numpy as np
import pandas as pd

from nanosae.analysis.ranking import largest_places
from nanosae.analysis.statistics import unit
from nanosae.codes import Codes
from nanosae.runs.tables import known_labels
from nanosae.text.static import encode_static, is_installed
from nanosae.text.tokens import split_words
from nanosae.text.vocabulary import Vocabulary

FURTHER_WORDS = (
    0.1  # of the score: lost by a label of many words besides those asked for
)
MEANING = 0.6  # score of a label that means exactly the same in other words
MIN_COSINE = 0.45  # below which two labels have nothing to do with each other


def search_labels(codes: Codes, query: str, n: int = 20) -> pd.DataFrame:
    """Find features by their names and labels.

    Words count in any case and inflection, as the beginning of a word, and with a typing error; a
    label without any of them is found if it means something similar, by static word vectors, which
    need no network. The first search prepares the labels (about a second for 16,384); each further
    one takes some milliseconds until a label changes.

    Args:
        codes: A corpus of a run with names or labels.
        query: Words.
        n: Number of features, at most.

    Returns:
        The best first: `feature, label, score` (1: has all the words and no others; up to 0.6: only
        means the same) and `match` ("words", or "meaning"). Empty if nothing is like the query.

    Example:
        >>> search_labels(codes, "bank acount").head(2)  # doctest: +SKIP
           feature          label  score  match
        0       17   bank account   0.85  words
        1      211  savings, bank   0.45  words
    """
    labels = known_labels(codes)
    return rank_labels(labels, query, n)


def rank_labels(labels: dict[int, str], query: str, n: int = 20) -> pd.DataFrame:
    """Rank labels as `search_labels` does.

    Example:
        >>> rank_labels({3: "bank loans", 8: "rivers"}, "BANK LOAN").values.tolist()
        [[3, 'bank loans', 0.95, 'words']]
    """
    index = _label_index(tuple(labels.items()))
    by_words = index.word_scores(query)
    by_meaning = index.meaning_scores(query)
    scores = np.maximum(by_words, by_meaning)
    places = largest_places(scores, n)
    places = places[scores[places] > 0]
    of_words = by_words[places] >= by_meaning[places]
    return pd.DataFrame(
        {
            "feature": index.features[places],
            "label": index.labels[places],
            "score": scores[places].round(4),
            "match": np.where(of_words, "words", "meaning"),
        }
    )


@lru_cache(maxsize=2)
def _label_index(labels: tuple[tuple[int, str], ...]) -> _LabelIndex:
    return _LabelIndex(labels)


class _LabelIndex:
    """Labels by their words, and their vectors.

    Attributes:
        features: Numbers of the features, (n,) int64.
        labels: Their labels, (n,) object.
    """

    def __init__(self, labels: tuple[tuple[int, str], ...]) -> None:
        self.features = np.array([feature for feature, _ in labels], np.int64)
        self.labels = np.array([label for _, label in labels], object)
        words = [split_words(label) for label in self.labels]
        self._n_words = np.array([len(of_label) for of_label in words])
        self._places_of_word: dict[str, list[int]] = defaultdict(list)
        for place, of_label in enumerate(words):
            for word in dict.fromkeys(of_label):
                self._places_of_word[word].append(place)
        self._vocabulary = Vocabulary(self._places_of_word)
        self._vectors = np.zeros((0, 0), np.float32)
        if len(labels) and is_installed():
            self._vectors = unit(encode_static(self.labels.tolist()))

    def word_scores(self, query: str) -> np.ndarray:
        """Return how many of a query's words each label has, rare words counting more, (n,)."""
        scores = np.zeros(len(self.labels))
        total = 0.0
        asked = split_words(query)
        for word in asked:
            likeness = self._likeness(word)
            n_labels = np.count_nonzero(likeness)
            rarity = np.log1p(len(self.labels) / (1 + n_labels))
            scores += rarity * likeness
            total += rarity
        further = np.maximum(self._n_words - len(asked), 0)
        lost = FURTHER_WORDS * further / np.maximum(self._n_words, 1)
        return scores / max(total, 1e-9) * (1 - lost)

    def meaning_scores(self, query: str) -> np.ndarray:
        """Return how similar to a query each label's meaning is, 0 if hardly, (n,)."""
        if not len(self._vectors) or not split_words(query):
            return np.zeros(len(self.labels))
        (vector,) = unit(encode_static([query]))
        cosines = self._vectors @ vector
        return np.where(cosines >= MIN_COSINE, MEANING * cosines, 0)

    def _likeness(self, word: str) -> np.ndarray:
        """Return how much the likest word of each label is like a word, (n,)."""
        likeness = np.zeros(len(self.labels))
        for known, value in self._vocabulary.like(word).items():
            places = self._places_of_word[known]
            likeness[places] = np.maximum(likeness[places], value)
        return likeness
