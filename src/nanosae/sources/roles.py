"""What each column of a table is: the text, a category, a date, a number, tags, or nothing to use.

The roles are decided from types, values and names alone, and each decision carries its reason in
words, so that a user can see it and decide otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute

from nanosae.errors import DataError
from nanosae.sources.number_text import NUMBER_CELL, are_padded

pc: Any = pyarrow.compute  # its functions are made when it is imported

Role = Literal["text", "category", "date", "number", "tags", "id", "vectors", "unused"]

CATEGORY_VALUES = (2, 50)  # a category has so many different values
CATEGORY_ROWS = 10  # rows that an average value of a category has at least
TEXT_WORDS = 3.0  # mean number of words from which a column can be the text
TEXT_DISTINCT = 0.3  # share of different values from which a column can be the text
# of two texts, the shorter one has at least this share of the longer's words
EQUALLY_LIKELY = 0.6
PARSED_SHARE = 0.95  # share of the cells that must read as dates or numbers
SAMPLE_ROWS = 20_000  # rows that are looked at
TEXT_NAMES = re.compile(
    r"^(text|texts|body|content|contents|abstract|review|comment|message|description|tweet|post|"
    r"answer|response|feedback|document|sentence|summary|question|complaint|narrative|utterance)s?$"
)
ID_NAMES = re.compile(
    r"(^|[_\s-])(id|ids|uuid|guid|key|index|idx|hash|url|uri|link|doi)$"
)
DATE_SHAPE = (
    r"^\D{0,12}(\d{4}[-/.]\d{1,2}[-/.T]\d|\d{1,2}[-/.]\d{1,2}[-/.]\d{2})"
    r"|^\d{4}-(0[1-9]|1[0-2])$|\d{1,2}\W+[A-Za-z]{3}|^([A-Za-z]{3,9}\W+){1,2}\d"
)
WEEKDAY = r"^(Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,?\s+"
ZONE = r"\s(?:[A-Z]{3,4}|[+-]\d{4})\s(\d{4})$"  # of "Apr 06 22:19:45 PDT 2009"
TIME_NAMES = re.compile(
    r"(^|[_\s-])(time|timestamp|date|datetime|created|posted)([_\s-]|$)"
)
MILLISECONDS = 10**11  # from here on, counts since 1970 are in milliseconds
DAYS = (1900_01_01, 2100_12_31)  # as whole numbers
EPOCH = (10**8, 5 * 10**12)  # seconds since 1973, milliseconds until 2128
TAG_SEPARATORS = "|;,"
TAG_NAMES = re.compile(
    r"(^|[_\s-])(tag|label|topic|genre|keyword|categorie|subject|skill)s?$"
)
TAGGED_SHARE = 0.1  # share of the cells that hold several tags
TAG_WORDS = 4  # a longer tag is a part of a sentence
YEAR_NAMES = re.compile(r"(^|[_\s-])(year|yr|jahr|annee|año)$")


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
    columns = [
        _column_role(name, sample.column(name).combine_chunks(), table.num_rows)
        for name in table.column_names
        if name not in skip
    ]
    candidates = [column.name for column in columns if column.role == "text"]
    text = _choose_text(sample, candidates)
    return [
        Column(column.name, "unused", f"{column.reason}, but {text!r} is the text")
        if column.role == "text" and column.name != text
        else column
        for column in columns
    ]


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
        [Column(name='shelf', role='tags', reason='you said so')]
    """
    named = []
    for column in columns:
        role = roles.get(column.name, column.role)
        if role == "category" and column.role != "category":
            values = table.column(column.name)
            if column.role == "tags" or _may_hold_tags(values):
                role = "tags"
        if role != column.role:
            column = Column(column.name, role, "you said so")
        named.append(column)
    return named


def _may_hold_tags(values: pa.ChunkedArray) -> bool:
    """Return whether a column holds lists, or cells of tags with a bar between them."""
    kind = values.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return True
    if not pa.types.is_string(kind) and not pa.types.is_large_string(kind):
        return False
    return tag_separator(values) == TAG_SEPARATORS[0]


def _choose_text(sample: pa.Table, candidates: list[str]) -> str | None:
    """Return the most likely text column; refuse to guess between two."""
    if len(candidates) < 2:
        return candidates[0] if candidates else None
    named = [name for name in candidates if TEXT_NAMES.match(name.lower())]
    if len(named) == 1:
        return named[0]
    words = {name: _mean_words(sample.column(name)) for name in named or candidates}
    first, second = sorted(words, key=lambda name: -words[name])[:2]
    if words[second] >= EQUALLY_LIKELY * words[first]:
        raise DataError(
            f"Which column is the text: {first!r} ({words[first]:.0f} words on average) or "
            f"{second!r} ({words[second]:.0f})?",
            column=first,
            remedy=f"Choose one: --text {first} or --text {second}.",
        )
    return first


