"""Dates as people of several countries write them, beside the days of the calendar."""

from datetime import datetime

import pandas as pd
import pyarrow as pa
import pytest

from nanosae.sources.dates import calendar_unit, parse_dates, share_of_dates
from nanosae.sources.roles import column_roles
from nanosae.sources.typed import with_types

DAYS = pd.date_range("2020-01-06", "2022-12-30", freq="7D")
GERMAN = (
    "Januar Februar März April Mai Juni Juli August September Oktober November Dezember"
)
SHORT = "Jan. Feb. März Apr. Mai Juni Juli Aug. Sept. Okt. Nov. Dez."
FRENCH = "janvier février mars avril mai juin juillet août septembre octobre novembre décembre"
SPANISH = (
    "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre "
    "diciembre"
)
ITALIAN = (
    "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre "
    "dicembre"
)
DUTCH = (
    "januari februari maart april mei juni juli augustus september oktober november "
    "december"
)
PORTUGUESE = (
    "janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro "
    "dezembro"
)
RUSSIAN = (
    "января февраля марта апреля мая июня июля августа сентября октября ноября декабря"
)
WAYS = {
    "{d}. {m} {y}": GERMAN,
    "Montag, {d}. {m} {y}": SHORT,
    "{d} {m} {y}": FRENCH,
    "mercredi {d} {m} {y}": FRENCH,
    "{d} de {m} de {y}": SPANISH,
    "{d}  {m} {y}": ITALIAN,
    "{d} {m} {y} ": DUTCH,
    " {d} de {m} de {y}": PORTUGUESE,
    "{d} {m} {y} 14:05": RUSSIAN,
}


def dates_of(cells):
    """Read a column as a run does."""
    table = pa.table({"when": cells})
    (column,) = column_roles(table)
    assert column.role == "date", column
    return with_types(table, [column])["when"].to_pandas()


@pytest.mark.parametrize("way", WAYS)
def test_months_of_several_languages(way):
    months = WAYS[way].split()
    cells = [way.format(d=day.day, m=months[day.month - 1], y=day.year) for day in DAYS]
    assert (dates_of(cells).dt.normalize() == DAYS).all()


@pytest.mark.parametrize(
    ("way", "unit"),
    [
        ("{t.year}年{t.month}月{t.day}日", "D"),
        ("{t.year}年{t.month}月", "M"),
        ("{t.year}-Q{t.quarter}", "Q"),
        ("Q{t.quarter} {t.year}", "Q"),
        ("{t.year}/T{t.quarter}", "Q"),
        ("{iso.year}-W{iso.week:02}", "W"),
        ("{iso.year}W{iso.week:02}", "W"),
        ("{t:%b-%y}", "M"),
        ("{t:%B %Y}", "M"),
        ("{t:%Y %b}", "M"),
        ("{t:%Y %b %d}", "D"),
        ("{t:%Y %b-Dec}", "M"),
        ("{t:%Y/%m/%d} {t.day}:07:00 AM MEZ", "D"),
        ("{t:%Y-%m-%d} 08:11 GMT+2", "D"),
        ("{t:%B} {t.day}th, {t.year}", "D"),
    ],
)
def test_periods_are_their_first_day(way, unit):
    cells = [way.format(t=day, iso=day.isocalendar()) for day in DAYS]
    if "AM" in way:  # of a clock with twelve hours
        cells = [
            cell.replace(f" {day.day}:", " 7:")
            for cell, day in zip(cells, DAYS, strict=True)
        ]
    starts = DAYS.to_period(unit).start_time
    assert (dates_of(cells).dt.normalize() == starts).all()


def test_months_as_whole_numbers():
    months = [202012, 202101, 202112] * 20
    dates = dates_of(months)
    assert dates[0] == pd.Timestamp("2020-12-01")
    assert calendar_unit(pa.array([202012, 202113])) is None
    assert calendar_unit(pa.array([None], pa.int64())) is None


@pytest.mark.parametrize(
    "cells",
    [
        ["4 out of 5", "3 out of 5"],  # "out" is October in Portuguese
        ["Set A 2021", "Set B 2022"],
        ["mag 5", "mag 12"],
        ["21-Mar", "4-Apr"],  # no year
        ["W12", "W13"],
        ["Q1", "Q2"],
        ["1999 words", "2020 words"],
    ],
)
def test_what_is_no_date_is_none(cells):
    assert share_of_dates(pa.array(cells * 20)) < 0.95


@pytest.mark.parametrize(
    "form", ["%d/%m/%Y %H:%M", "%m/%d/%Y", "%d %b %Y", "%d.%m.%Y %H:%M:%S"]
)
def test_dates_of_one_format_and_with_an_exception(form):
    times = [datetime(2023, 1 + i % 12, 1 + 2 * (i % 14), i % 24) for i in range(90)]
    written = [time.strftime(form) for time in times]
    expected = [datetime.strptime(text, form) for text in written]
    read = parse_dates(pd.Series(written)).dt.tz_localize(None)
    assert read.tolist() == expected
    other = parse_dates(pd.Series([*written, "2 May 2024", "never", None]))
    assert other.dt.tz_localize(None)[:90].tolist() == expected
    assert str(other[90].date()) == "2024-05-02"
    assert other[91:].isna().all()


def test_the_first_days_of_months_between_dots_are_months():
    for form in ("%d.%m.%Y", "%d.%m.%y", "%d.%m.%Y %H:%M"):
        days = [datetime(2024, month, 1) for month in range(1, 13)]
        read = parse_dates(pd.Series([day.strftime(form) for day in days]))
        assert read.dt.tz_localize(None).tolist() == days
    read = parse_dates(pd.Series(["01.02.2024", "01.31.2024"]))  # as in the US
    assert read.dt.month.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("written", "hour", "minute"),
    [
        ("Mon Apr 06 2009 22:19:45 GMT+0200 (Central European Summer Time)", 20, 19),
        ("Mon Apr 06 2009 22:19:45 GMT-0130 (X)", 23, 49),
        ("06 Apr 2009 22:19:45 UTC+2", 20, 19),
        ("06 Apr 2009 22:19:45 GMT+05:30", 16, 49),
        ("Apr 6, 2009 10:19:45 PM GMT+2", 20, 19),
        ("6 April 2009 10:19:45 pm UTC+0200", 20, 19),
        ("Mon Apr 06 22:19:45 +0200 2009", 20, 19),
        ("Mon Apr 06 22:19:45 +0000 2009", 22, 19),
        ("Mon, 06 Apr 2009 22:19:45 +0200", 20, 19),
        ("2009-04-06T22:19:45+02:00", 20, 19),
    ],
)
def test_times_with_an_offset_are_in_utc(written, hour, minute):
    expected = pd.Timestamp(2009, 4, 6, hour, minute, 45, tz="UTC")
    assert parse_dates(pd.Series([written] * 3)).tolist() == [expected] * 3
