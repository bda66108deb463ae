"""Queries as feature activations: given by number or label, or derived from words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np

from nanosae.analysis.ranking import largest_places
from nanosae.analysis.search.label_search import rank_labels
from nanosae.analysis.search.text_index import WordTerms, find_texts
from nanosae.codes import Codes, indices
from nanosae.errors import DataError

LARGEST = float(np.finfo(np.float32).max)
N_FEATURES = 10  # at most, from texts and from labels each
N_TEXTS = 100  # best matching texts whose features are used
LISTED = 5  # labels that an error names
ALIKE = 0.85  # ratio to the best label's score from which on labels are used
EXACT = 0.999  # score of a label that has the words and no others


def set_features(
    activations: np.ndarray, values: Mapping[Any, float], labels: Mapping[int, str]
) -> np.ndarray:
    """Set, in place, the activations of features given by number or label.

    Args:
        activations: One per feature, (n_features,).
        values: New activations by feature number, by label, or by a part of a single label.
        labels: Labels of features.

    Returns:
        The same array.

    Raises:
        DataError: If there is no such feature, several labels contain the part, or a value is not
            finite.
    """
    n_features = len(activations)
    for key, value in values.items():
        given = _by_label(key, labels) if isinstance(key, str) else key
        if np.ndim(given):
            raise DataError(
                f"One feature is given by its number or label, not {key!r}."
            )
        (feature,) = indices([given], n_features, "feature")
        if not isinstance(value, Real):
            raise DataError(f"feature {key}: the activation {value!r} is no number.")
        if not abs(value) <= LARGEST:
            raise DataError(f"feature {key}: the activation {value} is not finite.")
        activations[feature] = value
    return activations


def _by_label(text: str, labels: Mapping[int, str]) -> int:
    """Return the only feature with a label, or else the only one whose label contains it."""
    wanted = text.casefold()
    folded = {feature: label.casefold() for feature, label in labels.items()}
    found = [feature for feature, label in folded.items() if label == wanted]
    if not found:
        found = [feature for feature, label in folded.items() if wanted in label]
    if not found:
        advice = _advice(text, labels)
        raise DataError(f"no label contains {text!r}; {advice}")
    n_found = len(found)
    if n_found > 1:
        listed = _listed(found[:LISTED], labels)
        raise DataError(f"{n_found} labels contain {text!r}: {listed}; give a number.")
    return found[0]


def _advice(text: str, labels: Mapping[int, str]) -> str:
    """Return a sentence that helps to find the intended feature."""
    if not labels:
        return "there are no labels: give a number, or run: nanosae label RUN."
    similar = rank_labels(dict(labels), text, LISTED)["feature"]
    if not len(similar):
        return f"none of the {len(labels):,} labels is similar: give a number."
    listed = _listed(similar.tolist(), labels)
    return f"similar labels: {listed}; give a number."


def _listed(features: Sequence[int], labels: Mapping[int, str]) -> str:
    """List features with their labels: "3 (cats), 8 (dogs)"."""
    numbered = [f"{feature} ({labels[feature]})" for feature in features]
    return ", ".join(numbered)


def features_of_words(
    codes: Codes, text: str, words: Sequence[WordTerms], labels: Mapping[int, str]
) -> tuple[np.ndarray, str]:
    """Turn words into activations of the features that have them in their label or their texts.

    The texts are those with all the words, if there are any, or else with one of them. Their
    features are weighted by their mean activation on the best matching texts, times the logarithm
    of their lift: their density on these texts ÷ their density on all. Of the labels, those that
    equal the words count, and others if no text has all the words.

    Args:
        codes: The corpus.
        text: The words.
        words: Their terms in the corpus (`word_terms`); empty if it has no texts.
        labels: Labels of features.

    Returns:
        Activations with maximum 1, (n_features,) float32, and a note on how they were found.

    Raises:
        DataError: If there are neither texts nor labels.
    """
    if not (codes.has_texts or labels):
        raise DataError(
            f"{codes.path} has neither texts nor labels: give embedder=… or a vector."
        )
    activations = np.zeros(codes.n_features, np.float32)
    all_are_known = all(word.terms for word in words)
    rows, _ = find_texts(codes, words, N_TEXTS, every=all_are_known)
    has_all_words = all_are_known and len(rows) > 0
    if not len(rows):
        rows, _ = find_texts(codes, words, N_TEXTS)
    if len(rows):
        typicality = _typicality(codes, rows)
        most_typical = largest_places(typicality, N_FEATURES)
        largest = max(typicality.max(), 1e-12)
        activations[most_typical] = typicality[most_typical] / largest
    labelled = _labelled(labels, text, exact=has_all_words)
    activations[labelled] = 1
    n_features = np.count_nonzero(activations)
    contain = "contain all the words" if has_all_words else "contain some of the words"
    note = f"{len(rows)} texts and {len(labelled)} labels {contain}"
    return activations, f"{note}; they give {n_features} features"


def _labelled(labels: Mapping[int, str], words: str, exact: bool) -> list[int]:
    """Return the features whose labels are the words, or match about as well as the best one."""
    ranked = rank_labels(dict(labels), words, N_FEATURES)
    found = ranked[ranked["match"] == "words"]
    score = found["score"]
    enough = EXACT if exact else ALIKE * score.max()
    return found["feature"][score >= enough].tolist()


def _typicality(codes: Codes, rows: np.ndarray) -> np.ndarray:
    """Return mean activation × log lift of each feature on some rows, (n_features,)."""
    block = codes.take(rows)
    n_rows = len(rows)
    n_features = codes.n_features
    n_active = np.bincount(block.indices, minlength=n_features)
    density = n_active / n_rows
    lift = density / np.maximum(codes.density, 1e-12)
    log_lift = np.log(np.maximum(lift, 1))
    total = np.bincount(block.indices, block.data, n_features)
    mean = total / n_rows
    return mean * log_lift
