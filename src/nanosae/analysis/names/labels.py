"""Labels from the words of the corpus, with scores on held-out texts.

Words and phrases are ranked by how much more likely they are in a feature's texts than in others
(`keywords`). The few that find these texts best, by words and by meaning, make the label
(`naming`), and the label is scored on held-out texts (`scoring`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from nanosae.analysis.blas import with_one_blas_thread
from nanosae.analysis.inactive import hard_inactive
from nanosae.analysis.names.keywords import FeatureWords, feature_words, informativeness
from nanosae.analysis.names.label_scorer import STRONGEST, LabelScorer
from nanosae.analysis.names.meaning import (
    Encode,
    Meaning,
    TermMeaning,
    corpus_meaning,
    encode_like_rows,
    is_about_texts,
    terms_by_corpus,
    terms_by_embedder,
)
from nanosae.analysis.names.name_search import Name
from nanosae.analysis.names.naming import candidate_terms, choose_names
from nanosae.analysis.names.scoring import SCORES, can_be_scored
from nanosae.analysis.names.word_forms import usual_spelling
from nanosae.analysis.ranking import largest_places
from nanosae.analysis.reading import chosen_features, feature_columns
from nanosae.analysis.splits import duplicate_groups, held_out, split_notes
from nanosae.codes import Codes, Corpus, as_codes, excerpt, sample_notes, sampled_rows
from nanosae.errors import require_whole
from nanosae.progress import tracked
from nanosae.text.words import Words

COLUMNS = ["feature", "label", "label_doubtful", "keywords", *SCORES]
COLUMNS += ["keywords_auc", "typical_text"]
MOST_ROWS = 500_000  # larger corpora are sampled
SAMPLE = 20_000  # rows on which the informativeness of terms is measured
SHOWN = 40  # keywords in the table
NOT_ABOUT_TEXTS = (
    "The embeddings do not predict the words of the texts: labels are chosen and scored by "
    "words alone."
)
TOP_ROWS = 10  # strongest rows of a feature, which are divided as all rows are


def label(
    codes: Corpus,
    features: Any = None,
    *,
    embedder: Any = None,
    n_keywords: int = 500,
    heldout_share: float = 1 / 3,
    groups: str | None = None,
    min_texts: int = 5,
    seed: int = 0,
) -> pd.DataFrame:
    """Label features by words and score each label on held-out texts.

    Corpora of more than 500,000 rows are sampled: a random sample of this size is used, plus up to
    200 active rows of each rarer feature, but no more than a million rows in total. The additional
    rows are used to choose labels, not to score them. Areas under ROC curves are measured on 20,000
    held-out rows and, if a feature is active on fewer than 200 of them, up to 200 of its own.

    Args:
        codes: A corpus with texts, or its run folder, or an `Analysis` of it.
        features: The features to label; by default all that are active on some row.
        embedder: The embedder of the rows: a name, an object with `encode` or a function; see
            `find_embedder`. With it, the meaning of a term or label is its embedding, with the
            run's prompt of the texts before it if a name is given; without it, it is estimated
            from the texts that have the term.
        n_keywords: Maximum number of words in a feature's query.
        heldout_share: Share of the rows to hold out, and of the ten strongest rows of each feature.
        groups: A metadata column whose equal values stay on one side of the split.
        min_texts: Minimum number of active texts on either side of the split; a feature with fewer
            is labelled from all its texts and not scored.
        seed: Seed of the split and of the samples of inactive texts.

    Returns:
        A frame with `feature`; `label` (up to three terms, "" if no term is typical of the feature;
        if rows are tokens, preceded by the «token» with more than half of the feature's activation,
        if there is one); `label_doubtful` (see `is_doubtful`); `keywords` (the 40 most useful words
        of a query for the feature's texts, joined by ", "); scores of the label on held-out texts:
        `label_auc, label_auc_low, label_auc_high` (95 % interval; by its meaning if the corpus has
        embeddings), `label_f1, label_precision, label_recall` (by its words), `label_n` (active
        held-out texts, each copy counted), and `keywords_auc` (of the query); and `typical_text` (a
        strong text with many of the keywords). `attrs["notes"]` tells if the split differs from the
        one requested, and if the corpus was sampled.

    Raises:
        ConfigError: If `n_keywords` or `min_texts` is not positive.
        DataError: If there are no texts, the rows cannot be split, or the embeddings of the
            embedder are not like those of the rows.
    """
    codes = as_codes(codes)
    require_whole(1, n_keywords=n_keywords, min_texts=min_texts)
    require_whole(0, seed=seed)
    encode = None if embedder is None else encode_like_rows(codes, embedder)
    features = chosen_features(codes, features)
    sampled, is_random = sampled_rows(codes, MOST_ROWS, seed)
    notes = sample_notes("Labels are", sampled, codes)
    codes = excerpt(codes, sampled)
    texts = codes.texts(marks="")
    duplicate_group = duplicate_groups(codes, groups=groups)
    strongest = _strongest_rows(codes, features)
    indicators = _indicators(strongest, codes.n_rows)
    held = held_out(duplicate_group, heldout_share, seed, indicators)
    notes += split_notes(held, heldout_share)
    train_rows = np.flatnonzero(~held)
    words = Words(texts, ~held, with_spellings=True)
    sample = np.random.default_rng(seed).permutation(train_rows)[:SAMPLE]
    informative = informativeness(codes, words, sample)

    hard = hard_inactive(codes, features, train_rows, seed=seed)
    found = _words_of_features(
        codes, features, words, held, hard, min_texts, n_keywords
    )
    terms = candidate_terms(found)
    meaning, term_meaning = _meanings(codes, words, terms, train_rows, seed, encode)
    if codes.has_vectors and meaning is None:
        notes.append(NOT_ABOUT_TEXTS)
    names = choose_names(
        words, informative, found, train_rows, duplicate_group, meaning, term_meaning
    )
    labels = _spelled_labels(words, found, names, texts)
    if encode is not None and meaning is not None:
        names = _with_meaning_of_labels(names, labels, meaning, encode)

    held &= is_random  # rows sampled because they are active would bias the scores
    scorer = LabelScorer(codes, words, held, duplicate_group, meaning, seed)
    records = _scored(scorer, features, found, names, strongest, texts, min_texts)
    frame = pd.DataFrame(records, columns=COLUMNS)
    frame["label"] = (
        _with_tokens(codes, features, labels) if codes.has_tokens else labels
    )
    is_labelled = frame["label"] != ""
    frame["label_doubtful"] = frame["label_doubtful"].astype(bool) & is_labelled
    frame.attrs["notes"] = notes
    return frame


def _words_of_features(
    codes: Codes,
    features: np.ndarray,
    words: Words,
    held: np.ndarray,
    hard: list[np.ndarray],
    min_texts: int,
    n_keywords: int,
) -> list[FeatureWords]:
    """Find the terms that are typical of each feature in its training texts."""
    found = []
    of_features = zip(feature_columns(codes, features), hard, strict=True)
    of_features = tracked(of_features, "find words", len(features))
    for (rows, activations), hard_rows in of_features:
        used = _labelling_rows(held[rows], min_texts)
        found.append(
            feature_words(words, rows[used], activations[used], hard_rows, n_keywords)
        )
    return found


def _strongest_rows(codes: Codes, features: np.ndarray) -> list[np.ndarray]:
    """Return the rows on which each feature is strongest."""
    strongest = []
    for rows, activations in feature_columns(codes, features):
        strongest.append(rows[largest_places(activations, TOP_ROWS)])
    return strongest


def _indicators(row_lists: list[np.ndarray], n_rows: int) -> sp.csc_array:
    """Return which rows are in each list, 0/1 (n_rows, n_lists)."""
    rows = np.concatenate([*row_lists, np.zeros(0, np.intp)])
    ends = np.cumsum([0, *map(len, row_lists)])
    entries = (np.ones(len(rows)), rows, ends)
    return sp.csc_array(entries, shape=(n_rows, len(row_lists)))


@with_one_blas_thread
def _scored(
    scorer: LabelScorer,
    features: np.ndarray,
    found: list[FeatureWords],
    names: list[Name],
    strongest: list[np.ndarray],
    texts: np.ndarray,
    min_texts: int,
) -> list[dict[str, Any]]:
    """Return the row of the table for each feature, except the label."""
    codes, held = scorer.codes, scorer.held
    terms = scorer.words.terms
    records = []
    columns = feature_columns(codes, features)
    lines = zip(features, columns, found, names, strongest, strict=True)
    lines = tracked(lines, "score labels", len(features))
    for feature, (rows, _), own, name, strongest_own in lines:
        query = scorer.query(own)
        row = scorer.typical_row(own, query)
        typical_text = codes.texts(row) if codes.has_tokens else texts[row]
        record = {
            "feature": feature,
            "keywords": ", ".join(terms[own.keywords[:SHOWN]]),
            "label_doubtful": True,  # unless it is scored
            "label_n": int(held[rows].sum()),
            "typical_text": "".join(typical_text),
        }
        if can_be_scored(rows, own.rows, held, min_texts):
            record |= scorer.scores(name, rows, strongest_own)
            record["keywords_auc"] = scorer.query_auc(query, rows)
        records.append(record)
    return records


def _meanings(
    codes: Codes,
    words: Words,
    terms: np.ndarray,
    rows: np.ndarray,
    seed: int,
    encode: Encode | None,
) -> tuple[Meaning, TermMeaning] | tuple[None, None]:
    """Return the meanings of rows and terms; None if embeddings do not depend on the texts."""
    if not codes.has_vectors:
        return None, None
    meaning = corpus_meaning(codes, rows, seed)
    if encode is not None and len(terms):
        return meaning, terms_by_embedder(encode, words, terms)
    if not is_about_texts(meaning, words, terms):
        return None, None
    return meaning, terms_by_corpus(meaning, words, terms)


def _spelled_labels(
    words: Words, found: list[FeatureWords], names: list[Name], texts: np.ndarray
) -> list[str]:
    """Return each name in the spelling of the strongest texts of its feature."""
    labels = []
    for own, name in zip(found, names, strict=True):
        strongest = texts[own.rows[:STRONGEST]]
        spelled = [usual_spelling(words.terms[term], strongest) for term in name.terms]
        labels.append(", ".join(spelled))
    return labels


def _with_meaning_of_labels(
    names: list[Name], labels: list[str], meaning: Meaning, encode: Encode
) -> list[Name]:
    """Set the direction of each name to the embedding of its whole label, if it has one."""
    written = [label for label in labels if label]
    directions = iter(meaning.directions_of(encode(written)) if written else [])
    with_meaning = []
    for name, label in zip(names, labels, strict=True):
        own = next(directions) if label else None
        with_meaning.append(replace(name, direction=own))
    return with_meaning


def _labelling_rows(is_held: np.ndarray, min_texts: int) -> np.ndarray:
    """Return which active rows are used to label a feature: training rows, or all if too few."""
    n_held = is_held.sum()
    n_train = len(is_held) - n_held
    if min(n_held, n_train) < min_texts:
        return np.ones(len(is_held), dtype=bool)
    return ~is_held


def _with_tokens(
    codes: Codes, features: np.ndarray, labels: Iterable[str]
) -> list[str]:
    """Prepend the token with more than half of a feature's activation, if there is one."""
    tokens = [text.split("\0")[1].lower() for text in codes.texts(marks="\0\0")]
    token_of_row, distinct = pd.factorize(np.array(tokens, dtype=object))
    columns = feature_columns(codes, features)
    with_tokens = []
    for text, (rows, activations) in zip(labels, columns, strict=True):
        by_token = np.bincount(token_of_row[rows], activations, len(distinct))
        strongest = int(by_token.argmax())
        if by_token[strongest] > activations.sum() / 2:
            text = f"«{distinct[strongest]}» {text}"
        with_tokens.append(text)
    return with_tokens
