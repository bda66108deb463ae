"""Building blocks of figures: empty figures and panels, titles, bars, escaped texts."""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# plotly takes most arguments as **dictionaries, and its layouts know their fields at run time only

from __future__ import annotations

import copy
import html
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from nanosae.view.style import COLORS, MUTED, template

PANELS_PER_ROW = 3
HOVER_WIDTH = 60  # characters
BAR = {"color": COLORS[0], "line": {"width": 0}}
# columns of an estimate and the ends of its interval
INTERVAL = ["value", "low", "high"]


def dark(figure: go.Figure) -> go.Figure:
    """Return a copy of a figure in the dark theme.

    Example:
        >>> dark(empty_figure()).layout.template.layout.paper_bgcolor
        '#1a2027'
    """
    return copy.deepcopy(figure).update_layout(template=template(dark=True))


def empty_figure() -> go.Figure:
    """Return a figure in the light theme."""
    return go.Figure(layout={"template": template()})


def panel_figure(
    titles: Sequence[str], y_titles: Sequence[str], x_titles: Sequence[str]
) -> go.Figure:
    """Return a figure of empty panels, three per row, with titles and axis titles."""
    n_rows = -(-len(titles) // PANELS_PER_ROW)
    figure = make_subplots(
        n_rows,
        min(PANELS_PER_ROW, len(titles)),
        subplot_titles=titles,
        horizontal_spacing=0.085,
        vertical_spacing=0.36 / (n_rows + 0.5),
    )
    figure.update_layout(template=template(), height=120 + 240 * n_rows)
    figure.update_annotations(font={"size": 13})
    for i in range(len(titles)):
        figure.update_yaxes(title_text=y_titles[i], **panel(i))
        figure.update_xaxes(title_text=x_titles[i], **panel(i))
    return figure


def panel(i: int) -> dict[str, int]:
    """Return the position of the i-th panel as plotly's `row` and `col`."""
    return {"row": i // PANELS_PER_ROW + 1, "col": i % PANELS_PER_ROW + 1}


def histogram(values: Any, edges: np.ndarray, axis: str, unit: str) -> go.Figure:
    """Return a histogram of values, counted in `unit`, between the edges of bins."""
    counts = np.histogram(values, bins=edges)[0]
    figure = empty_figure()
    figure.add_bar(
        x=(edges[1:] + edges[:-1]) / 2,
        y=counts,
        width=np.diff(edges),
        marker=BAR,
        showlegend=False,
        hovertemplate=f"%{{x:.3~g}}: %{{y:,}} {unit}<extra></extra>",
    )
    figure.update_xaxes(title_text=axis)
    figure.update_yaxes(title_text=unit)
    return figure.update_layout(bargap=0)


def estimates(table: pd.DataFrame, *, show_intervals: bool = True) -> dict[str, Any]:
    """Return the values of a table of estimates, and their intervals as plotly's error bars."""
    value, low, high = (table[name].to_numpy() for name in INTERVAL)
    bars = {
        "array": high - value,
        "arrayminus": value - low,
        "thickness": 1,
        "visible": show_intervals,
    }
    return {"y": value.tolist(), "error_y": bars}


def titled(
    figure: go.Figure, title: str, height: int = 0, subtitle: str = ""
) -> go.Figure:
    """Set the title, subtitle and height (0: unchanged) of a figure; return the figure."""
    text: dict[str, Any] = {"text": escape(title)}
    if subtitle:
        text["subtitle"] = {
            "text": escape(subtitle),
            "font": {"size": 12, "color": MUTED},
        }
    return figure.update_layout(title=text, height=height or figure.layout.height)


def run_of(source: Any) -> Any:
    """Return the run folder of an `Analysis`; anything else unchanged."""
    is_analysis = hasattr(source, "codes") and hasattr(source, "run")
    return source.run if is_analysis else source


def run_suffix(source: Any) -> str:
    """Return the end of a title that names the run; "" for other sources."""
    if not isinstance(source, str | Path):
        return ""
    return f" · {Path(source).resolve().name}"


def escape(text: str) -> str:
    """Escape markup for plotly, which does not decode &quot;.

    Example:
        >>> escape('<b>"A & B"</b>')
        '&lt;b&gt;"A &amp; B"&lt;/b&gt;'
    """
    return html.escape(text, quote=False)


def escape_short(text: str, length: int) -> str:
    """Truncate a text to a length and escape it.

    Example:
        >>> escape_short("one  two & three", 9)
        'one two …'
    """
    return escape(_cut(text, length))


def escape_wrapped(text: str, length: int = 300) -> str:
    """Truncate a text to a length, escape it, and wrap it for a hover box."""
    lines = textwrap.wrap(_cut(text, length), HOVER_WIDTH)
    return "<br>".join(escape(line) for line in lines)


def _cut(text: str, length: int) -> str:
    text = " ".join(text.split())
    if len(text) <= length:
        return text
    return text[: length - 1] + "…"
