"""Numbers as people write them: "$1,200", "45 %", "1.234,50 €", "(12.50)", "45k", "★★★★☆", "4/5".

Also numbers with units, "34 years", ranges, "$50,000 - $65,000", and durations, "1:30:00".
"""

from __future__ import annotations

import pandas as pd
import pyarrow as pa

from nanosae.sources.kinds import most_frequent, pc, share

CURRENCY = "[$€£¥₹₩₽]|USD|EUR|GBP|CHF|JPY|CAD|AUD|INR|kr"
UNIT = rf"(?:{CURRENCY}|[%‰])?"
SPACE = "['’ \u00a0\u202f]"  # including no-break spaces
PLAIN = r"\d+(?:[.,]\d+)?"
IN_GROUPS = "|".join(
    rf"\d{{1,3}}(?:{sign}\d{{3}})+(?:[.,]\d+)?" for sign in (",", r"\.", SPACE)
)
IN_LAKHS = r"\d{1,2}(?:,\d{2})+,\d{3}(?:\.\d+)?"  # as in India
TIMES = {"k": 1e3, "K": 1e3, "M": 1e6, "B": 1e9}  # suffixes
POWER = r"(?:[eE][-+]?\d+|[kKMB])?"
SIZE = rf"{PLAIN}|{IN_GROUPS}|{IN_LAKHS}"
AMOUNT = rf"{UNIT}\s*(?:{SIZE}){POWER}\s*{UNIT}"
IN_BRACKETS = rf"{UNIT}\s*\(\s*{AMOUNT}\s*\)\s*{UNIT}"  # below zero, in accounts
WITH_SIGN = rf"{UNIT}\s*[-+−]?\s*{AMOUNT}\s*-?\s*{UNIT}"
WRITTEN_NUMBER = rf"^\s*(?:{WITH_SIGN}|{IN_BRACKETS})\s*$"
BELOW_ZERO = r"[(−]|-\s*\D*$|^\D*-"
STARS = r"^\s*(?:★+☆*|(?:⭐\x{fe0f}?)+)\s*$"
MEASURED = rf"^\s*(?P<size>{SIZE})\s*(?:-\s*)?(?P<unit>\p{{L}}[^\d,;]{{0,14}})$"
RANGE = (
    rf"^\s*(?:\p{{L}}{{2,7}}:?\s+)?(?P<low>{AMOUNT})\s*(?:-|–|—|to|bis|à|a)\s*"
    rf"(?P<high>{AMOUNT})[^\d]*$"
)
CODE = r"^\s*\d+\s*-\s*\d+\s*$"  # 555-1234 and 12345-6789 are not ranges
MEASURED_VALUES = 3  # distinct values from which "12 months" is a number, not a class
DURATION = r"^\s*(?P<time>\d{1,3}:[0-5]\d(?::[0-5]\d(?:\.\d+)?)?)\s*$"
OUT_OF = r"^\s*\d{1,2}(?:[.,]\d)?\s*(?:/|out of|von|sur|de)\s*(?:5|10|100)\s*$"
MEASURED_SHARE = 0.95  # minimum share of cells with a unit, or of ranges
RATING_SHARE = 0.95  # minimum share of cells that are ratings
PADDED = r"^\s*0\d"  # 00501 is a code, not a number
EXCEPTIONS = 0.05  # maximum share of numbers that happen to begin with zero
IN_THREES = r"^[^\d]*[1-9]\d{{0,2}}(?:{0}\d{{3}})+[^\d]*$"  # for a given separator


def are_padded(values: pa.Array | pa.ChunkedArray) -> bool:
    """Return whether strings of digits begin with zero, as codes do.

    Numbers are not padded by a few exceptions, such as a single "05" beside "5".

    Example:
        >>> numbers = pa.array([*map(str, range(99)), "05"])
        >>> are_padded(pa.array(["10115", "00501"])), are_padded(numbers)
        (True, False)
    """
    is_padded = pc.match_substring_regex(values, PADDED)
    if not pc.any(is_padded).as_py():
        return False
    if share(is_padded) > EXCEPTIONS:
        return True
    n_letters = pc.utf8_length(pc.utf8_trim_whitespace(values))
    shortest_padded = pc.min(n_letters.filter(is_padded)).as_py()
    return shortest_padded <= pc.min(n_letters.filter(pc.invert(is_padded))).as_py()


def decimal_sign(values: pa.Array | pa.ChunkedArray) -> str:
    """Return the decimal separator of numbers, "." or ",".

    If cells have both signs, it is the last one. A single sign separates thousands if it occurs
    twice, or if it is followed by three digits in all cells; points only do so in prices.

    Args:
        values: Strings with numbers.

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
        in_groups = rf"{IN_THREES.format(',')}|^[^\d]*{IN_LAKHS}[^\d]*$"
        return "." if _all_match(with_comma, in_groups) else ","
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
    """Read strings as numbers, float64, with null for other strings; "45 %" is 45.

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
    for letter, times in TIMES.items():
        has_letter = pc.match_substring_regex(cells, rf"\d{letter}")
        numbers = pc.if_else(has_letter, pc.multiply(numbers, times), numbers)
    is_below_zero = pc.match_substring_regex(cells, BELOW_ZERO)
    return pc.if_else(is_below_zero, pc.negate(numbers), numbers)


