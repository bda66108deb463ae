"""Queries of a search: a text, a vector, a row or features, as features and as a vector.

Without an embedder, the features that the words of a text stand for replace its meaning
(`feature_query`), and the note says so. Editing the features of a query moves it along their
decoder directions (`steering`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nanosae.analysis.search.feature_query import features_of_words, set_features
from nanosae.analysis.search.steering import steer
from nanosae.analysis.search.text_index import WordTerms, distinct_words, word_terms
from nanosae.codes import Codes, indices
from nanosae.errors import ConfigError, DataError, DataTypeError
from nanosae.fields import as_list
from nanosae.lengths import unit
from nanosae.model.weights import Weights
from nanosae.text.embedders import find_embedder, received_embedder

# one feature or several, by number or label, or their weights
FeatureQuery = int | str | Sequence[int | str] | Mapping[int | str, float]


@dataclass(frozen=True)
class Query:
    """A query as features, and as a vector and words if it has them.

    Attributes:
        activations: Activation of each feature, (n_features,).
        vector: The vector, (input_size,), if there is one.
        note: How the query was made.
        words: The terms of each word of a text query.
        row: The row of a query by row, which is none of the hits.
    """

    activations: np.ndarray
    vector: np.ndarray | None
    note: str
    words: tuple[WordTerms, ...] = ()
    row: int | None = None

    @property
    def has_exact_word(self) -> bool:
        """Whether a word of the query, up to inflection, is in the corpus."""
        return any(word.exact for word in self.words)


def make_query(
    codes: Codes,
    query: str | np.ndarray | None,
    row: int | None,
    feature: FeatureQuery | None,
    embedder: Any,
    model: Weights | None,
    labels: Mapping[int, str],
) -> Query:
    """Make a query of a text or a vector, a row, or features; all but one of these are None."""
    if feature is not None:
        return _feature_query(codes, feature, labels)
    if row is not None:
        return _row_query(codes, _row_number(codes, row))
    if isinstance(query, str):
        _check_text(query)
        return _text_query(codes, query, embedder, model, labels)
    return _vector_query(codes, _as_vector(query), model)


def _check_text(query: str) -> None:
    """Raise a ConfigError if a query is blank or not Unicode."""
    if not query.strip():
        raise ConfigError("the query is blank: give words to search for.")
    try:
        query.encode()
    except UnicodeEncodeError:
        raise ConfigError(
            "the query has bytes that are not UTF-8: type it again."
        ) from None


def _as_vector(query: Any) -> np.ndarray:
    try:
        return np.asarray(query, np.float32)
    except (TypeError, ValueError):
        raise DataError(
            f"A query is one text or one vector, not {query!r:.60}.",
            remedy="Search for several texts one after another.",
        ) from None


def _feature_query(
    codes: Codes,
    feature: FeatureQuery,
    labels: Mapping[int, str],
) -> Query:
    weights: Any = feature
    if isinstance(feature, pd.Series) and feature.dtype.kind == "f":
        weights = feature.to_dict()  # numbers of features are integers
    elif not isinstance(feature, Mapping):
        weights = dict.fromkeys(as_list(feature), 1.0)
    nothing = np.zeros(codes.n_features, np.float32)
    activations = set_features(nothing, weights, labels)
    return Query(activations, None, "rows by activation")


def _row_number(codes: Codes, row: Any) -> int:
    """Return the number of a row as a plain integer."""
    if np.ndim(row) or isinstance(row, bool | np.bool_):
        raise DataError(
            f"One row is given by its number, not {row!r:.60}.",
            remedy="Search for several rows one after another.",
        )
    (number,) = indices([row], codes.n_rows, "row").tolist()
    return number


def _row_query(codes: Codes, row: int) -> Query:
    features, values = codes.row(row)
    activations = np.zeros(codes.n_features, np.float32)
    activations[features] = values
    vector = None
    if codes.has_vectors:
        (vector,) = codes.vectors([row])
    return Query(activations, vector, f"rows like row {row}", row=row)


def _vector_query(
    codes: Codes,
    vector: np.ndarray,
    model: Weights | None,
    note: str = "rows like the vector",
) -> Query:
    """Make a query of a vector, with the features that the model, if there is one, encodes."""
    vector = vector.ravel()
    if not np.isfinite(vector).all():
        raise DataError("the query's vector contains NaN or infinite values.")
    if model is not None:
        (activations,) = model.encode(vector).toarray()
        return Query(activations, vector, note)
    if not codes.has_vectors:
        raise DataError(
            f"{codes.path} has neither embeddings nor a model: a vector cannot be searched."
        )
    first_row = codes.vectors(np.arange(1))
    width = first_row.shape[1]
    if len(vector) != width:
        raise DataError(
            f"the query's vector has width {len(vector)}, the corpus' embeddings {width}.",
            remedy="Encode the query with the corpus' embedder.",
        )
    nothing = np.zeros(codes.n_features, np.float32)
    return Query(nothing, vector, note)


def _text_query(
    codes: Codes,
    text: str,
    embedder: Any,
    model: Weights | None,
    labels: Mapping[int, str],
) -> Query:
    """Make a query of a text's embedding and words; without an embedder, of words and features."""
    words = tuple(word_terms(codes, text)) if codes.has_texts else ()
    vector, note = _embed(text, embedder, model)
    n_words = len(distinct_words(text))
    if len(words) < n_words and words:
        note += f"; only the first {len(words)} of its {n_words:,} words were looked up"
    if vector is not None:
        without_words = _vector_query(codes, vector, model, note)
        return replace(without_words, words=words)
    activations, how = features_of_words(codes, text, words, labels)
    hint = (
        "an embedder (embedder=NAME) would also find texts that say it in other words"
    )
    return Query(activations, None, f"{note}: {how}; {hint}", words)


