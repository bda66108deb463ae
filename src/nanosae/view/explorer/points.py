"""Maps: the points inside a box, the density of all points, and names of regions."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from nanosae.view.explorer.colors import color_points, feature_number
from nanosae.view.explorer.corpus import Answer, OpenCorpus
from nanosae.view.explorer.prepare import name_regions
from nanosae.view.explorer.selections import Selection, select_rows
from nanosae.view.pages import to_json

MAX_POINTS = 20_000  # points of a map sent at once
RASTER = (320, 240)  # cells of the density behind the points
MARGIN = 0.03  # of the map's width and height

Box = list[float]  # x0, y0, x1, y1


def map_points(
    corpus: OpenCorpus,
    kind: str,
    color: str = "",
    where: Selection | None = None,
    box: Box | None = None,
) -> bytes:
    """Return the points of a map inside a box, and the density of all points.

    If there are too many points, those in the selection are preferred, then a fixed sample.

    Args:
        corpus: The corpus.
        kind: "rows" or "features".
        color: What the colours show; see `color_points`.
        where: The selection whose points are marked.
        box: The part of the map; by default the whole map.

    Returns:
        Bytes: length of a JSON header (uint32), the header, padded to 4 bytes, ids (uint32),
        positions (float32 x, y), colours (float32: position in the legend or value), marks (uint8:
        whether the point is in the selection), density (uint8, rows of cells from below).
    """
    points = _points(corpus, kind, color, where)
    x, y = points.x, points.y
    whole = _whole_box(x, y)
    x0, y0, x1, y1 = map(float, box or whole)
    is_inside = (x >= x0) & (x <= x1) & (y >= y0) & (y <= y1)
    inside = np.flatnonzero(is_inside)
    is_marked = points.marked[inside]
    marked_first = inside[is_marked][: MAX_POINTS // 2]
    others = inside[~is_marked][: MAX_POINTS - len(marked_first)]
    sent = np.concatenate([others, marked_first])  # later points are drawn on top
    ids = points.ids[sent]
    legend, values = color_points(corpus, kind, color, ids.astype(np.int64))
    head = {
        "n": len(sent),
        "inside": len(inside),
        "total": len(points.ids),
        "legend": legend,
        "box": [x0, y0, x1, y1],
        "whole": whole,
        "raster": RASTER,
        "marked": len(marked_first),
    }
    arrays = (
        ids,
        np.stack([x[sent], y[sent]], 1),
        values.astype(np.float32),
        points.marked[sent],
        _density(x[inside], y[inside], [x0, y0, x1, y1]),
    )
    packed = _packed(head, arrays)
    corpus.map_is_asked.set()
    return packed


class _Points(NamedTuple):
    """The points of a map: their numbers, positions, and whether they are in the selection."""

    ids: np.ndarray
    x: np.ndarray
    y: np.ndarray
    marked: np.ndarray


def _points(
    corpus: OpenCorpus, kind: str, color: str, where: Selection | None
) -> _Points:
    """Return all points of a map in the order in which they are sent."""
    if kind == "rows":
        ids = corpus.row_order
        x, y = _shuffled_rows(corpus, corpus.map_version())
        return _Points(ids, x, y, _marked_rows(corpus, color, where)[ids])
    ids = np.flatnonzero(corpus.codes.counts).astype(np.uint32)
    x, y = np.ascontiguousarray(corpus.map["features"][ids].T)
    selected = [] if where is None else where.get("features", [])
    return _Points(ids, x, y, np.isin(ids, selected))


def _packed(head: dict[str, Any], arrays: tuple[np.ndarray, ...]) -> bytes:
    """Return the length of a JSON header, the header, padded to 4 bytes, and the arrays."""
    text = to_json(head).encode()
    text += b" " * (-len(text) % 4)
    length = np.uint32(len(text)).tobytes()
    return b"".join([length, text, *(array.tobytes() for array in arrays)])


@lru_cache(1)
def _shuffled_rows(corpus: OpenCorpus, version: int) -> np.ndarray:
    """Return x and y of the rows in their random order, (2, n_rows)."""
    return np.ascontiguousarray(corpus.map["rows"][corpus.row_order].T)


def _marked_rows(corpus: OpenCorpus, color: str, where: Selection | None) -> np.ndarray:
    """Return which rows to prefer: those of the selection, or else of the coloured feature."""
    marked = np.zeros(corpus.codes.n_rows, bool)
    kind, _, feature = color.partition(":")
    if where:
        marked[select_rows(corpus, where)] = True
    elif kind == "feature":
        rows, _ = corpus.codes.feature(feature_number(feature))
        marked[rows] = True
    return marked


def _whole_box(x: np.ndarray, y: np.ndarray) -> Box:
    """Return the bounding box of all points, with a margin; it is never empty."""
    low = high = np.zeros(2)
    if len(x):
        low = np.array([x.min(), y.min()], np.float64)
        high = np.array([x.max(), y.max()], np.float64)
    sides = high - low
    largest_side = sides.max() or 1.0
    margin = MARGIN * np.where(sides > 0, sides, largest_side)
    return [*(low - margin).tolist(), *(high + margin).tolist()]


def _density(x: np.ndarray, y: np.ndarray, box: Box) -> np.ndarray:
    """Return log counts of points in the cells of a box, scaled to 0 … 255, rows from below."""
    x0, y0, x1, y1 = box
    width, height = RASTER
    column = _cell(x - x0, width / (x1 - x0), width)
    row = _cell(y - y0, height / (y1 - y0), height)
    counts = np.bincount(row * width + column, minlength=width * height)
    density = np.log1p(counts)
    scaled = 255 * density / max(density.max(), 1e-9)
    return scaled.astype(np.uint8)


def _cell(distance: np.ndarray, cells_per_unit: float, n_cells: int) -> np.ndarray:
    """Return the cell at each distance from the edge of a box; the far edge is in the last cell."""
    return np.clip(distance * cells_per_unit, 0, n_cells - 1).astype(np.int32)


def map_regions(corpus: OpenCorpus, kind: str) -> list[Answer]:
    """Return names of the regions of a map, and their positions."""
    if corpus.stored_map is None:
        return []  # the first map will be replaced
    return _regions(corpus, kind, corpus.map_version(), corpus.labels_version())


@lru_cache(4)
def _regions(
    corpus: OpenCorpus, kind: str, map_version: int, labels_version: tuple[int, ...]
) -> list[Answer]:
    found = corpus.map
    if kind == "rows":
        return json.loads(found["regions"].item())
    features = np.flatnonzero(corpus.codes.counts)
    names = {
        place: corpus.labels.get(feature, "")
        for place, feature in enumerate(features.tolist())
    }
    return name_regions(found["features"][features], names, found["method"].item())
