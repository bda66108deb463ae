"""Figures of quality: measures of runs against their sparsity, and probes against baselines."""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# plotly takes most arguments as **dictionaries, and pandas' stubs see arrays for columns

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from nanosae.errors import DataError
from nanosae.view.plots.base import INTERVAL, empty_figure, escape, estimates, titled
from nanosae.view.plots.sources import evaluation_table, metrics, named_runs
from nanosae.view.style import COLORS, MUTED

HEIGHT = 480


def frontier(runs: Any, measure: str = "fvu") -> go.Figure:
    """Plot a measure of several runs against their L0.

    Args:
        runs: Run folders, a folder of them (as `nanosae.sweep` makes), or a mapping from names to
            run folders. Runs with equal activation and size are joined by a line.
        measure: "fvu", or a measure of `nanosae evaluate` such as "probe_f1@5", whose baselines are
            drawn as dashed lines.

    Raises:
        MissingError: If a run has no metrics or was not evaluated.
        DataError: If a run is unfinished or does not have the measure.
    """
    points = []
    baselines: dict[str, float] = {}
    for name, run in named_runs(runs).items():
        point, own_baselines = _frontier_point(name, run, measure)
        points.append(point)
        baselines = own_baselines | baselines
    figure = empty_figure()
    kinds = pd.DataFrame(points).groupby("kind", sort=False)
    for i, (kind, table) in enumerate(kinds):
        table = table.sort_values("l0")
        figure.add_scatter(
            x=table["l0"].tolist(),
            name=kind,
            mode="lines+markers",
            marker={"color": COLORS[i % len(COLORS)], "symbol": i, "size": 9},
            customdata=[escape(name) for name in table["name"]],
            showlegend=True,
            **estimates(table),
            hovertemplate="%{customdata}<br>L0 %{x:.1f}, %{y:.3f}",
        )
    for name, value in baselines.items():
        figure.add_hline(
            value,
            line={"color": MUTED, "dash": "dash", "width": 1},
            annotation_text=escape(name),
            annotation_position="top right",
        )
    is_fvu = measure == "fvu"
    figure.update_xaxes(title_text="L0 (active features per row)", rangemode="tozero")
    figure.update_yaxes(title_text="FVU, held-out rows" if is_fvu else measure)
    return titled(figure, f"{'FVU' if is_fvu else measure} and L0", HEIGHT)


def _frontier_point(
    name: str, run: Any, measure: str
) -> tuple[dict[str, Any], dict[str, float]]:
    """Return the point of a run, and the values of its baselines."""
    last = metrics(run)[-1]
    if not last.get("final"):
        raise DataError(
            f"{run} stopped at step {last['step']}:",
            file=run,
            remedy="finish it with resume=True (--resume).",
        )
    config = json.loads((Path(run) / "config.json").read_text("utf-8"))["config"]
    point = {
        "name": name,
        "l0": last["l0"],
        "kind": f"{config['activation']}, {config['hidden_size']:,} features",
    }
    if measure == "fvu":
        return point | dict.fromkeys(INTERVAL, last["fvu"]), {}
    table = evaluation_table(run)
    table = table[table["measure"] == measure].set_index("representation")
    if "codes" not in table.index:
        raise DataError(
            f"{run} was not evaluated for {measure!r}; evaluate it with classes."
        )
    baselines = table["value"].drop("codes").to_dict()
    return point | table.loc["codes", INTERVAL].to_dict(), baselines


def probing(runs: Any, measure: str = "f1") -> go.Figure:
    """Plot how well a few features predict known classes, by their number, beside baselines.

    Args:
        runs: Run folders that were evaluated with classes: one, a list, a folder of them, or a
            mapping from names to them; an Evaluation may replace a run folder.
        measure: "f1", "auc" or "accuracy".

    Raises:
        MissingError: If a run was not evaluated.
        DataError: If it was evaluated without classes.
    """
    run_tables: dict[str, pd.DataFrame] = {}
    baselines: dict[str, pd.DataFrame] = {}
    for name, run in named_runs(runs).items():
        tables = _probe_tables(name, run, measure)
        run_tables[name] = tables.pop("codes")
        own_baselines = {
            f"{representation} (baseline)": table
            for representation, table in tables.items()
        }
        baselines = own_baselines | baselines
    figure = empty_figure()
    for i, (name, table) in enumerate((run_tables | baselines).items()):
        is_baseline = i >= len(run_tables)
        line = {"color": COLORS[i % len(COLORS)], "dash": "solid"}
        if is_baseline:
            line = {"color": MUTED, "dash": "dot"}
        figure.add_scatter(
            x=table["k"].tolist(),
            name=escape(name),
            mode="lines+markers",
            line=line,
            marker={"symbol": i, "size": 8},
            **estimates(table, show_intervals=not is_baseline),
            hovertemplate="%{x} features: %{y:.3f}",
        )
    ticks: set[float] = set()
    for table in run_tables.values():
        ticks |= set(table["k"])
    figure.update_xaxes(
        title_text="features of the probe (log scale)",
        type="log",
        tickvals=sorted(ticks),
    )
    figure.update_yaxes(title_text=f"{measure}, mean over classes, held-out rows")
    return titled(figure, "Sparse probing", HEIGHT)


def _probe_tables(name: str, run: Any, measure: str) -> dict[Any, pd.DataFrame]:
    """Return a table of probe scores by number of features for each representation."""
    table = evaluation_table(run)
    pattern = rf"^probe_{measure}@(\d+)$"
    n_features = table["measure"].str.extract(pattern)[0]
    table = table.assign(k=n_features.astype(float)).dropna(subset=["k"])
    if table.empty:
        raise DataError(f"{name} has no probes: evaluate it with classes.")
    return dict(list(table.groupby("representation", sort=False)))
