"""Queries in features: given by number or label, or found from words in texts and labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from nanosae.analysis.label_search import rank_labels
from nanosae.analysis.ranking import largest_places
from nanosae.analysis.text_index import find_texts
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
        DataError: If there is no such feature, or several labels hold the part.
    """
    for key, value in values.items():
        feature = _by_label(key, labels) if isinstance(key, str) else key
        if not 0 <= feature < len(activations):
            raise DataError(f"feature {key}: there are 0 … {len(activations) - 1}.")
        activations[feature] = value
    return activations


def _by_label(text: str, labels: Mapping[int, str]) -> int:
    """Return the only feature with a label, or the only one whose label holds a text."""
    wanted = text.casefold()
    found = [j for j, label in labels.items() if label.casefold() == wanted]
    if not found:
        found = [j for j, label in labels.items() if wanted in label.casefold()]
    if not found:
        raise DataError(f"no label holds {text!r}; {_nearest(text, labels)}")
    if len(found) > 1:
        listed = ", ".join(_numbered(j, labels) for j in found[:LISTED])
        raise DataError(f"{len(found)} labels hold {text!r}: {listed}; give a number.")
    return found[0]


def _nearest(text: str, labels: Mapping[int, str]) -> str:
    """Return a sentence that helps to find the feature that was meant."""
    if not labels:
        return "there are no labels: give a number, or run: nanosae label RUN."
    near = rank_labels(dict(labels), text, LISTED)["feature"]
    if not len(near):
        return f"none of the {len(labels)} labels is like it: give a number."
    listed = ", ".join(_numbered(j, labels) for j in near.tolist())
    return f"the nearest are {listed}; give a number."


def _numbered(feature: int, labels: Mapping[int, str]) -> str:
    return f"{feature} ({labels[feature]})"


def features_of_words(
    codes: Codes, words: str, labels: Mapping[int, str]
) -> tuple[np.ndarray, str]:
    """Turn words into features: those labelled so, and those of the texts that hold the words.

    Features of texts are weighed by their mean activation in the best texts with the words, times
    the logarithm of their lift: their share of these texts ÷ their share of all.

    Args:
        codes: The corpus.
        words: The words.
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
    rows = np.zeros(0, np.int64)
    if codes.has_texts:
        rows, _ = find_texts(codes, words, N_TEXTS)
    if len(rows):
        strength = _strength(codes, rows)
        strongest = largest_places(strength, N_FEATURES)
        activations[strongest] = strength[strongest] / max(strength.max(), 1e-12)
    labelled = _labelled(labels, words)
    activations[labelled] = 1
    how = f"{len(rows)} texts and {len(labelled)} labels hold the words"
    return activations, f"{how}, lifted to {np.count_nonzero(activations)} features"


def _labelled(labels: Mapping[int, str], words: str) -> list[int]:
    """Return the features whose labels have about as many of the words as the best."""
    found = rank_labels(dict(labels), words, N_FEATURES)
    found = found[found["match"] == "words"]
    enough = ALIKE * found["score"].max()
    return found["feature"][found["score"] >= enough].tolist()


def _strength(codes: Codes, rows: np.ndarray) -> np.ndarray:
    """Return how typical each feature is of some rows: mean activation × log lift."""
    block = codes.take(rows)
    share = np.bincount(block.indices, minlength=codes.n_features) / len(rows)
    lift = share / np.maximum(codes.density, 1e-12)
    mean = np.bincount(block.indices, block.data, codes.n_features) / len(rows)
    return mean * np.log(np.maximum(lift, 1))
