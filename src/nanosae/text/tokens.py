"""Words for search, folded in the same way in texts and queries, in any script.

*Folding* removes differences in the spelling of a word: case (STRASSE, Straße), compatibility forms
(ﬁ, full width), and accents on Latin and Greek letters (İstanbul, café). Scripts without spaces
between words (Han, Kana, Thai, Lao, Khmer, Burmese) form *runs*, which are searched by their
successive characters.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache

from nanosae.scripts import UNSPACED

UNSPACED_START = re.compile(f"[{UNSPACED}]")
# pictures, each of which is a word; stars of ratings and check marks are none
EMOJI = "\u231a-\u23ff\u26a1\u2728\u2764\U0001f300-\U0001faff"
# what ends a clause, which no phrase crosses
CLAUSE_END = (
    r"[.,:](?=\s|$)|[;!?()\[\]{}\"“”«»…¿¡،؛؟।॥。，、；：！？（）「」『』【】《》\n]"
)
SUFFIXES = ("ing", "ed", "es", "s", "'s", "’s")  # of inflected English words
MIN_STEM = 4  # letters of a word without its suffix
# soft hyphens and joiners, which belong to the word that they are in
INVISIBLE = re.compile("[\u00ad\u200d\u2060]")
ACCENTS = re.compile("(?<=[a-z\u0370-\u03ff])[\u0300-\u036f]+")


def fold(text: str) -> str:
    """Return a text without case, compatibility forms and accents, for comparison.

    Example:
        >>> [fold(word) for word in ("STRASSE", "Straße", "İstanbul", "Café", "が", "мой")]
        ['strasse', 'strasse', 'istanbul', 'cafe', 'が', 'мой']
    """
    if text.isascii():
        return text.lower()
    visible = INVISIBLE.sub("", text)
    folded = unicodedata.normalize("NFKC", visible).casefold().replace("ı", "i")
    without_accents = ACCENTS.sub("", unicodedata.normalize("NFD", folded))
    return unicodedata.normalize("NFC", without_accents)


def composed(text: str) -> str:
    r"""Return a text without invisible letters, and with its accents as parts of its letters.

    Example:
        >>> composed("Daten\u00adbank, cafe\u0301")
        'Datenbank, café'
    """
    if text.isascii():
        return text
    return unicodedata.normalize("NFC", INVISIBLE.sub("", text))


def split_words(text: str) -> list[str]:
    """Return the folded words of a text, and whole runs of unspaced scripts.

    Example:
        >>> split_words("Node.js in Zürich: 我喜欢苹果 and हिन्दी 🔋🔌")
        ['node', 'js', 'in', 'zurich', '我喜欢苹果', 'and', 'हिन्दी', '🔋', '🔌']
    """
    return _word_pattern().findall(fold(text))


def written_words(text: str) -> list[str]:
    """Return the words of a text as they are written: letters and digits with combining marks.

    Example:
        >>> written_words("Room 12b: हिन्दी")
        ['Room', '12b', 'हिन्दी']
    """
    return _run_pattern(r"\w").findall(text)


def words_of_letters(text: str) -> list[str]:
    """Return the runs of letters of a text, with combining marks.

    Example:
        >>> words_of_letters("Room 12b: हिन्दी ❤️")
        ['Room', 'b', 'हिन्दी']
    """
    return _run_pattern(r"[^\W\d_]").findall(composed(text))


def characters(run: str) -> list[str]:
    """Return the characters of an unspaced run, each with its combining marks.

    Example:
        >>> characters("苹果"), characters("ผู้")
        (['苹', '果'], ['ผู้'])
    """
    return re.findall(rf".[{marks()}]*", run)


def is_unspaced(word: str) -> bool:
    """Return whether a word is in a script without spaces.

    Example:
        >>> is_unspaced("東京"), is_unspaced("tokyo")
        (True, False)
    """
    return UNSPACED_START.match(word) is not None


def stem(word: str) -> str:
    """Return the common stem of the inflected forms of an English word, "" for a short word.

    Example:
        >>> [stem(word) for word in ("pay", "plants", "planted", "planning", "parties", "parse")]
        ['', 'plant', 'plant', 'plan', 'party', 'pars']
    """
    for suffix in SUFFIXES:
        rest = word.removesuffix(suffix)
        if rest != word and len(rest) >= MIN_STEM:
            word = rest
            break
    if len(word) < MIN_STEM:
        return ""
    last = word[-1]
    is_double = last == word[-2]
    if is_double and last.isalpha() and last not in "ls":
        word = word[:-1]  # planning
    if word.endswith("i"):
        return word[:-1] + "y"  # parties
    return word.removesuffix("e")


def edits(word: str, other: str, most: int) -> int:
    """Return the number of letters to insert, delete, replace or swap with their neighbour.

    This is the optimal string alignment distance (Damerau, Commun. ACM 7 (1964) 171).

    Args:
        word: A word.
        other: Another word.
        most: Maximum distance; larger ones are returned as `most + 1`.

    Example:
        >>> [edits("receive", word, 2) for word in ("recieve", "receives", "receipt", "give")]
        [1, 1, 2, 3]
    """
    if abs(len(word) - len(other)) > most:
        return most + 1
    two_before: list[int] = []
    before = list(range(len(other) + 1))
    for i, letter in enumerate(word):
        row = [i + 1]
        for j, other_letter in enumerate(other):
            changed = before[j] + (letter != other_letter)
            cost = min(changed, before[j + 1] + 1, row[j] + 1)
            is_swap = letter == other[j - 1] and word[i - 1] == other_letter
            if i and j and is_swap:
                cost = min(cost, two_before[j - 1] + 1)
            row.append(cost)
        if min(row) > most:
            return most + 1
        two_before, before = before, row
    return min(before[-1], most + 1)


def allowed_edits(word: str) -> int:
    """Return how many typing errors to tolerate in a word; none in a short one.

    Example:
        >>> [allowed_edits(word) for word in ("cat", "apple", "encyclopedia", "東京")]
        [0, 1, 2, 0]
    """
    if is_unspaced(word) or len(word) < 4:
        return 0
    return 1 if len(word) < 8 else 2


@cache
def marks() -> str:
    """Return all combining marks, for a character class of a pattern."""
    candidates = map(chr, range(0x300, 0x10000))
    return "".join(c for c in candidates if unicodedata.category(c).startswith("M"))


@cache
def _run_pattern(letter: str) -> re.Pattern[str]:
    """Return a pattern of runs of letters; vowel signs of many scripts are marks, not letters."""
    return re.compile(rf"{letter}+(?:[{marks()}]+{letter}*)*")


def word_expression(*joiners: str) -> str:
    """Return a regular expression of words and of runs without spaces.

    Args:
        joiners: Expressions of what may stand inside a word besides letters and marks.
    """
    unspaced_run = rf"(?:[{UNSPACED}][{marks()}]*)+"
    letter = rf"[^\W{UNSPACED}]"
    further = "|".join([letter, f"[{marks()}]", *joiners])
    return f"{unspaced_run}|{letter}(?:{further})*|[{EMOJI}]"


@cache
def _word_pattern() -> re.Pattern[str]:
    return re.compile(word_expression())
