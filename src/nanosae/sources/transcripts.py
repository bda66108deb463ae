"""Chats and subtitles out of files of lines: a text for each message or caption.

A chat is what messengers export, "[01/02/24, 09:00] Ann: Hello" or "2024-02-01 09:00 - Ann: Hello";
lines without a time go on with the message above. Subtitles are SubRip or WebVTT.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice

import pyarrow as pa

DATE = r"\d{1,4}[./-]\d{1,2}[./-]\d{2,4}"
TIME = r"\d{1,2}:\d{2}(?::\d{2})?(?:\s?[AaPp]\.?[Mm]\b\.?)?"
BEGIN = re.compile(rf"^[\u200e\ufeff]?\[?({DATE},?\s+{TIME})\]?(?:\s+[-–])?\s+(.*)$")
MESSAGE = re.compile(r"^([^:]{1,60}):\s(.*)$")
PLACEHOLDER = re.compile(r"^\u200e?<[^<>]*>$")  # "<Media omitted>", in any language
CAPTION = re.compile(r"^(?:(\d+):)?(\d{2}):(\d{2})[.,]\d{3}\s+-->\s")
LOOKED_AT = 200  # lines from which a file is recognised
CHAT_SHARE = 0.5  # of these lines that begin a message
FEWEST = 5  # messages, or captions


def read_transcript(lines: Sequence[str], name: str) -> pa.Table | None:
    r"""Return the messages of a chat, or the captions of subtitles; None of other lines.

    Args:
        lines: Of a file.
        name: Of the column of texts.

    Returns:
        The texts, with the columns `author` and `sent` of messages, and `minute` of captions.

    Example:
        >>> chat = [f"[01/02/2024, 09:0{i}] Ann: Hello" for i in range(9)] + ["again"]
        >>> read_transcript(chat, "text").to_pylist()[-1]
        {'text': 'Hello\nagain', 'author': 'Ann', 'sent': '01/02/2024, 09:08'}
    """
    filled = (line for line in lines if line.strip())
    first = list(islice(filled, LOOKED_AT))
    n_captions = sum(CAPTION.match(line) is not None for line in first)
    if n_captions >= min(FEWEST, len(first)) > 0:
        return _table(_captions(lines), [name, "minute"])
    begins = [BEGIN.match(line) for line in first]
    n_messages = sum(
        begin is not None and MESSAGE.match(begin[2]) is not None for begin in begins
    )
    if n_messages < max(FEWEST, CHAT_SHARE * len(first)):
        return None
    return _table(_messages(lines), [name, "author", "sent"])


def _table(rows: Iterator[tuple], names: list[str]) -> pa.Table:
    columns = zip(*rows, strict=True)
    return pa.table(dict(zip(names, map(list, columns), strict=True)))


def _messages(lines: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Yield text, author and time of messages; what nobody wrote is left out."""
    text: list[str] = []
    author = sent = ""
    for line in lines:
        begin = BEGIN.match(line)
        if begin is None:
            text.append(line)
            continue
        if author:
            yield _as_text(text), author, sent
        message = MESSAGE.match(begin[2])
        author, first = ("", "") if message is None else message.groups()
        sent = begin[1]
        text = [first]
    if author:
        yield _as_text(text), author, sent


def _as_text(lines: list[str]) -> str:
    text = "\n".join(lines).strip()
    return "" if PLACEHOLDER.match(text) else text


def _captions(lines: Sequence[str]) -> Iterator[tuple[str, float]]:
    """Yield text and minute of captions: the lines after a time, up to an empty one."""
    minute = None
    text: list[str] = []
    for line in [*lines, ""]:
        time = CAPTION.match(line)
        if time is not None:
            hours, minutes, seconds = (int(part or 0) for part in time.groups())
            minute = 60 * hours + minutes + seconds / 60
        elif minute is not None and line.strip():
            text.append(line.strip())
        elif minute is not None:
            yield " ".join(text), minute
            minute, text = None, []
