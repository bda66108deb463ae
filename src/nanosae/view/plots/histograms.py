"""Histograms of weights and norms during training, of activations, and of active features."""

# pyright: reportArgumentType=false, reportCallIssue=false
# plotly takes most arguments as **dictionaries

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go

from nanosae.analysis.reading import drawn_rows
from nanosae.codes import as_codes
from nanosae.errors import DataError
from nanosae.lengths import lengths, unit
from nanosae.view.plots.base import (
    BAR,
    histogram,
    panel,
    panel_figure,
    run_of,
    run_suffix,
    titled,
)
from nanosae.view.plots.sources import (
    feature_name,
    labels_of,
    snapshots,
    weight_matrices,
)
from nanosae.view.style import COLORS

BINS = 64
HEIGHT = 420
MAX_ROWS = 50_000  # sampled for the activations of all features
PAIRED_ROWS = 2048  # decoder rows whose pairwise cosines are counted
NEVER_ACTIVE = -8  # dead latents have a log10 density of -9

Snapshot = Mapping[str, np.ndarray]


class Histogram(NamedTuple):
    """A histogram of a snapshot: its title and the title of its x axis."""

    title: str
    axis: str


HISTOGRAMS = {  # by their names in a snapshot
    "encoder_weight": Histogram("Encoder weights", "weight"),
    "encoder_norm": Histogram("Encoder norms", "norm of a latent's encoder column"),
    "encoder_decoder_cosine": Histogram(
        "Encoder against decoder", "cosine, same latent"
    ),
    "decoder_weight": Histogram("Decoder weights", "weight"),
    "decoder_norm": Histogram("Decoder norms", "norm of a latent's decoder row"),
    "decoder_cosine": Histogram("Decoder rows, pairs", "cosine, two latents"),
    "decoder_max_cosine": Histogram(
        "Decoder rows, nearest", "cosine with the nearest latent"
    ),
    "log10_density": Histogram("Density", "log10 of the share of rows"),
    "activation": Histogram("Activations", "activation (units of scaled rows)"),
}


def weights(source: Any) -> go.Figure:
    """Plot the distributions of weights, norms and cosines, for a run with a slider over snapshots.

    Args:
        source: A run folder with snapshots or an `Analysis` of it, or a model or Weights for the
            final state.

    Raises:
        MissingError: If the run has no snapshots.
    """
    source = run_of(source)
    if isinstance(source, str | Path):
        by_step: dict[int, Any] = snapshots(source)
    else:
        by_step = {0: _final_histograms(source)}
    shots = list(by_step.values())
    names = [name for name in HISTOGRAMS if _all_have_counts(shots, name)]
    titles = [HISTOGRAMS[name].title for name in names]
    axes = [HISTOGRAMS[name].axis for name in names]
    figure = panel_figure(titles, ["share (%)"] * len(names), axes)
    for i, name in enumerate(names):
        figure.add_bar(
            **_bars(shots[-1], name),
            marker=BAR,
            showlegend=False,
            name=titles[i],
            hovertemplate="%{x:.3~g}: %{y:.2~f} %",
            **panel(i),
        )
        figure.update_xaxes(range=_common_range(shots, name), **panel(i))
    figure.update_layout(bargap=0)
    if len(shots) > 1:
        figure.update_layout(sliders=[_slider(by_step, names)])
    return titled(figure, f"Weights{run_suffix(source)}")


def _all_have_counts(shots: Sequence[Snapshot], name: str) -> bool:
    return all(name in shot and bool(shot[name].any()) for shot in shots)


def _bars(shot: Snapshot, name: str) -> dict[str, Any]:
    """Return the bars of a histogram as rounded percentages."""
    counts, edges = shot[name], shot[f"{name}_edges"]
    width = float(edges[1] - edges[0])
    shares = 100 * counts / max(counts.sum(), 1)
    return {
        "x0": float(edges[0]) + width / 2,
        "dx": width,
        "y": [float(f"{share:.4g}") for share in shares],
    }


def _common_range(shots: Sequence[Snapshot], name: str) -> list[float]:
    """Return the ends of an axis that fits the histograms of all snapshots."""
    edges = np.array([shot[f"{name}_edges"] for shot in shots])
    low = edges[:, 0].min()
    if name == "log10_density":
        counts = np.array([shot[name] for shot in shots])
        lower_edges = edges[:, :-1]
        is_shown = (counts > 0) & (lower_edges > NEVER_ACTIVE)
        low = lower_edges[is_shown].min(initial=-1)
    return [low, edges[:, -1].max()]


def _slider(by_step: Mapping[int, Snapshot], names: Sequence[str]) -> dict[str, Any]:
    """Return plotly's slider over the steps, set to the last one."""
    states = []
    for step, shot in by_step.items():
        bars = [_bars(shot, name) for name in names]
        changes = {}
        for key in ("x0", "dx", "y"):
            changes[key] = [bar[key] for bar in bars]
        states.append({"method": "restyle", "label": f"{step:,}", "args": [changes]})
    return {
        "active": len(by_step) - 1,
        "currentvalue": {"prefix": "step "},
        "ticklen": 0,
        "pad": {"t": 44},
        "x": 0,
        "len": 1,
        "minorticklen": 0,
        "steps": states,
    }


