"""Search rows by meaning, words and features, and show the features that hits share.

A query is a text, a vector, a row, a feature or a weighted combination of features (`query`). Rows
are ranked by cosine similarity if the corpus has embeddings, and otherwise by the inner product of
activations Σ qⱼaⱼ. A text is searched by meaning, with the corpus' embedder, and by its words
(`text_index`); the two rankings are fused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from nanosae.analysis.ranking import fuse_rankings, largest_in_rows
from nanosae.analysis.reading import run_model
from nanosae.analysis.search.query import FeatureQuery, Query, edited, make_query
from nanosae.analysis.search.results import Hit, QueryFeature, Results, SharedFeature
from nanosae.analysis.search.text_index import find_texts
from nanosae.codes import Codes, Corpus, as_codes
from nanosae.errors import ConfigError, counted, require_whole
from nanosae.lengths import lengths, unit
from nanosae.runs.tables import known_labels

DEPTH = 100  # rows of each ranking that are fused, besides two for each hit
DEEPER = 4  # times as many rows are fused while copies leave too few hits
CHANCE_ROWS = 500  # sample whose pairwise cosines define similarity by chance
CHANCE = 0.99  # quantile of these cosines up to which a hit is weak
NOTED_WORDS = 5  # missing words that a note names one by one


@dataclass(frozen=True)
class _Ranking:
    """Rows in the order of one criterion.

    Attributes:
        rows: The rows, best first, (n,).
        weak: Which of them are hardly more similar than a random row, bool (n,).
    """

    rows: np.ndarray
    weak: np.ndarray


def search(
    codes: Corpus,
    query: str | np.ndarray | None = None,
    *,
    row: int | None = None,
    feature: FeatureQuery | None = None,
    edit: Mapping[int | str, float] | None = None,
    steps: int = 0,
    n: int = 10,
    embedder: Any = None,
) -> Results:
    """Search a corpus by exactly one of `query`, `row` and `feature`.

    Args:
        codes: The corpus, or its run folder, or an `Analysis` of it.
        query: A text, or a vector (input_size,) from the corpus' embedder.
        row: Number of a row; similar rows are found.
        feature: A feature by number or label, a list of several, or their weights, a mapping or a
            series of fractions; rows are ranked by activation.
        edit: New activations of some features of the query; 0 turns a feature off.
        steps: Descent steps that bring the edited query closer to the edited features (see
            `steering`).
        n: Number of hits; of rows with equal texts, the best is one.
        embedder: The embedder of the rows: a name, for which the run's query prompt is prepended to
            the text, an object with `encode` or a function; see `find_embedder`. By default the
            embedder of the run.

    Raises:
        ConfigError: If not exactly one query is given, it is blank, `n` is no whole number above 0
            or `steps` none of at least 0, or an edit needs a model and there is none.
        DataTypeError: If `edit` is not a mapping.
        DataError: If a row or feature does not exist, a vector has the wrong width or is not
            finite, or a text can neither be embedded nor looked up.
    """
    codes = as_codes(codes)
    given = [value for value in (query, row, feature) if value is not None]
    if len(given) != 1:
        raise ConfigError("give exactly one of query, row and feature.")
    require_whole(1, n=n)
    require_whole(0, steps=steps)
    n = int(n)
    model = run_model(codes)
    labels = known_labels(codes)
    made = make_query(codes, query, row, feature, embedder, model, labels)
    if edit is not None:
        made = edited(codes, made, edit, steps, model, labels)
    scores = _scores(codes, made)
    if made.row is not None:
        scores[made.row] = -np.inf
    hits, n_copies = _find(codes, made, scores, n, labels)
    return Results(
        hits=hits,
        features=_query_features(made.activations, labels),
        note=_note(made, hits, n_copies),
        vector=made.vector,
    )


def _scores(codes: Codes, query: Query) -> np.ndarray:
    """Return the cosine of each row to the query, or the product of activations, (n_rows,)."""
    if query.vector is not None and codes.has_vectors:
        return _cosines(codes, query.vector)
    active = np.flatnonzero(query.activations)
    in_query = query.activations[active]
    in_rows = codes.features(active)
    return np.asarray(in_rows @ in_query)


def _find(
    codes: Codes,
    query: Query,
    scores: np.ndarray,
    n: int,
    labels: Mapping[int, str],
) -> tuple[list[Hit], int]:
    """Return the best rows with different texts, and the number of copies left out among them."""
    depth = 2 * n + DEPTH
    while True:
        rankings = _rankings(codes, query, scores, depth)
        orders = [ranking.rows for ranking in rankings.values()]
        found = fuse_rankings(orders, depth)
        is_copy = _are_copies(codes, found)
        distinct = np.flatnonzero(~is_copy)
        are_all_found = len(found) < depth
        if len(distinct) >= n or are_all_found:
            break
        depth *= DEEPER
    rows = found[distinct[:n]]
    end = distinct[n - 1] if n <= len(distinct) else len(found)
    n_copies = int(is_copy[:end].sum())
    hits = _hits(codes, query.activations, rows, scores[rows], labels)
    return [_with_match(hit, rankings) for hit in hits], n_copies


def _are_copies(codes: Codes, rows: np.ndarray) -> np.ndarray:
    """Return which rows have the text of an earlier one, bool (n,); rows without a text do not."""
    if not codes.has_texts:
        return np.zeros(len(rows), dtype=bool)
    texts = codes.texts(rows)
    return pd.Series(texts).duplicated().to_numpy() & (texts != "")


def _rankings(
    codes: Codes, query: Query, scores: np.ndarray, depth: int
) -> dict[str, _Ranking]:
    """Rank rows by meaning or features, and by words if the query has any."""
    by_vector = query.vector is not None and codes.has_vectors
    if by_vector:
        rows, cosines = _largest(scores, depth)
        weak = cosines <= _chance_cosine(codes)
        rankings = {"meaning": _Ranking(rows, weak)}
    else:
        candidates = np.where(scores > 0, scores, -np.inf)
        rows, _ = _largest(candidates, depth)
        has_only_inexact_words = bool(query.words) and not query.has_exact_word
        all_weak = has_only_inexact_words and query.vector is None
        rankings = {"features": _Ranking(rows, np.full(len(rows), all_weak))}
    if query.words:
        rows, _ = find_texts(codes, query.words, depth)
        weak = np.full(len(rows), not query.has_exact_word)
        rankings["words"] = _Ranking(rows, weak)
    return rankings


def _largest(scores: np.ndarray, depth: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows with the largest scores, best first, and these scores."""
    (rows,), (largest,) = largest_in_rows(scores[None], depth)
    return rows, largest


