"""Findings in words: plainly, for people who read no statistics, and with the statistics."""

from __future__ import annotations

from typing import Any

import pandas as pd

from nanosae.analysis.effects import Kind

GROUPS = (
    "is active in {share:.1%} of {target} and {share_rest:.1%} of {b}: odds ratio {odds_ratio:.3g}"
    " (95 % CI {odds_low:.3g} to {odds_high:.3g}), risk difference {risk_difference:+.1%},"
    " Cliff's δ {cliffs_delta:+.2f}"
)
NUMERIC = (
    "goes with a difference of {effect:+.3g} in {target} (95 % CI {low:.3g} to {high:.3g};"
    " r = {r:+.2f}; active in {n_active:,} texts)"
)
TREND = (
    "changes its odds by × {odds_ratio:.3g} per {unit} (95 % CI {odds_low:.3g} to {odds_high:.3g};"
    " active in {n_active:,} texts)"
)
TEMPLATES: dict[Kind, str] = {"groups": GROUPS, "numeric": NUMERIC, "trend": TREND}
MIN_PERIOD_TEXTS = 20  # a share of fewer texts is not stated


def side_of(kind: Kind, line: dict[str, Any], about: dict[str, Any]) -> str:
    """Say on which side of the comparison a finding is.

    Returns:
        The group with more of it ("not A" if that is the rest), "rises" or "falls", "higher" or
        "lower".
    """
    is_more = line["effect"] > 0
    if kind == "trend":
        return "rises" if is_more else "falls"
    if kind == "numeric":
        return "higher" if is_more else "lower"
    if is_more:
        return str(line["target"])
    rest = str(about.get("b") or "the rest")
    return f"not {line['target']}" if rest == "the rest" else rest


def plain_sentence(
    kind: Kind, line: dict[str, Any], about: dict[str, Any], shares: pd.DataFrame
) -> str:
    """Say a finding in a sentence without statistics.

    Args:
        kind: What is compared.
        line: The finding, a line of `Contrast.table`.
        about: `Contrast.about`.
        shares: `Contrast.shares`, of trends.
    """
    say = {"groups": _group_sentence, "numeric": _number_sentence}
    if kind == "trend":
        return _trend_sentence(line, about, shares)
    return say[kind](line, about)


def statistics_sentence(kind: Kind, line: dict[str, Any], about: dict[str, Any]) -> str:
    """Say a finding with its effect, interval, q, and what it rests on."""
    effect = TEMPLATES[kind].format(**{"b": "the rest"} | about | line)
    basis = f"{about['n_rows']:,} rows, {about['n_independent']:,} independent"
    if about["covariates"]:
        basis += f"; at equal {', '.join(about['covariates'])}"
    return f"“{line['label']}” {effect}; q = {line['q']:.2g} ({basis})."


def _group_sentence(line: dict[str, Any], about: dict[str, Any]) -> str:
    share, share_rest = percent(line["share"]), percent(line["share_rest"])
    rest = about.get("b") or "the rest"
    head = f"Texts about “{line['label']}” make up"
    return f"{head} {share} of {line['target']} and {share_rest} of {rest}."


def _number_sentence(line: dict[str, Any], about: dict[str, Any]) -> str:
    del about
    size = number(abs(line["effect"]))
    direction = "higher" if line["effect"] > 0 else "lower"
    head = f"In texts about “{line['label']}”, {line['target']} is"
    return f"{head} {size} {direction} on average ({line['n_active']:,} texts)."


def _trend_sentence(
    line: dict[str, Any], about: dict[str, Any], shares: pd.DataFrame
) -> str:
    """Compare the first periods with the last, as few as show what the whole does."""
    rises = line["effect"] > 0
    verb = "rise" if rises else "fall"
    head = f"Texts about “{line['label']}” {verb}"
    of_feature = shares[shares["feature"] == line["feature"]]
    n_periods = len(of_feature)
    for width in range(1, n_periods // 2 + 1):
        first, last = of_feature.iloc[:width], of_feature.iloc[-width:]
        if min(first["n"].sum(), last["n"].sum()) < MIN_PERIOD_TEXTS:
            continue
        start, end = _share(first), _share(last)
        if rises == (end > start):
            then = f"from {percent(start)} {_when(first, about)}"
            return f"{head} {then} to {percent(end)} {_when(last, about)}."
    return f"{head} over the whole time."


def _share(shares: pd.DataFrame) -> float:
    return sum(shares["n_active"]) / max(sum(shares["n"]), 1)


def _when(shares: pd.DataFrame, about: dict[str, Any]) -> str:
    """Name a few successive periods: "in March 2024", "from March 2024 to May 2024"."""
    names = shares["name"].tolist()
    first, last = names[0], names[-1]
    preposition = "on" if about["unit"] == "day" else "in"
    if first == last:
        return f"{preposition} {first}"
    return f"between {first} and {last}"


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
