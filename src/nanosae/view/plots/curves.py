"""Curves over the steps of a training."""

# pyright: reportArgumentType=false, reportCallIssue=false
# plotly takes most arguments as **dictionaries

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd
import plotly.graph_objects as go

from nanosae.view.plots.base import panel, panel_figure, run_of, run_suffix, titled
from nanosae.view.plots.sources import Metrics, metrics
from nanosae.view.style import COLORS

HOVER = "step %{x:,}: %{y:.4~g}"
LEGEND_COLUMNS = ("loss", "heldout_fvu")  # one curve per name is listed in the legend


class Panel(NamedTuple):
    """A panel: its title, the title of its y axis, and the column of the metrics it shows."""

    title: str
    axis: str
    column: str


class Curve(NamedTuple):
    """A curve: the number of its panel, its name, and its column of the metrics."""

    panel: int
    name: str
    column: str


PANELS = (
    Panel("Loss", "loss per element", "loss"),
    Panel("Fraction of variance unexplained", "FVU", "fvu"),
    Panel("Active latents", "L0 (latents per row)", "l0"),
    Panel("Dead latents", "dead (% of latents)", "dead"),
    Panel("Learning rate", "learning rate", "lr"),
)
COEFFICIENT = Panel("Sparsity coefficient", "coefficient", "coefficient")
THROUGHPUT = Panel("Throughput", "thousand rows per second", "speed")


def training(run: Metrics) -> go.Figure:
    """Plot the loss and its parts, FVU, L0, dead latents, learning rate and sparsity coefficient.

    For activations without a sparsity coefficient, its panel shows the throughput instead.

    Args:
        run: A run folder, finished or not, or the lines of its metrics.jsonl as dictionaries.

    Raises:
        MissingError: If the run has logged nothing.
    """
    run = run_of(run)
    table = _metrics_table(run)
    has_coefficient = any(table.get("coefficient", ()))
    panels = [*PANELS, COEFFICIENT if has_coefficient else THROUGHPUT]
    curves = [curve for curve in _curves(panels, table) if curve.column in table]
    names = list(dict.fromkeys(curve.name for curve in curves))
    figure = panel_figure(
        [panel.title for panel in panels],
        [panel.axis for panel in panels],
        ["step"] * len(panels),
    )
    colors = {name: COLORS[i % len(COLORS)] for i, name in enumerate(names)}
    for curve in curves:
        _add_curve(figure, table, curve, colors[curve.name])
    figure.update_yaxes(rangemode="tozero")
    return titled(figure, f"Training{run_suffix(run)}")


def _metrics_table(run: Metrics) -> pd.DataFrame:
    """Return the metrics of a training as a table, in the units of the panels."""
    table = pd.json_normalize([line for line in metrics(run) if "loss" in line])
    parts = _loss_parts(table)
    table[parts] = table[parts].fillna(0.0)
    table["dead"] *= 100
    if "rows_per_second" in table:
        table["speed"] = table["rows_per_second"] / 1000
    return table


def _loss_parts(table: pd.DataFrame) -> list[str]:
    return [column for column in table if column.startswith("parts.")]


def _curves(panels: Sequence[Panel], table: pd.DataFrame) -> list[Curve]:
    """Return a curve for each panel, those of held-out rows, and the parts of the loss."""
    curves = [Curve(i, "training", panel.column) for i, panel in enumerate(panels)]
    curves.append(Curve(1, "held-out", "heldout_fvu"))
    curves.append(Curve(2, "held-out", "heldout_l0"))
    parts = _loss_parts(table)
    if len(parts) > 1:
        curves += [Curve(0, part.removeprefix("parts."), part) for part in parts]
    return curves


def _add_curve(
    figure: go.Figure, table: pd.DataFrame, curve: Curve, color: str
) -> None:
    known = table[["step", curve.column]].dropna()
    is_part = curve.column.startswith("parts.")
    figure.add_scatter(
        x=known["step"].tolist(),
        y=known[curve.column].tolist(),
        line={"color": color, "dash": "dot" if is_part else "solid", "width": 1.8},
        mode="lines" if len(known) > 2 else "lines+markers",
        legendgroup=curve.name,
        showlegend=is_part or curve.column in LEGEND_COLUMNS,
        name=curve.name,
        hovertemplate=HOVER,
        **panel(curve.panel),
    )
