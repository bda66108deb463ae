"""Names for groups of features: the words that set the labels of a group apart."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from nanosae.codes import Codes
from nanosae.runs.tables import known_labels, load_features

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
    """Return the words that set the labels of each group apart, best first.

    A word is worth the weight of the group's labels with it × log(their share ÷ the share of all
    labels with it), a weighted pointwise mutual information. It must be in two of the group's
    labels, or in the only one.

    Args:
        groups: Features (or rows) of each group.
        names: Text and weight of each feature (or row) that has one.
        n: Most words of a group.

    Example:
        >>> names = {0: ("bank loan", 1.0), 1: ("the bank", 0.9), 2: ("the river", 1.0)}
        >>> common_words([[0, 1], [2]], names, 2)
        [['bank'], ['river', 'the']]
    """
    words = {
        member: set(re.findall(r"\w+", text.lower()))
        for member, (text, _) in names.items()
    }
    n_labels_with = Counter(word for of_label in words.values() for word in of_label)
    return [
        _distinctive_words(group, names, words, n_labels_with)[:n] for group in groups
    ]


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


def _distinctive_words(
    group: Iterable[int],
    names: Mapping[int, tuple[str, float]],
    words: dict[int, set[str]],
    n_labels_with: Counter[str],
) -> list[str]:
    """Return the words of one group that are worth anything, best first."""
    labelled = [member for member in group if member in words]
    n_with = Counter(word for member in labelled for word in words[member])
    least = min(2, len(labelled))
    worth = {word: 0.0 for word, times in n_with.items() if times >= least}
    for member in labelled:
        _, weight = names[member]
        for word in words[member] & worth.keys():
            share = n_with[word] / len(labelled)
            lift = share * len(words) / n_labels_with[word]
            worth[word] += weight * np.log(lift)
    positive = [word for word in worth if worth[word] > 0]
    return sorted(positive, key=lambda word: (-worth[word], word))