def _column_role(name: str, values: pa.Array, n_rows: int) -> Column:
    present = values.drop_null()
    if len(present) == 0:
        return Column(name, "unused", "it is empty")
    kind = present.type
    if pa.types.is_dictionary(kind):
        return _dictionary_role(name, present.dictionary_decode(), n_rows)
    if pa.types.is_temporal(kind) and not pa.types.is_duration(kind):
        return Column(name, "date", "it holds dates")
    if pa.types.is_boolean(kind):
        return _category(name, present)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _list_role(name, kind)
    if pa.types.is_integer(kind):
        return _integer_role(name, present)
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _fraction_role(name, present)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _string_role(name, present, n_rows)
    return Column(name, "unused", f"nothing is done with {kind} values")


def _dictionary_role(name: str, values: pa.Array, n_rows: int) -> Column:
    """Take what is stored as a category for one, even if its values read as numbers or dates."""
    kind = values.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        category = _category(name, values)
        if category.role == "category":
            return category
    return _column_role(name, values, n_rows)


def _list_role(name: str, kind: pa.DataType) -> Column:
    if pa.types.is_string(kind.value_type) or pa.types.is_large_string(kind.value_type):
        return Column(name, "tags", "it holds lists of strings")
    return Column(name, "unused", f"nothing is done with {kind} values")


def _integer_role(name: str, values: pa.Array) -> Column:
    n_distinct = pc.count_distinct(values).as_py()
    low, high = (bound.as_py() for bound in pc.min_max(values).values())
    in_range = low >= 1800 and high <= 2100
    if in_range and (YEAR_NAMES.search(name.lower()) or n_distinct > 2):
        return Column(name, "date", f"its values are years, {low} to {high}")
    if n_distinct > 2 and are_days(values):
        return Column(name, "date", f"its values are days, as in {low}")
    if TIME_NAMES.search(name.lower()) and low >= EPOCH[0] and high <= EPOCH[1]:
        unit = "seconds" if high < MILLISECONDS else "milliseconds"
        return Column(name, "date", f"its values count {unit} since 1970")
    if ID_NAMES.search(name.lower()):
        return Column(name, "id", "its name says so")
    if n_distinct == len(values) and len(values) > CATEGORY_ROWS:
        return Column(name, "id", "every row has a value of its own")
    if n_distinct == 1:
        return Column(name, "unused", "all its values are equal")
    if n_distinct == 2:
        return _category(name, values)
    return Column(name, "number", "it holds numbers")


def _fraction_role(name: str, values: pa.Array) -> Column:
    if ID_NAMES.search(name.lower()):
        return Column(name, "id", "its name says so")
    if pc.count_distinct(values).as_py() == 1:
        return Column(name, "unused", "all its values are equal")
    return Column(name, "number", "it holds numbers")


def _string_role(name: str, values: pa.Array, n_rows: int) -> Column:
    filled = values.filter(pc.not_equal(pc.utf8_trim_whitespace(values), ""))
    if len(filled) == 0:
        return Column(name, "unused", "it is empty")
    n_distinct = pc.count_distinct(filled).as_py()
    mean_words = _mean_words(filled)
    if n_distinct == 1:
        return Column(name, "unused", "all its values are equal")
    if (share := _share_of_dates(filled)) >= PARSED_SHARE:
        return Column(name, "date", f"{100 * share:.0f} % of its values read as dates")
    share = _share_of_numbers(filled)
    if share >= PARSED_SHARE and not ID_NAMES.search(name.lower()):
        return Column(
            name, "number", f"{100 * share:.0f} % of its values read as numbers"
        )
    tags = _tags(name, filled)
    if tags is not None:
        return tags
    category = _category(name, filled)
    if category.role == "category":
        return category
    if _are_texts(filled):
        return Column(name, "text", f"it has {mean_words:.0f} words a row on average")
    if n_distinct == len(filled):
        return Column(name, "id", "every row has a value of its own")
    if ID_NAMES.search(name.lower()):
        return Column(name, "id", "its name says so")
    return category


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
    is_place_or_name = separator == "," and not TAG_NAMES.search(name.lower())
    if separator is None or is_place_or_name:
        return None
    tags = pc.list_flatten(_split(values, separator))
    n_distinct = pc.count_distinct(tags).as_py()
    longest = _mean_words(pc.unique(tags))
    low, high = CATEGORY_VALUES
    is_frequent = len(tags) >= CATEGORY_ROWS * n_distinct
    if n_distinct < low or not is_frequent or longest > TAG_WORDS:
        return None
    if n_distinct > high:
        return Column(
            name, "unused", _too_many(name, f"its cells hold {n_distinct:,} tags")
        )
    return Column(name, "tags", f"its cells hold {n_distinct} tags, with {separator!r}")


