"""Log files, whose entries begin with a time: one text per entry, with its time and level."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pyarrow as pa

from nanosae.sources.entries import first_lines, joined, split_entries

TIME = r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(?::\d{2})?(?:[.,]\d{1,9})?(?:Z|\s?[+-]\d{2}:?\d{2})?"
ENTRY = re.compile(rf"^\[?({TIME})\]?\s*(?:[-–|:]\s+)?(\S.*)$")
LEVELS = "TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|SEVERE|FATAL|CRITICAL"
LEVEL = re.compile(
    rf"^[\[(<]?({LEVELS})[\])>]?(?:\s*[-–|:])?\s+(.*)$", re.IGNORECASE | re.DOTALL
)
ENTRY_SHARE = 0.5  # minimum share of the first lines that begin an entry
MIN_ENTRIES = 10
LEVEL_SHARE = 0.5  # minimum share of entries with a level


def read_log(lines: Sequence[str], name: str) -> pa.Table | None:
    r"""Return the entries of a log, or None for other files.

    Lines without a time, such as those of a traceback, continue the previous entry.

    Args:
        lines: The lines of the file.
        name: Name of the text column.

    Returns:
        The texts, with the columns `time` and, if most entries have one, `level`.

    Example:
        >>> log = [f"2024-03-01 09:00:{i:02},123 ERROR disk is full" for i in range(30)]
        >>> read_log([*log, "  at line 3"], "text").to_pylist()[-1]
        {'text': 'disk is full\nat line 3', 'time': '2024-03-01 09:00:29.123', 'level': 'ERROR'}
    """
    first = first_lines(lines)
    n_entries = sum(ENTRY.match(line) is not None for line in first)
    if n_entries < max(MIN_ENTRIES, ENTRY_SHARE * len(first)):
        return None
    times, texts = [], []
    for entry, more in split_entries(lines, ENTRY):
        times.append(entry[1].replace(",", "."))
        texts.append(joined(entry[2], more))
    levels = [LEVEL.match(text) for text in texts]
    if sum(level is not None for level in levels) < LEVEL_SHARE * len(texts):
        return pa.table({name: texts, "time": times})
    pairs = zip(levels, texts, strict=True)
    messages = [text if level is None else level[2] for level, text in pairs]
    names = [None if level is None else level[1].upper() for level in levels]
    return pa.table({name: messages, "time": times, "level": names})
