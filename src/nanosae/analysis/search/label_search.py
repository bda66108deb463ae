"""Search labels by words, up to inflection and misspelling, and by meaning."""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache

import numpy as np
import pandas as pd

from nanosae.analysis.ranking import largest_places
from nanosae.lengths import unit
from nanosae.text.static import encode_static, is_installed
from nanosae.text.tokens import split_words
from nanosae.text.vocabulary import Vocabulary

FURTHER_WORDS = 0.1  # largest penalty for words beside those of the query
MEANING = 0.6  # score of a label that means exactly the same in other words
MIN_COSINE = 0.45  # labels with a smaller cosine are unrelated to the query


def rank_labels(labels: dict[int, str], query: str, n: int = 20) -> pd.DataFrame:
    """Find features by their names and labels.

    Words match regardless of case and inflection, as prefixes, and despite a misspelling. A label
    without any of them is found if its meaning is similar, by static word vectors, which need no
    network. The first search prepares the labels (about a second for 16,384); further ones take
    milliseconds until a label changes.

    Args:
        labels: Name or label of each feature that has one.
        query: Words.
        n: Maximum number of features.

    Returns:
        The best first: `feature, label, score` (1: has all the words and no others; up to 0.6:
        similar only in meaning) and `match` ("words" or "meaning"). Empty if nothing matches.

    Example:
        >>> rank_labels({3: "bank loans", 8: "rivers"}, "BANK LOAN").values.tolist()
        [[3, 'bank loans', 0.95, 'words']]
    """
    index = _LabelIndex(tuple(labels.items()))
    by_words = index.word_scores(query)
    by_meaning = index.meaning_scores(query)
    scores = np.maximum(by_words, by_meaning)
    best = largest_places(scores, n)
    is_found = scores[best] > 0
    found = best[is_found]
    is_by_words = by_words[found] >= by_meaning[found]
    return pd.DataFrame(
        {
            "feature": index.features[found],
            "label": index.labels[found],
            "score": scores[found].round(4),
            "match": np.where(is_by_words, "words", "meaning"),
        }
    )


@lru_cache(maxsize=2)
class _LabelIndex:
    """An inverted index of the words of labels, and the labels' vectors.

    Attributes:
        features: Numbers of the features, (n,) int64.
        labels: Their labels, (n,) object.
    """

    def __init__(self, labels: tuple[tuple[int, str], ...]) -> None:
        features = [feature for feature, _ in labels]
        texts = [text for _, text in labels]
        self.features = np.array(features, np.int64)
        self.labels = np.array(texts, object)
        words = [split_words(text) for text in texts]
        self._n_words = np.array([len(label_words) for label_words in words])
        self._places_of_word = _places_of_words(words)
        self._vocabulary = Vocabulary(self._places_of_word)
        self._vectors = np.zeros((0, 0), np.float32)
        if len(labels) and is_installed():
            encoded = encode_static(texts)
            self._vectors = unit(encoded)

    def word_scores(self, query: str) -> np.ndarray:
        """Return the share of the query's words in each label, weighted by rarity, (n,)."""
        n_labels = len(self.labels)
        found = np.zeros(n_labels)
        possible = 0.0
        query_words = split_words(query)
        for word in query_words:
            likeness = self._likeness(word)
            n_with_word = np.count_nonzero(likeness)
            rarity = np.log1p(n_labels / (1 + n_with_word))
            found += rarity * likeness
            possible += rarity
        share_found = found / max(possible, 1e-9)
        n_words = np.maximum(self._n_words, 1)
        n_further = np.maximum(self._n_words - len(query_words), 0)
        penalty = FURTHER_WORDS * n_further / n_words
        return share_found * (1 - penalty)

    def meaning_scores(self, query: str) -> np.ndarray:
        """Return the similarity in meaning of each label to a query, 0 below MIN_COSINE, (n,)."""
        has_vectors = len(self._vectors) > 0
        if not has_vectors or not split_words(query):
            return np.zeros(len(self.labels))
        encoded = encode_static([query])
        (vector,) = unit(encoded)
        cosines = self._vectors @ vector
        is_similar = cosines >= MIN_COSINE
        return np.where(is_similar, MEANING * cosines, 0)

    def _likeness(self, word: str) -> np.ndarray:
        """Return the similarity of a word to the most similar word of each label, (n,)."""
        likeness = np.zeros(len(self.labels))
        known_words = self._vocabulary.similar(word)
        for known, value in known_words.items():
            places = self._places_of_word[known]
            likeness[places] = np.maximum(likeness[places], value)
        return likeness


def _places_of_words(words: list[list[str]]) -> dict[str, list[int]]:
    """Return the positions of the labels that contain each word."""
    places: dict[str, list[int]] = defaultdict(list)
    for place, label_words in enumerate(words):
        for word in dict.fromkeys(label_words):
            places[word].append(place)
    return places
