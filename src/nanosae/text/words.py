"""Count the words and phrases of texts in any script, and weight them for search."""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import scipy.sparse as sp

from nanosae.scripts import UNSPACED
from nanosae.text.stop_words import is_stop_word, stop_words_of
from nanosae.text.tokens import (
    CLAUSE_END,
    EMOJI,
    composed,
    is_unspaced,
    word_expression,
)
from nanosae.text.unspaced import unspaced_tokens

LONGEST_PHRASE = 6  # characters, in scripts without spaces
LONGEST_SPACED_PHRASE = 3
MANY_TEXTS = 2000  # texts, from which a term must occur in three of them, not two
LONGEST_BEGINNING = 6  # letters of the longest beginning of a word that is a term
MOST_OF_BEGINNING = 0.5  # maximum share of the texts with it that one word has
WHOLE = 0.5  # minimum share of a phrase's occurrences with word boundaries at its ends
USUAL = 0.8  # share of a phrase's occurrences with the same neighbouring word
MIN_SHARE = 2e-5  # minimum share of texts with a term, if that is more than three

PUNCTUATION = ""  # between clauses, as `_token_pattern` captures it
# what `_token_pattern` is on ASCII texts in lower case, where this takes a third of the time
ASCII_TOKEN = re.compile(
    r"([a-z0-9_]+(?:'[a-z0-9_]+)*)|[.,:](?=\s|$)|[;!?()\[\]{}\"\n]"
)
# links, e-mail addresses and colours of terminals: their words carry no meaning
NOT_PROSE = re.compile(
    r"(?:https?://|www\.)\S+|[\w.+-]+@[\w-]+(?:\.[\w-]+)+|\x1b\[[\d;]*[a-z]"
)


class Words:
    """Count words and phrases of up to three words.

    A word is a run of letters, marks and digits. In scripts without spaces, a term has up to six
    characters (in Thai, words) and begins and ends at word boundaries in at least half of its
    occurrences (see `unspaced`). Phrases do not cross punctuation, links, e-mail addresses or the
    colours of terminals, whose own words are ignored. A term is kept if it has two letters or an
    emoji and occurs in at least three texts (two, if there are fewer than 2,000), or in one of
    50,000 if that is more.

    Args:
        texts: The texts, (n,).
        seen: Texts from which the share of each term is estimated, bool (n,).
        with_spellings: Whether beginnings of words, numbers and single letters are terms, too.

    Attributes:
        terms: Words and phrases in lower case, (T,) object.
        spelling: Whether each term is such a beginning ("ov-"), number or letter, bool (T,).
        single: Whether each term is a single word, or without spaces, bool (T,).
        before: The word before a phrase in at least four of five occurrences, or "" if there is
            none or the term is one word, (T,) object. A phrase with such a neighbour is likely a
            part of a longer one, as "number" is of "a number of" (Harris 1955, successor variety).
        after: The word after a phrase, likewise.
        presence: Whether each text has each term, 0/1 csr_array (n, T) float32.
        n: Number of seen texts.
        share: Share of the seen texts that have each term, smoothed away from 0 and 1, (T,).
        weight: Relevance of each term to each text: BM25's saturated frequency (Robertson and
            Zaragoza 2009, k1 = 1.2, b = 0.75), divided by √(0.3 + the text's relative length)
            because a sum over hundreds of words favours long texts; csr_array (n, T) float32.
        stop_words: Stop words of the texts' languages.

    Example:
        >>> words = Words(np.array(["big red car", "A big red bus.", "red, big"]), np.ones(3, bool))
        >>> words.terms.tolist(), words.presence.sum(0).tolist()
        (['big', 'red', 'big red'], [3.0, 3.0, 2.0])
    """

    def __init__(
        self, texts: np.ndarray, seen: np.ndarray, with_spellings: bool = False
    ) -> None:
        tokens = _tokenise(texts)
        counted = _count_phrases(tokens)
        n_phrases = len(counted.terms)
        if with_spellings:
            counted = _with_spellings(counted, tokens)
        counts = counted.counts
        self.terms = np.array(counted.terms, dtype=object)
        self.spelling = np.arange(len(self.terms)) >= n_phrases
        without_space = np.array([" " not in term for term in self.terms], dtype=bool)
        self.single = without_space & ~self.spelling
        self.before = np.array(counted.before, dtype=object)
        self.after = np.array(counted.after, dtype=object)
        self.presence = counts.copy()
        self.presence.data[:] = 1
        self.n = int(seen.sum())
        n_seen_with_term = self.presence[np.flatnonzero(seen)].sum(0)
        self.share = (n_seen_with_term + 0.5) / (self.n + 1)
        self.weight = _search_weights(counts, tokens.n_words)
        self.stop_words = stop_words_of(texts)

    def have_terms(self, rows: np.ndarray, terms: Sequence[int]) -> np.ndarray:
        """Return which of some texts have which of some terms, bool (rows, terms)."""
        place_of_term = np.full(len(self.terms), len(terms))
        place_of_term[terms] = np.arange(len(terms))
        presence = self.presence[rows]
        row = np.repeat(np.arange(len(rows)), np.diff(presence.indptr))
        # all other terms share a last column
        have = np.zeros((len(rows), len(terms) + 1), dtype=bool)
        have[row, place_of_term[presence.indices]] = True
        return have[:, :-1]

    def is_stop_word(self, word: str) -> bool:
        """Return whether a word is a stop word in a language of the texts."""
        return is_stop_word(word, self.stop_words)


