"""Colours of a map's points: by a feature, a metadata column, families or topics."""

from __future__ import annotations

from typing import Any

import numpy as np

from nanosae.analysis.columns import one_hot
from nanosae.errors import DataError
from nanosae.view.explorer.corpus import Answer, OpenCorpus, day
from nanosae.view.style import COLORS, MUTED, SEQUENTIAL

SAMPLE = 50_000  # rows from which the column values of features are estimated
MIN_ROWS = 3  # of a feature in the sample; with fewer its value is unknown


def color_points(
    corpus: OpenCorpus, kind: str, color: str, ids: np.ndarray
) -> tuple[Answer, np.ndarray]:
    """Return a legend, and the value of each point or its position in the legend.

    NaN or −1 stand for no value.

    Args:
        corpus: The corpus.
        kind: "rows" or "features".
        color: "feature:NUMBER", "column:NAME", "family" or "topic"; "" for one colour.
        ids: Rows or features.
    """
    source, _, name = color.partition(":")
    if source == "feature":
        return _by_feature(corpus, kind, feature_number(name), ids)
    if source == "column":
        return _by_column(corpus, kind, name, ids)
    groups = corpus.groups(source)
    if groups is None:
        return {"kind": "none", "title": ""}, np.zeros(len(ids))
    places = groups.of_feature
    if kind == "rows" and groups.of_row is not None:
        places = groups.of_row
    elif kind == "rows":
        leader = corpus.map["led"]
        # rows without a leader (−1) have no group
        places = np.append(places, -1)[leader]
    legend, found = _legend(source, places[ids], list(groups.names.values()))
    for entry, number in zip(
        legend["entries"][: len(COLORS)], groups.numbers, strict=False
    ):
        entry["number"] = number
    return legend, found


def feature_number(text: str) -> int:
    """Return the number in a colour, "feature:NUMBER"."""
    if not text.isdecimal() or len(text) > 9:
        raise DataError(f"a feature is a number, not {text!r}.")
    return int(text)


def _by_feature(
    corpus: OpenCorpus, kind: str, feature: int, ids: np.ndarray
) -> tuple[Answer, np.ndarray]:
    """Colour rows by their activation of a feature, features by their cosine to it."""
    name = f"feature {feature}"
    if feature in corpus.labels:
        name = f"“{corpus.labels[feature]}”"
    if kind == "rows":
        values = np.full(corpus.codes.n_rows, np.nan, np.float32)
        rows, activations = corpus.codes.feature(feature)
        values[rows] = activations
        return _legend(f"activation of {name}", values[ids], [])
    corpus.codes.feature(feature)  # it must exist
    values = np.full(len(ids), np.nan)
    if corpus.directions is not None:
        values = (corpus.directions @ corpus.directions[feature])[ids]
    return _legend(f"cosine to {name}", values, [])


def _by_column(
    corpus: OpenCorpus, kind: str, name: str, ids: np.ndarray
) -> tuple[Answer, np.ndarray]:
    """Colour rows by a metadata column, and features by the column's values on their rows."""
    column = corpus.column(name)
    if kind == "rows":
        return _legend(name, column.values[ids], column.names, column.is_date)
    title = f"{name}: {'most typical' if column.names else 'mean'}"
    typical = _column_of_features(corpus, name)[ids]
    return _legend(title, typical, column.names, column.is_date)


def _column_of_features(corpus: OpenCorpus, name: str) -> np.ndarray:
    """Return the mean of a column on the rows of each feature, or the most typical of its groups.

    The most typical group is the one with the largest share of rows on which the feature is active.
    Everything is estimated on a sample; features with fewer than three rows get no value.
    """
    values, names, _ = corpus.column(name)
    rows = np.sort(corpus.row_order[:SAMPLE]).astype(np.int64)
    is_known = values[rows] >= 0 if names else np.isfinite(values[rows])
    rows = rows[is_known]
    block: Any = corpus.codes.take(rows)
    active = block.astype(bool).astype(np.float64)
    n_active = np.asarray(active.sum(axis=0)).ravel()
    if not names:
        sums = active.T @ values[rows]
        means = sums / np.maximum(n_active, 1)
        return np.where(n_active < MIN_ROWS, np.nan, means)
    group = np.minimum(values[rows], len(COLORS))  # groups without a colour are merged
    in_group = one_hot(group, min(len(names), len(COLORS) + 1))
    group_sizes = np.maximum(in_group.sum(axis=0), 1)
    lift = (active.T @ in_group).toarray() / group_sizes
    return np.where(n_active < MIN_ROWS, -1, lift.argmax(axis=1))


def _legend(
    title: str, values: np.ndarray, names: list[str], is_date: bool = False
) -> tuple[Answer, np.ndarray]:
    """Return a legend of named groups, the largest of which have colours, or else of a scale."""
    if names:
        entries: list[Answer] = [
            {"name": name, "color": color}
            for name, color in zip(names, COLORS, strict=False)
        ]
        if len(names) > len(COLORS):
            entries.append({"name": "others", "color": MUTED, "rest": True})
        legend = {"kind": "groups", "title": title, "entries": entries}
        return legend, np.minimum(values, len(COLORS))
    known = values[np.isfinite(values)]
    if not len(known):
        return {"kind": "none", "title": f"{title} (no values)"}, values
    low, high = known.min(), known.max()
    return {
        "kind": "scale",
        "title": title,
        "low": low,
        "high": high,
        "ends": [day(low), day(high)] if is_date else [low, high],
        "light": SEQUENTIAL[False][1:],
        "dark": SEQUENTIAL[True][1:],
    }, values
