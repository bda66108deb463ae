"""Words and phrases that are typical of a feature's texts.

A term is typical of a feature if it is likelier in the texts on which the feature is active,
weighted by activation, than in two kinds of others: all other texts, and hard inactive ones, which
are nearest to the feature. Each time by log-odds with an informative Dirichlet prior (Monroe,
Colaresi and Quinn 2008, eq. 15 to 22); a text counts a term once, and the prior is the term's share
of all texts. With y of n texts here and y' of n' there:

    δ = log (y + α)/(n + α₀ − y − α) − log (y' + α)/(n' + α₀ − y' − α)
    z = δ / √(sum of 1 / each of these four counts)

(the paper drops the two of texts without the term, which is right for rare terms only).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from nanosae.analysis.ranking import largest_places
from nanosae.codes import Codes
from nanosae.text.words import Words, is_stop_word

PRIOR = 20.0  # texts that the prior weighs
MIN_COUNT = 2  # active texts that a term of a label stands in, if there are two
N_TERMS = 200  # terms that may make a label
MIN_ROWS = 5  # rows from which on a term's informativeness is measured
UNMEASURED = 1.0  # informativeness of rarer terms
MOST_INFORMATIVE = 1.5
MIN_RATIO = (
    2  # similarity of texts with a term, relative to any texts, below which it is 0
)
LEAST_OF_MOST = 0.25  # of the largest logarithm of that ratio, for common terms
N_STRONGEST = 20  # texts that tell what form a feature is for
N_FORMS = 5  # terms of form that may name
EVERYWHERE = 0.1  # share of all texts with a word, from which on it is grammar
TERM_BLOCK = 2048  # terms that are measured together


@dataclass(frozen=True)
class FeatureWords:
    """The terms that are typical of one feature.

    Attributes:
        rows: Active rows, strongest first, (n,).
        activations: Their activations, (n,).
        n_texts: Their number, each weighted by activation: its effective sample size.
        terms: Terms likelier here than elsewhere, by falling z, (t,) places in `Words.terms`.
        z: Their mean z against all other texts and against hard inactive ones, (t,).
        counts: Texts that have each, weighted by activation, (t,).
        forms: Stop words and spellings that half of the strongest texts have, those that find the
            feature's texts best first, (f,) places in `Words.terms`.
        keywords: Single words of the feature's query, those that add most first, (w,).
        keyword_weights: Their log-odds δ, all positive, (w,).
    """

    rows: np.ndarray
    activations: np.ndarray
    n_texts: float
    terms: np.ndarray
    z: np.ndarray
    counts: np.ndarray
    forms: np.ndarray
    keywords: np.ndarray
    keyword_weights: np.ndarray


def log_odds(
    count: Any, n: float, other_count: Any, n_other: float, share: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Return Monroe's δ and z of each term: how much and how surely it is likelier here than there.

    Args:
        count: Texts here that have the term (weighted), (T,).
        n: Texts here.
        other_count: Texts there that have it, (T,).
        n_other: Texts there.
        share: The term's share of all texts, between 0 and 1 exclusive, (T,).

    Example:
        >>> log_odds(np.array([5.0, 1]), 5, np.array([0.0, 1]), 5, np.array([0.5, 0.2]))[1].round(2)
        array([1.4, 0. ])
    """
    prior = PRIOR * share
    has = count + prior
    lacks = n + PRIOR - has
    other_has = other_count + prior
    other_lacks = n_other + PRIOR - other_has
    odds_ratio = has * other_lacks / (lacks * other_has)
    delta = np.log(odds_ratio)
    variance_here = 1 / has + 1 / lacks
    variance = variance_here + 1 / other_has + 1 / other_lacks
    z = delta / np.sqrt(variance)
    return delta, z


