"""Maps: features or rows as points, near each other if they are similar."""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# plotly takes most arguments as **dictionaries, and pandas' stubs see arrays for columns

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go

from nanosae.analysis.similarity import as_float32
from nanosae.codes import Codes, as_codes, has_corpus
from nanosae.errors import DataError
from nanosae.runs.tables import Labels, labels_by_feature
from nanosae.view import maps
from nanosae.view.plots.base import (
    empty_figure,
    escape,
    escape_wrapped,
    run_of,
    run_suffix,
    titled,
)
from nanosae.view.plots.sources import labels_of, weight_matrices
from nanosae.view.style import COLORS, MUTED

POINTS = 20_000  # drawn on a map; if there are more rows, a sample
WIDTH, HEIGHT = (
    780,
    530,
)  # pixels of the points in a figure 960 wide: labels are placed there
FIGURE_HEIGHT = 720


def dictionary(source: Any, labels: Labels | None = None) -> go.Figure:
    """Draw the decoder map: features are near each other if their directions are similar.

    Points are features, larger if they are active on more rows (if there are codes); colours and
    labels show regions of the map.

    Args:
        source: A model, Weights, codes in a run folder, or a run folder.
        labels: Labels of features, a mapping or a table; by default those of the run.
    """
    source = run_of(source)
    codes = _known_codes(source)
    _, decoder = weight_matrices(source if codes is None else codes.weights())
    is_drawn = decoder.any(axis=1)
    if codes is not None:
        is_drawn &= codes.counts > 0
    features = np.flatnonzero(is_drawn)
    if not len(features):
        raise DataError("There is nothing to draw: all features are dead.")
    known = labels_of(source) if labels is None else labels_by_feature(labels)
    names = {
        place: known.get(feature, "") for place, feature in enumerate(features.tolist())
    }
    hover = [
        f"feature {feature}<br>{escape_wrapped(names[place])}"
        for place, feature in enumerate(features.tolist())
    ]
    size: Any = 5.0
    if codes is not None:
        density = codes.density[features]
        hover = [
            f"{text}<br>active on {share:.2%} of rows"
            for text, share in zip(hover, density, strict=True)
        ]
        share_of_most = density / max(density.max(), 1e-12)
        size = 3 + 9 * np.sqrt(share_of_most)
    figure = _draw_map(decoder[features], names, hover, size)
    subtitle = f"{len(features):,} features; near means a similar direction"
    return titled(figure, f"Decoder map{run_suffix(source)}", FIGURE_HEIGHT, subtitle)


def _known_codes(source: Any) -> Codes | None:
    """Return codes, or those of a run folder if it has any."""
    if isinstance(source, Codes):
        return source
    if isinstance(source, str | Path) and has_corpus(source):
        return Codes.open(source)
    return None


def texts(source: Any, *, points: int = POINTS) -> go.Figure:
    """Draw the text map: rows are near each other if their embeddings are similar.

    Colours and labels show regions of the map; labels are words that distinguish their texts.

    Args:
        source: Codes with embeddings, a run folder, an `Analysis`, or an array, sparse matrix or
            frame of numbers.
        points: Maximum number of rows; more are sampled.

    Raises:
        DataError: If there are no rows, or numbers are not finite.
    """
    source = run_of(source)
    row_texts: list[str] = []
    if isinstance(source, Codes | str | Path):
        codes = as_codes(source)
        n = codes.n_rows
        rows = _sample(n, points)
        vectors = codes.vectors(rows)
        if codes.has_texts:
            row_texts = codes.texts(rows).tolist()
    else:
        if hasattr(source, "select_dtypes"):  # a frame
            source = source.select_dtypes("number")
        is_sparse = hasattr(source, "tocsr")
        array = source.tocsr() if is_sparse else _as_array(source)
        n = array.shape[0] if array.ndim else 0
        rows = _sample(n, points)
        vectors = array[rows].toarray() if is_sparse else array[rows]
    names = dict(enumerate(row_texts))
    hover = [
        f"row {row}<br>{escape_wrapped(names.get(place, ''))}"
        for place, row in enumerate(rows.tolist())
    ]
    figure = _draw_map(vectors, names, hover, 4.0)
    subtitle = f"{len(rows):,} of {n:,} rows; near means a similar embedding"
    return titled(figure, f"Text map{run_suffix(source)}", FIGURE_HEIGHT, subtitle)


def _as_array(data: Any) -> np.ndarray:
    return as_float32(data) if hasattr(data, "detach") else np.asarray(data)


def _sample(n: int, points: int) -> np.ndarray:
    """Return a random sample of at most `points` of n rows, ascending."""
    rng = np.random.default_rng(0)
    return np.sort(rng.choice(n, min(n, points), replace=False))


def plot_dictionary(model: Any) -> go.Figure:
    """Draw the features of a model, Weights or run folder as a map; see `dictionary`."""
    return dictionary(model)


def plot_umap(data: Any) -> go.Figure:
    """Draw rows as a map: of an array or frame (n, width), codes or a run folder; see `texts`."""
    return texts(data)


def _draw_map(
    vectors: np.ndarray, names: Mapping[int, str], hover: Sequence[str], size: Any
) -> go.Figure:
    """Draw a map of rows, coloured and labelled by cluster."""
    _check_vectors(vectors)
    points, method = maps.project(vectors)
    cluster = maps.clusters(points, method)
    # points without a cluster are drawn below all others
    order = np.argsort(cluster, kind="stable")
    figure = empty_figure()
    figure.add_scattergl(
        x=points[order, 0],
        y=points[order, 1],
        mode="markers",
        marker={
            "color": [_cluster_color(c) for c in cluster[order].tolist()],
            "opacity": np.where(cluster[order] < 0, 0.35, 0.75),
            "line": {"width": 0},
            "size": np.broadcast_to(size, len(order))[order],
        },
        hovertext=[hover[place] for place in order.tolist()],
        hoverinfo="text",
        showlegend=False,
    )
    for text, (x, y) in maps.labels(points, cluster, names, WIDTH, HEIGHT):
        figure.add_annotation(
            x=x, y=y, text=escape(text), showarrow=False, font={"size": 12}
        )
    bare = {"showticklabels": False, "showgrid": False, "zeroline": False}
    figure.update_xaxes(title_text=f"{method} 1", **bare)
    figure.update_yaxes(title_text=f"{method} 2", **bare)
    return figure


def _cluster_color(cluster: int) -> str:
    return MUTED if cluster < 0 else COLORS[cluster % len(COLORS)]


def _check_vectors(vectors: np.ndarray) -> None:
    """Raise DataError unless vectors are a non-empty matrix of finite numbers."""
    is_finite = np.isfinite(vectors)
    if vectors.ndim == 2 and vectors.size and is_finite.all():
        return
    n_bad = (~is_finite).sum()
    bad = f", {n_bad} of them not finite" if vectors.size else ""
    raise DataError(
        f"a map needs rows of finite numbers, (n, width); got {vectors.shape}{bad}."
    )