@dataclass(frozen=True)
class _Tokens:
    """The words of all texts in sequence, followed by padding of `LONGEST_PHRASE` words.

    Attributes:
        words: Number of each word in the vocabulary.
        begins: Whether each begins a word, which only characters of unspaced scripts may not, bool.
        clauses: Number of each word's clause, −1 for the padding.
        n_words: Number of words in each text.
        vocabulary: The words.
    """

    words: np.ndarray
    begins: np.ndarray
    clauses: np.ndarray
    n_words: np.ndarray
    vocabulary: list[str]


class _Numbers(dict[str, int]):
    """Number of each word, in the order in which words are looked up first."""

    def __missing__(self, word: str) -> int:
        number = self[word] = len(self)
        return number


def _tokenise(texts: np.ndarray) -> _Tokens:
    number_of = _Numbers({PUNCTUATION: 0})
    numbers = array("q")
    begins = bytearray()
    n_tokens = []
    for text in texts:
        prose = NOT_PROSE.sub("\n", text.lower())
        if prose.isascii():
            tokens = ASCII_TOKEN.findall(prose)
            are_beginnings = [True] * len(tokens)
        else:
            runs = _token_pattern().findall(composed(prose))
            tokens, are_beginnings = _with_unspaced_divided(runs, text)
        numbers.extend(map(number_of.__getitem__, tokens))
        begins.extend(are_beginnings)
        n_tokens.append(len(tokens))
    number = np.array(numbers, dtype=np.int64)
    is_word = number > 0
    text_of_token = np.repeat(np.arange(len(texts)), n_tokens)
    clause = text_of_token + np.cumsum(~is_word)
    padding = np.full(LONGEST_PHRASE, True)
    return _Tokens(
        words=np.append(number[is_word] - 1, 0 * padding),
        begins=np.append(np.array(begins, dtype=bool)[is_word], padding),
        clauses=np.append(clause[is_word], -1 * padding),
        n_words=np.bincount(text_of_token[is_word], minlength=len(texts)),
        vocabulary=list(number_of)[1:],
    )


def _with_unspaced_divided(runs: list[str], text: str) -> tuple[list[str], list[bool]]:
    """Divide runs of unspaced scripts; return all tokens and whether each begins a word."""
    tokens = []
    for run in runs:
        if not run.isascii() and is_unspaced(run):
            tokens += unspaced_tokens(run, text)
        else:
            tokens.append((run, True))
    return [word for word, _ in tokens], [is_beginning for _, is_beginning in tokens]


@cache
def _token_pattern() -> re.Pattern[str]:
    """Return a pattern that captures words, and matches punctuation between clauses."""
    words = word_expression(r"['’](?=\w)")
    return re.compile(f"({words})|{CLAUSE_END}")


@dataclass(frozen=True)
class _Phrases:
    """The phrases of one length and their occurrences.

    Attributes:
        starts: Position of the first word of each occurrence.
        numbers: Number of the phrase of each occurrence.
        names: The phrases.
    """

    starts: np.ndarray
    numbers: np.ndarray
    names: list[str]


@dataclass(frozen=True)
class _Counted:
    """The kept terms.

    Attributes:
        terms: The terms, (T,).
        before: The word that usually precedes each term, or "".
        after: The word that usually follows each term, or "".
        counts: Occurrences of each term in each text, (n, T) float32.
    """

    terms: list[str]
    before: list[str]
    after: list[str]
    counts: sp.csr_array


