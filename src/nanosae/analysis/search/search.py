"""Search: find rows by meaning, words and features, and say which features a hit shares.

A query is a text, a vector, a row, a feature or a weighted combination of features. With embeddings
rows are ranked by cosine, without them by the activations they share with the query, Σ qⱼaⱼ. A text
is searched by meaning, with its encoder (a callable, or the model that the run names), and by its
words (`text_index`); the two rankings are merged. Without an encoder the features that the words
stand for take the place of meaning (`feature_query`), and the answer says so. A query whose
features are edited is moved along their decoder directions (`steering`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nanosae.analysis.ranking import fuse_rankings, largest_in_rows
from nanosae.analysis.reading import run_model
from nanosae.analysis.search.feature_query import features_of_words, set_features
from nanosae.analysis.search.results import Hit, QueryFeature, Results, SharedFeature
from nanosae.analysis.search.steering import steer
from nanosae.analysis.search.text_index import (
    WordTerms,
    different_words,
    find_texts,
    word_terms,
)
from nanosae.analysis.statistics import unit
from nanosae.codes import Codes, Corpus, as_codes
from nanosae.errors import ConfigError, DataError
from nanosae.model.weights import Weights
from nanosae.runs.tables import known_labels
from nanosae.text.encoders import find_encoder, received_encoder

DEPTH = 100  # rows of each ranking that are merged, at least
CHANCE_ROWS = 500  # whose cosines say what is near by chance
NOTED_WORDS = 5  # that no text has, and that a note tells one by one
CHANCE = 0.99  # quantile of these cosines below which a hit is weak


@dataclass(frozen=True)
class _Query:
    """What is searched for: features, a vector, words, and where they come from.

    Attributes:
        activations: Of each feature, (n_features,).
        vector: If there is one, (input_size,).
        note: How the query came about.
        words: What each word of a text stands for.
    """

    activations: np.ndarray
    vector: np.ndarray | None
    note: str
    words: tuple[WordTerms, ...] = ()

    @property
    def has_exact_word(self) -> bool:
        """Whether the corpus has one of the words as it was asked for."""
        return any(word.exact for word in self.words)


@dataclass(frozen=True)
class _Ranking:
    """Rows in one order.

    Attributes:
        rows: The rows, the best first, (n,).
        weak: Which of them are hardly nearer than any row, bool (n,).
    """

    rows: np.ndarray
    weak: np.ndarray


def search(
    codes: Corpus,
    query: str | np.ndarray | None = None,
    *,
    row: int | None = None,
    feature: int | str | Mapping[int | str, float] | None = None,
    edit: Mapping[int | str, float] | None = None,
    steps: int = 0,
    n: int = 10,
    encoder: str | Callable[[list[str]], Any] | None = None,
) -> Results:
    """Search a corpus; give one of `query`, `row` and `feature`.

    Args:
        codes: The corpus, or its run folder, or an `Analysis` of it.
        query: A text, or a vector (input_size,) of the corpus' encoder.
        row: Number of a row to which others are to be similar.
        feature: A feature by number or label, or weights of several; rows are ranked by activation.
        edit: New activations of some features of the query: 0 turns one off.
        steps: Steps that bring the edited query nearer to the edited features; 0 only decodes.
        n: Number of hits.
        encoder: A callable from texts to vectors (n, input_size), or the name of a
            sentence-transformers model; by default the one that the run names. The run's query
            prompt is put before a text that a model of this name encodes.

    Raises:
        ConfigError: If not exactly one query is given, or an edit lacks the run's model.
        DataError: If a row or feature does not exist, a vector is of another width or not finite,
            or a text can neither be encoded nor looked up.
    """
    codes = as_codes(codes)
    given = [what for what in (query, row, feature) if what is not None]
    if len(given) != 1:
        raise ConfigError("give exactly one of query, row and feature.")
    if n < 0:
        raise ConfigError(f"n={n} hits: give a number that is not negative.")
    model = run_model(codes)
    labels = known_labels(codes)
    if feature is not None:
        asked = _feature_query(codes, feature, labels)
    elif row is not None:
        asked = _row_query(codes, row)
    elif isinstance(query, str):
        asked = _text_query(codes, query, encoder, model, labels)
    else:
        vector = np.asarray(query, np.float32)
        asked = _vector_query(codes, vector, model)
    if edit is not None:
        asked = _edited(codes, asked, edit, steps, model, labels)
    scores = _scores(codes, asked)
    if row is not None:
        scores[row] = -np.inf
    hits = _find(codes, asked, scores, n, labels)
    return Results(
        hits=hits,
        features=_query_features(asked.activations, labels),
        note=_note(asked, hits),
        vector=asked.vector,
    )


def _feature_query(
    codes: Codes,
    feature: int | str | Mapping[int | str, float],
    labels: Mapping[int, str],
) -> _Query:
    weights = feature if isinstance(feature, Mapping) else {feature: 1.0}
    nothing = np.zeros(codes.n_features, np.float32)
    activations = set_features(nothing, weights, labels)
    return _Query(activations, None, "rows by activation")


def _row_query(codes: Codes, row: int) -> _Query:
    features, values = codes.row(row)
    activations = np.zeros(codes.n_features, np.float32)
    activations[features] = values
    vector = None
    if codes.has_vectors:
        (vector,) = codes.vectors([row])
    return _Query(activations, vector, f"rows like row {row}")


def _vector_query(
    codes: Codes,
    vector: np.ndarray,
    model: Weights | None,
    note: str = "rows like the vector",
) -> _Query:
    """Look for a vector: its features, if there is a model, are those that the model encodes."""
    vector = vector.ravel()
    if not np.isfinite(vector).all():
        raise DataError("the query's vector holds NaN or infinite values.")
    if model is not None:
        (activations,) = model.encode(vector).toarray()
        return _Query(activations, vector, note)
    if not codes.has_vectors:
        raise DataError(
            f"{codes.path} has neither embeddings nor a model to compare a vector with."
        )
    first_row = codes.vectors(np.arange(1))
    width = first_row.shape[1]
    if len(vector) != width:
        raise DataError(
            f"the query's vector has width {len(vector)}, the corpus' embeddings {width}.",
            remedy="Encode the query with the corpus' encoder.",
        )
    nothing = np.zeros(codes.n_features, np.float32)
    return _Query(nothing, vector, note)


def _text_query(
    codes: Codes,
    text: str,
    encoder: str | Callable[[list[str]], Any] | None,
    model: Weights | None,
    labels: Mapping[int, str],
) -> _Query:
    """Look for a text's embedding and its words, or for its words and their features."""
    words = tuple(word_terms(codes, text)) if codes.has_texts else ()
    vector, note = _embed(text, encoder, model)
    n_words = len(different_words(text))
    if len(words) < n_words and words:
        note += f"; only the first {len(words)} of its {n_words:,} words were looked up"
    if vector is not None:
        of_vector = _vector_query(codes, vector, model, note)
        return replace(of_vector, words=words)
    activations, how = features_of_words(codes, text, words, labels)
    hint = "an encoder (encoder=NAME) would also find texts that say it in other words"
    return _Query(activations, None, f"{note}: {how}; {hint}", words)


