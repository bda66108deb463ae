"""Whether texts are in the language that their embedder was trained on.

The two embedders that need no network were trained on English.
"""

from __future__ import annotations

from collections.abc import Sequence

from nanosae.text import static
from nanosae.text.embed import PACKAGED
from nanosae.text.stop_words import ENGLISH, SAMPLE, languages_of

ENGLISH_EMBEDDERS = (static.NAME, *PACKAGED)
# share of letters that are not ASCII, up to an eighth in Latin scripts with accents
MAX_FOREIGN_LETTERS = 0.25


def language_note(embedder: str, texts: Sequence[str]) -> list[str]:
    """Return a note if texts are not in English, but the embedder is for English.

    Example:
        >>> language_note("wordllama", ["ein Baum und die Früchte, und wie sie wachsen"])[0][:35]
        'The texts do not seem to be English'
    """
    if embedder not in ENGLISH_EMBEDDERS or seem_english(texts):
        return []
    which = "Many texts" if ENGLISH in languages_of(texts) else "The texts"
    return [
        f"{which} do not seem to be English, but {embedder} was trained on English. A "
        "multilingual model tells their meanings apart better; one is "
        "paraphrase-multilingual-MiniLM-L12-v2."
    ]


def seem_english(texts: Sequence[str]) -> bool:
    """Return whether texts are likely to be in English, judged by stop words and letters.

    Example:
        >>> seem_english(["a small tree with sweet fruits", "café"])
        True
        >>> seem_english(["小さな木"])
        False
    """
    if languages_of(texts)[0] != ENGLISH:
        return False
    stride = max(1, len(texts) // SAMPLE)
    letters = [
        letter for text in texts[::stride] for letter in text if letter.isalpha()
    ]
    n_foreign = sum(not letter.isascii() for letter in letters)
    return n_foreign <= MAX_FOREIGN_LETTERS * len(letters)
