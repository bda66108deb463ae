"""Figures of findings: effects with their intervals, and shares of rows over time."""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# plotly takes most arguments as **dictionaries, and pandas' stubs see arrays for columns

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from nanosae.analysis.columns import name_of, one_per_row
from nanosae.analysis.comparisons.findings import shares_of
from nanosae.analysis.comparisons.periods import DAYS_PER_YEAR, UNITS_PER_YEAR, periods
from nanosae.analysis.groups.topic_rows import topic_name
from nanosae.errors import DataError
from nanosae.view.plots.base import (
    empty_figure,
    escape,
    escape_short,
    escape_wrapped,
    panel,
    panel_figure,
    run_of,
    run_suffix,
    titled,
)
from nanosae.view.plots.sources import contrast_result, topics_of
from nanosae.view.style import COLORS, MUTED


def contrast(found: Any, *, n: int = 20) -> go.Figure:
    """Draw the findings of a contrast as a forest plot: effects with 95 % intervals.

    Args:
        found: A result of `contrast`, `explain` or `over_time`, its dictionary or JSON file, or a
            run folder with a single such file.
        n: Maximum number of findings, those with the largest differences first.

    Raises:
        DataError: If there are no findings.
    """
    found = run_of(found)
    result = contrast_result(found)
    about = result["about"]
    table = pd.DataFrame(result["findings"]).head(n)
    if table.empty:
        raise DataError(
            f"there are no findings among {about['n_tested']:,} tests: nothing to draw."
        )
    figure = empty_figure()
    figure.update_xaxes(title_text=escape(_effect_axis(result, table)))
    if result["kind"] == "numeric":
        effects = table[["effect", "low", "high"]]
        no_effect = 0
    else:
        effects = table[["odds_ratio", "odds_low", "odds_high"]]
        no_effect = 1
        figure.update_xaxes(type="log", **_ratio_ticks(effects.to_numpy(float)))
    is_negative = (table["effect"] < 0).tolist()
    _add_effects(figure, effects, is_negative, result["sentences"][:n])
    figure.add_vline(no_effect, line={"color": MUTED, "dash": "dash"})
    ticks = [escape_short(name, 44) for name in _finding_names(table)]
    figure.update_yaxes(
        tickvals=list(range(len(table))),
        ticktext=ticks,
        ticklabelstandoff=6,
        range=[len(table) - 0.4, -0.6],
        showgrid=False,
        zeroline=False,
    )
    n_findings, n_tested = len(result["findings"]), about["n_tested"]
    subtitle = f"{n_findings:,} findings among {n_tested:,} tests, all rows"
    target = about.get("column") or table["target"].iloc[0]
    title = f"Features associated with {target}"
    return titled(figure, title, 170 + 24 * len(table), subtitle)


def _ratio_ticks(ratios: np.ndarray) -> dict[str, Any]:
    """Return the ticks of a logarithmic axis of ratios: decades, 1 · 2 · 5, or plotly's default.

    On axes of about a decade, plotly's default writes "5" for 0.5.
    """
    span = ratios.max() / ratios.min()
    if span > 30:
        return {"dtick": 1, "exponentformat": "power"}  # not 100µ and 10k
    if span < 8:
        return {}
    decades = 10.0 ** np.arange(-6, 7)
    return {"tickvals": np.outer(decades, [1, 2, 5]).ravel(), "tickformat": "~g"}


def _add_effects(
    figure: go.Figure,
    effects: pd.DataFrame,
    is_negative: list[bool],
    sentences: list[str],
) -> None:
    """Draw a marker and an interval for each row of effect, low and high."""
    effect, low, high = effects.to_numpy(float).T
    interval = {
        "type": "data",
        "array": high - effect,
        "arrayminus": effect - low,
        "color": MUTED,
    }
    marker = {
        "color": [COLORS[sign] for sign in is_negative],
        "symbol": ["diamond" if sign else "circle" for sign in is_negative],
        "size": 9,
    }
    figure.add_scatter(
        x=effect,
        y=list(range(len(effects))),
        mode="markers",
        error_x=interval,
        marker=marker,
        hovertext=[escape_wrapped(sentence, 600) for sentence in sentences],
        hoverinfo="text",
        showlegend=False,
    )


def _has_several_targets(table: pd.DataFrame) -> bool:
    return len(set(table["target"])) > 1


def _finding_names(table: pd.DataFrame) -> list[str]:
    """Return the names of the findings, with their groups if there are several."""
    is_topic = table["feature"] < 0
    names = table["label"].where(~is_topic, "topic " + table["label"])
    if _has_several_targets(table):
        names = names + " · " + table["target"]
    return names.tolist()


