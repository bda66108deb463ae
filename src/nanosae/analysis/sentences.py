"""Findings in plain words: what tested comparisons say, for people who read no statistics.

A finding is a sentence on how much of a group or of a period consists of texts with a feature, or
how a number differs in them. Only what `contrast`, `over_time` and `explain` found becomes one.
Each side of a comparison has its own list, strongest difference first, and sides take turns, so
that no side and no column fills the page.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import zip_longest
from typing import Any, NamedTuple

import pandas as pd

from nanosae.analysis.findings import Contrast

SAID = ["column", "side", "feature", "label", "sentence", "strength"]
NUMBERS = ["share", "other_share", "effect", "low", "high", "n_active", "q"]
COLUMNS = [*SAID, *NUMBERS]
MIN_PERIOD_TEXTS = 20  # a share of fewer texts is not stated
THE_REST = "the rest"


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
        One line per finding: `column`, `side` (the group, or whether it rises or falls), `feature`,
        `label`, `sentence`, `strength` (difference of shares; of numbers the correlation); and the
        numbers behind it: `share`, `other_share`, `effect` with its 95 % interval `low` to `high`
        (log-odds ratio; of numbers the difference), `n_active` and `q` (false discovery rate). A
        feature is said once per column.
    """
    queues: list[list[dict[str, Any]]] = []
    compared = [_as_compared(result) for result in results]
    are_groups = [result.kind == "groups" for result in compared]
    has_several = sum(are_groups) > 1
    for result in compared:
        lines = pd.DataFrame(_lines(result, has_several), columns=COLUMNS)
        strongest_first = lines.sort_values(
            "strength", key=abs, ascending=False, kind="stable"
        )
        once = strongest_first.drop_duplicates("feature")
        queues += [
            side.to_dict("records") for _, side in once.groupby("side", sort=False)
        ]
    queues.sort(key=lambda queue: -abs(queue[0]["strength"]))
    return pd.DataFrame(_in_turn(queues), columns=COLUMNS)


def _as_compared(result: Contrast | Mapping[str, Any]) -> _Compared:
    if isinstance(result, Contrast):
        return _Compared(result.kind, result.about, result.findings, result.shares)
    tables = (pd.DataFrame(result[name]) for name in ("findings", "shares"))
    return _Compared(result["kind"], result["about"], *tables)


