"""Words and phrases that distinguish the texts of each topic from all others."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import scipy.sparse as sp

from nanosae.analysis.columns import one_hot
from nanosae.analysis.names.keywords import log_odds
from nanosae.analysis.names.meaning import Meaning, normal_auc
from nanosae.analysis.names.name_terms import PARTICLE, has_loose_end
from nanosae.analysis.names.word_forms import usual_spelling
from nanosae.text.tokens import is_unspaced, stem
from nanosae.text.unspaced import meaningful_parts
from nanosae.text.words import Words

MIN_TEXTS = 2  # minimum number of a topic's texts with a term, if there are as many
MIN_SHARE = 0.02  # minimum share of a topic's texts with a term
MOSTLY_COPIES = 0.5  # share of a topic's texts above which copies of a text count, too
WHOLE_PHRASE = 0.5  # share of a word's texts in which a phrase must be to replace it


def without_copies(topic: np.ndarray, is_copy: np.ndarray, n: int) -> np.ndarray:
    """Leave copies of a text out of their topic, unless it consists mostly of copies.

    Args:
        topic: Topic of each text, −1 for none, (n_texts,).
        is_copy: Whether a text equals an earlier one, bool (n_texts,).
        n: Number of topics.

    Returns:
        The topics, −1 for copies left out. A topic whose texts are mostly copies, such as one of
        form letters, keeps them: they are what it is about.

    Example:
        >>> topic = np.array([0, 0, 0, 1, 1, 1])
        >>> without_copies(topic, np.array([False, False, True, False, True, True]), 2).tolist()
        [0, 0, -1, 1, 1, 1]
    """
    has_topic = topic >= 0
    n_texts = np.bincount(topic[has_topic], minlength=n)
    n_copies = np.bincount(topic[has_topic & is_copy], minlength=n)
    is_of_copies = n_copies > MOSTLY_COPIES * n_texts
    is_left_out = has_topic & is_copy & ~is_of_copies[topic]
    return np.where(is_left_out, -1, topic)


def topic_words(
    words: Words, topic: np.ndarray, n: int, n_words: int
) -> list[list[str]]:
    """Return the terms that are typical of each topic's texts, best first, in lower case.

    A term is typical if it is in at least 2 % of the topic's texts and more likely there than in
    all other texts. Terms are ranked by the z-score of their log-odds ratio (Monroe, Colaresi and
    Quinn 2008; see `nanosae.analysis.names.keywords.log_odds`). Stop words, and phrases that begin
    or end with one, are left out. A phrase replaces a word if it is in half of the
    word's texts, and of terms that share a word only the best is kept.

    Args:
        words: Terms of some texts.
        topic: Topic of each of these texts, −1 for none, (n_texts,).
        n: Number of topics.
        n_words: Maximum number of terms of a topic.

    Example:
        >>> texts = ["the red car", "a red car", "a cold sea", "the cold sea"]
        >>> words = Words(np.array(texts), np.ones(4, bool))
        >>> topic_words(words, np.array([0, 0, 1, 1]), 2, 3)
        [['red car'], ['cold sea']]
    """
    # number of texts of each topic with each term, (n, T)
    counts = sp.csr_array(one_hot(topic, n).T @ words.presence)
    sizes = np.bincount(topic[topic >= 0], minlength=n)
    total = counts.sum(axis=0)
    says_something = [_says_something(words, term) for term in words.terms]
    says_something = np.array(says_something, dtype=bool)
    found = []
    for own, size in zip(range(n), sizes, strict=True):
        entries = slice(counts.indptr[own], counts.indptr[own + 1])
        terms = counts.indices[entries]
        count = counts.data[entries]
        least = min(size, max(MIN_TEXTS, MIN_SHARE * size))
        is_candidate = says_something[terms] & (count >= least)
        terms = terms[is_candidate]
        count = count[is_candidate]
        z = _surprise(words, terms, count, size, total, sizes.sum())
        best_first = np.lexsort((terms, -z))
        typical = best_first[z[best_first] > 0]
        names = words.terms[terms[typical]].tolist()
        found.append(_without_repeats(names, count[typical], n_words))
    return found


def _surprise(
    words: Words,
    terms: np.ndarray,
    count: np.ndarray,
    size: int,
    total: np.ndarray,
    n_texts: int,
) -> np.ndarray:
    """Return the z-score of each term, or its number of texts if there are no other texts."""
    n_elsewhere = n_texts - size
    if not n_elsewhere:
        return count
    elsewhere = total[terms] - count
    _, z = log_odds(count, size, elsewhere, n_elsewhere, words.share[terms])
    return z


def most_telling_first(
    words: Words, topic: np.ndarray, typical: list[list[str]], meaning: Meaning
) -> list[list[str]]:
    """Order the typical terms of each topic by how well each finds its texts.

    This is the sum of the F1 of the texts with the term and the area under the ROC curve along the
    term's meaning, as in names of features (`nanosae.analysis.names.naming`).

    Args:
        words: Terms of some texts.
        topic: Topic of each of these texts, −1 for none, (n_texts,).
        typical: Terms of each topic.
        meaning: The space of the texts' embeddings, estimated from them.
    """
    place_of = {term: place for place, term in enumerate(words.terms)}
    ordered = []
    for own, terms in enumerate(typical):
        if not terms:
            ordered.append([])
            continue
        presence = words.presence[:, [place_of[term] for term in terms]]
        is_own = topic == own
        n_found = presence[is_own].sum(axis=0)
        f1 = 2 * n_found / (presence.sum(axis=0) + is_own.sum())
        directions = meaning.of_terms(presence)
        target = meaning.directions[is_own].mean(axis=0) - meaning.mean_direction
        moments = directions @ meaning.second_moments
        variances = np.einsum("ij,ij->i", moments, directions)
        auc = normal_auc(directions @ target, variances)
        best_first = np.argsort(-(f1 + auc), kind="stable")
        ordered.append([terms[place] for place in best_first])
    return ordered


def spelled(terms: Sequence[str], texts: Sequence[str]) -> list[str]:
    """Return terms in their most frequent spelling in some texts."""
    return [usual_spelling(term, texts) for term in terms]


def _says_something(words: Words, term: str) -> bool:
    """Return whether a term neither begins nor ends with a stop word or a particle.

    Japanese words of up to three Hiragana are particles here, which りんご (apple) is not: a topic
    has many words, and として ("as") would be among those of the largest.
    """
    word_list = term.split(" ")
    for word in (word_list[0], word_list[-1]):
        is_particle = has_loose_end(word) or PARTICLE.fullmatch(word)
        if is_particle or words.is_stop_word(word):
            return False
    return True


def _without_repeats(terms: list[str], count: np.ndarray, most: int) -> list[str]:
    """Keep the first terms that share no word, each replaced by its usual phrase."""
    count_of = dict(zip(terms, count, strict=True))
    phrases = [term for term in terms if " " in term]
    kept: list[str] = []
    for term in terms:
        if len(kept) == most:
            break
        if any(_repeats(term, other) for other in kept):
            continue
        for phrase in phrases:
            is_usual = count_of[phrase] >= WHOLE_PHRASE * count_of[term]
            if is_usual and f" {term} " in f" {phrase} ":
                term = phrase
        if not any(_repeats(term, other) for other in kept):
            kept.append(term)
    return kept


def _repeats(term: str, other: str) -> bool:
    """Return whether two terms share a word up to inflection, or a Han character."""
    if is_unspaced(term) and is_unspaced(other):
        is_inside = term in other or other in term
        shared_parts = meaningful_parts(term) & meaningful_parts(other)
        return is_inside or bool(shared_parts)
    pairs = product(term.split(" "), other.split(" "))
    return any(_stem(word) == _stem(other_word) for word, other_word in pairs)


def _stem(word: str) -> str:
    return stem(word) or word
