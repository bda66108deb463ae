"""Findings in plain words, for readers without statistics.

Each finding of `contrast`, `over_time` or `explain` becomes a sentence: what share of a group or
period consists of texts with a feature or topic, or how a number differs in them. The strongest
differences come first, but no column, side, topic or feature may fill the page: the weight of a
finding decreases with every earlier finding on the same subject. It is also reduced if the label
merely repeats the name of the group, or is doubtful.
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

NUMBERS = ["share", "other_share", "effect", "low", "high", "n_active", "q"]
COLUMNS = ["column", "side", "feature", "topic", "label", "sentence", "strength"]
COLUMNS += NUMBERS
MIN_PERIOD_TEXTS = 20  # shares of fewer texts are not stated
THE_REST = "the rest"
# values that say nothing without their column
UNCLEAR_VALUES = re.compile(
    r"true|false|yes|no|ja|nein|oui|non|sí|si|да|нет|[yn]", re.IGNORECASE
)
NAME_WORDS = 3  # of a column: longer names are quoted
NAME_LETTERS = 60  # of a column: longer names are cut
TEXTS_WHERE = "the texts where"  # begins the name of a group that names its column
# factor of a finding's weight for each earlier one with the same column, side, feature or topic
DISCOUNTS = {"column": 0.75, "side": 0.5, "feature": 0.5, "topic": 0.5, "text": 0.5}
SAME = 0.5  # ratio of differences from which on a topic and its feature say the same
OBVIOUS_WEIGHT = 0.5  # of a finding whose label repeats the name of its group
DOUBTFUL_WEIGHT = 0.5  # of a finding whose label is doubtful
NUMBERED = re.compile(r"feature \d+")  # the name of a feature without a label
MIN_WORD = 4  # letters of a prefix that counts as the same word

Line = dict[str, Any]  # a row of a table: values by column name


class _Comparison(NamedTuple):
    """The parts of a new or stored comparison that sentences use."""

    kind: str
    about: Mapping[str, Any]
    findings: pd.DataFrame
    shares: pd.DataFrame


def findings(results: Iterable[Contrast | Mapping[str, Any]]) -> pd.DataFrame:
    """Write the findings of comparisons in plain words, the most informative first.

    Args:
        results: Results of `contrast`, `over_time` and `explain`, or their `to_dict()`.

    Returns:
        One row per finding: `column`, `side` (the group, or whether it rises or falls), `feature`
        or `topic` (the other is missing), `label`, `sentence`, `strength` (the difference in
        shares; for numbers the correlation); and the numbers behind it: `share`, `other_share`,
        `effect` with its 95 % interval `low` to `high` (log-odds ratio; for numbers the
        difference), `n_active` and `q` (false discovery rate). Each feature or topic appears at
        most once per column, and a topic not beside a feature that says the same. Findings that
        this number of comparisons would yield by chance are left out, and features without a label
        if others have one.
    """
    comparisons = _selected([_as_comparison(result) for result in results])
    of_groups = [
        comparison for comparison in comparisons if comparison.kind == "groups"
    ]
    # texts that are repeated are a further comparison of a column
    of_features = [result for result in of_groups if not result.about.get("copies")]
    return _ordered(comparisons, names_column=len(of_features) > 1)


def findings_of_each(
    results: Iterable[Contrast | Mapping[str, Any]],
) -> list[pd.DataFrame]:
    """Write the findings of each comparison in plain words; see `findings`.

    Findings that this number of comparisons would yield by chance are left out of each.
    """
    comparisons = _selected([_as_comparison(result) for result in results])
    return [_ordered([comparison], names_column=False) for comparison in comparisons]


def _ordered(comparisons: list[_Comparison], names_column: bool) -> pd.DataFrame:
    """Return the sentences of comparisons, the most informative first."""
    found: list[Line] = []
    for comparison in comparisons:
        lines = _finding_lines(comparison, names_column)
        strongest_first = sorted(lines, key=lambda line: -abs(line["strength"]))
        found += _without_repeats(strongest_first)
    labelled = [line for line in found if not NUMBERED.fullmatch(line["label"])]
    shown = labelled or found
    ordered = list(_most_informative_first(shown))
    table = pd.DataFrame(ordered, columns=COLUMNS)
    is_text = np.array([line["is_text"] for line in ordered], dtype=bool)
    is_about_feature = table["feature"] >= 0
    table["feature"] = table["feature"].astype("Int64").where(is_about_feature)
    table["topic"] = table["topic"].astype("Int64").where(~is_about_feature & ~is_text)
    return table


def _selected(comparisons: list[_Comparison]) -> list[_Comparison]:
    """Return the comparisons with the findings that hold given the number of comparisons.

    If R of m comparisons have findings, these are tested at R ÷ m of the false discovery rate; the
    false discovery proportion, averaged over the R, is then controlled at the full rate (Benjamini
    and Bogomolov, J. R. Stat. Soc. B 76 (2014) 297).
    """
    n_with_findings = sum(len(comparison.findings) > 0 for comparison in comparisons)
    highest_q = FALSE_DISCOVERY_RATE * n_with_findings / max(len(comparisons), 1)
    selected = []
    for comparison in comparisons:
        lines = comparison.findings
        kept = lines.loc[lines["q"] <= highest_q] if len(lines) else lines
        selected.append(comparison._replace(findings=kept))
    return selected


def of_comparisons(found: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that come from `findings`, not from `overview`, which tests nothing.

    Args:
        found: Rows of `findings`, of `overview`, or of both.
    """
    return found.loc[found["q"].notna()]


