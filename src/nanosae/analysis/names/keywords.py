"""Words and phrases that are typical of a feature's texts.

A term is typical of a feature if it is more likely in the feature's active texts, weighted by
activation, than in all other texts and than in hard inactive texts, which are nearest to the
feature. Both comparisons use log-odds with an informative Dirichlet prior (Monroe, Colaresi and
Quinn 2008, eq. 15 to 22). A text counts a term once, and the prior is proportional to the term's
share of all texts. With the term in y of n active texts and in y' of n' others:

    δ = log (y + α)/(n + α₀ − y − α) − log (y' + α)/(n' + α₀ − y' − α)
    z = δ / √(sum of the reciprocals of these four counts)

(The paper drops the two counts of texts without the term, which is valid only for rare terms.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from nanosae.analysis.ranking import largest_places
from nanosae.codes import Codes
from nanosae.text.words import Words

PRIOR = 20.0  # α₀, the weight of the prior in texts
MIN_COUNT = 2  # minimum number of active texts with a term, if there are as many
N_TERMS = 200  # candidates for labels
MIN_ROWS = 5  # with a term, for its informativeness to be measured
UNMEASURED = 1.0  # informativeness of rarer terms
SPECIFIC_RATIO = 2  # of similarities, at which the informativeness is 1
SPECIFIC_SHARE = 0.25  # of the maximum of its logarithm, which is less for common terms
N_STRONGEST = 20  # texts from which terms of form are taken
N_FORMS = 5  # terms of form of a feature
EVERYWHERE = 0.1  # share of all texts from which on a stop word is mere grammar
TERM_BLOCK = 2048  # terms that are measured together


@dataclass(frozen=True)
class FeatureWords:
    """The terms that are typical of one feature.

    Attributes:
        rows: Active rows, strongest first, (n,).
        activations: Their activations, (n,).
        n_texts: Effective number of active texts, weighted by activation.
        terms: Typical terms by decreasing z, as positions in `Words.terms`, (t,).
        z: Mean of their z against all other texts and against hard inactive ones, (t,).
        counts: Number of active texts with each term, weighted by activation, (t,).
        forms: Stop words and spellings in half of the strongest texts, or in a third if there are
            none, by decreasing F1 for the feature's texts, as positions in `Words.terms`, (f,).
        keywords: Single words of the feature's query, the most useful first, (w,).
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
    """Return the log-odds ratio δ of each term and its z-score (Monroe et al.).

    Args:
        count: Number of texts in the group that have each term, possibly weighted, (T,).
        n: Number of texts in the group.
        other_count: Number of other texts that have each term, (T,).
        n_other: Number of other texts.
        share: Share of all texts that have each term, strictly between 0 and 1, (T,).

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
        hard_inactive: Inactive rows near the feature.
        n_keywords: Maximum number of keywords.
    """
    order = largest_places(activations, len(rows))
    row_weights = weights_of_rows(activations)[order]
    n_texts = row_weights.sum()
    count, weighted_count = _counts(words, rows[order], row_weights)
    n_other = max(words.n - len(rows), 1)

    min_count = min(MIN_COUNT, max(len(rows), 1))
    common = np.flatnonzero((count >= min_count) & ~words.spelling)
    share = words.share[common]
    here = weighted_count[common]
    elsewhere = _count_elsewhere(words, common, count, n_other)
    _, z_all = log_odds(here, n_texts, elsewhere, n_other, share)
    hard_count = texts_with_terms(words, hard_inactive)[common]
    _, z_hard = log_odds(here, n_texts, hard_count, len(hard_inactive), share)
    z = (z_all + z_hard) / 2
    best = largest_places(z, N_TERMS)
    best = best[z[best] > 0]

    keywords, keyword_weights = _keywords(words, count, len(rows), n_other, n_keywords)
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


def _count_elsewhere(
    words: Words, terms: np.ndarray, count: np.ndarray, n_other: int
) -> np.ndarray:
    """Return the number of other texts with each of some terms; `count` is of a feature's texts."""
    count_of_all = words.n * words.share[terms]
    # shares are clipped away from 0 and 1, so for a word in all texts too many would remain
    return np.clip(count_of_all - count[terms], 0, n_other)


def _forms(
    words: Words, rows: np.ndarray, weighted_count: np.ndarray, n_texts: float
) -> np.ndarray:
    """Return the terms of form of a feature; `rows` are its rows, strongest first."""
    strongest = rows[:N_STRONGEST]
    count = texts_with_terms(words, strongest)
    n = len(strongest)
    forms = _forms_in(words, count, n / 2) or _forms_in(words, count, n / 3)
    f1 = 2 * weighted_count[forms] / (words.n * words.share[forms] + n_texts)
    lengths = [len(words.terms[term]) for term in forms]
    longest_of_best = np.lexsort((np.negative(lengths), -f1))  # "over-" before "ov-"
    return np.array(forms, dtype=np.int64)[longest_of_best[:N_FORMS]]


