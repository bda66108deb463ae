"""Several tags in a cell, with a separator between them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from nanosae.sources.kinds import pc

SEPARATORS = "|;,"
TAGGED_SHARE = 0.1  # share of the cells that hold several tags


def tag_separator(values: pa.Array | pa.ChunkedArray) -> str | None:
    """Return what separates tags in cells; None if most cells hold no more than one."""
    for separator in SEPARATORS:
        has_several = pc.match_substring(values, separator)
        share = pc.mean(has_several.cast(pa.float64())).as_py()
        if share is not None and share >= TAGGED_SHARE:  # None of no cells
            return separator
    return None


def split_tags(values: pa.Array | pa.ChunkedArray, separator: str | None = None) -> Any:
    """Return cells of tags as lists of strings; by default at the separator of most cells."""
    if separator is None:
        separator = tag_separator(values) or SEPARATORS[0]
    pattern = rf"\s*[{separator}]\s*"
    return pc.split_pattern_regex(pc.utf8_trim_whitespace(values), pattern)