def _without_repeats(strongest_first: list[Line]) -> Iterator[Line]:
    """Yield the lines of one comparison that repeat no stronger one.

    On one side, a topic and a feature that share most texts of either say the same if the smaller
    difference is at least half of the larger, and so do two features with the same label.
    """
    seen: set[tuple[Any, ...]] = set()
    largest: dict[tuple[Any, ...], float] = {}
    for line in strongest_first:
        feature, topic, side = line["feature"], line["topic"], line["side"]
        is_topic = is_about_topic(line)
        subject = (feature, topic if is_topic else -1)
        label_of_side = (side, line["label"])
        size = abs(line["strength"])
        other_size = largest.get((topic, side, not is_topic), np.inf)
        repeats_other = topic >= 0 and size >= SAME * other_size
        if repeats_other or subject in seen or label_of_side in seen:
            continue
        seen |= {subject, label_of_side}
        largest.setdefault((topic, side, is_topic), size)
        yield line


def _most_informative_first(lines: list[Line]) -> Iterator[Line]:
    """Yield, again and again, the line with the largest weight given those before it.

    Weights only decrease (lazy greedy selection): a line whose updated weight is still at least as
    large as the outdated weights of all others is the next.
    """
    n_earlier: Counter[tuple[str, Any]] = Counter()
    initial = [_initial_weight(line) for line in lines]
    queue = [(-weight, place) for place, weight in enumerate(initial)]
    heapify(queue)
    while queue:
        _, place = heappop(queue)
        subjects = _subjects(lines[place])
        weight = initial[place] * _discount(subjects, n_earlier)
        updated = (-weight, place)
        if queue and updated > queue[0]:
            heappush(queue, updated)
            continue
        n_earlier.update(subjects)
        yield lines[place]


def _initial_weight(line: Line) -> float:
    weight = abs(line["strength"])
    if repeats_name(line["label"], line["side"]):
        weight *= OBVIOUS_WEIGHT
    if line["is_doubtful"]:
        weight *= DOUBTFUL_WEIGHT
    return weight


def _discount(
    subjects: list[tuple[str, Any]], n_earlier: Mapping[tuple[str, Any], int]
) -> float:
    """Return the factor of a finding's weight, given earlier findings on its subjects."""
    discount = 1.0
    for subject in subjects:
        kind, _ = subject
        discount *= DISCOUNTS[kind] ** n_earlier[subject]
    return discount