def are_ratings(values: pa.Array | pa.ChunkedArray) -> bool:
    """Return whether strings are ratings: stars, or numbers out of 5, 10 or 100."""
    is_rating = pc.match_substring_regex(values, rf"{STARS}|{OUT_OF}")
    return share(is_rating) >= RATING_SHARE


def parse_ratings(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Read ratings as numbers, float64, with null for other strings.

    Example:
        >>> parse_ratings(pa.array(["★★★★☆", "3 out of 5", "7/10", "none"])).to_pylist()
        [4.0, 3.0, 7.0, None]
    """
    cells = pc.utf8_trim_whitespace(values)
    n_stars = pc.count_substring_regex(cells, "[★⭐]").cast(pa.float64())
    digits = pc.replace_substring_regex(cells, r"[^\d.,].*$", "")
    points = pc.replace_substring(digits, ",", ".").to_pandas()
    out_of = pa.array(pd.to_numeric(points, errors="coerce"), pa.float64())
    has_stars = pc.match_substring_regex(values, STARS)
    is_rating = pc.match_substring_regex(values, rf"{STARS}|{OUT_OF}")
    numbers = pc.if_else(has_stars, n_stars, out_of)
    return pc.if_else(is_rating, numbers, pa.scalar(None, pa.float64()))


def read_numbers(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Read numbers in any supported notation, float64, with null for other strings."""
    if are_ratings(values):
        return parse_ratings(values)
    if are_ranges(values):
        return parse_ranges(values)
    if are_durations(values):
        return parse_durations(values)
    if measured_in(values) is not None:
        return parse_measured(values)
    return parse_numbers(values)


def measured_in(values: pa.Array | pa.ChunkedArray) -> str | None:
    """Return the unit that nearly all numbers have in common, or None.

    Example:
        >>> measured_in(pa.array(["1 year", "34 years", "70 years"]))
        'years'
        >>> measured_in(pa.array(["45k", "50k", "70k"])) is None
        True
    """
    if share(pc.match_substring_regex(values, MEASURED)) < MEASURED_SHARE:
        return None
    measured = pc.extract_regex(values, MEASURED)
    sizes, units = (pc.struct_field(measured, name) for name in ("size", "unit"))
    units = pc.utf8_trim_whitespace(units.drop_null())
    stems = pc.utf8_rtrim(pc.utf8_lower(units), "s.")
    is_one = pc.count_distinct(stems).as_py() == 1
    has_several = pc.count_distinct(sizes).as_py() >= MEASURED_VALUES
    if not is_one or not has_several:
        return None
    unit = most_frequent(units)
    return None if _are_multiples(values, unit) else unit


def _are_multiples(values: pa.Array | pa.ChunkedArray, unit: str) -> bool:
    """Return whether what looks like a unit multiplies numbers, as in "45k"; not in "45 K"."""
    written = share(pc.match_substring_regex(values, WRITTEN_NUMBER))
    return unit in TIMES and written >= MEASURED_SHARE


def are_ranges(values: pa.Array | pa.ChunkedArray) -> bool:
    """Return whether nearly all strings are ranges of numbers, such as "$50,000 - $65,000"."""
    is_range = pc.match_substring_regex(values, RANGE)
    is_code = pc.match_substring_regex(values, CODE)
    return share(pc.and_not(is_range, is_code)) >= MEASURED_SHARE


def are_durations(values: pa.Array | pa.ChunkedArray) -> bool:
    """Return whether nearly all strings are durations such as "1:30:00" or "2:30"."""
    return share(pc.match_substring_regex(values, DURATION)) >= MEASURED_SHARE


def parse_measured(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Read numbers with a unit, float64.

    Example:
        >>> parse_measured(pa.array(["1 year", "34 years"])).to_pylist()
        [1.0, 34.0]
    """
    return parse_numbers(pc.struct_field(pc.extract_regex(values, MEASURED), "size"))


def parse_ranges(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Read ranges as their midpoints, float64.

    Example:
        >>> parse_ranges(pa.array(["$50,000 - $65,000 a year", "18-24"])).to_pylist()
        [57500.0, 21.0]
    """
    ranges = pc.extract_regex(values, RANGE)
    low, high = (parse_numbers(pc.struct_field(ranges, end)) for end in ("low", "high"))
    return pc.divide(pc.add(low, high), 2.0)


def parse_durations(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Read durations as minutes, float64; two numbers are minutes and seconds.

    Example:
        >>> parse_durations(pa.array(["1:30:00", "2:30"])).to_pylist()
        [90.0, 2.5]
    """
    times = pc.struct_field(pc.extract_regex(values, DURATION), "time")
    with_hours = pc.replace_substring_regex(times, r"^(\d+:\d+)$", r"0:\1")
    minutes = pd.to_timedelta(with_hours.to_pandas()) / pd.Timedelta(minutes=1)
    return pa.array(minutes, pa.float64(), from_pandas=True)
