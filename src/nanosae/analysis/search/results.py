"""What a search found: hits with the features they share, as text, HTML and a frame."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

SHORT = 90  # characters of a text on a line
LISTED = 5  # shared features on a line
COLUMNS = ["row", "score", "text", "shared", "match", "weak"]


class QueryFeature(NamedTuple):
    """A feature of a query.

    Attributes:
        feature: Its number.
        label: Its name or label, "" if it has none.
        activation: Its activation in the query.
    """

    feature: int
    label: str
    activation: float


class SharedFeature(NamedTuple):
    """A feature that a row shares with a query.

    Attributes:
        feature: Its number.
        label: Its name or label, "" if it has none.
        in_query: Its activation in the query.
        in_row: Its activation on the row.
    """

    feature: int
    label: str
    in_query: float
    in_row: float


@dataclass(frozen=True)
class Hit:
    """A row that was found.

    Attributes:
        row: Its number.
        score: Cosine to the query, or shared activation; of a text, hits are ordered by the
            reciprocal ranks of all ways in which they were found.
        text: Its text, "" if the corpus has none.
        shared: The features it shares with the query, by falling product of activations.
        match: How it was found: "meaning", "words", "features", or two of them joined by " + ".
        weak: Whether it is hardly nearer to the query than any row.
    """

    row: int
    score: float
    text: str
    shared: list[SharedFeature]
    match: str = ""
    weak: bool = False


@dataclass(frozen=True, repr=False)
class Results:
    """The answer to a search; prints as text, shows as HTML in notebooks.

    Attributes:
        hits: What was found, the best first.
        features: The query in features, the strongest first.
        note: How the answer came about.
        vector: The vector that was searched with, if any, (input_size,).
    """

    hits: list[Hit]
    features: list[QueryFeature]
    note: str
    vector: np.ndarray | None = None

    def to_frame(self) -> pd.DataFrame:
        """Return one line per hit.

        Its columns are `row, score, text, shared` (tuples as of `SharedFeature`), `match, weak`.
        """
        lines = []
        for hit in self.hits:
            shared = [tuple(feature) for feature in hit.shared]
            line = (hit.row, hit.score, hit.text, shared, hit.match, hit.weak)
            lines.append(line)
        return pd.DataFrame(lines, columns=COLUMNS)

    def __repr__(self) -> str:
        return _results_text(self)

    def _repr_html_(self) -> str:
        return _results_html(self)


def _results_text(results: Results) -> str:
    lines = [results.note]
    for hit in results.hits:
        text = " ".join(hit.text.split())[:SHORT]
        weak = "  (weak)" if hit.weak else ""
        lines.append(f"{hit.score:7.3f}  row {hit.row}  {text}{weak}")
        lines.append(f"         {_feature_list(hit)}")
    return "\n".join(lines)


def _results_html(results: Results) -> str:
    body = "".join(_table_row(hit) for hit in results.hits)
    return f"<div><p>{html.escape(results.note)}</p><table>{body}</table></div>"


def _table_row(hit: Hit) -> str:
    score = f"{hit.score:.3f}"
    cells = [score, str(hit.row), hit.text, _feature_list(hit)]
    body = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
    return f"<tr>{body}</tr>"


def _feature_list(hit: Hit) -> str:
    names = []
    for shared in hit.shared[:LISTED]:
        label = shared.label or "feature"
        names.append(f"{label} ({shared.feature})")
    return " · ".join(names)