def _count_phrases(tokens: _Tokens) -> _Counted:
    minimum = _least_texts(len(tokens.n_words))
    phrases = _single_words(tokens)
    terms: list[str] = []
    before: list[str] = []
    after: list[str] = []
    columns = []
    for length in range(1, LONGEST_PHRASE + 1):
        counts = _counts_in_texts(phrases, tokens)
        is_common = np.bincount(counts.indices, minlength=len(phrases.names)) >= minimum
        is_term = is_common & _are_whole(phrases, tokens, length)
        kept = [
            i
            for i in np.flatnonzero(is_term)
            if _has_letters_or_emoji(phrases.names[i])
        ]
        columns.append(counts[:, kept])
        terms += [phrases.names[i] for i in kept]
        if length == 1:
            before += [""] * len(kept)
            after += [""] * len(kept)
        else:
            before += _usual_neighbours(phrases, tokens, -1)[kept].tolist()
            after += _usual_neighbours(phrases, tokens, length)[kept].tolist()
        if length >= LONGEST_SPACED_PHRASE:
            is_common &= np.array(
                [" " not in name for name in phrases.names], dtype=bool
            )
        phrases = _extend(phrases, length, is_common, tokens, minimum)
    counts = sp.csr_array(sp.hstack(columns, format="csr"))
    return _Counted(terms, before, after, counts)


def _single_words(tokens: _Tokens) -> _Phrases:
    n_words = tokens.n_words.sum()
    return _Phrases(np.arange(n_words), tokens.words[:n_words], tokens.vocabulary)


def _counts_in_texts(phrases: _Phrases, tokens: _Tokens) -> sp.csr_array:
    """Count how often each text has each phrase, (n, phrases)."""
    n_texts = len(tokens.n_words)
    text_of_word = np.repeat(np.arange(n_texts), tokens.n_words)
    occurrences = np.ones(len(phrases.starts), np.float32)
    places = text_of_word[phrases.starts], phrases.numbers
    return sp.csr_array((occurrences, places), shape=(n_texts, len(phrases.names)))


def _least_texts(n_texts: int) -> int:
    """Return in how many texts a term must be."""
    if n_texts < MANY_TEXTS:
        return 2
    return max(3, round(MIN_SHARE * n_texts))


def _with_spellings(counted: _Counted, tokens: _Tokens) -> _Counted:
    """Add the spellings that stand in enough texts behind the phrases."""
    words, spellings, names = _spellings_of_words(tokens.vocabulary)
    pairs = (np.ones(len(words), np.float32), (words, spellings))
    has_spelling = sp.csr_array(pairs, shape=(len(tokens.vocabulary), len(names)))
    word_counts = sp.csc_array(_counts_in_texts(_single_words(tokens), tokens))
    counts = sp.csc_array(word_counts @ has_spelling)
    n_texts_of_word = np.diff(word_counts.indptr)
    n_texts_of_commonest = np.zeros(len(names))
    np.maximum.at(n_texts_of_commonest, spellings, n_texts_of_word[words])

    n_texts_of_each = np.diff(counts.indptr)
    is_beginning = np.array([name.endswith("-") for name in names], bool)
    is_of_many = n_texts_of_commonest <= MOST_OF_BEGINNING * n_texts_of_each
    is_common = n_texts_of_each >= _least_texts(len(tokens.n_words))
    kept = np.flatnonzero(is_common & (is_of_many | ~is_beginning))
    nothing = [""] * len(kept)
    return _Counted(
        counted.terms + [names[i] for i in kept],
        counted.before + nothing,
        counted.after + nothing,
        sp.csr_array(sp.hstack([counted.counts, counts[:, kept]], format="csr")),
    )


def _spellings_of_words(
    vocabulary: list[str],
) -> tuple[list[int], list[int], list[str]]:
    """Return pairs of a word and one of its spellings, as numbers, and the spellings."""
    number_of: dict[str, int] = {}
    words: list[int] = []
    spellings: list[int] = []
    for word, text in enumerate(vocabulary):
        for spelling in _spellings(text):
            words.append(word)
            spellings.append(number_of.setdefault(spelling, len(number_of)))
    return words, spellings, list(number_of)