def _embed(
    text: str,
    encoder: str | Callable[[list[str]], Any] | None,
    model: Weights | None,
) -> tuple[np.ndarray | None, str]:
    """Return the text's vector, or None and why there is none."""
    if callable(encoder):
        vectors = np.asarray(encoder([text]), np.float32)
        return vectors[0], "rows like the text"
    known = {} if model is None else model.metadata
    name = known.get("encoder") if encoder is None else encoder
    if not name:
        return None, "no encoder is known"
    try:
        found = received_encoder(name) if encoder is None else find_encoder(name)
        prompt = known.get("query_prompt") or ""
        vector = found.encode([prompt + text])[0]
    except ImportError as error:
        return None, str(error)
    except OSError:
        return None, f"the encoder {name} could not be loaded"
    return np.asarray(vector, np.float32), f"rows like the text, encoded by {name}"


def _edited(
    codes: Codes,
    asked: _Query,
    edit: Mapping[int | str, float],
    steps: int,
    model: Weights | None,
    labels: Mapping[int, str],
) -> _Query:
    """Move the query so that it has the edited features; say how far it went and how well."""
    if model is None:
        raise ConfigError(
            f"an edit needs the run's model, and {codes.path} lies in no run."
        )
    target = set_features(asked.activations.copy(), edit, labels)
    start = asked.vector
    if start is None:
        start = model.decode(asked.activations[None])[0]
    steered = steer(model, start, asked.activations, target, steps)
    (before,) = unit(start[None])
    (after,) = unit(steered.vector[None])
    cosine = before @ after
    note = f"{asked.note}; edited: cosine {cosine:.2f} to the query"
    note += f", features missed by {steered.error:.1%}"
    if steps:
        note += f" ({steered.decoded_error:.1%} before {steps} steps)"
    return replace(asked, activations=target, vector=steered.vector, note=note)


