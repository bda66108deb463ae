"""Entries of a log out of lines that begin with a time: a text, its time and its level."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice

import pyarrow as pa

TIME = r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(?::\d{2})?(?:[.,]\d{1,9})?(?:Z|\s?[+-]\d{2}:?\d{2})?"
ENTRY = re.compile(rf"^\[?({TIME})\]?\s*(?:[-–|:]\s+)?(\S.*)$")
LEVELS = "TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|SEVERE|FATAL|CRITICAL"
LEVEL = re.compile(
    rf"^[\[(<]?({LEVELS})[\])>]?(?:\s*[-–|:])?\s+(.*)$", re.IGNORECASE | re.DOTALL
)
LOOKED_AT = 200  # lines from which a log is recognised
SHARE = 0.5  # of these lines that begin an entry
FEWEST = 10  # entries
LEVEL_SHARE = 0.5  # of the entries that have a level


def read_log(lines: Sequence[str], name: str) -> pa.Table | None:
    r"""Return the entries of a log; None of other lines.

    Lines without a time, such as those of a traceback, go on with the entry above.

    Args:
        lines: Of a file.
        name: Of the column of texts.

    Returns:
        The texts, with the columns `time` and, where most entries have one, `level`.

    Example:
        >>> log = [f"2024-03-01 09:00:{i:02},123 ERROR disk is full" for i in range(30)]
        >>> read_log([*log, "  at line 3"], "text").to_pylist()[-1]
        {'text': 'disk is full\nat line 3', 'time': '2024-03-01 09:00:29.123', 'level': 'ERROR'}
    """
    filled = (line for line in lines if line.strip())
    first = list(islice(filled, LOOKED_AT))
    n_entries = sum(ENTRY.match(line) is not None for line in first)
    if n_entries < max(FEWEST, SHARE * len(first)):
        return None
    times, texts = [], []
    for line in lines:
        entry = ENTRY.match(line)
        if entry is not None:
            times.append(entry[1].replace(",", "."))
            texts.append(entry[2].strip())
        elif texts and line.strip():
            texts[-1] += f"\n{line.strip()}"
    levels = [LEVEL.match(text) for text in texts]
    if sum(level is not None for level in levels) < LEVEL_SHARE * len(texts):
        return pa.table({name: texts, "time": times})
    pairs = zip(levels, texts, strict=True)
    messages = [text if level is None else level[2] for level, text in pairs]
    names = [None if level is None else level[1].upper() for level in levels]
    return pa.table({name: messages, "time": times, "level": names})