def _chance_cosine(codes: Codes) -> float:
    """Return the cosine that one in a hundred random pairs of rows exceeds."""
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
    """Return the hit with the rankings that found it; it is weak if it is weak in all of them."""
    found_by = []
    weak = True
    for name, ranking in rankings.items():
        places = np.flatnonzero(ranking.rows == hit.row)
        if len(places):
            found_by.append(name)
            weak &= bool(ranking.weak[places[0]])
    return replace(hit, match=" + ".join(found_by), weak=weak)


def _note(query: Query, hits: list[Hit], n_copies: int) -> str:
    """Describe how the results were obtained, and what to try if they are poor."""
    notes = [query.note]
    if query.words and hits:
        first = "features" if query.vector is None else "meaning"
        notes.append(f"ordered by {first} (the scores shown) and words together")
    missing = [word for word in query.words if not word.exact]
    for word in missing[:NOTED_WORDS]:
        if word.terms:
            shown = ", ".join(word.terms[:3])
            notes.append(f"no text has {word.word!r}; searched for {shown} instead")
        elif query.vector is None:
            notes.append(f"no text has {word.word!r} or a similar word")
    n_further = len(missing) - NOTED_WORDS
    if n_further > 0:
        notes.append(f"{n_further:,} more words are in no text")
    if n_copies:
        notes.append(f"{counted(n_copies, 'row')} with the same texts left out")
    if not hits:
        notes.append("nothing was found: try other or fewer words, or a feature")
    elif all(hit.weak for hit in hits):
        notes.append("all hits are weak: hardly more similar than random rows")
    return "; ".join(notes)


def _cosines(codes: Codes, vector: np.ndarray) -> np.ndarray:
    """Return the cosine of each row to a vector, 0 for zero rows, (n_rows,) float32."""
    (direction,) = unit(vector[None])
    cosines = np.empty(codes.n_rows, np.float32)
    for start, vectors in codes.scan():
        norms = lengths(vectors)
        norms[norms == 0] = 1
        # the product is bound by memory: threads of a BLAS would not help
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
    """Return the rows found as hits, with their texts and the features they share."""
    texts = codes.texts(rows) if codes.has_texts else [""] * len(rows)
    hits = []
    for row, score, text in zip(rows.tolist(), scores.tolist(), texts, strict=True):
        shared = _shared_features(codes, activations, row, labels)
        hits.append(Hit(row, score, text, shared))
    return hits


def _shared_features(
    codes: Codes, activations: np.ndarray, row: int, labels: Mapping[int, str]
) -> list[SharedFeature]:
    """Return the features active in both a row and the query, the largest product first."""
    features, values = codes.row(row)
    in_query = activations[features].tolist()
    in_row = values.tolist()
    entries = zip(features.tolist(), in_query, in_row, strict=True)
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
    active = np.flatnonzero(activations)
    strongest_first = active[np.argsort(-activations[active], kind="stable")]
    return [
        QueryFeature(feature, labels.get(feature, ""), float(activations[feature]))
        for feature in strongest_first.tolist()
    ]