def _subjects(line: Line) -> list[tuple[str, Any]]:
    """Return the column, side, feature and topic of a finding, each with its kind."""
    column = line["column"]
    subjects = [("column", column), ("side", (column, line["side"]))]
    if not is_about_topic(line):
        subjects.append(("feature", line["feature"]))
    if line["topic"] >= 0:
        kind = "text" if line["is_text"] else "topic"
        subjects.append((kind, line["topic"]))
    return subjects


def repeats_name(label: str, name: str) -> bool:
    """Return whether a label repeats a word of a group's name, up to inflection.

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


def _as_comparison(result: Contrast | Mapping[str, Any]) -> _Comparison:
    if isinstance(result, Contrast):
        return _Comparison(result.kind, result.about, result.findings, result.shares)
    findings_table = pd.DataFrame(result["findings"])
    shares = pd.DataFrame(result["shares"])
    return _Comparison(result["kind"], result["about"], findings_table, shares)


def _finding_lines(result: _Comparison, names_column: bool) -> Iterator[Line]:
    """Yield a line per finding; `names_column`: names of groups include their column."""
    writers = {
        "groups": partial(_group_line, names_column=names_column),
        "trend": _trend_line,
        "numeric": _number_line,
    }
    write = writers[result.kind]
    column = {"column": result.about.get("column")}
    is_text = bool(result.about.get("copies"))  # rather than a topic or a feature
    records = result.findings.to_dict("records")
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
        doubt = {"is_doubtful": bool(found.get("label_doubtful"))}
        yield column | numbers | subject | doubt | line


def _group_line(result: _Comparison, found: Line, names_column: bool) -> Line | None:
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
        side = f"not {target}"
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
    preposition = "of the topic" if is_about_topic(found) else "about"
    doubt = " (doubtful label)" if found.get("label_doubtful") else ""
    return f"{preposition} “{label}”{doubt}"


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


def _trend_line(result: _Comparison, found: Line) -> Line | None:
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


def _number_line(result: _Comparison, found: Line) -> Line:
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


def _counted_texts(result: _Comparison) -> str:
    """Return "texts", or "different texts" where there are copies that are not counted."""
    about = result.about
    counts_all = about.get("copies") or about.get("n_independent") == about.get(
        "n_rows"
    )
    return "texts" if counts_all else "different texts"


def percent(share: float) -> str:
    """Format a share as a percentage.

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
    """Format a number with two significant digits; from 10 on as an integer.

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
    """Format a comparison for the terminal: its joint models, the findings of each side, its notes.

    Args:
        found: A result of `contrast`, `over_time` or `explain`.
        n: Number of findings to show in total, but at least two of each side.
        statistics: Give effects, intervals and q-values instead of plain words.
        model: Include the joint models and their scores.
    """
    sides = found.sides
    written = found.model_sentences()[:n] if model else []
    n_per_side = max(n // max(len(sides), 1), 2)
    for side, table in sides.items():
        if statistics:
            sentences = found.sentences(lines=table)
        else:
            only_side = replace(found, table=table)
            sentences = findings([only_side])["sentence"].tolist()
        if not sentences:
            continue
        heading = _heading(found.kind, side, found.about)
        written.append(f"{heading}:")
        written += [f"  {sentence}" for sentence in sentences[:n_per_side]]
        n_further = len(sentences) - n_per_side
        if n_further > 0:
            written.append(f"  … and {n_further:,} more")
    if not sides:
        written.append("Nothing differs by more than chance would explain.")
    elif not written:
        written.append(
            "Differences appear only at equal covariates; --stats shows them."
        )
    return written + found.about["notes"]


def _heading(kind: str, side: str, about: Mapping[str, Any]) -> str:
    """Return the heading above the findings of a side."""
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