def _effect_axis(result: dict[str, Any], table: pd.DataFrame) -> str:
    """Return the title of the axis of effects."""
    about = result["about"]
    target = table["target"].iloc[0]
    if result["kind"] == "numeric":
        return f"difference of {target}, 95 % interval"
    if result["kind"] == "trend":
        return f"odds ratio per {about['unit']}, 95 % interval (log scale)"
    group = "each class" if _has_several_targets(table) else target
    others = about.get("b") or "the rest"
    return f"odds ratio, {group} : {others}, 95 % interval (log scale)"


def over_time(source: Any, time: Any = None, *, n: int = 6) -> go.Figure:
    """Plot shares of rows over time: of topics, or of the features of a trend.

    Args:
        source: Topics, or a run folder with codes (its topics are computed again, 20 if it has no
            topics.parquet); or, without `time`, a result of `over_time`.
        time: Metadata column with numbers or dates, or one value per row.
        n: Number of lines: the largest topics, or the largest changes.

    Raises:
        DataError: If the column is missing, or has neither numbers nor dates.
    """
    source = run_of(source)
    if time is None:
        result = contrast_result(source)
        lines = _feature_shares(result, n)
        title, axis = "Features", result["about"]["column"]
    else:
        lines = _topic_shares(topics_of(source), time, n)
        title, axis = "Topics", name_of(time) or "time"
    if not lines:
        raise DataError("nothing changes over time: nothing to draw.")
    titles = [escape_short(name, 36) for name, _ in lines]
    y_titles = ["share of rows", "", ""] * n
    x_titles = [escape(str(axis))] * n
    figure = panel_figure(titles, y_titles, x_titles)
    for i, (_, shares) in enumerate(lines):
        _add_share(figure, i, shares)
    most = max(shares["high"].max() for _, shares in lines)
    figure.update_yaxes(tickformat=".0%", range=[0, 1.05 * most])
    figure.update_layout(showlegend=False)
    return titled(figure, f"{title} over time{run_suffix(source)}")


def _add_share(figure: go.Figure, i: int, shares: pd.DataFrame) -> None:
    """Draw a line with the band of its interval in the i-th panel."""
    period, share, low, high = (
        shares[name].tolist() for name in ("period", "share", "low", "high")
    )
    figure.add_scatter(
        x=period + period[::-1],
        y=low + high[::-1],
        line={"width": 0},
        mode="lines",
        fill="toself",
        fillcolor=f"{COLORS[0]}33",
        hoverinfo="skip",
        **panel(i),
    )
    figure.add_scatter(
        x=period,
        y=share,
        mode="lines+markers",
        line={"color": COLORS[0]},
        marker={"size": 5},
        hovertemplate="%{x}: %{y:.1%}<extra></extra>",
        **panel(i),
    )


def _feature_shares(result: dict[str, Any], n: int) -> list[tuple[str, Any]]:
    """Return the labels of the largest changes, and their shares of the rows in each period."""
    if result["kind"] != "trend":
        raise DataError(
            f"{result['kind']!r} findings have no time: give `time`, or a result of over_time."
        )
    if not result["findings"]:
        return []
    shares = _on_calendar(pd.DataFrame(result["shares"]), result["about"]["unit"])
    return [
        (finding["label"], shares_of(shares, finding))
        for finding in result["findings"][:n]
    ]


def _on_calendar(shares: pd.DataFrame, unit: str) -> pd.DataFrame:
    """Return shares with dates as periods, if these are positions on the calendar in years."""
    if unit not in UNITS_PER_YEAR:
        return shares
    days = (shares["period"] - 1970) * DAYS_PER_YEAR
    return shares.assign(period=pd.to_datetime(days.round(), unit="D"))


def _topic_shares(topics: Any, column: Any, n: int) -> list[tuple[str, pd.DataFrame]]:
    """Return the names of the largest topics, and their shares of the rows in each period."""
    values = one_per_row(topics.codes, column)
    found = periods(values, name_of(column) or "time")
    starts, topic = found.start[found.kept], topics.row_topic[found.kept]
    shares = pd.crosstab(starts, topic, normalize="index")
    largest = topics.table.nlargest(n, "Count")
    shares = shares.reindex(columns=largest["Topic"], fill_value=0.0)
    lines = []
    for topic, words in zip(largest["Topic"], largest["Representation"], strict=True):
        share = shares[topic].to_numpy()
        line = pd.DataFrame({"period": shares.index, "share": share})
        line = line.assign(low=share, high=share)  # counted, not estimated
        lines.append((topic_name(words), _on_calendar(line, found.unit)))
    return lines
