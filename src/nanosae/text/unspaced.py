"""Words of scripts without spaces between words.

Japanese, Chinese and Thai are segmented by the models of BudouX (Google), which classify each
position between two characters by those around it. In Japanese, a run of Katakana is one word. In
other scripts (Lao, Khmer, Burmese), each character is a word.
"""

from __future__ import annotations

import json
import re
from functools import cache, lru_cache
from importlib.resources import files

from budoux import Parser

from nanosae.text.tokens import characters, marks

KATAKANA = "\u30a1-\u30fa\u30fc-\u30ff"
KANA = re.compile("[\u3041-\u30ff]")
THAI = "\u0e00-\u0e7f"
HAN = re.compile("[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
THAI_LETTER = re.compile(f"[{THAI}]")
TOKEN = re.compile(f"[{KATAKANA}]+|[^{KATAKANA}][{marks()}]*")
ONE_SCRIPT = re.compile(f"[{KATAKANA}]+|[^{KATAKANA}]+")


def unspaced_words(run: str, text: str) -> list[str]:
    """Segment a run of characters without spaces into words.

    Args:
        run: The run, in one or several scripts without spaces.
        text: The text that contains the run, which distinguishes Japanese from Chinese.

    Example:
        >>> unspaced_words("画像を変換する", "画像を変換する")
        ['画像', 'を', '変換', 'する']
        >>> unspaced_words("比较文件", "比较文件")
        ['比较', '文件']
    """
    language = _language(run, text)
    if language is None:
        return characters(run)
    words = []
    for piece in _parser(language).parse(run):
        words += ONE_SCRIPT.findall(piece)
    return words


@lru_cache(maxsize=2**16)
def meaningful_parts(run: str) -> frozenset[str]:
    """Return the parts of a run that mean something: words, and instead of Han words characters.

    Example:
        >>> sorted(meaningful_parts("コーヒー豆")), sorted(meaningful_parts("東京都"))
        (['コーヒー', '豆'], ['京', '東', '都'])
    """
    parts: set[str] = set()
    for word in unspaced_words(run, run):
        parts.update(HAN.findall(word) or [word])
    return frozenset(parts)


def unspaced_tokens(run: str, text: str) -> list[tuple[str, bool]]:
    """Segment a run into the elements of phrases, each with whether it begins a word.

    The elements are characters and runs of Katakana, because the same phrase is segmented
    differently in different places; in Thai, whose words are longer, they are words.

    Example:
        >>> unspaced_tokens("画像を", "画像を")
        [('画', True), ('像', False), ('を', True)]
    """
    tokens = []
    for word in unspaced_words(run, text):
        parts = [word] if THAI_LETTER.match(word) else TOKEN.findall(word)
        tokens.append((parts[0], True))
        tokens += [(part, False) for part in parts[1:]]
    return tokens


def _language(run: str, text: str) -> str | None:
    """Return the name of the model that segments a run, or None."""
    if THAI_LETTER.search(run):
        return "th"
    if KANA.search(text):
        return "ja_word"
    if not HAN.search(run):
        return None
    return "zh-hans" if _is_simplified(run) else "zh-hant"


def _is_simplified(run: str) -> bool:
    """Return whether all characters are in GB 2312, the character set of simplified Chinese."""
    try:
        run.encode("gb2312")
    except UnicodeEncodeError:
        return False
    return True


@cache
def _parser(language: str) -> Parser:
    model = files("budoux").joinpath("models", f"{language}.json")
    return Parser(json.loads(model.read_text(encoding="utf-8")))
