"""Findings in plain words: what tested comparisons say, for people who read no statistics.

A finding is a sentence on how much of a group or of a period consists of texts with a feature or of
a topic, or how a number differs in them. Only what `contrast`, `over_time` and `explain` found
becomes one. The strongest difference comes first, but no side of a comparison, no column, no topic
and no feature fills the page: a finding tells less the more was said about each of them, if its
label only repeats the name of the group, and if the label may well not fit.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from heapq import heapify, heappop, heappush
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from nanosae.analysis.comparisons.findings import (
    FALSE_DISCOVERY_RATE,
    Contrast,
    is_about_topic,
    shares_of,
)
from nanosae.text.tokens import split_words, stem

SAID = ["column", "side", "feature", "topic", "label", "sentence", "strength"]
NUMBERS = ["share", "other_share", "effect", "low", "high", "n_active", "q"]
COLUMNS = [*SAID, *NUMBERS]
MIN_PERIOD_TEXTS = 20  # a share of fewer texts is not stated
THE_REST = "the rest"
# values that say nothing without their column
UNCLEAR_VALUES = re.compile(
    r"true|false|yes|no|ja|nein|oui|non|sí|si|да|нет|[yn]", re.IGNORECASE
)
BY_COLUMN = "the texts where"  # a column has a value: a group is named so
# what a finding still tells for each one before it of the same column, side, feature or topic
LEFT = {"column": 0.75, "side": 0.5, "feature": 0.5, "topic": 0.5}
SAME = 0.5  # of a difference, from which on a topic and its feature say the same
OBVIOUS = 0.5  # what one tells whose label repeats the name of its group
DOUBTFUL = 0.5  # what one tells whose label may well not fit
NUMBERED = re.compile(r"feature \d+")  # what a feature without a label is called
NAME_WORDS = 3  # of a column, from more on its name is quoted
NAME_LETTERS = 60  # of the name of a column
MIN_WORD = 4  # letters of a word that a longer one repeats by beginning with it

Line = dict[str, Any]  # of a table: values by the names of its columns


class _Compared(NamedTuple):
    """What sentences are made of: a comparison, new or stored."""

    kind: str
    about: Mapping[str, Any]
    findings: pd.DataFrame
    shares: pd.DataFrame


def findings(results: Iterable[Contrast | Mapping[str, Any]]) -> pd.DataFrame:
    """Say what comparisons found in plain words, the most telling first.

    Args:
        results: What `contrast`, `over_time` and `explain` returned, or its `to_dict()`.

    Returns:
        One line per finding: `column`, `side` (the group, or whether it rises or falls), `feature`
        and `topic` (the one that it is about; the other is missing), `label`, `sentence`,
        `strength` (difference of shares; of numbers the correlation); and the numbers behind it:
        `share`, `other_share`, `effect` with its 95 % interval `low` to `high` (log-odds ratio; of
        numbers the difference), `n_active` and `q` (false discovery rate). A feature or topic is
        said once per column, and a topic not beside a feature that says the same. Features without
        a label are left out where others have one, and so is what so many comparisons would yield
        by chance.
    """
    compared = _selected([_as_compared(result) for result in results])
    are_groups = [result.kind == "groups" for result in compared]
    names_column = sum(are_groups) > 1
    return _in_order(compared, names_column)


def findings_of_each(
    results: Iterable[Contrast | Mapping[str, Any]],
) -> list[pd.DataFrame]:
    """Say what each of several comparisons found, as `findings` does for all of them.

    What so many comparisons would yield by chance is left out of each.
    """
    compared = _selected([_as_compared(result) for result in results])
    return [_in_order([result], names_column=False) for result in compared]


def _in_order(compared: list[_Compared], names_column: bool) -> pd.DataFrame:
    """Return the sentences of comparisons, the most telling first."""
    found: list[Line] = []
    for result in compared:
        lines = _lines(result, names_column)
        strongest_first = sorted(lines, key=lambda line: -abs(line["strength"]))
        found += _without_repeats(strongest_first)
    has_words = [line for line in found if not NUMBERED.fullmatch(line["label"])]
    told = has_words or found
    table = pd.DataFrame(_most_telling_first(told), columns=COLUMNS)
    is_about_feature = table["feature"] >= 0
    table["feature"] = table["feature"].astype("Int64").where(is_about_feature)
    table["topic"] = table["topic"].astype("Int64").where(~is_about_feature)
    return table


def _selected(compared: list[_Compared]) -> list[_Compared]:
    """Return comparisons with the findings that are left in view of how many were made.

    Where R of m comparisons have findings, their rate is R ÷ m of the one for a single comparison:
    the share of false ones, on average over the R, is what it would be for one (Benjamini and
    Bogomolov, J. R. Statist. Soc. B 2014).
    """
    n_with_findings = sum(len(result.findings) > 0 for result in compared)
    highest = FALSE_DISCOVERY_RATE * n_with_findings / max(len(compared), 1)
    selected = []
    for result in compared:
        lines = result.findings
        kept = lines.loc[lines["q"] <= highest] if len(lines) else lines
        selected.append(result._replace(findings=kept))
    return selected


def of_comparisons(found: pd.DataFrame) -> pd.DataFrame:
    """Return the findings of comparisons, without the lines of `overview`, which tests nothing.

    Args:
        found: Lines of `findings` or of `overview`, or of both.
    """
    return found.loc[found["q"].notna()]


def _without_repeats(strongest_first: list[Line]) -> Iterator[Line]:
    """Yield the lines of one comparison that say what no stronger one said.

    A topic and a feature that share most texts of either say the same on one side if the smaller
    difference is at least half of the larger. So do two features with one label on one side.
    """
    said: set[tuple[Any, ...]] = set()
    largest: dict[tuple[Any, ...], float] = {}
    for line in strongest_first:
        feature, topic, side = line["feature"], line["topic"], line["side"]
        is_topic = is_about_topic(line)
        subject = (feature, topic if is_topic else -1)
        words = (side, line["label"])
        size = abs(line["strength"])
        other_size = largest.get((topic, side, not is_topic), np.inf)
        is_told = topic >= 0 and size >= SAME * other_size
        if is_told or subject in said or words in said:
            continue
        said |= {subject, words}
        largest.setdefault((topic, side, is_topic), size)
        yield line


def _most_telling_first(lines: list[Line]) -> Iterator[Line]:
    """Yield the line that tells most beside those before it, again and again.

    What a line tells only falls while others are said, so that one which still tells as much as the
    others told before is the next.
    """
    n_said: Counter[tuple[str, Any]] = Counter()
    alone = [_told_alone(line) for line in lines]
    waiting = [(-told, place) for place, told in enumerate(alone)]
    heapify(waiting)
    while waiting:
        _, place = heappop(waiting)
        subjects = _subjects(lines[place])
        told = alone[place] * _share_left(subjects, n_said)
        now = (-told, place)
        if waiting and now > waiting[0]:
            heappush(waiting, now)
            continue
        n_said.update(subjects)
        yield lines[place]


def _told_alone(line: Line) -> float:
    """Return how much a finding tells where no other was said."""
    told = abs(line["strength"])
    if repeats_name(line["label"], line["side"]):
        told *= OBVIOUS
    if line["is_doubtful"]:
        told *= DOUBTFUL
    return told


def _share_left(
    subjects: list[tuple[str, Any]], n_said: Mapping[tuple[str, Any], int]
) -> float:
    """Return the share of what a finding tells that findings on its subjects have left."""
    left = 1.0
    for subject in subjects:
        kind, _ = subject
        left *= LEFT[kind] ** n_said[subject]
    return left


def _subjects(line: Line) -> list[tuple[str, Any]]:
    """Return what a finding is about: its column, its side, its feature and its topic."""
    column = line["column"]
    subjects = [("column", column), ("side", (column, line["side"]))]
    if not is_about_topic(line):
        subjects.append(("feature", line["feature"]))
    if line["topic"] >= 0:
        subjects.append(("topic", line["topic"]))
    return subjects


def repeats_name(label: str, name: str) -> bool:
    """Return whether a label says no more than the name of a group: one of its words, inflected.

    Example:
        >>> repeats_name("fonts, glyphs", "font"), repeats_name("game", "gameplaying")
        (True, True)
        >>> repeats_name("animal, fishes", "noun.animal"), repeats_name("tax, credit", "money")
        (True, False)
    """
    pairs = itertools.product(_words(label), _words(name))
    return any(_is_same_word(word, other) for word, other in pairs)


def _words(text: str) -> list[str]:
    return split_words(text.replace("_", " "))


def _is_same_word(word: str, other: str) -> bool:
    if word == other or (stem(word) and stem(word) == stem(other)):
        return True
    return len(word) >= MIN_WORD and other.startswith(word)


def _as_compared(result: Contrast | Mapping[str, Any]) -> _Compared:
    if isinstance(result, Contrast):
        return _Compared(result.kind, result.about, result.findings, result.shares)
    findings_table = pd.DataFrame(result["findings"])
    shares = pd.DataFrame(result["shares"])
    return _Compared(result["kind"], result["about"], findings_table, shares)


def _lines(result: _Compared, names_column: bool) -> Iterator[Line]:
    """Yield a line per finding; where several columns make groups, groups name theirs."""
    sayers = {
        "groups": partial(_group_line, names_column=names_column),
        "trend": _trend_line,
        "numeric": _number_line,
    }
    say = sayers[result.kind]
    column = {"column": result.about.get("column")}
    records = result.findings.to_dict("records")
    for found in records:
        line = say(result, found)
        if line is None:
            continue
        numbers = {name: found.get(name) for name in NUMBERS}
        subject = {
            "feature": found["feature"],
            "topic": found.get("topic", -1),
            "label": found["label"],
        }
        doubt = {"is_doubtful": bool(found.get("label_doubtful"))}
        yield column | numbers | subject | doubt | line


def _group_line(result: _Compared, found: Line, names_column: bool) -> Line | None:
    """Say a finding by its shares; None where these differ the other way round than the effect.

    An effect is measured at equal covariates, such as length, which the shares do not know.
    """
    column = result.about.get("column")
    includes = bool(result.about.get("lists"))
    target = found["target"]
    rest = result.about.get("b")
    if rest is None:
        rest = THE_REST
    share = found["share"]
    other_share = found["share_rest"]
    is_more_here = share > other_share
    if is_more_here != (found["effect"] > 0):
        return None
    texts = f"Texts {_about(found)}"
    if rest == THE_REST and not is_more_here:
        side = f"not {target}"
        here = group_words(target, column, names_column, includes)
        shares = f"{percent(share)}, against {percent(other_share)} elsewhere"
        sentence = f"{texts} are rarer in {here}: {shares}."
    else:
        more, less = (target, rest) if is_more_here else (rest, target)
        side = str(more)
        first = group_words(more, column, names_column, includes)
        second = _second_group(first, less, column, names_column)
        higher, lower = max(share, other_share), min(share, other_share)
        sentence = f"{texts} make up {percent(higher)} of {first} and {percent(lower)} of {second}."
    return {
        "side": side,
        "sentence": sentence,
        "strength": share - other_share,
        "share": share,
        "other_share": other_share,
    }


def _second_group(first: str, value: Any, column: Any, names_column: bool) -> str:
    """Name the other group of a sentence; the column is not named a second time."""
    if value == THE_REST:
        return THE_REST
    second = group_words(value, column, names_column)
    name_column = [name.startswith(BY_COLUMN) for name in (first, second)]
    if not all(name_column):
        return second
    return f"those where it is {_value_words(value, column)}"


def _value_words(value: Any, column: Any) -> str:
    """Return a value, in quotation marks where its column is."""
    is_quoted = column_words(column).startswith("“")
    return f"“{value}”" if is_quoted else str(value)


def _about(found: Line) -> str:
    """Say what texts are about, after "Texts"."""
    of = "of the topic" if is_about_topic(found) else "about"
    return f"{of} {_quoted_label(found)}"


def _quoted_label(found: Line) -> str:
    """Return the label in quotation marks, and whether it may well not fit."""
    label = found["label"]
    doubt = " (doubtful label)" if found.get("label_doubtful") else ""
    return f"“{label}”{doubt}"


def group_words(
    value: Any, column: Any, names_column: bool = False, includes: bool = False
) -> str:
    """Name a group of texts: by its value, with its column where that says too little.

    Args:
        value: That the texts of the group have.
        column: In which they have it, if it is one.
        names_column: Name the column even so.
        includes: Cells hold several values.

    Example:
        >>> group_words("astro-ph", "field"), group_words("mail", "use", names_column=True)
        ('astro-ph', 'the texts where use is mail')
        >>> group_words(4, "stars")
        'the texts where stars is 4'
        >>> group_words("bug", "labels", names_column=True, includes=True)
        'the texts where labels include bug'
    """
    text = str(value)
    if column is None:
        return text
    name = column_words(column)
    has_word = re.search(r"[^\W\d_]{2}", text)
    says_too_little = not has_word or UNCLEAR_VALUES.fullmatch(text)
    if names_column or says_too_little:
        verb = "include" if includes else "is"
        return f"{BY_COLUMN} {name} {verb} {_value_words(text, column)}"
    return text


def column_words(column: Any) -> str:
    """Name a column: a question in quotation marks, a long one cut at a word.

    Example:
        >>> column_words("price_paid"), column_words("Would you buy from us again?")
        ('price paid', '“Would you buy from us again?”')
    """
    name = " ".join(str(column).replace("_", " ").split())
    n_words = len(name.split())
    if len(name) > NAME_LETTERS:
        beginning, _, _ = name[:NAME_LETTERS].rpartition(" ")
        name = f"{beginning or name[:NAME_LETTERS]} …"
    return f"“{name}”" if n_words > NAME_WORDS else name


def _trend_line(result: _Compared, found: Line) -> Line | None:
    """Compare the first periods with the last: as few of them as show what the whole does."""
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
        return None  # no ends show what the whole does
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
    """Return the share of all rows of a few periods."""
    n_rows = shares["n"]
    n_active = shares["share"] * n_rows
    return sum(n_active) / sum(n_rows)


def _when(shares: pd.DataFrame, unit: Any) -> str:
    """Say when a few successive periods were: "in March 2024", "between 2019 and 2021"."""
    column = "name" if "name" in shares else "period"
    names = shares[column].tolist()
    first = names[0]
    last = names[-1]
    if len(names) > 1:
        return f"between {first} and {last}"
    return f"on {first}" if unit == "day" else f"in {first}"


def _number_line(result: _Compared, found: Line) -> Line:
    effect = found["effect"]
    about = _about(found)
    n_active = found["n_active"]
    direction = "higher" if effect > 0 else "lower"
    column = result.about.get("column") or found["target"]
    name = column_words(column)
    is_sure = found["low"] * found["high"] > 0
    amount = f"{number(abs(effect))} {direction}" if is_sure else direction
    unsure = "" if is_sure else "; by how much is not sure"
    sentence = (
        f"In texts {about}, {name} is on average {amount} "
        f"than in other texts ({n_active:,} texts{unsure})."
    )
    return {"side": direction, "sentence": sentence, "strength": found["r"]}


def percent(share: float) -> str:
    """Write a share for people.

    Example:
        >>> [percent(share) for share in (0.113, 0.0214, 0.0004, 0, 1)]
        ['11 %', '2.1 %', 'under 0.1 %', '0 %', '100 %']
    """
    percentage = 100 * share
    if share == 0:
        return "0 %"
    if share < 0.001:
        return "under 0.1 %"
    if share < 0.1:
        digits = f"{percentage:.1f}".removesuffix(".0")
        return f"{digits} %"
    return f"{percentage:.0f} %"


def number(value: float) -> str:
    """Write a number with two significant digits, without an exponent where it can be read.

    Example:
        >>> [number(value) for value in (1234.5, 12.34, 1.234, 0.0123)]
        ['1,234', '12', '1.2', '0.012']
    """
    if abs(value) >= 10:
        return f"{value:,.0f}"
    return f"{value:.2g}"


def lines(
    found: Contrast, n: int, *, statistics: bool = False, model: bool = False
) -> list[str]:
    """Write a comparison for the terminal: its joint model, the findings of each side, its notes.

    Args:
        found: What `contrast`, `over_time` or `explain` returned.
        n: Findings to show in all, at least two of each side.
        statistics: With effects, intervals and q instead of plainly.
        model: With the joint models and their scores.
    """
    sides = found.sides
    written = found.model_sentences()[:n] if model else []
    n_of_each = n // max(len(sides), 1)
    most = max(n_of_each, 2)
    for side, table in sides.items():
        if statistics:
            sentences = found.sentences(lines=table)
        else:
            of_side = replace(found, table=table)
            sentences = findings([of_side])["sentence"].tolist()
        if not sentences:
            continue
        heading = _heading(found.kind, side, found.about)
        written.append(f"{heading}:")
        written += [f"  {sentence}" for sentence in sentences[:most]]
        n_further = len(sentences) - most
        if n_further > 0:
            written.append(f"  … and {n_further:,} more")
    if not sides:
        written.append("Nothing differs by more than chance would.")
    elif not written:
        written.append("What differs shows at equal covariates only: --stats tells it.")
    return written + found.about["notes"]


def _heading(kind: str, side: str, about: Mapping[str, Any]) -> str:
    """Return the heading of a side's list."""
    if kind == "trend":
        direction = "More" if side == "rises" else "Less"
        return f"{direction} frequent over time"
    if kind == "numeric":
        name = column_words(about["column"] or "target")
        return f"{side.capitalize()} {name}"
    column = about.get("column")
    if side.startswith("not "):
        group = side.removeprefix("not ")
        return f"Less in {group_words(group, column)}"
    return f"More in {group_words(side, column)}"