def feature_words(
    words: Words,
    rows: np.ndarray,
    activations: np.ndarray,
    hard_inactive: np.ndarray,
    n_keywords: int,
) -> FeatureWords:
    """Find the terms that are typical of a feature.

    Args:
        words: Terms of all texts.
        rows: The feature's active rows, (n,).
        activations: Its activations on them, (n,).
        hard_inactive: Inactive rows near to the feature.
        n_keywords: Words of the query, at most.
    """
    order = largest_places(activations, len(rows))
    row_weights = weights_of_rows(activations)[order]
    n_texts = row_weights.sum()
    count, weighted_count = _counts(words, rows[order], row_weights)
    count_of_all = words.n * words.share
    n_other = max(words.n - len(rows), 1)
    # shares are kept off 0 and 1, so that of a word in all texts more seem to be left
    other_count = np.clip(count_of_all - count, 0, n_other)

    min_count = min(MIN_COUNT, max(len(rows), 1))
    common = np.flatnonzero((count >= min_count) & ~words.spelling)
    share = words.share[common]
    here = weighted_count[common]
    elsewhere = other_count[common]
    _, z_all = log_odds(here, n_texts, elsewhere, n_other, share)
    hard_count = texts_with_terms(words, hard_inactive)[common]
    _, z_hard = log_odds(here, n_texts, hard_count, len(hard_inactive), share)
    z = (z_all + z_hard) / 2
    best = largest_places(z, N_TERMS)
    best = best[z[best] > 0]

    keywords, keyword_weights = _keywords(
        words, count, len(rows), other_count, n_other, n_keywords
    )
    return FeatureWords(
        rows=rows[order],
        activations=activations[order],
        n_texts=n_texts,
        terms=common[best],
        z=z[best],
        counts=here[best],
        forms=_forms(words, rows[order], weighted_count, n_texts),
        keywords=keywords,
        keyword_weights=keyword_weights,
    )


def _forms(
    words: Words, rows: np.ndarray, weighted_count: np.ndarray, n_texts: float
) -> np.ndarray:
    """Return the terms of form of a feature, see `FeatureWords`; `rows` are strongest first."""
    strongest = rows[:N_STRONGEST]
    count = texts_with_terms(words, strongest)
    in_half = np.flatnonzero(count >= max(len(strongest) / 2, 1))
    forms = [term for term in in_half.tolist() if _is_form(words, term)]
    f1 = 2 * weighted_count[forms] / (words.n * words.share[forms] + n_texts)
    lengths = [len(words.terms[term]) for term in forms]
    longest_of_best = np.lexsort((np.negative(lengths), -f1))  # "over-" before "ov-"
    return np.array(forms, dtype=np.int64)[longest_of_best[:N_FORMS]]


def _is_form(words: Words, term: int) -> bool:
    """Return whether a term is a spelling or a word that says nothing and is not everywhere."""
    is_stop = is_stop_word(words.terms[term])
    if not is_stop:
        return bool(words.spelling[term])
    is_word = words.spelling[term] or words.single[term]
    return bool(is_word and words.share[term] < EVERYWHERE)


def weights_of_rows(activations: np.ndarray) -> np.ndarray:
    """Weigh rows by activation, so that the weights add up to the effective sample size."""
    square_sum = max(activations @ activations, 1e-30)
    scale = activations.sum() / square_sum
    return activations * scale


