"""Rewrite dates in the notations of several languages and fields such that pandas reads them.

"4. März 2021", "4 de enero de 2021", "2021年3月4日", "2021-W05", "Q1 2021", "2019 Jul-Aug".
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from nanosae.sources.kinds import pc

LONGEST = 48  # maximum number of characters of a date
MONTHS = {
    "Jan": "januar|janvier|janv|enero|gennaio|gen|janeiro|januari|января|январь",
    "Feb": "februar|février|fevrier|févr|fév|febrero|febbraio|fevereiro|fev|februari"
    "|февраля|февраль",
    "Mar": "märz|maerz|mär|mrz|mars|marzo|março|marco|maart|mrt|марта|март",
    "Apr": "avril|avr|abril|abr|aprile|апреля|апрель",
    "May": "mai|mayo|maggio|mag|maio|mei|мая|май",
    "Jun": "juni|juin|junio|giugno|giu|junho|июня|июнь",
    "Jul": "juli|juillet|juil|julio|luglio|lug|julho|июля|июль",
    "Aug": "août|aout|agosto|ago|augustus|августа|август",
    "Sep": "septembre|septiembre|settembre|setembro|sept|set|сентября|сентябрь",
    "Oct": "oktober|okt|octobre|octubre|ottobre|ott|outubro|out|октября|октябрь",
    "Nov": "novembre|noviembre|novembro|ноября|ноябрь",
    "Dec": "dezember|dez|décembre|decembre|déc|diciembre|dic|dicembre|dezembro|december"
    "|декабря|декабрь",
}
LETTERS = r"\p{L}"
MONTH = f"(?:{'|'.join(MONTHS)})"
YEAR = r"((?:19|20)\d\d)"
OF = r"(?:de |del |of |di )?"
# patterns and their replacements, in order
REWRITTEN = (
    (rf"^{YEAR}\s*[年년]\s*(\d{{1,2}})\s*[月월]\s*(\d{{1,2}})\s*[日일]", r"\1-\2-\3"),
    (rf"^{YEAR}\s*[年년]\s*(\d{{1,2}})\s*[月월]$", r"\1-\2-1"),
    # "Montag, 4. Jan 2021", "4 de Jan de 2021", "1er Jan 2021"
    (
        rf"(?i)^(?:{LETTERS}{{2,12}}\.?,?\s+)?(\d{{1,2}})(?:\.|er|º|°|st|nd|rd|th)?\s*"
        rf"{OF}({MONTH}){LETTERS}*\.?,?\s+{OF}{YEAR}",
        r"\1 \2 \3",
    ),
    (rf"(?i)^({MONTH}){LETTERS}*\.?,?\s+{OF}{YEAR}$", r"1 \1 \2"),
    (rf"(?i)^({MONTH})[-/ .']+([0-6]\d)$", r"1 \1 20\2"),
    (rf"(?i)^({MONTH})[-/ .']+([7-9]\d)$", r"1 \1 19\2"),
    # PubMed
    (rf"^{YEAR} ({MONTH})\b[^ ]*$", r"1 \2 \1"),
    (rf"^{YEAR} ({MONTH}) (\d{{1,2}})$", r"\3 \2 \1"),
    (rf"(?i)^{YEAR}[-/ .]?[QT]1$|^[QT]1[-/ .']*{YEAR}$", r"\1\2-01-01"),
    (rf"(?i)^{YEAR}[-/ .]?[QT]2$|^[QT]2[-/ .']*{YEAR}$", r"\1\2-04-01"),
    (rf"(?i)^{YEAR}[-/ .]?[QT]3$|^[QT]3[-/ .']*{YEAR}$", r"\1\2-07-01"),
    (rf"(?i)^{YEAR}[-/ .]?[QT]4$|^[QT]4[-/ .']*{YEAR}$", r"\1\2-10-01"),
    # a time zone after the time: "8:11:00 AM MEZ", "08:11 GMT+2"
    (
        r"(\d{1,2}:\d{2}(?::\d{2})?(?:\s?[AaPp][Mm])?)\s*[A-Z]{3,5}"
        r"(?:[+-]\d{1,2}(?::?\d{2})?)?$",
        r"\1",
    ),
)
WEEK = rf"^{YEAR}[- ]?W(\d{{2}})$"


def plain_dates(values: pa.Array | pa.ChunkedArray) -> Any:
    """Rewrite dates that pandas cannot read; keep all other strings.

    A period becomes its first day. Strings longer than a date are ignored.

    Example:
        >>> dates = ["4. März 2021", "lundi 4 janvier 2021", "2021年3月4日", "Q2 2021", "2021-W05"]
        >>> plain_dates(pa.array(dates)).to_pylist()
        ['4 Mar 2021', '4 Jan 2021', '2021-3-4', '2021-04-01', '2021-02-01']
    """
    cells = pc.utf8_trim_whitespace(values)
    is_short = pc.less_equal(pc.utf8_length(cells), LONGEST)
    is_date = pc.and_(is_short, pc.match_substring_regex(cells, r"\d"))
    if not pc.any(is_date).as_py():
        return values  # compiling the patterns takes a tenth of a second
    plain = pc.if_else(is_date, cells, pa.scalar(None, pa.string()))
    has_year = pc.match_substring_regex(plain, YEAR)  # "4 out of 5" is not October
    if pc.any(has_year).as_py():
        plain = pc.if_else(has_year, _with_english_months(plain), plain)
    for pattern, rewritten in REWRITTEN:
        plain = pc.replace_substring_regex(plain, pattern, rewritten)
    return pc.coalesce(_week_starts(plain), plain, values)


def _with_english_months(values: pa.Array | pa.ChunkedArray) -> Any:
    """Replace the names of months, as whole words, by their English abbreviations."""
    for month, names in MONTHS.items():
        pattern = rf"(?i)(^|[^{LETTERS}])(?:{names})([^{LETTERS}]|$)"
        values = pc.replace_substring_regex(values, pattern, rf"\1{month}\2")
    return values


def _week_starts(values: pa.Array | pa.ChunkedArray) -> Any:
    """Return the Mondays of ISO weeks, with null for other strings."""
    is_week = pc.match_substring_regex(values, WEEK)
    days = pc.replace_substring_regex(values, WEEK, r"\1-W\2-1")
    days = pc.if_else(is_week, days, pa.scalar(None, pa.string()))
    if not pc.any(is_week).as_py():
        return days
    mondays = pd.to_datetime(days.to_pandas(), format="%G-W%V-%u", errors="coerce")
    written = mondays.dt.strftime("%Y-%m-%d")
    return pa.array(written.replace({np.nan: None}), pa.string())