def tag_separator(values: pa.Array | pa.ChunkedArray) -> str | None:
    """Return what separates tags in cells; None if most cells hold no more than one."""
    for separator in TAG_SEPARATORS:
        matches = pc.match_substring(values, separator)
        share = pc.mean(pc.cast(matches, pa.float64())).as_py()
        if share is not None and share >= TAGGED_SHARE:  # None of no cells
            return separator
    return None


def split_tags(values: pa.Array | pa.ChunkedArray) -> Any:
    """Return cells of tags as lists of strings."""
    return _split(values, tag_separator(values) or TAG_SEPARATORS[0])


def _split(values: pa.Array | pa.ChunkedArray, separator: str) -> Any:
    pattern = rf"\s*[{separator}]\s*"
    return pc.split_pattern_regex(pc.utf8_trim_whitespace(values), pattern)


def _category(name: str, values: pa.Array) -> Column:
    """Take a column for a category if it has few values, each of them often."""
    n_distinct = pc.count_distinct(values).as_py()
    low, high = CATEGORY_VALUES
    if n_distinct < low:
        return Column(name, "unused", "all its values are equal")
    is_frequent = len(values) >= CATEGORY_ROWS * n_distinct
    if n_distinct > high:
        how_many = f"it has {n_distinct:,} different values"
        reason = _too_many(name, how_many) if is_frequent else f"{how_many}, most rare"
        return Column(name, "unused", reason)
    if not is_frequent:
        return Column(
            name, "unused", f"its {n_distinct} values are too rare to compare"
        )
    return Column(name, "category", f"it has {n_distinct} different values")


def _too_many(name: str, how_many: str) -> str:
    _, high = CATEGORY_VALUES
    return f"{how_many}, more than {high}; --by {name} compares them"


def _mean_words(values: pa.Array | pa.ChunkedArray) -> float:
    """Return the mean number of words; of scripts without spaces, two characters are a word."""
    lengths = pc.utf8_length(values).to_numpy(zero_copy_only=False)
    spaces = pc.count_substring_regex(values, r"\s+").to_numpy(zero_copy_only=False)
    unspaced = pc.count_substring_regex(values, r"[぀-ヿ㐀-鿿฀-๿]")
    words = spaces + 1 + unspaced.to_numpy(zero_copy_only=False) / 2
    filled = np.nan_to_num(lengths.astype(float)) > 0
    return float(words[filled].mean()) if filled.any() else 0.0


def _share_of_dates(values: pa.Array) -> float:
    """Return the share of strings that read as dates."""
    if _share_matching(values, DATE_SHAPE) < PARSED_SHARE:
        return 0.0
    return float(parse_dates(values.to_pandas()).notna().mean())


def _share_of_numbers(values: pa.Array) -> float:
    """Return the share of strings that read as numbers; codes such as 00501 do not."""
    return 0.0 if are_padded(values) else _share_matching(values, NUMBER_CELL)


def _share_matching(values: pa.Array, pattern: str) -> float:
    matches = pc.match_substring_regex(values, pattern)
    return pc.mean(pc.cast(matches, pa.float64())).as_py()


def are_days(values: pa.Array | pa.ChunkedArray) -> bool:
    """Return whether all whole numbers are days of the calendar, as in 20240131."""
    low, high = (bound.as_py() for bound in pc.min_max(values).values())
    if low is None or low < DAYS[0] or high > DAYS[1]:
        return False
    return parse_days(pc.unique(values).drop_null()).notna().all()


def parse_days(values: pa.Array | pa.ChunkedArray) -> pd.Series:
    """Read whole numbers such as 20240131 as days in UTC; what is none is NaT."""
    digits = values.cast(pa.string()).to_pandas()
    return pd.to_datetime(digits, format="%Y%m%d", errors="coerce", utc=True)


def parse_dates(values: pd.Series) -> pd.Series:
    """Read strings as dates in UTC: ISO 8601 first, then the formats that people write.

    Days come before months where some value has a day above 12 in the first place. What does not
    read as a date is NaT.
    """
    parsed = pd.to_datetime(values, errors="coerce", utc=True, format="ISO8601")
    if parsed.notna().mean() >= PARSED_SHARE:
        return parsed
    values = values.str.replace(WEEKDAY, "", regex=True)
    values = values.str.replace(ZONE, r" \1", regex=True)
    first_numbers = values.astype(str).str.extract(r"^\s*(\d{1,2})[/.-]\d{1,2}[/.-]\d")[
        0
    ]
    days_or_months = np.asarray(first_numbers.astype(float))
    day_first = bool(np.nanmax(days_or_months, initial=0) > 12)
    return pd.to_datetime(
        values, errors="coerce", utc=True, dayfirst=day_first, format="mixed"
    )