def _scores(codes: Codes, asked: _Query) -> np.ndarray:
    """Return the cosine of each row to the query, or what it shares with it, (n_rows,)."""
    if asked.vector is not None and codes.has_vectors:
        return _cosines(codes, asked.vector)
    active = np.flatnonzero(asked.activations)
    in_query = asked.activations[active]
    in_rows = codes.features(active)
    return np.asarray(in_rows @ in_query)


def _find(
    codes: Codes,
    asked: _Query,
    scores: np.ndarray,
    n: int,
    labels: Mapping[int, str],
) -> list[Hit]:
    """Return the rows that come first in all rankings together, and how each was found."""
    rankings = _rankings(codes, asked, scores, n)
    orders = [ranking.rows for ranking in rankings.values()]
    rows = fuse_rankings(orders, n)
    hits = _hits(codes, asked.activations, rows, scores[rows], labels)
    return [_with_match(hit, rankings) for hit in hits]


def _rankings(
    codes: Codes, asked: _Query, scores: np.ndarray, n: int
) -> dict[str, _Ranking]:
    """Rank rows in each way in which the query can be looked for."""
    depth = max(n, DEPTH) if asked.words else n
    by_vector = asked.vector is not None and codes.has_vectors
    if by_vector:
        rows, cosines = _largest(scores, depth)
        weak = cosines <= _chance_cosine(codes)
        rankings = {"meaning": _Ranking(rows, weak)}
    else:
        shares_a_feature = scores > 0
        candidates = np.where(shares_a_feature, scores, -np.inf)
        rows, _ = _largest(candidates, depth)
        of_inexact_words = bool(asked.words) and not asked.has_exact_word
        all_weak = of_inexact_words and asked.vector is None
        rankings = {"features": _Ranking(rows, np.full(len(rows), all_weak))}
    if asked.words:
        rows, _ = find_texts(codes, asked.words, depth)
        weak = np.full(len(rows), not asked.has_exact_word)
        rankings["words"] = _Ranking(rows, weak)
    return rankings


