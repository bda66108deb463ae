"""Entries of text files: messages, captions, turns or log entries, which begin with a pattern."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice

SNIFFED_LINES = 200  # from which a log, a transcript or a table is recognised


def first_lines(lines: Sequence[str]) -> list[str]:
    """Return the first non-empty lines, from which the kind of a file is recognised."""
    filled = (line for line in lines if line.strip())
    return list(islice(filled, SNIFFED_LINES))


def split_entries(
    lines: Sequence[str], begin: re.Pattern[str]
) -> Iterator[tuple[re.Match[str], Sequence[str]]]:
    r"""Yield the match of each line that begins an entry, and the lines up to the next one.

    Lines before the first entry are skipped.

    Example:
        >>> lines = ["title", "1: a", "more", "2: b"]
        >>> for match, more in split_entries(lines, re.compile(r"\d: (.*)")):
        ...     print(match[1], more)
        a ['more']
        b []
    """
    matches = map(begin.match, lines)
    begins = [(i, match) for i, match in enumerate(matches) if match is not None]
    ends = [*(i for i, _ in begins[1:]), len(lines)]
    for (i, match), end in zip(begins, ends, strict=True):
        yield match, lines[i + 1 : end]


def joined(first: str, more: Sequence[str]) -> str:
    r"""Join the lines of an entry, without empty ones.

    Example:
        >>> joined("see: ", ["", "  File x"])
        'see:\nFile x'
    """
    stripped = [line.strip() for line in (first, *more)]
    return "\n".join(line for line in stripped if line)
