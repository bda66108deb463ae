"""Cells with several tags and a separator between them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from nanosae.sources.kinds import pc, share

SEPARATORS = "|;,"
TAGGED_SHARE = 0.1  # minimum share of cells with several tags
ALONE = 0.8  # minimum share of words that are also the only tag of a cell


def tag_separator(values: pa.Array | pa.ChunkedArray) -> str | None:
    """Return the separator of tags in cells, or None if hardly any cell has several."""
    for separator in SEPARATORS:
        has_several = pc.match_substring(values, separator)
        if share(has_several) >= TAGGED_SHARE:
            return separator
    return None


def are_spaced_tags(values: pa.Array | pa.ChunkedArray) -> bool:
    """Return whether cells are tags separated by spaces, not names of several words.

    Most tags are the only word of some cell.

    Example:
        >>> are_spaced_tags(pa.array(["cs.LG stat.ML", "cs.LG", "stat.ML", "math.CO cs.LG"]))
        False
        >>> are_spaced_tags(pa.array(["cs.LG stat.ML", "cs.LG", "stat.ML"]))
        True
    """
    distinct = pc.unique(pc.utf8_trim_whitespace(values)).drop_null()
    has_several = pc.match_substring_regex(distinct, r"\S\s+\S")
    words = pc.unique(pc.list_flatten(pc.utf8_split_whitespace(distinct)))
    alone = distinct.filter(pc.invert(has_several))
    is_alone = pc.is_in(words, value_set=alone)
    return bool(pc.any(has_several).as_py()) and share(is_alone) >= ALONE


def split_tags(values: pa.Array | pa.ChunkedArray, separator: str | None = None) -> Any:
    """Split cells into lists of tags; by default, the separator is detected.

    Example:
        >>> split_tags(pa.array(["Email;Phone;", "Chat"])).to_pylist()
        [['Email', 'Phone'], ['Chat']]
    """
    if separator is None:
        separator = tag_separator(values)
    if separator is None:
        separator = " " if are_spaced_tags(values) else SEPARATORS[0]
    cells = pc.utf8_trim(values, f"{separator} \t\n")
    return pc.split_pattern_regex(cells, rf"\s*[{separator}]\s*")
