"""Queries in features: given by number or label, or found from words in texts and labels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nanosae.analysis.ranking import largest_places
from nanosae.analysis.search.label_search import rank_labels
from nanosae.analysis.search.text_index import WordTerms, find_texts
from nanosae.codes import Codes
from nanosae.errors import DataError

N_FEATURES = 10  # features that words stand for, and labels with the words, at most
N_TEXTS = 100  # best texts with the words, whose features are looked at
LISTED = 5  # labels that an error names
ALIKE = 0.85  # share of the best label's score that others need


def set_features(
    activations: np.ndarray, values: Mapping[Any, float], labels: Mapping[int, str]
) -> np.ndarray:
    """Set, in place, the activations of features given by number or label.

    Args:
        activations: One per feature, (n_features,).
        values: New activations by number, by whole label, or by a part that only one label has.
        labels: Labels of features.

    Returns:
        The same array.

    Raises:
        DataError: If there is no such feature, several labels hold the part, or a value is not
            finite.
    """
    last = len(activations) - 1
    for key, value in values.items():
        feature = _by_label(key, labels) if isinstance(key, str) else key
        if not 0 <= feature <= last:
            raise DataError(f"feature {key}: there are 0 … {last}.")
        if not math.isfinite(value):
            raise DataError(f"feature {key}: its activation is {value}, not finite.")
        activations[feature] = value
    return activations


def _by_label(text: str, labels: Mapping[int, str]) -> int:
    """Return the only feature with a label, or the only one whose label holds a text."""
    wanted = text.casefold()
    folded = {feature: label.casefold() for feature, label in labels.items()}
    found = [feature for feature, label in folded.items() if label == wanted]
    if not found:
        found = [feature for feature, label in folded.items() if wanted in label]
    if not found:
        advice = _nearest(text, labels)
        raise DataError(f"no label holds {text!r}; {advice}")
    n_found = len(found)
    if n_found > 1:
        listed = _listed(found[:LISTED], labels)
        raise DataError(f"{n_found} labels hold {text!r}: {listed}; give a number.")
    return found[0]


def _nearest(text: str, labels: Mapping[int, str]) -> str:
    """Return a sentence that helps to find the feature that was meant."""
    if not labels:
        return "there are no labels: give a number, or run: nanosae label RUN."
    near = rank_labels(dict(labels), text, LISTED)["feature"]
    if not len(near):
        return f"none of the {len(labels)} labels is like it: give a number."
    listed = _listed(near.tolist(), labels)
    return f"the nearest are {listed}; give a number."


def _listed(features: Sequence[int], labels: Mapping[int, str]) -> str:
    """List features with their labels: "3 (cats), 8 (dogs)"."""
    numbered = [f"{feature} ({labels[feature]})" for feature in features]
    return ", ".join(numbered)


def features_of_words(
    codes: Codes, text: str, words: Sequence[WordTerms], labels: Mapping[int, str]
) -> tuple[np.ndarray, str]:
    """Turn words into features: those labelled so, and those of the texts that hold the words.

    Features of texts are weighed by their mean activation in the best texts with the words, times
    the logarithm of their lift: their share of these texts ÷ their share of all.

    Args:
        codes: The corpus.
        text: The words.
        words: What they stand for in the corpus' texts; nothing without texts.
        labels: Labels of features.

    Returns:
        Activations, the largest 1, (n_features,) float32, and how they were found.

    Raises:
        DataError: If there are neither texts nor labels.
    """
    if not (codes.has_texts or labels):
        raise DataError(
            f"{codes.path} has neither texts nor labels: give encoder=… or a vector."
        )
    activations = np.zeros(codes.n_features, np.float32)
    rows, _ = find_texts(codes, words, N_TEXTS)
    if len(rows):
        strength = _strength(codes, rows)
        strongest = largest_places(strength, N_FEATURES)
        largest = max(strength.max(), 1e-12)
        activations[strongest] = strength[strongest] / largest
    labelled = _labelled(labels, text)
    activations[labelled] = 1
    n_features = np.count_nonzero(activations)
    hold = f"{len(rows)} texts and {len(labelled)} labels hold the words"
    how = f"{hold}, lifted to {n_features} features"
    return activations, how


def _labelled(labels: Mapping[int, str], words: str) -> list[int]:
    """Return the features whose labels have about as many of the words as the best."""
    ranked = rank_labels(dict(labels), words, N_FEATURES)
    found = ranked[ranked["match"] == "words"]
    score = found["score"]
    enough = ALIKE * score.max()
    is_alike = score >= enough
    return found["feature"][is_alike].tolist()


def _strength(codes: Codes, rows: np.ndarray) -> np.ndarray:
    """Return how typical each feature is of some rows: mean activation × log lift."""
    block = codes.take(rows)
    n_rows = len(rows)
    n_features = codes.n_features
    n_active = np.bincount(block.indices, minlength=n_features)
    share = n_active / n_rows
    share_of_all = np.maximum(codes.density, 1e-12)
    lift = share / share_of_all
    log_lift = np.log(np.maximum(lift, 1))
    total = np.bincount(block.indices, block.data, n_features)
    mean = total / n_rows
    return mean * log_lift