def _spellings(word: str) -> list[str]:
    """Return what a reader may see in a word without knowing it.

    Example:
        >>> _spellings("20"), _spellings("over")
        (['20'], ['ov-', 'ove-', 'over-'])
    """
    if is_unspaced(word):
        return []
    if len(word) == 1 or word.isdigit():
        return [word]
    longest = min(len(word), LONGEST_BEGINNING)
    return [f"{word[:length]}-" for length in range(2, longest + 1)]


def _are_whole(phrases: _Phrases, tokens: _Tokens, length: int) -> np.ndarray:
    """Return which phrases of a length consist of whole words, bool (phrases,)."""
    ends = phrases.starts + length
    is_whole = tokens.begins[phrases.starts] & tokens.begins[ends]
    n_whole = np.bincount(phrases.numbers, is_whole, len(phrases.names))
    n_places = np.bincount(phrases.numbers, minlength=len(phrases.names))
    return n_whole >= WHOLE * n_places


def _usual_neighbours(phrases: _Phrases, tokens: _Tokens, offset: int) -> np.ndarray:
    """Return the word beside each phrase in at least four of five occurrences, or "".

    Args:
        phrases: Phrases of one length.
        tokens: The words of all texts.
        offset: Offset of the neighbour from a phrase's first word: -1, or the phrases' length.

    Returns:
        Words, (phrases,) object.
    """
    n_phrases = len(phrases.names)
    n_words = max(len(tokens.vocabulary), 1)
    # position -1, before the first text, is the padding after the last
    places = phrases.starts + offset
    is_in_clause = tokens.clauses[places] == tokens.clauses[phrases.starts]
    pair_numbers = phrases.numbers * n_words + tokens.words[places]
    pairs, times = np.unique(pair_numbers[is_in_clause], return_counts=True)
    phrase_of_pair, word_of_pair = np.divmod(pairs, n_words)
    n_places = np.bincount(phrases.numbers, minlength=n_phrases)
    is_usual = times >= USUAL * n_places[phrase_of_pair]
    vocabulary = np.array(tokens.vocabulary, dtype=object)
    neighbours = np.full(n_phrases, "", dtype=object)
    neighbours[phrase_of_pair[is_usual]] = vocabulary[word_of_pair[is_usual]]
    return neighbours


def _has_letters_or_emoji(phrase: str) -> bool:
    n_letters = sum(map(str.isalpha, phrase))
    return n_letters > 1 or re.search(f"[{EMOJI}]", phrase) is not None


def _extend(
    phrases: _Phrases, length: int, is_common: np.ndarray, tokens: _Tokens, minimum: int
) -> _Phrases:
    """Return the phrases that are one word longer, frequent and within a clause."""
    clause = tokens.clauses[phrases.starts]
    next_clause = tokens.clauses[phrases.starts + length]
    is_extended = is_common[phrases.numbers] & (next_clause == clause)
    starts = phrases.starts[is_extended]
    n_words = max(len(tokens.vocabulary), 1)
    next_words = tokens.words[starts + length]
    pair_numbers = phrases.numbers[is_extended] * n_words + next_words
    pairs, pair_of, times = np.unique(
        pair_numbers, return_inverse=True, return_counts=True
    )
    is_repeated = times >= minimum
    is_kept = is_repeated[pair_of]
    number_of_pair = np.cumsum(is_repeated) - 1
    firsts, seconds = np.divmod(pairs[is_repeated], n_words)
    names = []
    for first, second in zip(firsts, seconds, strict=True):
        names.append(_join(phrases.names[first], tokens.vocabulary[second]))
    return _Phrases(starts[is_kept], number_of_pair[pair_of[is_kept]], names)


def _join(phrase: str, word: str) -> str:
    border = phrase[-1] + word[0]
    both_unspaced = re.fullmatch(f"[{UNSPACED}]+", border)
    return phrase + word if both_unspaced else f"{phrase} {word}"


def _search_weights(counts: sp.csr_array, n_words: np.ndarray) -> sp.csr_array:
    """Return BM25's saturated frequencies, reduced for long texts; see `Words.weight`."""
    weights = counts.copy()
    frequency = counts.data
    relative_length = n_words / max(n_words.mean(), 1)
    length = np.repeat(relative_length, np.diff(counts.indptr))
    # with k1 = 1.2 and b = 0.75: k1 + 1 = 2.2, k1·(1 − b) = 0.3, k1·b = 0.9
    saturated = frequency * 2.2 / (frequency + 0.3 + 0.9 * length)
    weights.data = np.float32(saturated / np.sqrt(0.3 + length))
    return weights