def _forms_in(words: Words, count: np.ndarray, least: float) -> list[int]:
    """Return the terms of form that are in at least so many of the counted texts."""
    frequent = np.flatnonzero(count >= max(least, 1))
    return [term for term in frequent.tolist() if _is_form(words, term)]


def _is_form(words: Words, term: int) -> bool:
    """Return whether a term is a spelling, or a stop word that is not in many texts."""
    is_stop = words.is_stop_word(words.terms[term])
    if not is_stop:
        return bool(words.spelling[term])
    is_word = words.spelling[term] or words.single[term]
    return bool(is_word and words.share[term] < EVERYWHERE)


def weights_of_rows(activations: np.ndarray) -> np.ndarray:
    """Return weights proportional to activations that sum to the effective sample size."""
    square_sum = max(activations @ activations, 1e-30)
    scale = activations.sum() / square_sum
    return activations * scale


def _counts(
    words: Words, rows: np.ndarray, row_weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the number and the total weight of the given rows with each term, each (T,)."""
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
    n_other: int,
    n_keywords: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the most useful words of a query for a feature's texts, and their log-odds.

    The usefulness of a word is its log-odds times the difference of its shares of the active and
    the other texts.
    """
    is_candidate = words.single & (count > 0)
    candidates = np.flatnonzero(is_candidate)
    here = count[candidates]
    elsewhere = _count_elsewhere(words, candidates, count, n_other)
    share = words.share[candidates]
    delta, _ = log_odds(here, n, elsewhere, n_other, share)
    share_here = here / max(n, 1)
    share_elsewhere = elsewhere / n_other
    gain = delta * (share_here - share_elsewhere)
    best = largest_places(gain, n_keywords)
    best = best[delta[best] > 0]
    return candidates[best], delta[best]


def texts_with_terms(words: Words, rows: np.ndarray) -> np.ndarray:
    """Return the number of the given rows with each term, (T,)."""
    presence = words.presence[rows]
    n_terms = len(words.terms)
    return np.bincount(presence.indices, minlength=n_terms)


def informativeness(codes: Codes, words: Words, rows: np.ndarray) -> np.ndarray:
    """Return how informative each term is about its texts, (T,): 0 if not at all, 1 if specific.

    This distinguishes "tree" from "of" in any language: two texts with "tree" share more features
    than two random texts, two texts with "of" hardly do. If a feature is active on f of n rows, and
    on c of the m rows with a term, the informativeness is the logarithm of the ratio of

        Σ c·(c − 1) ÷ f ÷ (m·(m − 1))   to   Σ f·(f − 1) ÷ f ÷ (n·(n − 1)),

    summed over features, divided by the logarithm of 2 or of ⁴√(n ÷ m), whichever is less. The
    ratio is at most n ÷ m: relative to its maximum (Bouma 2009) its logarithm is below ¼ for
    English stop words, but not for a word such as "lamp" in a fifth of all texts. Stop words get 0,
    and terms in fewer than 5 of the rows get 1.
    """
    active = codes.take(rows).astype(bool).astype(np.float32)
    presence = words.presence[rows]
    n_rows = len(rows)
    n_active = np.maximum(active.sum(0), 1)
    similarity = _similarity_of_texts(active, n_active, presence)
    n_pairs_of_any = n_rows * max(n_rows - 1, 1)
    of_any_rows = (n_active - 1).sum() / n_pairs_of_any
    ratio = similarity / max(of_any_rows, 1e-12)
    most = np.log(n_rows / np.maximum(presence.sum(0), 1))
    of_specific = np.minimum(np.log(SPECIFIC_RATIO), SPECIFIC_SHARE * most)
    informative = np.log(np.maximum(ratio, 1)) / np.maximum(of_specific, 1e-12)
    informative = np.where(np.isnan(informative), UNMEASURED, informative)
    for term in np.flatnonzero(words.single):
        if words.is_stop_word(words.terms[term]):
            informative[term] = 0
    return informative


def _similarity_of_texts(
    active: Any, n_active: np.ndarray, presence: Any
) -> np.ndarray:
    """Return the mean similarity in features of the rows with each term, (T,); NaN for rare terms.

    Args:
        active: Indicators of active features, csr_array (n_rows, n_features).
        n_active: Number of active rows of each feature, at least 1, (n_features,).
        presence: Indicators of terms in rows, (n_rows, T).
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