def _in_turn(queues: list[list[dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    """Yield the first line of each list, then the second of each, and so on."""
    for lines in zip_longest(*queues):
        yield from (line for line in lines if line is not None)


def _lines(result: _Compared, has_several: bool) -> Iterator[dict[str, Any]]:
    """Yield a line per finding; where several columns make groups, groups name theirs."""
    sayers = {
        "groups": partial(_group_line, names_column=has_several),
        "trend": _trend_line,
        "numeric": _number_line,
    }
    say = sayers[result.kind]
    for found in result.findings.to_dict("records"):
        line = say(result, found)
        if line is not None:
            kept = {name: found[name] for name in ("feature", "label")}
            numbers = {name: found.get(name) for name in NUMBERS}
            column = {"column": result.about.get("column")}
            yield column | numbers | kept | line


def _group_line(
    result: _Compared, found: dict[str, Any], names_column: bool
) -> dict[str, Any]:
    column = result.about.get("column")
    target, rest = found["target"], result.about.get("b")
    rest = THE_REST if rest is None else rest
    share, other = found["share"], found["share_rest"]
    here = group_words(target, column, names_column)
    there = THE_REST if rest == THE_REST else group_words(rest, column, names_column)
    about = f"Texts about “{found['label']}”"
    if share > other:
        side = str(target)
        sentence = f"{about} make up {percent(share)} of {here} and {percent(other)} of {there}."
    elif rest == THE_REST:
        side = f"not {target}"
        sentence = (
            f"{about} are rarer in {here}: {percent(share)}, against {percent(other)} "
            "elsewhere."
        )
    else:
        side = str(rest)
        sentence = f"{about} make up {percent(other)} of {there} and {percent(share)} of {here}."
    strength = share - other
    shares = {"share": share, "other_share": other}
    return {"side": side, "sentence": sentence, "strength": strength} | shares


def group_words(value: Any, column: Any, names_column: bool = False) -> str:
    """Name a group of texts: by its value, with its column where that says too little.

    Example:
        >>> group_words("astro-ph", "field"), group_words("mail", "use", names_column=True)
        ('astro-ph', 'mail (use)')
        >>> group_words(4, "stars")
        'the texts where stars is 4'
    """
    text = str(value)
    says_enough = re.search(r"[^\W\d_]{2}", text) and text not in ("True", "False")
    if column is None:
        return text
    if not says_enough:
        return f"the texts where {column_words(column)} is {text}"
    return f"{text} ({column_words(column)})" if names_column else text


def column_words(column: Any) -> str:
    """Name a column: a question in quotation marks."""
    name = str(column).replace("_", " ")
    return f"“{name}”" if len(name.split()) > 3 else name


def _trend_line(result: _Compared, found: dict[str, Any]) -> dict[str, Any] | None:
    """Compare the first periods with the last: as few of them as show what the whole does."""
    shares = result.shares
    of_feature = shares["feature"] == found["feature"]
    stated = shares[of_feature & (shares["n"] >= MIN_PERIOD_TEXTS)]
    rises = found["effect"] > 0
    for n_periods in range(1, len(stated) // 2 + 1):
        first, last = stated.iloc[:n_periods], stated.iloc[-n_periods:]
        start, end = _pooled_share(first), _pooled_share(last)
        if rises == (end > start):
            break
    else:
        return None  # no ends show what the whole does
    verb = "rise" if rises else "fall"
    unit = result.about.get("unit")
    sentence = (
        f"Texts about “{found['label']}” {verb} from {percent(start)} {_when(first, unit)} "
        f"to {percent(end)} {_when(last, unit)}."
    )
    return {
        "side": "rises" if rises else "falls",
        "sentence": sentence,
        "strength": end - start,
        "share": end,
        "other_share": start,
    }


def _pooled_share(shares: pd.DataFrame) -> float:
    """Return the share of all rows of a few periods."""
    return sum(shares["share"] * shares["n"]) / sum(shares["n"])


def _when(shares: pd.DataFrame, unit: Any) -> str:
    """Say when a few successive periods were: "in March 2024", "between 2019 and 2021"."""
    names = shares["name" if "name" in shares else "period"].tolist()
    if len(names) > 1:
        return f"between {names[0]} and {names[-1]}"
    return f"on {names[0]}" if unit == "day" else f"in {names[0]}"


def _number_line(result: _Compared, found: dict[str, Any]) -> dict[str, Any]:
    effect = found["effect"]
    direction = "higher" if effect > 0 else "lower"
    name = column_words(result.about.get("column") or found["target"])
    sentence = (
        f"In texts about “{found['label']}”, {name} is on average {number(abs(effect))} "
        f"{direction} than in other texts ({found['n_active']:,} texts)."
    )
    return {"side": direction, "sentence": sentence, "strength": found["r"]}


def percent(share: float) -> str:
    """Write a share for people.

    Example:
        >>> [percent(share) for share in (0.113, 0.0214, 0.0004, 0, 1)]
        ['11 %', '2.1 %', 'under 0.1 %', '0 %', '100 %']
    """
    if share == 0:
        return "0 %"
    if share < 0.001:
        return "under 0.1 %"
    if share < 0.1:
        return f"{100 * share:.1f} %".replace(".0 %", " %")
    return f"{100 * share:.0f} %"


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
    written = found.model_sentences()[:n] if model else []
    most = max(n // max(len(found.sides), 1), 2)
    for side, table in found.sides.items():
        if statistics:
            sentences = found.sentences(lines=table)
        else:
            of_side = replace(found, table=table)
            sentences = findings([of_side])["sentence"].tolist()
        written.append(f"{_heading(found.kind, side, found.about)}:")
        written += [f"  {sentence}" for sentence in sentences[:most]]
        if len(sentences) > most:
            written.append(f"  … and {len(sentences) - most:,} more")
    if not found.sides:
        written.append("Nothing differs by more than chance would.")
    return written + found.about["notes"]


def _heading(kind: str, side: str, about: Mapping[str, Any]) -> str:
    """Return the heading of a side's list."""
    if kind == "trend":
        return (
            "More frequent over time" if side == "rises" else "Less frequent over time"
        )
    if kind == "numeric":
        return f"{side.capitalize()} {column_words(about['column'] or 'target')}"
    column = about.get("column")
    if side.startswith("not "):
        return f"Less in {group_words(side[4:], column)}"
    return f"More in {group_words(side, column)}"
