"""Findings in plain words: what tested comparisons say, for people who read no statistics.

A finding is a sentence on how much of a group or of a period consists of texts with a feature, or
how a number differs in them. Only what `contrast`, `over_time` and `explain` found becomes one.
Each side of a comparison has its own list, strongest difference first, and sides take turns, so
that no side and no column fills the page.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import zip_longest
from typing import Any

import pandas as pd

from nanosae.analysis.findings import Contrast

COLUMNS = ["column", "side", "feature", "label", "sentence", "strength", "q"]
MIN_PERIOD_TEXTS = 20  # a share of fewer texts is not stated


def findings(results: Iterable[Contrast]) -> pd.DataFrame:
    """Say what comparisons found in plain words, the most telling first.

    Args:
        results: What `contrast`, `over_time` and `explain` returned.

    Returns:
        One line per finding: `column`, `side` (the group, or whether it rises or falls), `feature`,
        `label`, `sentence`, `strength` (difference of shares; of numbers the correlation) and `q`
        (false discovery rate). A feature is said once per column.
    """
    queues: list[list[dict[str, Any]]] = []
    for result in results:
        lines = pd.DataFrame(_lines(result), columns=COLUMNS)
        strongest_first = lines.sort_values(
            "strength", key=abs, ascending=False, kind="stable"
        )
        once = strongest_first.drop_duplicates("feature")
        queues += [
            side.to_dict("records") for _, side in once.groupby("side", sort=False)
        ]
    queues.sort(key=lambda queue: -abs(queue[0]["strength"]))
    return pd.DataFrame(_in_turn(queues), columns=COLUMNS)


def _in_turn(queues: list[list[dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    """Yield the first line of each list, then the second of each, and so on."""
    for lines in zip_longest(*queues):
        yield from (line for line in lines if line is not None)


def _lines(result: Contrast) -> Iterator[dict[str, Any]]:
    say = {"groups": _group_line, "trend": _trend_line, "numeric": _number_line}[
        result.kind
    ]
    for found in result.findings.to_dict("records"):
        line = say(result, found)
        if line is not None:
            kept = {name: found[name] for name in ("feature", "label", "q")}
            yield {"column": result.about.get("column")} | kept | line


def _group_line(result: Contrast, found: dict[str, Any]) -> dict[str, Any]:
    target, rest = str(found["target"]), str(result.about.get("b") or "the rest")
    share, other = found["share"], found["share_rest"]
    more_in_target = share > other
    sentence = (
        f"Texts about “{found['label']}” make up {percent(share)} of {target} and "
        f"{percent(other)} of {rest}."
    )
    side = target if more_in_target else rest
    if not more_in_target and rest == "the rest":
        side = f"not {target}"
    return {"side": side, "sentence": sentence, "strength": share - other}


def _trend_line(result: Contrast, found: dict[str, Any]) -> dict[str, Any] | None:
    shares = result.shares
    shares = shares[
        (shares["feature"] == found["feature"]) & (shares["n"] >= MIN_PERIOD_TEXTS)
    ]
    if len(shares) < 2:
        return None
    first, last = shares.iloc[0], shares.iloc[-1]
    rises = found["effect"] > 0
    if rises != (last["share"] > first["share"]):
        return None  # the ends do not show what the whole does
    verb = "rise" if rises else "fall"
    sentence = (
        f"Texts about “{found['label']}” {verb} from {percent(first['share'])} in "
        f"{first['period']} to {percent(last['share'])} in {last['period']}."
    )
    strength = last["share"] - first["share"]
    return {
        "side": "rises" if rises else "falls",
        "sentence": sentence,
        "strength": strength,
    }


def _number_line(result: Contrast, found: dict[str, Any]) -> dict[str, Any]:
    del result
    effect = found["effect"]
    direction = "higher" if effect > 0 else "lower"
    sentence = (
        f"In texts about “{found['label']}”, {found['target']} is {number(abs(effect))} "
        f"{direction} on average ({found['n_active']:,} texts)."
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
