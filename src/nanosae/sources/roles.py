"""What each column of a table is: the text, a category, a date, a number, tags, or nothing to use.

The roles are decided from types, values and names alone, and each decision carries its reason in
words, so that a user can see it and decide otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from shlex import quote
from typing import Literal

import numpy as np
import pyarrow as pa

from nanosae.errors import DataError
from nanosae.sources.column_names import (
    BIRTH_NAMES,
    CHOICE_NAMES,
    DAY_NAMES,
    DURATION_NAMES,
    ID_NAMES,
    PLACE_NAMES,
    TAG_NAMES,
    TEXT_NAMES,
    TIME_NAMES,
    YEAR_NAMES,
    field_of,
    words_of,
)
from nanosae.sources.dates import (
    FIRST_YEAR,
    LAST_YEAR,
    PARSED_SHARE,
    are_counts,
    are_days,
    are_months,
    are_serial_days,
    share_of_dates,
    unit_of_counts,
)
from nanosae.sources.kinds import is_list, is_text, kind_words, pc, whole_numbers
from nanosae.sources.number_text import (
    WRITTEN_NUMBER,
    are_durations,
    are_padded,
    are_ranges,
    are_ratings,
    measured_in,
)
from nanosae.sources.tags import (
    SEPARATORS,
    are_spaced_tags,
    split_tags,
    tag_separator,
)

Role = Literal["text", "category", "date", "number", "tags", "id", "vectors", "unused"]

CATEGORY_VALUES = (2, 50)  # a category has so many different values
CATEGORY_ROWS = 10  # rows that an average value of a category has at least
TEXT_WORDS = 3.0  # mean number of words from which a column can be the text
TEXT_DISTINCT = 0.3  # share of different values from which a column can be the text
# of two texts, the shorter one has at least this share of the longer's words
EQUALLY_LIKELY = 0.6
SAMPLE_ROWS = 20_000  # rows that are looked at
COUNTED_UP = 2  # numbers of rows leave out no more than every second
TAG_WORDS = 4  # a longer tag is a part of a sentence


@dataclass(frozen=True)
class Column:
    """The role of one column.

    Attributes:
        name: Of the column.
        role: What it is taken for.
        reason: Why, as the end of a sentence: "date: all 812 values read as dates".
    """

    name: str
    role: Role
    reason: str


def column_roles(table: pa.Table, skip: Sequence[str] = ()) -> list[Column]:
    """Decide what each column of a table is.

    Args:
        table: Texts and metadata.
        skip: Columns that are vectors and have no role here.

    Returns:
        One `Column` for each column, in their order. At most one has the role `text`.

    Raises:
        DataError: If two columns are equally likely to be the text.

    Example:
        >>> texts = [f"a text about the river number {i}" for i in range(40)]
        >>> table = pa.table({"body": texts, "kind": ["a", "b"] * 20, "id": range(40)})
        >>> [(column.name, column.role) for column in column_roles(table)]
        [('body', 'text'), ('kind', 'category'), ('id', 'id')]
    """
    sample = table.slice(0, SAMPLE_ROWS)
    found = []
    for name in table.column_names:
        if name not in skip:
            values = sample.column(name).combine_chunks()
            found.append(_column_role(name, values))
    found = _without_repeated(sample, found)
    candidates = [column.name for column in found if column.role == "text"]
    text = _choose_text(sample, candidates)
    columns = []
    for column in found:
        if column.role == "text" and column.name != text:
            reason = f"{column.reason}, but {text!r} was chosen as the text"
            column = Column(column.name, "unused", reason)
        columns.append(column)
    return columns


def _without_repeated(sample: pa.Table, columns: list[Column]) -> list[Column]:
    """Leave out categories that divide the rows as an earlier one does: a code beside its name."""
    kept: list[Column] = []
    earlier: dict[bytes, str] = {}
    for column in columns:
        if column.role == "category":
            division = _division(sample.column(column.name))
            same = earlier.setdefault(division, column.name)
            if same != column.name:
                column = Column(
                    column.name, "unused", f"groups the rows exactly as {same} does"
                )
        kept.append(column)
    return kept


def _division(values: pa.ChunkedArray) -> bytes:
    """Return which rows have equal values, whatever these are, in order of first appearance."""
    encoded = values.combine_chunks()
    if not pa.types.is_dictionary(encoded.type):
        encoded = pc.dictionary_encode(encoded)
    codes = pc.fill_null(encoded.indices.cast(pa.int32()), -1)
    _, first, numbers = np.unique(codes, return_index=True, return_inverse=True)
    order = np.argsort(np.argsort(first))
    return order[numbers].astype(np.int32).tobytes()


def likely_text(table: pa.Table, columns: Sequence[Column]) -> str | None:
    """Return the column that may be the text though it does not look like one, if there is any.

    Of the strings that nothing is done with it is the one with the most different values.
    """
    n_distinct = {}
    for column in columns:
        values = table.column(column.name)
        if column.role == "unused" and is_text(values.type):
            n_distinct[column.name] = pc.count_distinct(values).as_py()
    return max(n_distinct, key=lambda name: n_distinct[name], default=None)


def with_roles(
    columns: Sequence[Column], table: pa.Table, roles: Mapping[str, Role]
) -> list[Column]:
    """Give the columns that a user named the roles that they were named for.

    Args:
        columns: What `column_roles` decided.
        table: Texts and metadata.
        roles: Of the named columns. A named category may hold tags.

    Example:
        >>> table = pa.table({"shelf": ["art|film", "art", "film|art"]})
        >>> with_roles(column_roles(table), table, {"shelf": "category"})
        [Column(name='shelf', role='tags', reason='as requested')]
    """
    named = []
    for column in columns:
        role = roles.get(column.name, column.role)
        if role == "category" and column.role != "category":
            values = table.column(column.name)
            if column.role == "tags" or _may_hold_tags(values):
                role = "tags"
        if role != column.role:
            column = Column(column.name, role, "as requested")
        named.append(column)
    return named


def _may_hold_tags(values: pa.ChunkedArray) -> bool:
    """Return whether a column holds lists, or cells of tags with a bar between them."""
    if is_list(values.type):
        return True
    return is_text(values.type) and tag_separator(values) == SEPARATORS[0]


def _choose_text(sample: pa.Table, candidates: list[str]) -> str | None:
    """Return the most likely text column; refuse to guess between two."""
    if len(candidates) < 2:
        return candidates[0] if candidates else None
    named = [name for name in candidates if TEXT_NAMES.match(field_of(name))]
    if len(named) == 1:
        return named[0]
    words = {name: _mean_words(sample.column(name)) for name in named or candidates}
    first, second = sorted(words, key=lambda name: -words[name])[:2]
    if words[second] >= EQUALLY_LIKELY * words[first]:
        raise DataError(
            f"Which column is the text: {first!r} ({words[first]:.0f} words on average) or "
            f"{second!r} ({words[second]:.0f})?",
            column=first,
            remedy=f"Choose one: --text {quote(first)} or --text {quote(second)}.",
        )
    return first


def _column_role(name: str, values: pa.Array) -> Column:
    present = values.drop_null()
    if len(present) == 0:
        return Column(name, "unused", "empty")
    if is_ticked(values):
        value = present[0].as_py()
        return Column(name, "category", f"{value} or empty")
    kind = present.type
    if pa.types.is_dictionary(kind):
        return _dictionary_role(name, present.dictionary_decode())
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return Column(name, "date", "holds dates")
    if pa.types.is_boolean(kind):
        return _category(name, present)
    if is_list(kind):
        return _list_role(name, present)
    if pa.types.is_integer(kind):
        return _integer_role(name, present)
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _fraction_role(name, present)
    if is_text(kind):
        return _string_role(name, present)
    return Column(name, "unused", f"{kind_words(kind)} are not used")


def is_ticked(values: pa.Array | pa.ChunkedArray) -> bool:
    """Return whether a column has one value or none, as the boxes of a form that people tick.

    Example:
        >>> is_ticked(pa.array(["Phone", None] * 10)), is_ticked(pa.array(["Phone", None]))
        (True, False)
    """
    n_empty = values.null_count
    n_filled = len(values) - n_empty
    is_word = is_text(values.type) or pa.types.is_boolean(values.type)
    has_enough = min(n_empty, n_filled) >= CATEGORY_ROWS
    return is_word and has_enough and pc.count_distinct(values).as_py() == 1


def _dictionary_role(name: str, values: pa.Array) -> Column:
    """Take what is stored as a category for one, even if its values read as numbers or dates."""
    category = _category(name, values)
    return category if category.role == "category" else _column_role(name, values)


def _list_role(name: str, values: pa.Array) -> Column:
    if not is_text(values.type.value_type):
        return Column(name, "unused", f"{kind_words(values.type)} are not used")
    tags = pc.list_flatten(values)
    n_distinct = pc.count_distinct(tags).as_py()
    if n_distinct < CATEGORY_VALUES[0]:
        return Column(name, "unused", "all lists are equal")
    if n_distinct > max(CATEGORY_VALUES[1], len(tags) / CATEGORY_ROWS):
        reason = f"lists of {n_distinct:,} distinct values, most rare"
        return Column(name, "unused", reason)
    return Column(name, "tags", "holds lists of strings")


def _integer_role(name: str, values: pa.Array) -> Column:
    n_distinct = pc.count_distinct(values).as_py()
    found = _years_or_days(name, values, n_distinct)
    if found is not None:
        return found
    if ID_NAMES.search(words_of(name)):
        return Column(name, "id", "named like an identifier")
    if n_distinct == len(values) and len(values) > CATEGORY_ROWS:
        return Column(name, "id", "unique in every row")
    if n_distinct == 1:
        return Column(name, "unused", "all values are equal")
    if n_distinct == 2:
        return _category(name, values)
    return Column(name, "number", "holds numbers")


def _years_or_days(name: str, values: pa.Array, n_distinct: int) -> Column | None:
    """Take whole numbers for years, months, days or times, by their values and their name."""
    low, high = (bound.as_py() for bound in pc.min_max(values).values())
    are_years = low >= FIRST_YEAR and high <= LAST_YEAR
    if are_years and BIRTH_NAMES.search(words_of(name)):
        return Column(name, "number", "years of birth")
    if are_years and (YEAR_NAMES.search(words_of(name)) or n_distinct > 2):
        return Column(name, "date", f"years from {low} to {high}")
    if n_distinct > 2 and are_days(values):
        return Column(name, "date", f"days written like {low}")
    if n_distinct > 2 and are_months(values):
        return Column(name, "date", f"months written like {low}")
    if _are_times(name, values):
        return _times(name, values)
    if n_distinct > 2 and DAY_NAMES.search(words_of(name)) and are_serial_days(values):
        return Column(name, "date", f"Excel day numbers, from {low}")
    return None


def _are_times(name: str, values: pa.Array) -> bool:
    return TIME_NAMES.search(words_of(name)) is not None and are_counts(values)


def _times(name: str, values: pa.Array) -> Column:
    reason = f"{unit_of_counts(values)} since 1970"
    return Column(name, "date", reason)


def _fraction_role(name: str, values: pa.Array) -> Column:
    whole = whole_numbers(values)
    if whole is not None:  # where a cell is empty, whole numbers become fractions
        column = _integer_role(name, whole)
        if column.role != "id" or ID_NAMES.search(words_of(name)) or _count_up(whole):
            return column
    if _are_times(name, values):
        return _times(name, values)
    if ID_NAMES.search(words_of(name)):
        return Column(name, "id", "named like an identifier")
    if PLACE_NAMES.search(words_of(name)):
        reason = f"a coordinate; use --target {quote(name)} to explain it"
        return Column(name, "unused", reason)
    if pc.count_distinct(values).as_py() == 1:
        return Column(name, "unused", "all values are equal")
    return Column(name, "number", "holds numbers")


def _count_up(values: pa.Array) -> bool:
    """Return whether different whole numbers are next to each other, as numbers of rows are."""
    low, high = (bound.as_py() for bound in pc.min_max(values).values())
    return high - low < COUNTED_UP * len(values)


def _string_role(name: str, values: pa.Array) -> Column:
    filled = values.filter(pc.not_equal(pc.utf8_trim_whitespace(values), ""))
    if len(filled) == 0:
        return Column(name, "unused", "empty")
    n_distinct = pc.count_distinct(filled).as_py()
    mean_words = _mean_words(filled)
    if n_distinct == 1:
        return Column(name, "unused", "all values are equal")
    measured = _measured(name, filled)
    if measured is not None:
        return measured
    tags = _tags(name, filled)
    if tags is not None:
        return tags
    category = _category(name, filled)
    if category.role == "category":
        return category
    if are_ranges(filled):
        reason = f"middles of ranges written like {filled[0]}"
        return Column(name, "number", reason)
    if _are_texts(filled):
        return Column(name, "text", f"{mean_words:.0f} words per row on average")
    if n_distinct == len(filled):
        return Column(name, "id", "unique in every row")
    if ID_NAMES.search(words_of(name)):
        return Column(name, "id", "named like an identifier")
    return category


def _measured(name: str, values: pa.Array) -> Column | None:
    """Take strings for dates, numbers or ratings if nearly all of them read so."""
    dates = share_of_dates(values)
    if dates >= PARSED_SHARE:
        return Column(name, "date", f"{100 * dates:.0f} % of the values are dates")
    numbers = _share_of_numbers(values)
    if numbers >= PARSED_SHARE and not ID_NAMES.search(words_of(name)):
        if _are_times(name, values):
            return _times(name, values)
        reason = f"{100 * numbers:.0f} % of the values are numbers"
        return Column(name, "number", reason)
    if are_ratings(values):
        return Column(name, "number", f"ratings written like {values[0]}")
    unit = measured_in(values)
    if unit is not None:
        return Column(name, "number", f"numbers of {unit}")
    if DURATION_NAMES.search(words_of(name)) and are_durations(values):
        return Column(name, "number", f"minutes of durations written like {values[0]}")
    return None


def _are_texts(values: pa.Array) -> bool:
    """Return whether most strings have several words and are different.

    The most frequent one does not count: it may be "no comment", or the form that nobody changed.
    """
    counted = pc.value_counts(values)
    most_frequent = pc.index(counted.field("counts"), pc.max(counted.field("counts")))
    value = counted.field("values")[most_frequent.as_py()]
    others = values.filter(pc.not_equal(values, value))
    n_distinct = len(counted) - 1
    is_different = n_distinct >= TEXT_DISTINCT * len(others)
    return n_distinct > 0 and is_different and _mean_words(others) >= TEXT_WORDS


def _tags(name: str, values: pa.Array) -> Column | None:
    """Take a column for tags if many cells hold several short values, each of them often."""
    separator = tag_separator(values)
    is_named = TAG_NAMES.search(words_of(name)) or CHOICE_NAMES.search(name.lower())
    if separator is None and is_named and are_spaced_tags(values):
        separator = " "
    is_place_or_name = separator == "," and not is_named
    if separator is None or is_place_or_name:
        return None
    tags = pc.list_flatten(split_tags(values, separator))
    n_distinct = pc.count_distinct(tags).as_py()
    longest = _mean_words(pc.unique(tags))
    low, high = CATEGORY_VALUES
    is_frequent = len(tags) >= CATEGORY_ROWS * n_distinct
    if n_distinct < low or not is_frequent or longest > TAG_WORDS:
        return None
    if n_distinct > high:
        return Column(name, "unused", _too_many(name, f"{n_distinct:,} distinct tags"))
    sign = "spaces" if separator == " " else repr(separator)
    return Column(name, "tags", f"{n_distinct} distinct tags, separated by {sign}")


def _category(name: str, values: pa.Array) -> Column:
    """Take a column for a category if it has few values, each of them often."""
    n_distinct = pc.count_distinct(values).as_py()
    low, high = CATEGORY_VALUES
    if n_distinct < low:
        return Column(name, "unused", "all values are equal")
    is_frequent = len(values) >= CATEGORY_ROWS * n_distinct
    if n_distinct > high:
        how_many = f"{n_distinct:,} distinct values"
        reason = _too_many(name, how_many) if is_frequent else f"{how_many}, most rare"
        return Column(name, "unused", reason)
    if not is_frequent:
        return Column(
            name, "unused", f"its {n_distinct} distinct values are too rare to compare"
        )
    return Column(name, "category", f"{n_distinct} distinct values")


def _too_many(name: str, how_many: str) -> str:
    _, high = CATEGORY_VALUES
    return f"{how_many}, more than {high}; use --by {quote(name)} to compare them"


def _mean_words(values: pa.Array | pa.ChunkedArray) -> float:
    """Return the mean number of words; of scripts without spaces, two characters are a word."""
    lengths = pc.utf8_length(values).to_numpy(zero_copy_only=False)
    spaces = pc.count_substring_regex(values, r"\s+").to_numpy(zero_copy_only=False)
    unspaced = pc.count_substring_regex(values, r"[぀-ヿ㐀-鿿฀-๿]")
    words = spaces + 1 + unspaced.to_numpy(zero_copy_only=False) / 2
    filled = np.nan_to_num(lengths.astype(float)) > 0
    return float(words[filled].mean()) if filled.any() else 0.0


def _share_of_numbers(values: pa.Array) -> float:
    """Return the share of strings that read as numbers; codes such as 00501 do not."""
    if are_padded(values):
        return 0.0
    is_number = pc.match_substring_regex(values, WRITTEN_NUMBER)
    return pc.mean(is_number.cast(pa.float64())).as_py()