def _counts(
    words: Words, rows: np.ndarray, row_weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Count the given rows that have each term, once each and by their weights, each (T,)."""
    presence = words.presence[rows]
    n_terms = len(words.terms)
    count = np.bincount(presence.indices, minlength=n_terms)
    weight_of_pair = np.repeat(row_weights, np.diff(presence.indptr))
    weighted_count = np.bincount(presence.indices, weight_of_pair, n_terms)
    return count, weighted_count


def _keywords(
    words: Words,
    count: np.ndarray,
    n: int,
    other_count: np.ndarray,
    n_other: int,
    n_keywords: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the single words that add most to a query for a feature's texts, and their log-odds.

    A word adds its log-odds times the difference of its shares of the texts here and elsewhere.
    """
    is_candidate = words.single & (count > 0)
    candidates = np.flatnonzero(is_candidate)
    here = count[candidates]
    elsewhere = other_count[candidates]
    share = words.share[candidates]
    delta, _ = log_odds(here, n, elsewhere, n_other, share)
    share_here = here / max(n, 1)
    share_elsewhere = elsewhere / n_other
    gain = delta * (share_here - share_elsewhere)
    best = largest_places(gain, n_keywords)
    best = best[delta[best] > 0]
    return candidates[best], delta[best]


def texts_with_terms(words: Words, rows: np.ndarray) -> np.ndarray:
    """Count the given rows that have each term, (T,)."""
    presence = words.presence[rows]
    n_terms = len(words.terms)
    return np.bincount(presence.indices, minlength=n_terms)


def informativeness(codes: Codes, words: Words, rows: np.ndarray) -> np.ndarray:
    """Return how much each term says about its texts, between 0 (nothing) and 1.5, (T,).

    This tells "tree" from "of" in any language: two texts with "of" share hardly more features than
    any two texts, two texts with "tree" do. With f the rows of a feature and c those of them that
    have the term, of all n rows and the m rows with the term, the similarity

        Σ c·(c − 1) ÷ f ÷ (m·(m − 1))   is compared with   Σ f·(f − 1) ÷ f ÷ (n·(n − 1))

    and the logarithm of their ratio counts. It is at most n ÷ m, so that it is 0 below a ratio of 2
    or of ⁴√(n ÷ m), whichever is less: normalised by its maximum (Bouma 2009) the logarithm is
    under ¼ for English stop words, and for a word such as "lamp" in a fifth of all texts it is not.
    For terms in fewer than 5 of the rows it is 1.
    """
    active = codes.take(rows).astype(bool).astype(np.float32)
    presence = words.presence[rows]
    n_rows = len(rows)
    n_active = np.maximum(active.sum(0), 1)
    similarity = _similarity_of_texts(active, n_active, presence)
    n_pairs_of_any = n_rows * max(n_rows - 1, 1)
    of_any_rows = (n_active - 1).sum() / n_pairs_of_any
    ratio = similarity / max(of_any_rows, 1e-12)
    informative = np.log(np.maximum(ratio, 1))
    most = np.log(n_rows / np.maximum(presence.sum(0), 1))
    least = np.minimum(np.log(MIN_RATIO), LEAST_OF_MOST * most)
    informative[informative < least] = 0
    informative = np.where(np.isnan(informative), UNMEASURED, informative)
    informative = np.minimum(informative, MOST_INFORMATIVE)
    for term in np.flatnonzero(words.single):
        if is_stop_word(words.terms[term]):
            informative[term] = 0
    return informative


def _similarity_of_texts(
    active: Any, n_active: np.ndarray, presence: Any
) -> np.ndarray:
    """Return how similar the rows with each term are in features, (T,); NaN for rare terms.

    Args:
        active: Which feature is active on which row, csr_array (n_rows, n_features).
        n_active: Active rows of each feature, at least 1, (n_features,).
        presence: Which row has which term, (n_rows, T).
    """
    feature_weight = 1 / n_active
    n_with = presence.sum(0)
    measured = np.flatnonzero(n_with >= MIN_ROWS)
    similarity = np.full(len(n_with), np.nan)
    starts = range(TERM_BLOCK, len(measured), TERM_BLOCK)
    for block in np.split(measured, starts):
        both: Any = sp.csc_array(active.T @ presence[:, block])
        pair_counts = both.data * (both.data - 1)
        pairs = sp.csc_array((pair_counts, both.indices, both.indptr), both.shape)
        n_of_block = n_with[block]
        n_pairs = n_of_block * (n_of_block - 1)
        similarity[block] = feature_weight @ pairs / n_pairs
    return similarity
