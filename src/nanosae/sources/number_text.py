"""Numbers as people write them: "$1,200", "45 %", "1.234,50 €", "(12.50)", "★★★★☆", "4/5"."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa

from nanosae.sources.kinds import pc

CURRENCY = "[$€£¥₹₩₽]|USD|EUR|GBP|CHF|JPY|CAD|AUD|INR|kr"
UNIT = rf"(?:{CURRENCY}|[%‰])?"
SPACE = "['’ \u00a0\u202f]"  # also those that do not break a line
PLAIN = r"\d+(?:[.,]\d+)?"
IN_GROUPS = "|".join(
    rf"\d{{1,3}}(?:{sign}\d{{3}})+(?:[.,]\d+)?" for sign in (",", r"\.", SPACE)
)
AMOUNT = rf"{UNIT}\s*(?:{PLAIN}|{IN_GROUPS})(?:[eE][-+]?\d+)?\s*{UNIT}"
IN_BRACKETS = rf"{UNIT}\s*\(\s*{AMOUNT}\s*\)\s*{UNIT}"  # below zero, in accounts
WITH_SIGN = rf"{UNIT}\s*[-+−]?\s*{AMOUNT}\s*-?\s*{UNIT}"
WRITTEN_NUMBER = rf"^\s*(?:{WITH_SIGN}|{IN_BRACKETS})\s*$"
BELOW_ZERO = r"[(−]|-\s*\D*$|^\D*-"
STARS = r"^\s*★+☆*\s*$"
OUT_OF = r"^\s*\d{1,2}(?:[.,]\d)?\s*(?:/|out of|von|sur|de)\s*(?:5|10|100)\s*$"
RATING_SHARE = 0.95  # of the cells that read as ratings
PADDED = r"^\s*0\d"  # 00501 is a code, not a number
IN_THREES = r"^[^\d]*[1-9]\d{{0,2}}(?:{0}\d{{3}})+[^\d]*$"  # of one sign


def are_padded(values: pa.Array | pa.ChunkedArray) -> bool:
    """Return whether strings of digits begin with zeros, as codes and numbers of houses do."""
    return _any_matches(values, PADDED)


def decimal_sign(values: pa.Array | pa.ChunkedArray) -> str:
    """Return what separates the fraction of numbers, "." or ",".

    Where cells have both, it is the last one. Where they have one, it separates thousands if it is
    there twice, or if three digits follow it in all cells: of points this is so for prices only.

    Args:
        values: Strings that hold numbers.

    Example:
        >>> decimal_sign(pa.array(["$1,200", "$95"])), decimal_sign(pa.array(["1,5", "2"]))
        ('.', ',')
    """
    has_comma = pc.match_substring(values, ",")
    has_point = pc.match_substring(values, ".")
    both = values.filter(pc.and_(has_comma, has_point))
    if len(both):
        comma, point = (pc.find_substring(both, sign) for sign in (",", "."))
        return "," if pc.all(pc.greater(comma, point)).as_py() else "."
    with_comma, with_point = values.filter(has_comma), values.filter(has_point)
    if len(with_comma):
        return "." if _all_match(with_comma, IN_THREES.format(",")) else ","
    if not len(with_point) or not _all_match(with_point, IN_THREES.format(r"\.")):
        return "."
    is_price = _any_matches(values, CURRENCY)
    is_twice = _any_matches(with_point, r"\..*\.")
    return "," if is_price or is_twice else "."


def _all_match(values: pa.Array | pa.ChunkedArray, pattern: str) -> bool:
    return pc.all(pc.match_substring_regex(values, pattern)).as_py()


def _any_matches(values: pa.Array | pa.ChunkedArray, pattern: str) -> bool:
    return pc.any(pc.match_substring_regex(values, pattern)).as_py() or False


def parse_numbers(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Read strings as numbers, float64; what is none is null. A percentage is its number.

    Example:
        >>> parse_numbers(pa.array(["1.234,50 €", "80 €", "free"])).to_pylist()
        [1234.5, 80.0, None]
    """
    is_number = pc.match_substring_regex(values, WRITTEN_NUMBER)
    cells = pc.if_else(is_number, values, pa.scalar(None, pa.string()))
    decimal = decimal_sign(cells.drop_null())
    thousands = "," if decimal == "." else "."
    plain = pc.replace_substring(cells, thousands, "")
    plain = pc.replace_substring_regex(plain, rf"{CURRENCY}|[^\d.,eE+-]", "")
    size = pc.replace_substring_regex(plain, r"^[-+]|-$", "")
    size = pc.replace_substring(size, decimal, ".")
    numbers = pa.array(pd.to_numeric(size.to_pandas(), errors="coerce"), pa.float64())
    is_below_zero = pc.match_substring_regex(cells, BELOW_ZERO)
    return pc.if_else(is_below_zero, pc.negate(numbers), numbers)


def are_ratings(values: pa.Array | pa.ChunkedArray) -> bool:
    """Return whether strings are ratings: rows of stars, or numbers out of 5, 10 or 100."""
    is_rating = pc.match_substring_regex(values, rf"{STARS}|{OUT_OF}")
    share = pc.mean(is_rating.cast(pa.float64())).as_py()
    return share is not None and share >= RATING_SHARE


def parse_ratings(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Read ratings as their numbers, float64; what is none is null.

    Example:
        >>> parse_ratings(pa.array(["★★★★☆", "3 out of 5", "7/10", "none"])).to_pylist()
        [4.0, 3.0, 7.0, None]
    """
    cells = pc.utf8_trim_whitespace(values)
    n_stars = pc.count_substring(cells, "★").cast(pa.float64())
    digits = pc.replace_substring_regex(cells, r"[^\d.,].*$", "")
    points = pc.replace_substring(digits, ",", ".").to_pandas()
    out_of = pa.array(pd.to_numeric(points, errors="coerce"), pa.float64())
    has_stars = pc.match_substring_regex(values, STARS)
    is_rating = pc.match_substring_regex(values, rf"{STARS}|{OUT_OF}")
    numbers = pc.if_else(has_stars, n_stars, out_of)
    return pc.if_else(is_rating, numbers, pa.scalar(None, pa.float64()))
