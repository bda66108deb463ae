"""Names for groups of features: the words that set the labels of a group apart."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from nanosae.codes import Codes
from nanosae.runs.tables import known_labels, load_features
from nanosae.text.tokens import fold, stem

Term = tuple[str, ...]  # stems of its words
LONGEST_PHRASE = 3  # words
UNSURE = 0.5  # weight of a label whose score is missing, in a table with scores


class FeatureName(NamedTuple):
    """What a feature is called, and how far to trust it.

    Attributes:
        text: Its name or label.
        weight: AUC of the label; 1 if it has no score.
    """

    text: str
    weight: float


def feature_names(
    labels: pd.DataFrame | None, codes: Codes | None = None
) -> dict[int, FeatureName]:
    """Return the names of features that have one.

    Args:
        labels: A table with `feature`, `label` and perhaps `label_auc`, which is the weight; None:
            the run's names.
        codes: A corpus of the run.
    """
    if labels is not None:
        return _names_of_table(labels)
    if codes is None or codes.run is None:
        return {}
    scored = _names_of_table(load_features(codes.run, codes))
    names = {}
    for feature, text in known_labels(codes).items():
        weight = scored[feature].weight if feature in scored else 1.0
        names[feature] = FeatureName(text, weight)
    return names


def common_words(
    groups: Iterable[Iterable[int]], names: Mapping[int, tuple[str, float]], n: int
) -> list[list[str]]:
    """Return the terms that set the labels of each group apart, best first.

    A term is a word or a whole phrase of a label, in any inflection. It is worth the weight of the
    group's labels with it × log(their share ÷ the share of all labels with it), a weighted
    pointwise mutual information. It must be in two of the group's labels, or in the only one. Of
    terms that share a word only the best is kept, and a phrase before its words.

    Args:
        groups: Features (or rows) of each group.
        names: Text and weight of each feature (or row) that has one.
        n: Most terms of a group.

    Returns:
        Terms as they are most often written.

    Example:
        >>> names = {0: ("bank loans", 1.0), 1: ("Bank loan, the", 0.9), 2: ("the river", 1.0)}
        >>> common_words([[0, 1], [2]], names, 2)
        [['bank loans'], ['the river']]
    """
    spellings: dict[Term, Counter[str]] = defaultdict(Counter)
    terms = {}
    for member, (text, _) in names.items():
        terms[member] = _terms_of_label(text, spellings)
    n_labels_with = Counter(term for of_label in terms.values() for term in of_label)
    found = []
    for group in groups:
        best = _distinctive_terms(group, names, terms, n_labels_with)
        usual = [spellings[term].most_common(1)[0][0] for term in best[:n]]
        found.append(usual)
    return found


def _terms_of_label(text: str, spellings: dict[Term, Counter[str]]) -> set[Term]:
    """Return the phrases and words of a label, each as its words' stems; count spellings."""
    terms = set()
    for phrase in text.split(","):
        written = re.findall(r"\w+", phrase)
        spans = [written[i : i + 1] for i in range(len(written))]
        if 1 < len(written) <= LONGEST_PHRASE:
            spans.append(written)
        for span in spans:
            term = tuple(stem(fold(word)) or fold(word) for word in span)
            spellings[term][" ".join(span)] += 1
            terms.add(term)
    return terms


def family_labels(
    members: list[list[int]], names: Mapping[int, FeatureName]
) -> list[str]:
    """Label each family by its common words, else by its root's label, else by its members.

    Args:
        members: Features of each family, its root first.
        names: Names of the features that have one.
    """
    labels = []
    for words, features in zip(common_words(members, names, 3), members, strict=True):
        root = features[0]
        if words:
            labels.append(", ".join(words))
        elif root in names:
            labels.append(names[root].text)
        else:
            first = ", ".join(str(feature) for feature in features[:4])
            ellipsis = " …" if len(features) > 4 else ""
            labels.append(f"features {first}{ellipsis}")
    return labels


def _names_of_table(labels: pd.DataFrame) -> dict[int, FeatureName]:
    """Read the labels that are not empty."""
    if "label" not in labels:
        return {}
    weights = [1.0] * len(labels)
    if "label_auc" in labels:
        weights = labels["label_auc"].fillna(UNSURE).tolist()
    names = {}
    for feature, text, weight in zip(
        labels["feature"], labels["label"], weights, strict=True
    ):
        if isinstance(text, str) and text:
            names[int(feature)] = FeatureName(text, float(weight))
    return names


def _distinctive_terms(
    group: Iterable[int],
    names: Mapping[int, tuple[str, float]],
    terms: Mapping[int, set[Term]],
    n_labels_with: Counter[Term],
) -> list[Term]:
    """Return the terms of one group that are worth anything, best first."""
    labelled = [member for member in group if member in terms]
    n_with = Counter(term for member in labelled for term in terms[member])
    least = min(2, len(labelled))
    worth = {term: 0.0 for term, times in n_with.items() if times >= least}
    for member in labelled:
        _, weight = names[member]
        for term in terms[member] & worth.keys():
            share = n_with[term] / len(labelled)
            lift = share * len(terms) / n_labels_with[term]
            worth[term] += weight * np.log(lift)
    positive = [term for term in worth if _all_words_are_worth(term, worth)]
    ordered = sorted(positive, key=lambda term: (-worth[term], -len(term), term))
    kept: list[Term] = []
    for term in ordered:
        if not any(set(term) & set(better) for better in kept):
            kept.append(term)
    return kept


def _all_words_are_worth(term: Term, worth: Mapping[Term, float]) -> bool:
    """Tell whether a term and each word of it set the group apart."""
    words = [(word,) for word in term]
    return all(worth[part] > 0 for part in [term, *words])
