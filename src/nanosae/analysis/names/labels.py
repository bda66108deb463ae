"""Labels from the corpus' own words, each with a score on texts that it has not seen.

Words and phrases are ranked by how much likelier they are in a feature's texts than in others
(`keywords`), the few that find these texts best by their words and by their meaning make the label
(`naming`), and the label itself is scored on held-out texts of the feature (`scoring`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from nanosae.analysis.inactive import hard_inactive
from nanosae.analysis.names.keywords import FeatureWords, feature_words, informativeness
from nanosae.analysis.names.meaning import (
    Encode,
    Meaning,
    TermMeaning,
    corpus_meaning,
    is_about_texts,
    terms_by_corpus,
    terms_by_encoder,
)
from nanosae.analysis.names.naming import (
    Name,
    candidate_terms,
    choose_names,
)
from nanosae.analysis.names.scoring import (
    SCORES,
    area,
    can_be_scored,
    is_doubtful,
    word_scores,
)
from nanosae.analysis.names.word_forms import usual_spelling
from nanosae.analysis.reading import chosen_features, feature_columns
from nanosae.analysis.splits import duplicate_groups, held_out, split_notes
from nanosae.codes import Codes, Corpus, as_codes, excerpt, sample_notes, sampled_rows
from nanosae.errors import ConfigError
from nanosae.progress import tracked
from nanosae.text.encoders import find_encoder
from nanosae.text.words import Words

COLUMNS = ["feature", "label", "label_doubtful", "keywords", *SCORES]
COLUMNS += ["keywords_auc", "typical_text"]
MOST_ROWS = 500_000  # texts that are read; a sample of larger corpora
SAMPLE = 20_000  # rows on which a term's informativeness is measured
SCORED = 20_000  # held-out rows along which a label's direction is measured
SHOWN = 40  # keywords that the table lists
NOT_ABOUT_TEXTS = (
    "The embeddings say nothing about the words of the texts: labels are chosen and scored by "
    "words alone."
)
STRONGEST = 30  # rows that give the usual spelling and the typical text


def label(
    codes: Corpus,
    features: Any = None,
    *,
    encoder: str | Encode | None = None,
    n_keywords: int = 500,
    share: float = 0.5,
    groups: str | None = None,
    min_texts: int = 5,
    seed: int = 0,
) -> pd.DataFrame:
    """Label features by words and score each label on held-out texts.

    Of a corpus of more than 500,000 rows so many are drawn at random, and up to 200 active ones of
    each rarer feature, but no more than a million rows in all; these choose labels and are not
    scored on.

    Args:
        codes: A corpus with texts, or its run folder, or an `Analysis` of it.
        features: Which features; by default all that are active on some row.
        encoder: The encoder of the embeddings, or its name. With it, terms and labels mean what it
            says of them; without it, what the texts that have their words have in common.
        n_keywords: Words of a feature's query, at most.
        share: Share of the rows to hold out.
        groups: A metadata column whose equal values stay on one side of the split.
        min_texts: Active texts needed on either side of the split; a feature with fewer is labelled
            from all its texts and not scored.
        seed: Seed of the split and of the samples of inactive texts.

    Returns:
        A frame with `feature, label` (up to three terms; "" if no term is typical of the feature;
        before them, if rows are tokens, «the token» that has half of the feature's activation, if
        any), `label_doubtful` (whether it may well not fit, see `is_doubtful`), `keywords` (the 40
        words that add most to a query for its texts, joined by ", "), the label's own scores on
        held-out texts: `label_auc, label_auc_low, label_auc_high` (95 %; by its meaning where the
        corpus has embeddings), `label_f1, label_precision, label_recall` (by its words) and
        `label_n` (active texts behind them), `keywords_auc` (of the query) and `typical_text`
        (strong, and with many of these words). `attrs["notes"]` says where the split is not what
        was asked for, and where labels are of a sample.

    Raises:
        ConfigError: If `n_keywords` or `min_texts` is not positive.
        DataError: If there are no texts, or the rows cannot be split.
    """
    codes = as_codes(codes)
    for name, value in (("n_keywords", n_keywords), ("min_texts", min_texts)):
        if value < 1:
            raise ConfigError(f"{name}={value} must be at least 1.")
    encode = find_encoder(encoder).encode if isinstance(encoder, str) else encoder
    features = chosen_features(codes, features)
    sampled, is_random = sampled_rows(codes, MOST_ROWS, seed)
    notes = sample_notes("Labels are", sampled, codes)
    codes = excerpt(codes, sampled)
    texts = codes.texts(marks="")
    held = held_out(duplicate_groups(codes, groups=groups), share, seed)
    notes += split_notes(held, share)
    train_rows = np.flatnonzero(~held)
    words = Words(texts, ~held, with_spellings=True)
    sample = np.random.default_rng(seed).permutation(train_rows)[:SAMPLE]
    informative = informativeness(codes, words, sample)

    hard = hard_inactive(codes, features, train_rows, seed=seed)
    found = []
    of_features = zip(feature_columns(codes, features), hard, strict=True)
    of_features = tracked(of_features, "find words", len(features))
    for (rows, activations), hard_rows in of_features:
        used = _labelling_rows(held[rows], min_texts)
        found.append(
            feature_words(words, rows[used], activations[used], hard_rows, n_keywords)
        )
    terms = candidate_terms(found)
    meaning, term_meaning = _meanings(codes, words, terms, train_rows, seed, encode)
    if codes.has_vectors and meaning is None:
        notes.append(NOT_ABOUT_TEXTS)
    names = choose_names(words, informative, found, train_rows, meaning, term_meaning)
    labels = _spelled_labels(words, found, names, texts)
    if encode is not None and meaning is not None:
        names = _with_meaning_of_labels(names, labels, meaning, encode)

    held &= is_random  # rows that were drawn for being active would flatter the scores
    scorer = _Scorer(codes, words, held, meaning, seed)
    records = _scored(scorer, features, found, names, texts, min_texts)
    frame = pd.DataFrame(records, columns=COLUMNS)
    frame["label"] = (
        _with_tokens(codes, features, labels) if codes.has_tokens else labels
    )
    frame["label_doubtful"] = _are_doubtful(frame)
    frame.attrs["notes"] = notes
    return frame


def _scored(
    scorer: _Scorer,
    features: np.ndarray,
    found: list[FeatureWords],
    names: list[Name],
    texts: np.ndarray,
    min_texts: int,
) -> list[dict[str, Any]]:
    """Return all that the table says of each feature but the label itself."""
    codes, held = scorer.codes, scorer.held
    terms = scorer.words.terms
    records = []
    columns = feature_columns(codes, features)
    lines = zip(features, columns, found, names, strict=True)
    for feature, (rows, _), own, name in tracked(lines, "score labels", len(features)):
        query = scorer.query(own)
        row = scorer.typical_row(own, query)
        typical_text = codes.texts(row) if codes.has_tokens else texts[row]
        record = {
            "feature": feature,
            "keywords": ", ".join(terms[own.keywords[:SHOWN]]),
            "label_n": int(held[rows].sum()),
            "typical_text": "".join(typical_text),
        }
        if can_be_scored(rows, held, min_texts):
            record |= scorer.scores(name, rows)
            record["keywords_auc"] = scorer.query_auc(query, rows)
        records.append(record)
    return records


def _are_doubtful(table: pd.DataFrame) -> np.ndarray:
    """Say which labels of a table may well not fit."""
    lower_ends = table["label_auc_low"].astype(float)
    recalls = table["label_recall"].astype(float)
    doubts = [is_doubtful(*scores) for scores in zip(lower_ends, recalls, strict=True)]
    return np.array(doubts, dtype=bool) & (table["label"] != "")


def _meanings(
    codes: Codes,
    words: Words,
    terms: np.ndarray,
    rows: np.ndarray,
    seed: int,
    encode: Encode | None,
) -> tuple[Meaning, TermMeaning] | tuple[None, None]:
    """Return what embeddings and terms mean; nothing if embeddings do not depend on the texts."""
    if not codes.has_vectors:
        return None, None
    meaning = corpus_meaning(codes, rows, seed)
    if encode is not None and len(terms):
        return meaning, terms_by_encoder(encode, words, terms)
    if not is_about_texts(meaning, words, terms):
        return None, None
    return meaning, terms_by_corpus(meaning, words, terms)


def _spelled_labels(
    words: Words, found: list[FeatureWords], names: list[Name], texts: np.ndarray
) -> list[str]:
    """Return each name as the strongest texts of its feature spell it."""
    labels = []
    for own, name in zip(found, names, strict=True):
        strongest = texts[own.rows[:STRONGEST]]
        spelled = [usual_spelling(words.terms[term], strongest) for term in name.terms]
        labels.append(", ".join(spelled))
    return labels


def _with_meaning_of_labels(
    names: list[Name], labels: list[str], meaning: Meaning, encode: Encode
) -> list[Name]:
    """Give each name that has terms the direction of its whole label as the encoder reads it."""
    directions = meaning.direct(encode(labels))
    with_meaning = []
    for name, direction in zip(names, directions, strict=True):
        own = direction if name.terms else None
        with_meaning.append(replace(name, direction=own))
    return with_meaning


class _Scorer:
    """Scores labels on held-out rows.

    Args:
        codes: The corpus.
        words: Terms of all texts.
        held: Whether a row is held out, bool (n_rows,).
        meaning: The space of the embeddings, if there are any.
        seed: Of the sample of held-out rows.
    """

    def __init__(
        self,
        codes: Codes,
        words: Words,
        held: np.ndarray,
        meaning: Meaning | None,
        seed: int,
    ) -> None:
        self.codes = codes
        self.words = words
        self.held = held
        self.by_term = sp.csc_array(words.presence)
        self.weights = words.weight
        self.mean_weights = words.weight.mean(axis=0)
        held_rows = np.flatnonzero(held)
        sample = np.random.default_rng(seed).permutation(held_rows)[:SCORED]
        self.sample = np.sort(sample)
        self.place_in_sample = np.full(len(held), -1)
        self.place_in_sample[self.sample] = np.arange(len(self.sample))
        self.weights_of_sample = sp.csc_array(words.weight[self.sample])
        self.directions: np.ndarray | None = None
        if meaning is not None:
            self.directions = meaning.direct(codes.vectors(self.sample))

    def scores(self, name: Name, rows: np.ndarray) -> dict[str, float]:
        """Return the scores of a label, by its words and by its meaning."""
        has_word = np.zeros(len(self.held), dtype=bool)
        has_word[self.by_term[:, name.matching].indices] = True
        if self.directions is not None and name.direction is not None:
            along = self.directions @ name.direction
        else:
            along = self.weights_of_sample[:, name.matching].sum(axis=1)
        auc, low, high = area(along, self._active_in_sample(rows))
        areas = {"label_auc": auc, "label_auc_low": low, "label_auc_high": high}
        return areas | word_scores(has_word, rows, self.held)

    def _active_in_sample(self, rows: np.ndarray) -> np.ndarray:
        """Mark a feature's active rows among the sampled ones, bool (len(sample),)."""
        is_active = np.zeros(len(self.sample), dtype=bool)
        places = self.place_in_sample[rows]
        is_active[places[places >= 0]] = True
        return is_active

    def query(self, own: FeatureWords) -> np.ndarray:
        """Return what each term weighs in a query of a feature's keywords, (T,)."""
        query = np.zeros(len(self.mean_weights))
        query[own.keywords] = own.keyword_weights
        return query

    def query_auc(self, query: np.ndarray, rows: np.ndarray) -> float:
        """Return the area under the ROC curve of a query on held-out rows."""
        answers = self.weights_of_sample @ query
        return area(answers, self._active_in_sample(rows))[0]

    def typical_row(self, own: FeatureWords, query: np.ndarray) -> np.ndarray:
        """Return the row, of the strongest ones, that is strong and full of keywords, if any."""
        strongest = own.rows[:STRONGEST]
        answers = self.weights[strongest] @ query
        mean_answer = self.mean_weights @ query
        relative_answers = answers / (answers + mean_answer + 1e-9)
        typicality = own.activations[:STRONGEST] * relative_answers
        return strongest[np.argsort(-typicality, kind="stable")[:1]]


def _labelling_rows(is_held: np.ndarray, min_texts: int) -> np.ndarray:
    """Say which active rows may choose a feature's words: all, if too few to split."""
    n_held = is_held.sum()
    n_train = len(is_held) - n_held
    if min(n_held, n_train) < min_texts:
        return np.ones(len(is_held), dtype=bool)
    return ~is_held


def _with_tokens(
    codes: Codes, features: np.ndarray, labels: Iterable[str]
) -> list[str]:
    """Put first the token that has half of a feature's activation, if there is one."""
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