def _embed(
    text: str,
    embedder: Any,
    model: Weights | None,
) -> tuple[np.ndarray | None, str]:
    """Return the vector of a text, or None, and a note on how it was made or why it was not."""
    if embedder is not None and not isinstance(embedder, str | Path):
        return find_embedder(embedder).encode([text])[0], "rows like the text"
    known = {} if model is None else model.metadata
    name = known.get("embedder") if embedder is None else str(embedder)
    if not name:
        return None, "no embedder is known"
    try:
        found = received_embedder(name) if embedder is None else find_embedder(name)
        prompt = known.get("query_prompt") or ""
        vector = found.encode([prompt + text])[0]
    except ImportError as error:
        return None, str(error)
    except OSError:
        return None, f"the embedder {name} could not be loaded"
    return np.asarray(vector, np.float32), f"rows like the text, encoded by {name}"


def edited(
    codes: Codes,
    query: Query,
    edit: Mapping[int | str, float],
    steps: int,
    model: Weights | None,
    labels: Mapping[int, str],
) -> Query:
    """Edit the features of a query and move its vector accordingly (see `steering`)."""
    if model is None:
        raise ConfigError(
            f"an edit needs the run's model, but {codes.path} is not in a run folder."
        )
    if not isinstance(edit, Mapping):
        raise DataTypeError(
            f"edit={edit!r:.60} must map features to their new activations."
        )
    target = set_features(query.activations.copy(), edit, labels)
    start = query.vector
    if start is None:
        start = model.decode(query.activations[None])[0]
    steered = steer(model, start, query.activations, target, steps)
    (before,) = unit(start[None])
    (after,) = unit(steered.vector[None])
    cosine = before @ after
    note = f"{query.note}; edited: cosine {cosine:.2f} to the query"
    note += f", relative error of the features {steered.error:.1%}"
    if steps:
        note += f" ({steered.decoded_error:.1%} before {steps} steps)"
    return replace(query, activations=target, vector=steered.vector, note=note)
