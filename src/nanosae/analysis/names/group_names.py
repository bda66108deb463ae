"""Names for groups of features: the words that distinguish the labels of a group."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from nanosae.codes import Codes
from nanosae.runs.tables import Labels, known_labels, labels_by_feature, load_features
from nanosae.text.tokens import fold, stem, written_words

Term = tuple[str, ...]  # stems of its words
LONGEST_PHRASE = 3  # words
UNSURE = 0.5  # weight of a label without a score in a table with scores


class FeatureName(NamedTuple):
    """The name of a feature, and its weight.

    Attributes:
        text: Its name or label.
        weight: AUC of the label; 1 if it has no score.
    """

    text: str
    weight: float


def feature_names(
    labels: Labels | None, codes: Codes | None = None
) -> dict[int, FeatureName]:
    """Return the names of all features that have one.

    Args:
        labels: A mapping from features to labels, or a table with `feature`, `label` and
            optionally `label_auc`, which is the weight. None: the names of the run.
        codes: A corpus of the run.
    """
    if labels is not None:
        scores = labels if isinstance(labels, pd.DataFrame) else pd.DataFrame()
        return _weighted(labels_by_feature(labels), scores)
    if codes is None or codes.run is None:
        return {}
    return _weighted(known_labels(codes), load_features(codes.run, codes))


def common_words(
    groups: Iterable[Iterable[int]], names: Mapping[int, tuple[str, float]], n: int
) -> list[list[str]]:
    """Return the terms that distinguish the labels of each group, best first.

    A term is a word or a whole phrase of a label, in any inflection. Its score is the total weight
    of the group's labels with it × log(their share in the group ÷ their share in all labels), a
    weighted pointwise mutual information. It must be in two of the group's labels, or in the only
    one. Of terms that share a word only the best is kept; phrases win ties with their words.

    Args:
        groups: Features (or rows) of each group.
        names: Text and weight of each feature (or row) that has one.
        n: Maximum number of terms of a group.

    Returns:
        Terms in their most frequent spelling.

    Example:
        >>> names = {0: ("bank loans", 1.0), 1: ("Bank loan, the", 0.9), 2: ("the river", 1.0)}
        >>> common_words([[0, 1], [2]], names, 2)
        [['bank loans'], ['the river']]
    """
    spellings: dict[Term, Counter[str]] = defaultdict(Counter)
    terms = {}
    n_labels_with: Counter[Term] = Counter()
    for member, (text, _) in names.items():
        terms[member] = _terms_of_label(text, spellings)
        n_labels_with.update(terms[member])
    found = []
    for group in groups:
        best = _distinctive_terms(group, names, terms, n_labels_with)
        found.append([_usual_spelling(spellings[term]) for term in best[:n]])
    return found


def _usual_spelling(spellings: Counter[str]) -> str:
    [(usual, _)] = spellings.most_common(1)
    return usual


def _terms_of_label(text: str, spellings: dict[Term, Counter[str]]) -> set[Term]:
    """Return the phrases and words of a label as tuples of stems, and count their spellings."""
    terms = set()
    for phrase in text.split(","):
        written = written_words(phrase)
        spans = [[word] for word in written]
        if 1 < len(written) <= LONGEST_PHRASE:
            spans.append(written)
        for span in spans:
            term = tuple(_stem_of(word) for word in span)
            spelling = " ".join(span)
            spellings[term][spelling] += 1
            terms.add(term)
    return terms


def _stem_of(word: str) -> str:
    """Return the stem of a word in any spelling; the whole word if it has none."""
    folded = fold(word)
    return stem(folded) or folded


def family_labels(
    members: list[list[int]], names: Mapping[int, FeatureName]
) -> list[str]:
    """Label each family by its common words, or else its root's label, or else its members."""
    labels = []
    words_of_families = common_words(members, names, 3)
    for words, features in zip(words_of_families, members, strict=True):
        root = features[0]
        if words:
            labels.append(", ".join(words))
        elif root in names:
            labels.append(names[root].text)
        else:
            labels.append(_label_of_numbers(features))
    return labels


def _label_of_numbers(features: list[int]) -> str:
    numbers = [str(feature) for feature in features[:4]]
    listed = ", ".join(numbers)
    ellipsis = " …" if len(features) > 4 else ""
    return f"features {listed}{ellipsis}"


def _weighted(labels: Mapping[int, str], table: pd.DataFrame) -> dict[int, FeatureName]:
    """Return labels with their scores in a table as weights; 1 if the table scores no such label.

    A name by a person or a language model may stand for the label that the table scores.
    """
    scores: dict[int, float] = {}
    if "label_auc" in table:
        filled = table["label_auc"].fillna(UNSURE)
        scores = dict(zip(table["feature"], filled, strict=True))
    scored = labels_by_feature(table)
    names = {}
    for feature, text in labels.items():
        is_scored = scored.get(feature) == text
        weight = scores.get(feature, 1.0) if is_scored else 1.0
        names[feature] = FeatureName(text, float(weight))
    return names


def _distinctive_terms(
    group: Iterable[int],
    names: Mapping[int, tuple[str, float]],
    terms: Mapping[int, set[Term]],
    n_labels_with: Counter[Term],
) -> list[Term]:
    """Return the terms of one group with positive scores, best first."""
    labelled = [member for member in group if member in terms]
    worth = _worth_of_terms(labelled, names, terms, n_labels_with)
    positive = [term for term in worth if _all_words_are_worth(term, worth)]
    ordered = sorted(positive, key=lambda term: (-worth[term], -len(term), term))
    return _without_repeats(ordered)


def _worth_of_terms(
    labelled: list[int],
    names: Mapping[int, tuple[str, float]],
    terms: Mapping[int, set[Term]],
    n_labels_with: Counter[Term],
) -> dict[Term, float]:
    """Return the score of each term that enough labels of a group have."""
    n_with: Counter[Term] = Counter()
    for member in labelled:
        n_with.update(terms[member])
    least = min(2, len(labelled))
    worth = {term: 0.0 for term, times in n_with.items() if times >= least}
    for member in labelled:
        _, weight = names[member]
        for term in terms[member] & worth.keys():
            share = n_with[term] / len(labelled)
            lift = share * len(terms) / n_labels_with[term]
            worth[term] += weight * np.log(lift)
    return worth


def _without_repeats(ordered: list[Term]) -> list[Term]:
    """Drop terms that share a word with a better one."""
    kept: list[Term] = []
    words_kept: set[str] = set()
    for term in ordered:
        if words_kept.isdisjoint(term):
            kept.append(term)
            words_kept.update(term)
    return kept


def _all_words_are_worth(term: Term, worth: Mapping[Term, float]) -> bool:
    """Return whether a term and each of its words have positive scores."""
    words = [(word,) for word in term]
    return all(worth[part] > 0 for part in [term, *words])
