"""Labels from the corpus' own words, each with a score on texts that it has not seen.

A word or phrase speaks for a feature if it is likelier in the texts on which the feature is active,
weighted by activation, than in two kinds of others: all other texts, and hard silent ones, nearest
to the feature and still without it. Each time by log-odds with an informative Dirichlet prior
(Monroe, Colaresi and Quinn 2008, eq. 15 to 22); a text counts a word once, and the prior is the
word's share of all texts. With y of n texts here and y' of n' there:

    δ = log (y + α)/(n + α₀ − y − α) − log (y' + α)/(n' + α₀ − y' − α)
    z = δ / √(sum of 1 / each of these four terms)

(the paper drops the two of texts without the word, right for rare words only).

A name is made of the words and phrases with the largest mean z × sense. Sense tells "tree" from
"of" in any language: texts with a word that carries sense are alike in their features (see
`_topical`); English stop words never stand alone in a name. A second pass tells features whose
names share a term apart: twice the z against the other features' texts is added.

The score asks whether the feature's words find it in the held-out half: all single words that are
likelier in its texts, up to 500 that add most, as a BM25 query in which each word weighs its δ
instead of its rarity (Robertson and Spärck Jones' relevance weights). Area under the ROC curve
(DeLong's variance in Wilson's interval), and F1 at the threshold that was best on the other half.
It says how telling the words are, not how well the name reads.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from itertools import chain, combinations, product
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from nanosae.analysis.inactive import hard_inactive
from nanosae.analysis.reading import feature_columns
from nanosae.analysis.splits import duplicate_groups, held_out
from nanosae.codes import Codes
from nanosae.text.words import UNSPACED, Words, is_stop_word

SCORES = ["label_auc", "label_auc_low", "label_auc_high", "label_f1", "label_n"]
PRIOR = 20.0  # texts that the prior weighs
SHOWN = 40  # words of a query that the table names


def label(
    codes: Codes,
    features: Any = None,
    *,
    n_keywords: int = 500,
    share: float = 0.5,
    groups: str | None = None,
    min_texts: int = 5,
    seed: int = 0,
) -> pd.DataFrame:
    """Name features by their words and score the words on held-out texts.

    Args:
        codes: A corpus with texts.
        features: Which features; by default all that are active on some row.
        n_keywords: Most words of a feature's query.
        share: Share of the rows to hold out.
        groups: A column whose equal values stay on one side of the split.
        min_texts: Active texts needed in either half; a feature with fewer is named from all its
            texts and not scored.
        seed: Seed of the split and of the samples of silent texts.

    Returns:
        A frame with `feature, label` (1 to 6 words; "" if no word speaks for the feature; before
        them, if rows are tokens, «the token» that has half of the feature's activation, if any),
        `keywords` (the 40 words that add most to the query, joined by ", "), the query's
        `label_auc, label_auc_low, label_auc_high` (95 %) and `label_f1`, `label_n` (the held-out
        active texts behind them) and `typical_text` (strong, and full of these words).

    Raises:
        ValueError: If there are no texts, or the rows cannot be split.
    """
    features = np.flatnonzero(codes.counts) if features is None else np.unique(features)
    texts, held = (
        codes.texts(marks=""),
        held_out(duplicate_groups(codes, groups=groups), share, seed),
    )
    words, seen = Words(texts, ~held), np.flatnonzero(~held)
    sense = _topical(codes, words, np.random.default_rng(seed).permutation(seen)[:20_000])
    close = hard_inactive(codes, features, seen, seed=seed)
    voices = []
    for (rows, acts), hard in zip(feature_columns(codes, features), close, strict=True):
        out = held[rows]
        learn = ~out | (min(out.sum(), (~out).sum()) < min_texts)
        voices.append(_Voice(words, rows[learn], acts[learn], hard, n_keywords))
    weight, records = sp.csc_array(words.weight), []
    shown = codes.texts if codes.has_tokens else texts.__getitem__
    names = _names(words, sense, voices)
    each = zip(features, feature_columns(codes, features), voices, names, strict=True)
    for feature, (rows, _), voice, name in each:
        score, strong = weight[:, voice.keywords] @ voice.power, voice.rows[:30]
        said = ", ".join(_surface(words.terms[term], texts[strong]) for term in name)
        telling = score[strong] / (score[strong] + score.mean() + 1e-9)
        best = strong[np.argsort(-voice.acts[:30] * telling, kind="stable")[:1]]
        keywords = ", ".join(words.terms[voice.keywords[:SHOWN]])
        figures = _scores(score, rows, held, min_texts)
        records.append((feature, said, keywords, *figures, "".join(shown(best))))
    columns = ["feature", "label", "keywords", *SCORES, "typical_text"]
    frame = pd.DataFrame(records, columns=columns)
    if codes.has_tokens:
        frame["label"] = _with_tokens(codes, features, frame["label"])
    return frame


def _with_tokens(codes: Codes, features: np.ndarray, labels: Iterable[str]) -> list[str]:
    """Put first the token that has half of a feature's activation, if there is one."""
    tokens = [text.split("\0")[1].lower() for text in codes.texts(marks="\0\0")]
    token, names = pd.factorize(np.array(tokens, dtype=object))
    named = []
    for name, (rows, acts) in zip(labels, feature_columns(codes, features), strict=True):
        mass = np.bincount(token[rows], acts, len(names))
        most = int(mass.argmax())
        named.append(f"«{names[most]}» {name}" if mass[most] > acts.sum() / 2 else name)
    return named


def log_odds(
    y: Any, n: float, others: Any, n_others: float, share: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Return Monroe's δ and z of each word: how much and how surely it is likelier here than there.

    Args:
        y: Texts here that have the word (weighted), (T,).
        n: Texts here.
        others: Texts there that have it, (T,).
        n_others: Texts there.
        share: The word's share of all texts, between 0 and 1 exclusive, (T,).

    Example:
        >>> log_odds(np.array([5.0, 1]), 5, np.array([0.0, 1]), 5, np.array([0.5, 0.2]))[1].round(2)
        array([1.4, 0. ])
    """
    a, b = y + PRIOR * share, others + PRIOR * share
    not_a, not_b = n + PRIOR - a, n_others + PRIOR - b
    delta = np.log(a * not_b / (not_a * b))
    return delta, delta / np.sqrt(1 / a + 1 / not_a + 1 / b + 1 / not_b)


def auc_interval(active: Any, silent: Any, zeros: int = 0) -> tuple[float, float, float]:
    """Return the area under the ROC curve and its 95 % interval, from scores that are not negative.

    The variance is DeLong's (1988), the interval Wilson's for as many texts as give that variance,
    which also holds where all texts are ranked right and the variance is 0.

    Args:
        active: Scores of active texts, (n,).
        silent: Scores of silent texts, (m,).
        zeros: Further silent texts, whose score is 0.

    Example:
        >>> [round(x, 2) for x in auc_interval(np.array([1.0, 3.0]), np.array([2.0]), 1)]
        [0.75, 0.16, 0.98]
    """
    n, m = len(active), len(silent) + zeros
    up, down, silent = np.sort(active), np.sort(silent), np.append(silent, 0)
    below = np.searchsorted(down, active) + np.searchsorted(down, active, "right")
    won = (below + zeros * (1 + np.sign(active))) / 2 / m  # shares of silent texts, ties half
    lost = (np.searchsorted(up, silent) + np.searchsorted(up, silent, "right")) / 2 / n
    auc, each = float(won.mean()), np.append(np.ones(m - zeros), zeros)
    spread = ((won - auc) ** 2).sum() / max(n - 1, 1) / n
    spread += each @ (1 - lost - auc) ** 2 / max(m - 1, 1) / m
    size = auc * (1 - auc) / spread if spread > 0 else min(n, m)
    z2 = 1.96**2 / size
    half = np.sqrt(z2 * (auc * (1 - auc) + z2 / 4))
    return auc, float((auc + z2 / 2 - half) / (1 + z2)), float((auc + z2 / 2 + half) / (1 + z2))


class _Voice:
    """What a feature's texts say: rows, strongest first; terms by z; keywords and their weights."""

    def __init__(self, words: Words, rows: Any, acts: Any, hard: Any, n_keywords: int) -> None:
        self.rows, self.acts = rows[np.argsort(-acts, kind="stable")], -np.sort(-acts)
        own, size, others = words.presence[self.rows], len(words.terms), words.n - len(rows)
        weight = self.acts * (acts.sum() / max(acts @ acts, 1e-30))
        count = np.bincount(own.indices, minlength=size)
        heard = np.bincount(own.indices, np.repeat(weight, np.diff(own.indptr)), size)
        some = np.flatnonzero(count >= (2 if len(rows) > 1 else 1))
        self.n, y, share = weight.sum(), heard[some], words.share[some]
        rest = np.maximum(words.n * words.share - count, 0)
        z = log_odds(y, self.n, rest[some], max(others, 1), share)[1]
        z = (z + log_odds(y, self.n, _with(words, hard)[some], len(hard), share)[1]) / 2
        best = np.argsort(-z, kind="stable")[:200]
        best = best[z[best] > 0]
        self.terms, self.z, self.y = some[best], z[best], y[best]
        said = np.flatnonzero(words.single & (count > 0))
        power = log_odds(count[said], len(rows), rest[said], max(others, 1), words.share[said])[0]
        gain = power * (count[said] / max(len(rows), 1) - rest[said] / max(others, 1))
        best = np.argsort(-gain, kind="stable")[:n_keywords]
        best = best[power[best] > 0]
        self.keywords, self.power = said[best], power[best]


def _with(words: Words, rows: np.ndarray) -> np.ndarray:
    """Count the rows that have each term."""
    return np.bincount(words.presence[rows].indices, minlength=len(words.terms))


def _topical(codes: Codes, words: Words, rows: np.ndarray) -> np.ndarray:
    """Return how much sense each term carries, between 0 (none) and 1.5, (T,).

    Two texts with "of" have hardly more features in common than any two texts, two texts with
    "tree" have. With f the rows of a feature and c those that also have the term, of n and m rows,

        likeness = Σ c·(c − 1) ÷ f ÷ (m·(m − 1))   over   Σ f·(f − 1) ÷ f ÷ (n·(n − 1))

    and its logarithm is what counts. Below a likeness of 2 it is 0, as for English stop words.
    Terms in fewer than 5 of these rows count 1.
    """
    on = codes.take(rows).astype(bool).astype(np.float32)
    has, f = words.presence[rows], np.maximum(on.sum(0), 1)
    m, n = has.sum(0), len(rows)
    often, likeness = np.flatnonzero(m >= 5), np.full(len(m), np.nan)
    for some in np.split(often, range(2048, len(often), 2048)):
        both: Any = sp.csc_array(on.T @ has[:, some])
        pairs = sp.csc_array((both.data * (both.data - 1), both.indices, both.indptr), both.shape)
        likeness[some] = (1 / f) @ pairs / (m[some] * (m[some] - 1))
    sense = np.log(np.maximum(likeness / ((f - 1).sum() / (n * max(n - 1, 1))), 1))
    sense[sense < np.log(2)] = 0
    sense = np.minimum(np.where(np.isnan(sense), 1, sense), 1.5)
    sense[[i for i in np.flatnonzero(words.single) if is_stop_word(words.terms[i])]] = 0
    return sense


def _names(words: Words, sense: np.ndarray, voices: list[_Voice]) -> list[list[int]]:
    """Choose the terms that name each feature; a second pass parts those that share a term."""
    first = [_name(words.terms, v.terms, v.z, sense[v.terms], set()) for v in voices]
    ids = np.concatenate([np.zeros(0, np.int64), *first])
    parts = np.ones(len(ids)), ids, np.r_[0, np.cumsum([len(name) for name in first])]
    has = sp.csr_array(parts, shape=(len(first), len(words.terms)))
    shared, taken, names = (has @ has.T).tocsr(), set(), [[] for _ in voices]
    for i in np.argsort([-len(voice.rows) for voice in voices], kind="stable").tolist():
        voice, others = voices[i], shared[[i]]
        alike = others.indices[np.argsort(-others.data, kind="stable")][:11]
        rank = voice.z
        if len(alike) > 1:  # the feature itself is among them
            theirs = np.unique(np.concatenate([voices[j].rows[:200] for j in alike]))
            theirs = theirs[~np.isin(theirs, voice.rows)]
            there, share = _with(words, theirs)[voice.terms], words.share[voice.terms]
            rank = rank + 2 * log_odds(voice.y, voice.n, there, len(theirs), share)[1]
        names[i] = _name(words.terms, voice.terms, rank, sense[voice.terms], taken)
    return names


def _name(terms: Any, ids: np.ndarray, z: np.ndarray, sense: np.ndarray, taken: set) -> list[int]:
    """Choose up to three strong terms of together up to six words that do not repeat each other."""
    z = np.where(z > z.max(initial=0) / 4, z * sense, 0)  # else the feature is one of form
    order = np.argsort(-z, kind="stable")
    ranked, z, fit = ids[order], z[order], []
    known = dict(zip(terms[ranked], z, strict=True))
    for i in np.flatnonzero(z[:60] > 0).tolist():
        term = terms[ranked[i]]
        ends = {term.split(" ")[0], term.split(" ")[-1]}
        if len(fit) == 8 or min(known.get(x, 0) for x in ends) < 0.3 * z[i]:
            continue
        twins = [j for j in fit if _repeats(terms[ranked[j]], term)]
        if not twins:
            fit.append(i)
        elif all(terms[ranked[j]] in term and z[i] > 0.7 * z[j] for j in twins):
            fit = [i if j == twins[0] else j for j in fit if j not in twins[1:]]
    strong = int((z[fit[:3]] > 0.4 * z[fit[:1]]).sum()) or 4  # 4: nothing fits
    for others in chain.from_iterable(combinations(fit[1:], k) for k in range(strong - 1, 3)):
        parts = [fit[0], *others]
        name = frozenset(terms[ranked[parts]])
        if name not in taken and sum(term.count(" ") + 1 for term in name) <= 6:
            taken.add(name)
            return ranked[parts].tolist()
    for phrase in ids.tolist():  # of words that mean nothing alone, such as "how do i"
        if " " in terms[phrase] and (name := frozenset([terms[phrase]])) not in taken:
            taken.add(name)
            return [phrase]
    return ranked[fit[:strong]].tolist()


def _repeats(a: str, b: str) -> bool:
    """Whether two terms share a word, give or take an ending."""
    for u, v in product(a.split(" "), b.split(" ")):
        stem = max(4, round(0.6 * max(len(u), len(v))))
        runs = (u[k : k + 2] in v for k in range(len(u) - 1) if re.match(f"[{UNSPACED}]", u))
        if u == v or (min(len(u), len(v)) >= stem and u[:stem] == v[:stem]) or any(runs):
            return True
    return False


def _surface(term: str, texts: Any) -> str:
    """Return a term as it is most often written in some texts."""
    plain = r"\W+".join(map(re.escape, term.split(" ")))
    edge = "" if re.match(f"[{UNSPACED}]", term) else r"\b"
    found = re.findall(f"{edge}{plain}{edge}", "\n".join(texts), re.IGNORECASE)
    return Counter(" ".join(x.split()) for x in found or [term]).most_common(1)[0][0]


def _scores(score: np.ndarray, rows: np.ndarray, held: np.ndarray, least: int) -> tuple:
    """Return AUC with its interval, F1 at the best threshold of the other half, and the count."""
    test = rows[held[rows]]
    n = len(test)
    if min(n, len(rows) - n) < least or n == held.sum():
        return *[np.nan] * 4, n
    found, active = np.flatnonzero(score), np.isin(np.arange(len(score)), rows)
    train = found[~held[found]]
    train = train[np.argsort(-score[train], kind="stable")]
    f1 = 2 * np.cumsum(active[train]) / (np.arange(len(train)) + 1 + len(rows) - n)
    f1[:-1][score[train][1:] == score[train][:-1]] = 0  # only at the end of a tie
    limit = score[train[np.argmax(f1)]] if len(train) else np.inf
    found = found[held[found]]
    silent, hits = score[found[~active[found]]], score[found] >= limit
    f1 = 2 * (hits & active[found]).sum() / (hits.sum() + n)
    return *auc_interval(score[test], silent, int(held.sum()) - n - len(silent)), float(f1), n
