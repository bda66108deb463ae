"""Chats, subtitles and transcripts in text files: one text per message, caption or turn.

Chats are exports of messengers, "[01/02/24, 09:00] Ann: Hello" or "2024-02-01 09:00 - Ann: Hello",
in which lines without a time continue the previous message. Subtitles are SubRip or WebVTT.
Transcripts have turns of a few speakers, "Ann: Hello" or "[00:01:30] Ann: Hello".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import pyarrow as pa

from nanosae.sources.entries import first_lines, joined, split_entries

DATE = r"\d{1,4}[./-]\d{1,2}[./-]\d{2,4}"
TIME = r"\d{1,2}:\d{2}(?::\d{2})?(?:\s?[AaPp]\.?[Mm]\b\.?)?"
BEGIN = re.compile(rf"^[\u200e\ufeff]?\[?({DATE},?\s+{TIME})\]?(?:\s+[-–])?\s+(.*)$")
MESSAGE = re.compile(r"^([^:]{1,60}):\s(.*)$")
PLACEHOLDER = re.compile(r"^\u200e?<[^<>]*>$")  # "<Media omitted>", in any language
CAPTION = re.compile(r"^((?:\d+:)?\d{2}:\d{2})[.,]\d{3}\s+-->\s")
MARKUP = re.compile(
    r"</?(?:[bciuv]|font|lang|ruby|rt)\b[^<>]*>|<\d[^<>]*>|\{\\[^{}]*\}"
)
TURN = re.compile(
    r"^(?:\[?((?:\d{1,2}:)?\d{1,2}:\d{2})\]?\s+)?([^\W\d][^:\[\]]{0,39}):\s+(\S.*)$"
)
TURN_SHARE = 0.8  # minimum share of lines that begin a turn
MAX_SPEAKERS = 30
TURNS_PER_SPEAKER = 5  # minimum mean
CHAT_SHARE = 0.5  # minimum share of the first lines that begin a message
MIN_TEXTS = 5  # messages, captions or turns


def read_transcript(lines: Sequence[str], name: str) -> pa.Table | None:
    r"""Return the texts of a chat, subtitles or a transcript, or None for other files.

    Args:
        lines: The lines of the file.
        name: Name of the text column.

    Returns:
        The texts, with the columns `author` and `sent` for messages, `minute` for captions, and
        `speaker` and `minute` for turns.

    Example:
        >>> chat = [f"[01/02/2024, 09:0{i}] Ann: Hello" for i in range(9)] + ["again"]
        >>> read_transcript(chat, "text").to_pylist()[-1]
        {'text': 'Hello\nagain', 'author': 'Ann', 'sent': '01/02/2024, 09:08'}
    """
    first = first_lines(lines)
    n_captions = sum(CAPTION.match(line) is not None for line in first)
    if n_captions >= min(MIN_TEXTS, len(first)) > 0:
        return _table(_captions(lines), [name, "minute"])
    begins = [BEGIN.match(line) for line in first]
    n_messages = sum(
        begin is not None and MESSAGE.match(begin[2]) is not None for begin in begins
    )
    if n_messages >= max(MIN_TEXTS, CHAT_SHARE * len(first)):
        return _table(_messages(lines), [name, "author", "sent"])
    return _turns(lines, name) if _are_turns(first) else None


def _are_turns(lines: Sequence[str]) -> bool:
    """Return whether most lines begin with the name of one of a few speakers."""
    turns = [turn for turn in map(TURN.match, lines) if turn is not None]
    speakers = {turn[2] for turn in turns}
    are_most = len(turns) >= max(MIN_TEXTS, TURN_SHARE * len(lines))
    are_few = len(speakers) <= min(MAX_SPEAKERS, len(turns) / TURNS_PER_SPEAKER)
    return are_most and are_few


def _turns(lines: Sequence[str], name: str) -> pa.Table:
    """Return the turns of speakers with their times, if any, skipping lines before the first."""
    texts: list[str] = []
    speakers: list[str] = []
    minutes: list[float | None] = []
    for turn, more in split_entries(lines, TURN):
        time, speaker, text = turn.groups()
        texts.append(joined(text, more))
        speakers.append(speaker.strip())
        minutes.append(_minutes(time) if time else None)
    columns: dict[str, list] = {name: texts, "speaker": speakers}
    if any(minute is not None for minute in minutes):
        columns["minute"] = minutes
    return pa.table(columns)


def _minutes(time: str) -> float:
    """Return the minutes of "1:02:30" or "02:30"."""
    *hours, minutes, seconds = map(int, time.split(":"))
    return 60 * sum(hours) + minutes + seconds / 60


def _table(rows: Iterator[tuple], names: list[str]) -> pa.Table:
    columns = zip(*rows, strict=True)
    return pa.table(dict(zip(names, map(list, columns), strict=True)))


def _messages(lines: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Yield the text, author and time of each message, skipping system messages."""
    for begin, more in split_entries(lines, BEGIN):
        sent, content = begin.groups()
        message = MESSAGE.match(content)
        if message is not None:
            author, first = message.groups()
            yield _as_text([first, *more]), author, sent


def _as_text(lines: list[str]) -> str:
    text = "\n".join(lines).strip()
    return "" if PLACEHOLDER.match(text) else text


def _captions(lines: Sequence[str]) -> Iterator[tuple[str, float]]:
    """Yield the text and the minute of each caption, without the name of the next one."""
    *earlier, last = split_entries(lines, CAPTION)
    captions = [(time, _without_name(more)) for time, more in earlier]
    for time, text in [*captions, last]:
        written = "\n".join(line.strip() for line in text)
        caption, _, _ = written.partition("\n\nNOTE")
        words = MARKUP.sub("", caption).split()
        yield " ".join(words), _minutes(time[1])


def _without_name(lines: Sequence[str]) -> Sequence[str]:
    """Return the lines before a caption without its number, or its name after an empty line."""
    *others, last = lines or [""]
    follows_empty = bool(others) and not others[-1].strip()
    is_named = bool(last.strip()) and follows_empty
    return others if is_named or last.strip().isdecimal() else lines
