"""Whether texts are in the language that their encoder was trained on.

The two encoders that need no network were trained on English.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from nanosae.text import static
from nanosae.text.embed import PACKAGED
from nanosae.text.words import is_stop_word

ENGLISH_ENCODERS = (static.NAME, *PACKAGED)
WORD = re.compile(r"[^\W\d_]+")
SAMPLE = 1000  # texts that are looked at
# Above a third of the words of English sentences, and at most a fifth in the other languages of
# Debian's package descriptions. Titles have few stop words in any language.
MIN_STOP_WORDS = 0.25
MAX_FOREIGN_LETTERS = 0.005  # share of letters that are not ASCII


def language_note(encoder: str, texts: Sequence[str]) -> list[str]:
    """Return a note if texts are not in English, but the encoder is for English.

    Example:
        >>> language_note("wordllama", ["ein kleiner Baum mit süßen Früchten"])[0][:35]
        'The texts do not seem to be English'
    """
    if encoder not in ENGLISH_ENCODERS or seem_english(texts):
        return []
    return [
        f"The texts do not seem to be English, but {encoder} was trained on English. A "
        "multilingual model tells their meanings apart better; one is "
        "paraphrase-multilingual-MiniLM-L12-v2."
    ]


def seem_english(texts: Sequence[str]) -> bool:
    """Return whether texts are likely to be in English, judged by stop words and letters.

    Other languages that are written with the letters of English, such as Dutch, are not detected.

    Example:
        >>> seem_english(["a small tree with sweet fruits", "café"])
        True
        >>> seem_english(["小さな木"])
        False
    """
    stride = max(1, len(texts) // SAMPLE)
    words = []
    for text in texts[::stride]:
        words += WORD.findall(text.lower())
    letters = "".join(words)
    n_foreign = sum(not letter.isascii() for letter in letters)
    if n_foreign <= MAX_FOREIGN_LETTERS * len(letters):
        return True
    n_stop_words = sum(map(is_stop_word, words))
    return n_stop_words >= MIN_STOP_WORDS * len(words)