def _largest(scores: np.ndarray, depth: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows with the largest scores, best first, and these scores."""
    (rows,), (largest,) = largest_in_rows(scores[None], depth)
    return rows, largest


def _chance_cosine(codes: Codes) -> float:
    """Return a cosine that one of a hundred pairs of rows exceeds."""
    rng = np.random.default_rng(0)
    n_sampled = min(CHANCE_ROWS, codes.n_rows)
    drawn = rng.choice(codes.n_rows, n_sampled, replace=False)
    directions = unit(codes.vectors(np.sort(drawn)))
    pairs = np.triu_indices(n_sampled, 1)
    cosines = (directions @ directions.T)[pairs]
    if not len(cosines):
        return -np.inf
    return float(np.quantile(cosines, CHANCE))


def _with_match(hit: Hit, rankings: Mapping[str, _Ranking]) -> Hit:
    """Say how a hit was found, and whether it is weak in all these ways."""
    found_by = []
    weak = True
    for name, ranking in rankings.items():
        places = np.flatnonzero(ranking.rows == hit.row)
        if len(places):
            found_by.append(name)
            is_weak_here = bool(ranking.weak[places[0]])
            weak = weak and is_weak_here
    return replace(hit, match=" + ".join(found_by), weak=weak)


def _note(asked: _Query, hits: list[Hit]) -> str:
    """Say how the answer came about, and what to try where it is poor."""
    sentences = [asked.note]
    if asked.vector is not None and asked.words:
        sentences.append(
            "in the order of meaning (the cosines shown) and words together"
        )
    missing = [word for word in asked.words if not word.exact]
    for word in missing[:NOTED_WORDS]:
        if word.terms:
            shown = ", ".join(word.terms[:3])
            sentences.append(f"no text has {word.word!r}, looked for {shown}")
        elif asked.vector is None:
            sentences.append(f"no text has {word.word!r} or a word like it")
    n_further = len(missing) - NOTED_WORDS
    if n_further > 0:
        sentences.append(f"nor do texts have {n_further:,} more of the words")
    if not hits:
        sentences.append("nothing was found: try other or fewer words, or a feature")
    elif all(hit.weak for hit in hits):
        sentences.append("all hits are weak: hardly nearer than any row")
    return "; ".join(sentences)


def _cosines(codes: Codes, vector: np.ndarray) -> np.ndarray:
    """Return the cosine of each row to a vector, 0 for zero rows, (n_rows,) float32."""
    (direction,) = unit(vector[None])
    cosines = np.empty(codes.n_rows, np.float32)
    for start, vectors in codes.scan():
        squares = np.einsum("ij,ij->i", vectors, vectors)
        norms = np.sqrt(squares)
        norms[norms == 0] = 1
        # a BLAS' threads would only wait here
        products = np.einsum("ij,j->i", vectors, direction)
        stop = start + len(vectors)
        cosines[start:stop] = products / norms
    return cosines


def _hits(
    codes: Codes,
    activations: np.ndarray,
    rows: np.ndarray,
    scores: np.ndarray,
    labels: Mapping[int, str],
) -> list[Hit]:
    """Read the rows that were found and say what they share with the query."""
    texts = codes.texts(rows) if codes.has_texts else [""] * len(rows)
    hits = []
    for row, score, text in zip(rows.tolist(), scores.tolist(), texts, strict=True):
        shared = _shared_features(codes, activations, row, labels)
        hits.append(Hit(row, score, text, shared))
    return hits


def _shared_features(
    codes: Codes, activations: np.ndarray, row: int, labels: Mapping[int, str]
) -> list[SharedFeature]:
    """Return the features that a row and the query are both active on, most shared first."""
    features, values = codes.row(row)
    of_query = activations[features].tolist()
    of_row = values.tolist()
    entries = zip(features.tolist(), of_query, of_row, strict=True)
    shared = [
        SharedFeature(feature, labels.get(feature, ""), in_query, in_row)
        for feature, in_query, in_row in entries
        if in_query > 0
    ]
    return sorted(shared, key=lambda pair: -pair.in_query * pair.in_row)


def _query_features(
    activations: np.ndarray, labels: Mapping[int, str]
) -> list[QueryFeature]:
    """Return the query's features, the strongest first."""
    features = np.flatnonzero(activations).tolist()
    of_query = [
        QueryFeature(feature, labels.get(feature, ""), float(activations[feature]))
        for feature in features
    ]
    return sorted(of_query, key=lambda feature: -feature.activation)
