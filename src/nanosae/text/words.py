"""Words and phrases of texts in any script, counted once and weighted for search."""

from __future__ import annotations

import re
import unicodedata
from functools import cache

import numpy as np
import scipy.sparse as sp

# Thai, Lao, Burmese, Khmer, Kana, Han put no spaces between words: each character is taken as one
UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"


class Words:
    """Count words and phrases of one to three words.

    A word is a run of letters, marks and digits of any script; where a script has no spaces, one
    character, and phrases have up to six. Phrases do not cross punctuation. Kept is what stands in
    three texts (in two, if there are fewer than 2,000) and has two letters.

    Args:
        texts: The texts, (n,).
        seen: Rows that say how common a word is, bool (n,).

    Attributes:
        terms: Words and phrases in lower case, (T,) object.
        single: Which of them are single words, or without spaces, bool (T,).
        presence: Which text has which, 0/1 csr_array (n, T) float32.
        n: How many texts are seen.
        share: Share of the seen texts that have each, kept off 0 and 1, (T,).
        weight: How much a text speaks of each: BM25's saturated frequency (Robertson and Zaragoza
            2009, k1 = 1.2, b = 0.75), divided by √(0.3 + the text's relative length), since a sum
            over hundreds of words favours long texts; csr_array (n, T) float32.

    Example:
        >>> words = Words(np.array(["big red car", "A big red bus.", "red, big"]), np.ones(3, bool))
        >>> words.terms.tolist(), words.presence.sum(0).tolist()
        (['big', 'red', 'big red'], [3.0, 3.0, 2.0])
    """

    def __init__(self, texts: np.ndarray, seen: np.ndarray) -> None:
        ids, clause, sizes, names = _tokens(texts)
        doc, least = np.repeat(np.arange(len(texts)), sizes), 3 if len(texts) >= 2000 else 2
        at, gram, phrases, parts = np.arange(len(doc)), ids[: len(doc)], names, []
        kept: list[str] = []
        for length in range(1, 7):
            shape = (len(texts), len(phrases))
            counts = sp.csr_array((np.ones(len(at), np.float32), (doc[at], gram)), shape=shape)
            often = np.bincount(counts.indices, minlength=len(phrases)) >= least
            good = [i for i in np.flatnonzero(often) if sum(map(str.isalpha, phrases[i])) > 1]
            parts.append(counts[:, good])
            kept += [phrases[i] for i in good]
            if length > 2:  # longer ones only without spaces
                often &= np.array([" " not in phrase for phrase in phrases], dtype=bool)
            more = often[gram] & (clause[at + length] == clause[at])
            at, gram = at[more], gram[more] * len(names) + ids[at[more] + length]
            pairs, gram, times = np.unique(gram, return_inverse=True, return_counts=True)
            at, gram = at[times[gram] >= least], gram[times[gram] >= least]
            gram = (np.cumsum(times >= least) - 1)[gram]
            pairs = np.divmod(pairs[times >= least], max(len(names), 1))
            phrases = [_joined(phrases[i], names[j]) for i, j in zip(*pairs, strict=True)]
        self.terms = np.array(kept, dtype=object)
        self.single = np.array([" " not in term for term in kept], dtype=bool)
        self.weight = sp.csr_array(sp.hstack(parts, format="csr"))
        self.presence = self.weight.copy()
        self.presence.data[:] = 1
        self.n, has = int(seen.sum()), self.presence[np.flatnonzero(seen)].sum(0)
        self.share, tf = (has + 0.5) / (self.n + 1), self.weight.data
        long = np.repeat(sizes / max(sizes.mean(), 1), np.diff(self.weight.indptr))
        self.weight.data = np.float32(tf * 2.2 / (tf + 0.3 + 0.9 * long) / np.sqrt(0.3 + long))


def is_stop_word(word: str) -> bool:
    """Whether a word is one of those that say nothing in any English text.

    Example:
        >>> [word for word in ("the", "don't", "having", "bill", "tree") if not is_stop_word(word)]
        ['bill', 'tree']
    """
    stem = re.split("['’]", word)[0]
    return stem in _stop_words() or (stem != word and stem.removesuffix("n") in _stop_words())


@cache
def _stop_words() -> frozenset[str]:
    """scikit-learn's list without the words that are somebody's topic, and with what it lacks."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    topics = "amount bill bottom call cry describe detail empty fill fire full interest mill mine"
    topics += " move name part serious show side sincere system thick thin top"
    more = "ca certain did didn does doing don especially got having just let like really said"
    more += " than used uses using usually various want wants won"
    return (ENGLISH_STOP_WORDS - set(topics.split())) | set(more.split())


@cache
def _pattern() -> re.Pattern[str]:
    marks = "".join(c for c in map(chr, range(0x300, 0x10000)) if unicodedata.category(c)[0] == "M")
    word = rf"[{UNSPACED}][{marks}]*|[^\W{UNSPACED}](?:[^\W{UNSPACED}]|[{marks}]|['’](?=\w))*"
    return re.compile(rf"({word})|[.,:](?=\s|$)|[;!?()\[\]{{}}\"“”«»…。，、；：！？\n]")


def _tokens(texts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """Return each word's number and clause (and 6 more at the end), words per text, the words."""
    known: dict[str, int] = {}
    ids, clauses, sizes, clause = [], [], [], 0
    for text in texts:
        before, clause = len(ids), clause + 1
        for word in _pattern().findall(text.lower()):
            if word:
                ids.append(known.setdefault(word, len(known)))
                clauses.append(clause)
            else:
                clause += 1
        sizes.append(len(ids) - before)
    return np.array([*ids, *[0] * 6]), np.array([*clauses, *[-1] * 6]), np.array(sizes), list(known)


def _joined(a: str, b: str) -> str:
    return a + b if re.match(f"[{UNSPACED}]{{2}}", a[-1] + b[0]) else f"{a} {b}"
