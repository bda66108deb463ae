"""The role of a single column, from its type, its values and its name."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa

from nanosae.scripts import UNSPACED
from nanosae.sources.categories import (
    CATEGORY_ROWS,
    CATEGORY_VALUES,
    Column,
    category,
    is_ticked,
    too_many,
)
from nanosae.sources.column_names import (
    CHOICE_NAMES,
    DURATION_NAMES,
    ID_NAMES,
    TAG_NAMES,
    words_of,
)
from nanosae.sources.dates import (
    PARSED_SHARE,
    calendar_integers,
    calendar_unit,
    share_of_dates,
)
from nanosae.sources.kinds import (
    is_list,
    is_text,
    kind_words,
    most_frequent,
    pc,
    share,
    spread_sample,
    without_dictionary,
)
from nanosae.sources.number_roles import (
    are_times,
    fraction_role,
    integer_role,
    times_role,
)
from nanosae.sources.number_text import (
    WRITTEN_NUMBER,
    are_durations,
    are_padded,
    are_ranges,
    are_ratings,
    measured_in,
)
from nanosae.sources.tags import are_spaced_tags, split_tags, tag_separator

TEXT_WORDS = 3.0  # minimum mean number of words of a text column
TEXT_DISTINCT = 0.3  # minimum share of distinct values of a text column
TAG_WORDS = 4  # maximum number of words of a tag


def column_role(name: str, values: pa.ChunkedArray) -> Column:
    """Return the role of a column.

    Args:
        name: Name of the column.
        values: All of its values.

    Example:
        >>> column_role("bought", pa.chunked_array([["yes", "no"] * 10])).role
        'category'
    """
    present = values.drop_null()
    if len(present) == 0:
        return Column(name, "unused", "empty")
    if is_ticked(values):
        value = present[0].as_py()
        return Column(name, "category", f"{value} or empty")
    kind = present.type
    if pa.types.is_dictionary(kind):
        return _dictionary_role(name, without_dictionary(present))
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return Column(name, "date", "holds dates")
    if pa.types.is_boolean(kind):
        return category(name, present)
    if is_list(kind):
        return _list_role(name, present)
    if pa.types.is_integer(kind):
        return integer_role(name, present)
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return fraction_role(name, present)
    if is_text(kind):
        return _string_role(name, present)
    return Column(name, "unused", f"{kind_words(kind)} are not used")


def _dictionary_role(name: str, values: pa.ChunkedArray) -> Column:
    """Treat a dictionary column as a category, even if its values look like numbers or dates."""
    stored = category(name, values)
    return stored if stored.role == "category" else column_role(name, values)


def _list_role(name: str, values: pa.ChunkedArray) -> Column:
    if not is_text(values.type.value_type):
        return Column(name, "unused", f"{kind_words(values.type)} are not used")
    tags = pc.list_flatten(values)
    n_distinct = _count_distinct(tags)
    if n_distinct < CATEGORY_VALUES[0]:
        return Column(name, "unused", "all lists are equal")
    if n_distinct > max(CATEGORY_VALUES[1], len(tags) / CATEGORY_ROWS):
        reason = f"lists of {n_distinct:,} distinct values, too rare to compare"
        return Column(name, "unused", reason)
    return Column(name, "tags", "holds lists of strings")


def _string_role(name: str, values: pa.ChunkedArray) -> Column:
    """Look for patterns in a sample, and in all values where the sample has them."""
    filled = values.filter(pc.not_equal(pc.utf8_trim_whitespace(values), ""))
    if len(filled) == 0:
        return Column(name, "unused", "empty")
    sample = spread_sample(filled)
    may_be_category = _count_distinct(sample) <= CATEGORY_VALUES[1]
    if may_be_category and _count_distinct(filled) == 1:
        return Column(name, "unused", "all values are equal")
    found = _measured_or_tags(name, sample, filled)
    if found is not None:
        return found
    if may_be_category:
        found = category(name, filled)
        if found.role == "category":
            return found
    if are_ranges(sample) and are_ranges(filled):
        reason = f"middles of ranges written like {filled[0]}"
        return Column(name, "number", reason)
    if _are_texts(sample):
        n_words = mean_words(sample)
        return Column(name, "text", f"{n_words:.0f} words per row on average")
    if _count_distinct(filled) == len(filled):
        return Column(name, "id", "unique in every row")
    if ID_NAMES.search(words_of(name)):
        return Column(name, "id", "named like an identifier")
    return category(name, filled)


def _count_distinct(values: pa.Array | pa.ChunkedArray) -> int:
    return pc.count_distinct(values).as_py()


def _measured_or_tags(
    name: str, sample: pa.Array, values: pa.ChunkedArray
) -> Column | None:
    """Return the role of dates, numbers, ratings or tags as strings."""
    measured = _measured(name, sample) and _measured(name, values)
    return measured or _tags(name, sample, values)


def _measured(name: str, values: pa.Array | pa.ChunkedArray) -> Column | None:
    """Return the role of strings that are nearly all dates, numbers or ratings."""
    dates = share_of_dates(values)
    if dates >= PARSED_SHARE:
        return Column(name, "date", f"{_percent(dates)} of the values are dates")
    digits = calendar_integers(values)
    unit = None if digits is None else calendar_unit(digits)
    if unit is not None and _count_distinct(digits) > 2:
        return Column(name, "date", f"{unit} written like {values[0]}")
    numbers = _share_of_numbers(values)
    if numbers >= PARSED_SHARE and not ID_NAMES.search(words_of(name)):
        if are_times(name, values):
            return times_role(name, values)
        reason = f"{_percent(numbers)} of the values are numbers"
        return Column(name, "number", reason)
    if are_ratings(values):
        return Column(name, "number", f"ratings written like {values[0]}")
    unit = measured_in(values)
    if unit is not None:
        return Column(name, "number", f"numbers of {unit}")
    if DURATION_NAMES.search(words_of(name)) and are_durations(values):
        return Column(name, "number", f"minutes of durations written like {values[0]}")
    return None


def _percent(share: float) -> str:
    """Format a share as a percentage, rounded down so that only all is 100 %."""
    return f"{math.floor(100 * share)} %"


def _are_texts(values: pa.Array) -> bool:
    """Return whether most strings have several words and are distinct.

    The most frequent one is ignored: it may be "no comment", or an unchanged form.
    """
    others = values.filter(pc.not_equal(values, most_frequent(values)))
    n_distinct = _count_distinct(others)
    are_distinct = n_distinct >= TEXT_DISTINCT * len(others)
    return n_distinct > 0 and are_distinct and mean_words(others) >= TEXT_WORDS


def _tags(name: str, sample: pa.Array, values: pa.ChunkedArray) -> Column | None:
    """Return the role of a column whose cells hold several short and frequent values."""
    separator = _separator(name, sample)
    if separator is None or not _are_short(split_tags(sample, separator)):
        return None
    separator = _separator(name, values)
    if separator is None:
        return None
    cells = split_tags(values, separator)
    tags = pc.list_flatten(cells)
    n_distinct = _count_distinct(tags)
    low, high = CATEGORY_VALUES
    is_frequent = len(tags) >= CATEGORY_ROWS * n_distinct
    if n_distinct < low or not is_frequent or not _are_short(cells):
        return None
    if n_distinct > high:
        return Column(name, "unused", too_many(name, f"{n_distinct:,} distinct tags"))
    sign = "spaces" if separator == " " else repr(separator)
    return Column(name, "tags", f"{n_distinct} distinct tags, separated by {sign}")


def _are_short(cells: pa.Array | pa.ChunkedArray) -> bool:
    """Return whether the distinct tags of cells have few words on average."""
    return mean_words(pc.unique(pc.list_flatten(cells))) <= TAG_WORDS


def _separator(name: str, values: pa.Array | pa.ChunkedArray) -> str | None:
    """Return what separates tags in cells; a comma only if the name speaks of tags."""
    separator = tag_separator(values)
    is_named = TAG_NAMES.search(words_of(name)) or CHOICE_NAMES.search(name.lower())
    if is_named:
        return " " if separator is None and are_spaced_tags(values) else separator
    return None if separator == "," else separator  # as of a place or a name


def mean_words(values: pa.Array | pa.ChunkedArray) -> float:
    """Return the mean number of words, counting two characters as one in unspaced scripts."""
    lengths = pc.utf8_length(values).to_numpy(zero_copy_only=False)
    spaces = pc.count_substring_regex(values, r"\s+").to_numpy(zero_copy_only=False)
    unspaced = pc.count_substring_regex(values, f"[{UNSPACED}]")
    words = spaces + 1 + unspaced.to_numpy(zero_copy_only=False) / 2
    filled = np.nan_to_num(lengths.astype(float)) > 0
    return float(words[filled].mean()) if filled.any() else 0.0


def _share_of_numbers(values: pa.Array | pa.ChunkedArray) -> float:
    """Return the share of strings that are numbers, which codes such as 00501 are not."""
    if are_padded(values):
        return 0.0
    return share(pc.match_substring_regex(values, WRITTEN_NUMBER))
