"""Forms of words: inflections, terms that repeat each other, and usual spellings."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise, product

import numpy as np

from nanosae.text.tokens import CLAUSE_END, is_unspaced, stem
from nanosae.text.unspaced import KATAKANA, THAI, meaningful_parts

# two letters of a script without spaces, which many words share, unlike two Han characters
TWO_LETTERS = re.compile(f"[{KATAKANA}{THAI}]{{2}}")
MOST = 0.5  # share of a letter's places from which on it is spelled as in them
STEM = 4  # minimum number of initial letters that equal words share


def inflections(terms: list[str]) -> list[list[int]]:
    """Return the positions of the other inflections of each term that is a single word."""
    by_stem: dict[str, list[int]] = defaultdict(list)
    stems = [stem(term) if " " not in term else "" for term in terms]
    for place, its_stem in enumerate(stems):
        by_stem[its_stem].append(place)
    other_forms = []
    for place, its_stem in enumerate(stems):
        forms = by_stem[its_stem] if its_stem else []
        other_forms.append([other for other in forms if other != place])
    return other_forms


def holds(phrase: str, term: str) -> bool:
    """Return whether a phrase contains a term, as whole words in scripts with spaces."""
    if f" {term} " in f" {phrase} ":
        return True
    return is_unspaced(term) and term in phrase


def repeats(term: str, other: str) -> bool:
    """Return whether two terms share a word, up to its ending."""
    words = term.split(" ")
    other_words = other.split(" ")
    pairs = product(words, other_words)
    return any(same_word(word, other_word) for word, other_word in pairs)


def same_word(word: str, other: str) -> bool:
    """Return whether two words share a long stem or, without spaces, a word or two characters.

    Without spaces, the two characters are adjacent and not letters of Katakana or Thai.
    """
    if word[0] != other[0] and word.isascii():
        return False
    if word == other or f"{word}s" == other or word == f"{other}s":
        return True
    if _is_inflection(word, other) or _is_inflection(other, word):
        return True
    shorter, longer = sorted((len(word), len(other)))
    n_letters = max(STEM, round(0.6 * longer))
    has_same_stem = word[:n_letters] == other[:n_letters]
    if shorter >= n_letters and has_same_stem:
        return True
    if not (is_unspaced(word) and is_unspaced(other)):
        return False
    is_inside = word in other or other in word
    shared_parts = meaningful_parts(word) & meaningful_parts(other)
    if (shorter > 1 and is_inside) or any(len(part) > 1 for part in shared_parts):
        return True
    neighbours = [first + second for first, second in pairwise(word)]
    return any(two in other and not TWO_LETTERS.fullmatch(two) for two in neighbours)


def _is_inflection(form: str, word: str) -> bool:
    """Return whether a form is an inflection of a short word ("taxes", "car's")."""
    without_ending = re.split("['’]", form)[0]
    return word in (without_ending, stem(without_ending))


def usual_spelling(term: str, texts: Sequence[str] | np.ndarray) -> str:
    """Return the most frequent spelling of a term in some texts.

    Punctuation between clauses is left out. A letter or digit that most often stands in one longer
    form ("W-2", "C++") is spelled so.

    Example:
        >>> usual_spelling("node js", ["Node.js is", "and Node.js", "node js"])
        'Node.js'
        >>> usual_spelling("mcp server", ["Model Context Protocol (MCP) server"])
        'MCP server'
        >>> usual_spelling("w", ["my W-2 form", "a W-2", "w"])
        'W-2'
        >>> usual_spelling("over-", ["Overact", "to overeat"])
        'over-'
    """
    if term.endswith("-"):  # the beginning of words
        return term
    if len(term) == 1 and term.isascii():
        inside = rf"(?:\w+[-/&.])*\b{term}\b(?:[-/&.]\w+|[+#]+)*"
        spelling, share = _most_frequent(inside, texts)
        if share > MOST:
            return spelling
    words = [re.escape(word) for word in term.split(" ")]
    pattern = r"\W+".join(words)
    if not is_unspaced(term):
        pattern = rf"\b{pattern}\b"
    spelling, _ = _most_frequent(pattern, texts)
    return spelling or term


def _most_frequent(
    pattern: str, texts: Sequence[str] | np.ndarray
) -> tuple[str, float]:
    """Return what a pattern matches most often in some texts, and its share of all matches."""
    all_texts = "\n".join(texts)
    matches = re.findall(pattern, all_texts, re.IGNORECASE)
    phrases = (" ".join(re.sub(CLAUSE_END, " ", match).split()) for match in matches)
    counts = Counter(phrases)
    if not counts:
        return "", 0.0
    [(usual, times)] = counts.most_common(1)
    return usual, times / len(matches)
