"""Several tags in a cell, with a separator between them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from nanosae.sources.kinds import pc

SEPARATORS = "|;,"
TAGGED_SHARE = 0.1  # share of the cells that hold several tags
ALONE = (
    0.8  # share of the words between spaces that are there alone, too: they are tags
)


def tag_separator(values: pa.Array | pa.ChunkedArray) -> str | None:
    """Return what separates tags in cells; None if most cells hold no more than one."""
    for separator in SEPARATORS:
        has_several = pc.match_substring(values, separator)
        share = pc.mean(has_several.cast(pa.float64())).as_py()
        if share is not None and share >= TAGGED_SHARE:  # None of no cells
            return separator
    return None


def are_spaced_tags(values: pa.Array | pa.ChunkedArray) -> bool:
    """Return whether cells are tags with spaces between, and not names of several words.

    Most words stand alone in some cell, as tags do.

    Example:
        >>> are_spaced_tags(pa.array(["cs.LG stat.ML", "cs.LG", "stat.ML", "math.CO cs.LG"]))
        False
        >>> are_spaced_tags(pa.array(["cs.LG stat.ML", "cs.LG", "stat.ML"]))
        True
    """
    different = pc.unique(pc.utf8_trim_whitespace(values)).drop_null()
    has_several = pc.match_substring_regex(different, r"\S\s+\S")
    words = pc.unique(pc.list_flatten(pc.utf8_split_whitespace(different)))
    alone = different.filter(pc.invert(has_several))
    is_alone = pc.is_in(words, value_set=alone)
    return pc.any(has_several).as_py() is True and pc.mean(is_alone).as_py() >= ALONE


def split_tags(values: pa.Array | pa.ChunkedArray, separator: str | None = None) -> Any:
    """Return cells of tags as lists of strings; by default at the separator of most cells.

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
