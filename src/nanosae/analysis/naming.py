"""Choose the few terms that make a label.

A label is made of the terms with the largest product of z and informativeness. English stop words
never stand alone in a label. A second pass tells features whose labels share a term apart: twice
the z against the other features' texts is added.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations, product

import numpy as np
import scipy.sparse as sp

from nanosae.analysis.keywords import FeatureWords, log_odds, texts_with_terms
from nanosae.analysis.ranking import largest_places
from nanosae.text.words import UNSPACED, Words

MAX_TERMS = 3
MAX_WORDS = 6  # of all terms of a label together
CANDIDATES = 8  # terms that do not repeat each other, from which a label is made
RANKED = 60  # terms from which the candidates are taken
STRONG = 0.4  # of the first term's score: weaker terms are left out where the label is new without
SIBLINGS = 10  # features from which one is told apart
SIBLING_ROWS = 200  # strongest rows of each of them


def choose_names(
    words: Words, informative: np.ndarray, features: list[FeatureWords]
) -> list[list[int]]:
    """Choose the terms that label each feature, frequent features first, no label twice.

    Args:
        words: Terms of all texts.
        informative: Informativeness of each term, (T,).
        features: Typical terms of each feature.

    Returns:
        Places in `words.terms`, for each feature.
    """
    first_pass = [
        _choose_terms(words.terms, own.terms, own.z, informative[own.terms], set())
        for own in features
    ]
    n_shared = _shared_terms(first_pass, len(words.terms))
    taken: set[frozenset[str]] = set()
    names: list[list[int]] = [[] for _ in features]
    n_rows = np.array([len(own.rows) for own in features])
    for i in largest_places(n_rows, len(features)).tolist():
        own = features[i]
        z = own.z
        siblings = _siblings(n_shared, i)
        if siblings:
            z = z + 2 * _z_against(words, own, [features[j] for j in siblings])
        names[i] = _choose_terms(words.terms, own.terms, z, informative[own.terms], taken)
    return names


def _shared_terms(names: list[list[int]], n_terms: int) -> sp.csr_array:
    """Count the terms that each two names share, (names, names)."""
    terms = np.array([term for name in names for term in name], dtype=np.int64)
    ends = np.cumsum([0, *(len(name) for name in names)])
    ones = np.ones(len(terms))
    has_term = sp.csr_array((ones, terms, ends), shape=(len(names), n_terms))
    return sp.csr_array(has_term @ has_term.T)


def _siblings(n_shared: sp.csr_array, feature: int) -> list[int]:
    """Return the other features whose names share most terms with a feature's."""
    start, stop = n_shared.indptr[feature : feature + 2]
    order = largest_places(n_shared.data[start:stop], SIBLINGS + 1)
    nearest = n_shared.indices[start:stop][order].tolist()
    return [other for other in nearest if other != feature]


def _z_against(words: Words, own: FeatureWords, siblings: list[FeatureWords]) -> np.ndarray:
    """Return the z of a feature's terms against the texts that only its siblings have."""
    rows = np.unique(np.concatenate([sibling.rows[:SIBLING_ROWS] for sibling in siblings]))
    rows = rows[~np.isin(rows, own.rows)]
    count = texts_with_terms(words, rows)[own.terms]
    share = words.share[own.terms]
    _, z = log_odds(own.counts, own.n_texts, count, len(rows), share)
    return z


def _choose_terms(
    all_terms: np.ndarray,
    terms: np.ndarray,
    z: np.ndarray,
    informative: np.ndarray,
    taken: set[frozenset[str]],
) -> list[int]:
    """Choose up to three strong terms that do not repeat each other, and add them to `taken`."""
    is_strong = z > z.max(initial=0) / 4  # where only stop words are, the feature is one of form
    score = np.where(is_strong, z * informative, 0)
    order = largest_places(score, len(score))
    ranked = terms[order]
    score = score[order]
    candidates = _candidates(all_terms[ranked].tolist(), score.tolist())
    for places in _combinations(candidates, score):
        name = frozenset(str(term) for term in all_terms[ranked[places]])
        n_words = sum(term.count(" ") + 1 for term in name)
        if name not in taken and n_words <= MAX_WORDS:
            taken.add(name)
            return ranked[places].tolist()
    for phrase in terms.tolist():  # of words that mean nothing alone, such as "how do i"
        name = frozenset([str(all_terms[phrase])])
        if " " in all_terms[phrase] and name not in taken:
            taken.add(name)
            return [phrase]
    return ranked[candidates[: _n_strong(candidates, score)]].tolist()


def _candidates(terms: list[str], scores: list[float]) -> list[int]:
    """Return places of strong terms that do not repeat each other, the best first.

    A phrase needs strong words at its ends. A longer term takes the place of the weaker or slightly
    stronger ones that it contains.
    """
    score_of_term = dict(zip(terms, scores, strict=True))
    chosen: list[int] = []
    for i, term in enumerate(terms[:RANKED]):
        score = scores[i]
        if score <= 0 or len(chosen) == CANDIDATES:
            break
        word_list = term.split(" ")
        ends = (word_list[0], word_list[-1])
        if min(score_of_term.get(word, 0) for word in ends) < 0.3 * score:
            continue
        repeated = [j for j in chosen if _repeats(terms[j], term)]
        if not repeated:
            chosen.append(i)
        elif all(terms[j] in term and score > 0.7 * scores[j] for j in repeated):
            chosen[chosen.index(repeated[0])] = i
            chosen = [j for j in chosen if j not in repeated]
    return chosen


def _n_strong(candidates: list[int], score: np.ndarray) -> int:
    """Count the first candidates whose score is near to that of the best."""
    needed = STRONG * score[candidates[:1]]
    return int((score[candidates[:MAX_TERMS]] > needed).sum())


def _combinations(candidates: list[int], score: np.ndarray) -> Iterator[list[int]]:
    """Yield the first candidate with others, as many as are strong or more, the best first."""
    if not candidates:
        return
    first, *rest = candidates
    for n_others in range(_n_strong(candidates, score) - 1, MAX_TERMS):
        for others in combinations(rest, n_others):
            yield [first, *others]


def _repeats(term: str, other: str) -> bool:
    """Tell whether two terms share a word, give or take an ending."""
    pairs = product(term.split(" "), other.split(" "))
    return any(_same_word(word, other_word) for word, other_word in pairs)


def _same_word(word: str, other: str) -> bool:
    """Tell whether two words have a long stem in common, or two characters without spaces."""
    if word == other:
        return True
    shorter, longer = sorted((len(word), len(other)))
    stem = max(4, round(0.6 * longer))
    if shorter >= stem and word[:stem] == other[:stem]:
        return True
    if not re.match(f"[{UNSPACED}]", word):
        return False
    two_characters = (word[k : k + 2] for k in range(len(word) - 1))
    return any(two in other for two in two_characters)


def usual_spelling(term: str, texts: Sequence[str] | np.ndarray) -> str:
    """Return a term as it is most often written in some texts.

    Example:
        >>> usual_spelling("node js", ["Node.js is", "and Node.js", "node js"])
        'Node.js'
    """
    pattern = r"\W+".join(re.escape(word) for word in term.split(" "))
    if not re.match(f"[{UNSPACED}]", term):
        pattern = rf"\b{pattern}\b"
    spellings = re.findall(pattern, "\n".join(texts), re.IGNORECASE)
    counts = Counter(" ".join(spelling.split()) for spelling in spellings or [term])
    return counts.most_common(1)[0][0]
