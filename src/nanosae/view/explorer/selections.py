"""Selections of rows: a dict of conditions, all of which must hold.

words      texts that contain all these words
features   rows on which all these features are active
value      [column, value]: rows with this value in a metadata column
tag        rows with this tag
lasso      rows inside a polygon on the text map, [[x, y], …]
led        rows whose strongest feature lies inside a polygon on the decoder map
topic      rows with this main topic
"""

from __future__ import annotations

import json
from functools import lru_cache, partial, reduce
from typing import Any

import numpy as np

from nanosae.analysis.groups.topic_rows import ROWS, load_row_topics
from nanosae.analysis.search.text_index import find_texts, rows_with
from nanosae.errors import DataError
from nanosae.runs import annotations
from nanosae.view.explorer.corpus import OpenCorpus, as_text
from nanosae.view.files import modified_at

RANKED = 1_000  # texts in the order of BM25; the others follow in row order
MISSING = -2  # the value of no row

Selection = dict[str, Any]


def select_rows(corpus: OpenCorpus, where: Selection | None) -> np.ndarray:
    """Return the rows of a selection, int32: best first if they can be ranked, else ascending.

    Args:
        corpus: The corpus.
        where: The selection; None or an empty one selects all rows.

    Raises:
        DataError: If a condition is unknown or invalid.
    """
    where = where or {}
    files = (corpus.run / name for name in ("user.sqlite", ROWS))
    version = (*map(modified_at, files), corpus.map_version())
    return _select(corpus, json.dumps(where, sort_keys=True), version)


@lru_cache(16)
def _select(corpus: OpenCorpus, key: str, version: tuple[int, ...]) -> np.ndarray:
    where: Selection = json.loads(key)
    if not where:
        return np.arange(corpus.codes.n_rows, dtype=np.int32)
    columns = [corpus.codes.feature(feature) for feature in where.get("features", [])]
    row_sets = [rows for rows, _ in columns]
    for kind, value in where.items():
        if kind != "features":
            row_sets.append(_rows_that_meet(corpus, kind, value))
    if not row_sets:  # `features` was an empty list
        return np.arange(corpus.codes.n_rows, dtype=np.int32)
    common_rows = partial(np.intersect1d, assume_unique=True)
    rows = reduce(common_rows, row_sets)
    if columns:
        rows = _by_strength(rows, columns)
    elif where.keys() == {"words"} and len(rows):
        best, _ = find_texts(corpus.codes, where["words"], RANKED, every=True)
        rows = np.concatenate([best, np.setdiff1d(rows, best)])
    return rows.astype(np.int32)


def _by_strength(
    rows: np.ndarray, columns: list[tuple[np.ndarray, np.ndarray]]
) -> np.ndarray:
    """Order rows by the sum of their activations, each as a share of its feature's largest."""
    strength = np.zeros(len(rows))
    for active_rows, activations in columns:
        here = np.searchsorted(active_rows, rows)
        strength = strength + activations[here] / activations.max(initial=0)
    return rows[np.argsort(-strength, kind="stable")]


def _rows_that_meet(corpus: OpenCorpus, kind: str, value: Any) -> np.ndarray:
    """Return the rows that meet one condition, ascending."""
    if kind == "words":
        if not corpus.codes.has_texts:
            return np.zeros(0, np.int64)
        return rows_with(corpus.codes, value)
    if kind == "tag":
        return annotations.tagged(
            corpus.run, corpus.codes.name, value, corpus.codes.data
        )
    if kind == "value":
        return _rows_with_value(corpus, *value)
    if kind == "lasso":
        return np.flatnonzero(inside_polygon(corpus.map["rows"], value))
    if kind == "led":
        found = corpus.map
        is_inside = np.append(inside_polygon(found["features"], value), False)
        # rows without a leading feature (−1) take the last entry, False
        return np.flatnonzero(is_inside[found["led"]])
    if kind == "topic":
        return _rows_of_topic(corpus, value)
    raise DataError(f"unknown condition {kind!r}.")


def _rows_with_value(corpus: OpenCorpus, name: str, value: str) -> np.ndarray:
    """Return the rows with a value, given as text, in a metadata column, ascending."""
    column = corpus.column(name)
    if column.names:
        place = column.names.index(value) if value in column.names else MISSING
        return np.flatnonzero(column.values == place)
    # numbers or times, though a sample of the rows may have few values
    texts = corpus.codes.series(name).map(as_text).astype(str)
    return np.flatnonzero(texts == value)


def _rows_of_topic(corpus: OpenCorpus, topic: int) -> np.ndarray:
    """Return the rows with this main topic, ascending."""
    known = load_row_topics(corpus.codes)
    if known is None:
        raise DataError(
            "the topics of the texts are not known; `nanosae topics` finds them."
        )
    return np.flatnonzero(known.row_topic == topic)


def inside_polygon(points: np.ndarray, polygon: Any) -> np.ndarray:
    """Return which points lie inside a polygon, bool (n,).

    Uses the even-odd rule: a point is inside if a ray to the right crosses an odd number of edges.

    Args:
        points: (n, 2).
        polygon: Its corners in order, [[x, y], …].

    Example:
        >>> inside_polygon(np.array([[1, 1], [3, 1]]), [[0, 0], [2, 0], [2, 2], [0, 2]]).tolist()
        [True, False]
    """
    corners = np.asarray(polygon, np.float64)
    is_in_box = (points >= corners.min(0)) & (points <= corners.max(0))
    candidates = np.flatnonzero(is_in_box.all(axis=1))
    x, y = points[candidates].T.astype(np.float64)
    is_odd = np.zeros(len(candidates), bool)
    next_corners = np.roll(corners, -1, axis=0)
    for (x0, y0), (x1, y1) in zip(corners, next_corners, strict=True):
        if y0 == y1:
            continue  # no ray crosses a horizontal edge
        reaches_height = (y0 > y) != (y1 > y)
        x_at_height = (x1 - x0) * (y - y0) / (y1 - y0) + x0
        is_odd ^= reaches_height & (x < x_at_height)
    is_inside = np.zeros(len(points), bool)
    is_inside[candidates] = is_odd
    return is_inside
