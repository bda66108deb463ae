"""The sentence of a finding, for readers without statistics.

Each finding of `contrast`, `over_time` or `explain` becomes a sentence: what share of a group or
period consists of texts with a feature or topic, or how a number differs in them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from nanosae.analysis.comparisons.findings import (
    Contrast,
    is_about_topic,
    rest_of,
    shares_of,
)
from nanosae.text.stop_words import is_stop_word, stop_words_of
from nanosae.text.tokens import is_unspaced

NUMBERS = ["share", "other_share", "effect", "low", "high", "n_active", "q"]
COLUMNS = ["column", "side", "feature", "topic", "label", "sentence", "strength"]
COLUMNS += NUMBERS
MIN_PERIOD_TEXTS = 20  # shares of fewer texts are not stated
RARE = 1e-3  # log-odds begin between this share of the other texts and 1 − this share
THE_REST = "the rest"
# values that say nothing without their column
UNCLEAR_VALUES = re.compile(
    r"true|false|yes|no|ja|nein|oui|non|sí|si|да|нет|[yn]", re.IGNORECASE
)
NAME_WORDS = 3  # of a column: longer names are quoted
NAME_LETTERS = 60  # of a column: longer names are cut
TEXTS_WHERE = "the texts where"  # begins the name of a group that names its column

Line = dict[str, Any]  # a row of a table: values by column name


def findings_table(lines: Iterable[Line]) -> pd.DataFrame:
    """Return lines of findings or of an overview as a table."""
    table = pd.DataFrame(list(lines), columns=COLUMNS)
    return table.astype({"feature": "Int64", "topic": "Int64"})


class Comparison(NamedTuple):
    """The parts of a new or stored comparison that sentences use."""

    kind: str
    about: Mapping[str, Any]
    findings: pd.DataFrame
    shares: pd.DataFrame


def as_comparison(result: Contrast | Mapping[str, Any]) -> Comparison:
    """Return the parts of a result, or of its `to_dict()`."""
    if isinstance(result, Contrast):
        return Comparison(result.kind, result.about, result.findings, result.shares)
    findings_table = pd.DataFrame(result["findings"])
    shares = pd.DataFrame(result["shares"])
    return Comparison(result["kind"], result["about"], findings_table, shares)


def finding_lines(result: Comparison, names_column: bool) -> Iterator[Line]:
    """Yield a line per finding; `names_column`: names of groups include their column."""
    records = result.findings.to_dict("records")
    groups = {found["target"] for found in records}
    writers = {
        "groups": partial(_group_line, names_column=names_column, groups=groups),
        "trend": _trend_line,
        "numeric": _number_line,
    }
    write = writers[result.kind]
    certainty_of = _certainty_of_shares if result.kind == "groups" else _certainty
    column = {"column": result.about.get("column")}
    is_text = bool(result.about.get("copies"))  # rather than a topic or a feature
    for found in records:
        line = write(result, found | {"is_text": is_text})
        if line is None:
            continue
        numbers = {name: found.get(name) for name in NUMBERS}
        subject = {
            "feature": found["feature"],
            "topic": found.get("topic", -1),
            "label": found["label"],
            "is_text": is_text,
        }
        trust = {
            "is_doubtful": bool(found.get("label_doubtful")),
            "certainty": certainty_of(found),
        }
        yield column | numbers | subject | trust | line


def _certainty(found: Line, scale: Callable[[float], float] = float) -> float:
    """Return how large the effect is for certain, as a share of its estimate.

    This is the end of its interval that is nearer to 0, or 0 if the interval contains 0. Both are
    compared on a scale, which maps 0 to 0.
    """
    effect, low, high = found["effect"], found["low"], found["high"]
    if not low * high > 0:
        return 0.0
    return scale(low if effect > 0 else high) / scale(effect)


def _certainty_of_shares(found: Line) -> float:
    """Return the same for a log-odds ratio, as a difference from the share of the other texts."""
    start = logit(np.clip(found["share_rest"], RARE, 1 - RARE))
    return _certainty(found, lambda effect: expit(start + effect) - expit(start))


def _group_line(
    result: Comparison, found: Line, names_column: bool, groups: Collection[str]
) -> Line | None:
    """Write a finding by its shares; None if their difference has the opposite sign of the effect.

    This can happen because effects, unlike shares, are adjusted for covariates.
    """
    column = result.about.get("column")
    includes = bool(result.about.get("lists"))
    target = found["target"]
    rest = result.about.get("b")
    if rest is None:
        rest = THE_REST
    share = found["share"]
    other_share = found["share_rest"]
    is_more_frequent = share > other_share
    if is_more_frequent != (found["effect"] > 0):
        return None
    texts = f"Texts {_about(found)}"
    if rest == THE_REST and not is_more_frequent:
        side = rest_of(target, groups)
        group = group_words(target, column, names_column, includes)
        shares = f"{percent(share)}, against {percent(other_share)} elsewhere"
        sentence = f"{texts} are rarer in {group}: {shares}."
    else:
        more, less = (target, rest) if is_more_frequent else (rest, target)
        side = str(more)
        first = group_words(more, column, names_column, includes)
        second = _second_group(first, less, column, names_column)
        higher = percent(max(share, other_share))
        lower = percent(min(share, other_share))
        sentence = f"{texts} make up {higher} of {first} and {lower} of {second}."
    return {
        "side": side,
        "sentence": sentence,
        "strength": share - other_share,
        "share": share,
        "other_share": other_share,
    }


def _second_group(first: str, value: Any, column: Any, names_column: bool) -> str:
    """Name the other group of a sentence without repeating the column."""
    if value == THE_REST:
        return THE_REST
    second = group_words(value, column, names_column)
    both_name_column = first.startswith(TEXTS_WHERE) and second.startswith(TEXTS_WHERE)
    if not both_name_column:
        return second
    return f"those where it is {_value_words(value, column)}"


def _value_words(value: Any, column: Any) -> str:
    """Return a value, in quotation marks where its column is."""
    is_quoted = column_words(column).startswith("“")
    return f"“{value}”" if is_quoted else str(value)


def _about(found: Line) -> str:
    """Return the words after "Texts": what they are about, with a mark on doubtful labels."""
    label = found["label"]
    if found["is_text"]:
        return f"that read like “{label}”"
    if is_about_topic(found):
        preposition = "of the topic"
    else:
        preposition = "with" if _is_of_form(label) else "about"
    doubt = " (doubtful label)" if found.get("label_doubtful") else ""
    return f"{preposition} “{label}”{doubt}"


def _is_of_form(label: str) -> bool:
    """Return whether all terms of a label are beginnings of words, numbers, letters or stop words.

    Stop words are those of English.

    Example:
        >>> [_is_of_form(label) for label in ("un-", "who", "3", "cell, cy-")]
        [True, True, True, False]
    """
    return all(map(_is_form, label.split(", ")))


def _is_form(term: str) -> bool:
    if term.endswith("-") or term.isnumeric():
        return True
    is_letter = len(term) == 1 and term.isalpha() and not is_unspaced(term)
    return is_letter or is_stop_word(term.lower(), stop_words_of([]))


def group_words(
    value: Any, column: Any, names_column: bool = False, includes: bool = False
) -> str:
    """Name a group of texts by its value, and by its column if the value alone says too little.

    Args:
        value: The value that the texts of the group have.
        column: The column of the value, if any.
        names_column: Always name the column.
        includes: Whether cells hold several values.

    Example:
        >>> group_words("astro-ph", "field"), group_words("mail", "use", names_column=True)
        ('astro-ph', 'the texts where use is mail')
        >>> group_words(4, "stars")
        'the texts where stars is 4'
        >>> group_words("bug", "labels", names_column=True, includes=True)
        'the texts where labels include bug'
        >>> group_words("mail", "use", names_column=True, includes=True)
        'the texts where use includes mail'
    """
    text = str(value)
    if column is None:
        return text
    name = column_words(column)
    has_word = re.search(r"[^\W\d_]{2}", text)
    says_too_little = not has_word or UNCLEAR_VALUES.fullmatch(text)
    if names_column or says_too_little:
        verb = "is"
        if includes:
            verb = "include" if name.endswith("s") else "includes"
        return f"{TEXTS_WHERE} {name} {verb} {_value_words(text, column)}"
    return text


def column_words(column: Any) -> str:
    """Return the name of a column: quoted if it is a question, cut at a word if it is long.

    Underscores stay, without which names such as `is_async` and `n_lines` read like words.

    Example:
        >>> column_words("price_paid"), column_words("Would you buy from us again?")
        ('price_paid', '“Would you buy from us again?”')
    """
    name = " ".join(str(column).split())
    n_words = len(name.split())
    if len(name) > NAME_LETTERS:
        beginning, _, _ = name[:NAME_LETTERS].rpartition(" ")
        name = f"{beginning or name[:NAME_LETTERS]} …"
    return f"“{name}”" if n_words > NAME_WORDS else name


def _trend_line(result: Comparison, found: Line) -> Line | None:
    """Compare the first periods with the last: as few as show the direction of the trend."""
    shares = result.shares
    own_shares = shares_of(shares, found)
    has_enough = own_shares["n"] >= MIN_PERIOD_TEXTS
    stated = own_shares[has_enough]
    rises = found["effect"] > 0
    most_periods = len(stated) // 2
    for n_periods in range(1, most_periods + 1):
        first = stated.iloc[:n_periods]
        last = stated.iloc[-n_periods:]
        start = _pooled_share(first)
        end = _pooled_share(last)
        if rises == (end > start):
            break
    else:
        return None
    texts = f"Texts {_about(found)}"
    verb = "rise" if rises else "fall"
    unit = result.about.get("unit")
    at_first = f"{percent(start)} {_when(first, unit)}"
    at_last = f"{percent(end)} {_when(last, unit)}"
    sentence = f"{texts} {verb} from {at_first} to {at_last}."
    return {
        "side": "rises" if rises else "falls",
        "sentence": sentence,
        "strength": end - start,
        "share": end,
        "other_share": start,
    }


def _pooled_share(shares: pd.DataFrame) -> float:
    """Return the share over all rows of several periods."""
    n_rows = shares["n"]
    n_active = shares["share"] * n_rows
    return sum(n_active) / sum(n_rows)


def _when(shares: pd.DataFrame, unit: Any) -> str:
    """Name a range of successive periods: "in March 2024", "between 2019 and 2021"."""
    column = "name" if "name" in shares else "period"
    names = shares[column].tolist()
    first = names[0]
    last = names[-1]
    if len(names) > 1:
        return f"between {first} and {last}"
    return f"on {first}" if unit == "day" else f"in {first}"


def _number_line(result: Comparison, found: Line) -> Line:
    """Write by how much a number differs in texts with a feature or topic."""
    effect = found["effect"]
    about = _about(found)
    n_active = found["n_active"]
    direction = "higher" if effect > 0 else "lower"
    column = result.about.get("column") or found["target"]
    name = column_words(column)
    is_certain = found["low"] * found["high"] > 0
    amount = f"{number(abs(effect))} {direction}" if is_certain else direction
    doubt = "" if is_certain else "; by how much is uncertain"
    texts = f"{n_active:,} {_counted_texts(result)}"
    sentence = (
        f"In texts {about}, {name} is on average {amount} "
        f"than in other texts ({texts}{doubt})."
    )
    return {"side": direction, "sentence": sentence, "strength": found["r"]}


def _counted_texts(result: Comparison) -> str:
    """Return "texts", or "different texts" where there are copies that are not counted."""
    about = result.about
    counts_all = about.get("copies") or about.get("n_independent") == about.get(
        "n_rows"
    )
    return "texts" if counts_all else "different texts"


def percent(share: float) -> str:
    """Format a share as a percentage; only none is 0 %, and only all is 100 %.

    Example:
        >>> [percent(share) for share in (0.113, 0.0214, 0.0004, 0)]
        ['11 %', '2.1 %', 'under 0.1 %', '0 %']
        >>> [percent(share) for share in (0.9949, 0.9978, 0.9997, 1)]
        ['99 %', '99.8 %', 'over 99.9 %', '100 %']
    """
    percentage = 100 * share
    if share == 0:
        return "0 %"
    if share < 0.001:
        return "under 0.1 %"
    if 0.999 < share < 1:
        return "over 99.9 %"
    if share < 0.1 or 0.995 <= share < 1:
        digits = f"{percentage:.1f}".removesuffix(".0")
        return f"{digits} %"
    return f"{percentage:.0f} %"


def number(value: float) -> str:
    """Format a number with two significant digits; from 10 on as an integer.

    Example:
        >>> [number(value) for value in (1234.5, 12.34, 1.234, 0.0123)]
        ['1,234', '12', '1.2', '0.012']
    """
    if abs(value) >= 10:
        return f"{value:,.0f}"
    return f"{value:.2g}"
