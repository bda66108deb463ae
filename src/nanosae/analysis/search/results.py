"""Results of a search: hits and the features they share with the query."""

from __future__ import annotations

import html
from collections.abc import Iterator
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
    """A row that a search found.

    Attributes:
        row: Its number.
        score: Cosine similarity to the query, or the sum of products of shared activations. For a
            text query the order of hits is not that of the scores: rankings are fused by reciprocal
            ranks.
        text: Its text, "" if the corpus has none.
        shared: The features it shares with the query, by decreasing product of activations.
        match: How it was found: "meaning", "words", "features", or two of them joined by " + ".
        weak: Whether it is hardly more similar to the query than a random row.
    """

    row: int
    score: float
    text: str
    shared: list[SharedFeature]
    match: str = ""
    weak: bool = False


@dataclass(frozen=True, repr=False)
class Results:
    """The results of a search: a sequence of hits, best first.

    Attributes:
        hits: The hits, best first.
        features: The features of the query, strongest first.
        note: How the results were obtained.
        vector: The query vector, (input_size,), if there is one.
    """

    hits: list[Hit]
    features: list[QueryFeature]
    note: str
    vector: np.ndarray | None = None

    def to_frame(self) -> pd.DataFrame:
        """Return a frame with one row per hit.

        Columns: `row, score, text, shared` (tuples of `SharedFeature`), `match, weak`.
        """
        lines = []
        for hit in self.hits:
            shared = [tuple(feature) for feature in hit.shared]
            line = (hit.row, hit.score, hit.text, shared, hit.match, hit.weak)
            lines.append(line)
        return pd.DataFrame(lines, columns=COLUMNS)

    def __len__(self) -> int:
        return len(self.hits)

    def __iter__(self) -> Iterator[Hit]:
        return iter(self.hits)

    def __getitem__(self, place: int) -> Hit:
        return self.hits[place]

    def __repr__(self) -> str:
        return _results_text(self)

    def _repr_html_(self) -> str:
        return _results_html(self)


def _results_text(results: Results) -> str:
    lines = [results.note]
    for hit in results.hits:
        text = " ".join(hit.text.split())[:SHORT]
        weak = "  (weak)" if hit.weak else ""
        score = f"{hit.score:7.3f}"
        lines.append(f"{score}  row {hit.row}  {text}{weak}".rstrip())
        if hit.shared:
            lines.append(f"         {_feature_list(hit)}")
    return "\n".join(lines)


def _results_html(results: Results) -> str:
    body = "".join(_table_row(hit) for hit in results.hits)
    return f"<div><p>{html.escape(results.note)}</p><table>{body}</table></div>"


def _table_row(hit: Hit) -> str:
    row = ""
    for cell in (f"{hit.score:.3f}", str(hit.row), hit.text, _feature_list(hit)):
        row += f"<td>{html.escape(cell)}</td>"
    return f"<tr>{row}</tr>"


def _feature_list(hit: Hit) -> str:
    names = []
    for shared in hit.shared[:LISTED]:
        label = shared.label or "feature"
        names.append(f"{label} ({shared.feature})")
    return " · ".join(names)