def _final_histograms(model: Any) -> dict[str, np.ndarray]:
    """Return the weight histograms of a snapshot for a final model."""
    W_enc, W_dec = weight_matrices(model)
    encoder = W_enc.T
    series = {
        "encoder_weight": encoder,
        "encoder_norm": lengths(encoder),
        "encoder_decoder_cosine": np.zeros(0),
        "decoder_weight": W_dec,
        "decoder_norm": lengths(W_dec),
        "decoder_cosine": _pairwise_cosines(W_dec),
    }
    if encoder.shape == W_dec.shape:  # differs in transcoders
        cosine = (unit(encoder) * unit(W_dec)).sum(1)
        series["encoder_decoder_cosine"] = cosine
    histograms = {}
    for name, values in series.items():
        counts, edges = np.histogram(values, bins=BINS, range=_span(values))
        histograms[name] = counts
        histograms[f"{name}_edges"] = edges
    return histograms


def _pairwise_cosines(W_dec: np.ndarray) -> np.ndarray:
    """Return the cosines of all pairs of decoder rows, or of PAIRED_ROWS evenly spaced ones."""
    n = len(W_dec)
    chosen = np.linspace(0, n - 1, min(n, PAIRED_ROWS)).astype(int)
    unit_rows = unit(W_dec[chosen])
    cosine = unit_rows @ unit_rows.T
    return cosine[np.triu_indices(len(unit_rows), 1)]


def _span(values: np.ndarray) -> tuple[float, float]:
    """Return the range of a histogram, widened if the values hardly differ."""
    if not len(values):
        return -0.5, 0.5
    low, high = np.min(values), np.max(values)
    if high - low > 1e-3:
        return low, high
    return low - 0.5, low + 0.5


def density(source: Any) -> go.Figure:
    """Plot the distribution of the features' densities (log10).

    Args:
        source: Codes, a run folder with codes, or an `Analysis`.
    """
    source = run_of(source)
    codes = as_codes(source)
    log_density = np.log10(codes.density[codes.counts > 0])
    n = codes.n_features
    n_dead = n - len(log_density)
    share = n_dead / n
    low = log_density.min(initial=-1) - 0.1
    high = min(0, log_density.max(initial=-1) + 0.1)
    figure = histogram(
        log_density,
        np.linspace(low, high, 51),
        "log10 of the share of rows on which a feature is active",
        "features",
    )
    dead = f"{n_dead:,} of them ({100 * share:.3g} %)"
    subtitle = f"{n:,} features, {dead} never active"
    return titled(figure, f"Activation density{run_suffix(source)}", HEIGHT, subtitle)


def activations(source: Any, feature: int | None = None) -> go.Figure:
    """Plot the distribution of the activations of one feature, or of all on up to 50,000 rows.

    Args:
        source: Codes, a run folder with codes, or an `Analysis`.
        feature: Number of the feature; None: all features.

    Raises:
        DataError: If there are no activations.
    """
    source = run_of(source)
    codes = as_codes(source)
    if feature is None:
        values = codes.take(drawn_rows(codes, MAX_ROWS)).data
        name = "all features"
    else:
        _, values = codes.feature(feature)
        name = feature_name(labels_of(source), feature)
    if not len(values):
        subject = "all features are" if feature is None else f"{name} is"
        raise DataError(
            f"{subject} inactive on all {codes.n_rows:,} rows of {codes.path}."
        )
    edges = np.linspace(0, values.max(), BINS + 1)
    figure = histogram(
        values, edges, "activation (in the units of the rows)", "activations"
    )
    mean = values.mean()
    subtitle = f"{name}: {len(values):,} activations above 0, mean {mean:.3g}"
    return titled(figure, f"Activations{run_suffix(source)}", HEIGHT, subtitle)


def l0(source: Any) -> go.Figure:
    """Plot the distribution of the number of active features per row.

    Args:
        source: Codes, a run folder with codes, or an `Analysis`.
    """
    source = run_of(source)
    codes = as_codes(source)
    per_shard = [np.diff(block.indptr) for _, block in codes.shards(values=False)]
    counts = np.concatenate([*per_shard, np.zeros(0, np.int64)])
    most = counts.max(initial=0)
    step = most // 100 + 1
    edges = np.arange(0, most + step + 1, step) - 0.5
    figure = histogram(counts, edges, "L0 (active features per row)", "rows")
    mean = counts.mean() if len(counts) else 0.0
    figure.add_vline(mean, line={"color": COLORS[1], "dash": "dash"})
    subtitle = f"{len(counts):,} rows, mean {mean:.1f} (dashed)"
    return titled(
        figure, f"Active features per row{run_suffix(source)}", HEIGHT, subtitle
    )
