"""Paragraphs separated by empty lines: wrapped lines of books, and verses."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby
from statistics import fmean, median

MIN_BLOCKS = 20  # minimum number of blocks between empty lines
WRAPPED_SHARE = 0.6  # share of the maximum length that most wrapped lines reach
MIN_WIDTH = 40  # minimum length of wrapped lines
ENDS = re.compile(r"[.!?:;…][\"'”’»)]*$")
MOST_ENDS = 0.5  # maximum share of wrapped lines that end a sentence
MIN_VERSES = 50
VERSE_LINES = (2, 10)  # minimum and maximum mean number of lines per verse
MAX_UNUSUAL = 0.05  # maximum share of blocks, and of gaps, that break the pattern


def split_paragraphs(lines: Sequence[str]) -> list[str] | None:
    r"""Return the blocks between empty lines, or None if each line is a text.

    The wrapped lines of a paragraph are joined: most have nearly the maximum length and continue on
    the next line. Verses have a few lines each and a constant number of empty lines in between,
    unlike a list of answers of which some are empty.

    Example:
        >>> verse = ["Roses are red,", "violets are blue,", ""]
        >>> split_paragraphs(verse * 60)[0]
        'Roses are red,\nviolets are blue,'
    """
    blocks, gaps = [], []
    for is_empty, group in groupby(lines, key=lambda line: not line.strip()):
        (gaps if is_empty else blocks).append(list(group))
    if len(blocks) < MIN_BLOCKS:
        return None
    if _are_wrapped(blocks):
        return [" ".join(line.strip() for line in block) for block in blocks]
    if _are_verses(blocks, gaps):
        return ["\n".join(line.strip() for line in block) for block in blocks]
    return None


def _are_wrapped(blocks: list[list[str]]) -> bool:
    inner = [line.strip() for block in blocks for line in block[:-1]]
    n_lines = sum(map(len, blocks))
    if len(inner) < n_lines / 3:
        return False
    lengths = sorted(map(len, inner))
    width = lengths[int(0.95 * len(lengths))]
    is_full = [length >= WRAPPED_SHARE * width for length in lengths]
    ends = [ENDS.search(line) is not None for line in inner]
    is_wide = width >= MIN_WIDTH and lengths[-1] <= 2 * width
    return is_wide and fmean(is_full) >= 0.8 and fmean(ends) <= MOST_ENDS


def _are_verses(blocks: list[list[str]], gaps: list[list[str]]) -> bool:
    n_lines = list(map(len, blocks))
    usual_gap = median(map(len, gaps))
    n_single = sum(n == 1 for n in n_lines)
    n_unusual = sum(len(gap) != usual_gap for gap in gaps)
    fewest, most = VERSE_LINES
    are_many = len(blocks) >= MIN_VERSES
    has_mean = are_many and fewest <= fmean(n_lines) <= most
    return has_mean and max(n_single, n_unusual) <= MAX_UNUSUAL * len(blocks)
