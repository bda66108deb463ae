"""Cards: everything known about one feature, as text, as HTML in notebooks, as plain values."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from nanosae.analysis.describe import describe
from nanosae.codes import Codes, Corpus, as_codes, indices
from nanosae.errors import DataError, DataTypeError
from nanosae.runs.tables import doubtful_labels, known_labels

EXAMPLES = ("top_rows", "quantile_rows", "near_misses", "hard_negatives")
BARS = " ▁▂▃▄▅▆▇█"  # of a histogram
SHORT = 90  # characters of a text on a line
RELATED = {"nearest": "cosine", "opposite": "cosine", "coactive": "npmi"}


class Example(NamedTuple):
    """A row that shows what a feature responds to, or what it does not respond to.

    Attributes:
        row: Its number.
        activation: The feature's activation on it.
        text: Its text, "" if the corpus has none.
    """

    row: int
    activation: float
    text: str


@dataclass(frozen=True, repr=False)
class Card:
    """What is known about one feature; prints as text, displays as HTML in notebooks.

    Attributes:
        feature: Its number.
        label: Its name or label, "" if the run has none.
        facts: Its row of `describe`, as plain Python values.
        examples: Rows of `top_rows`, `quantile_rows`, `near_misses` and `hard_negatives`, as far as
            they are known.
        doubtful: Whether its label is doubtful (see `doubtful_labels`).
        related: Names or labels of the features that `facts` mentions, by number.
    """

    feature: int
    label: str
    facts: dict[str, Any]
    examples: dict[str, list[Example]]
    doubtful: bool = False
    related: dict[int, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the card as plain values, ready for JSON."""
        return asdict(self)

    def __repr__(self) -> str:
        return _card_text(self)

    def _repr_html_(self) -> str:
        return _card_html(self)


def card(
    codes: Corpus,
    feature: int,
    *,
    described: pd.DataFrame | None = None,
    texts: Any = False,
    n: int = 10,
    pool: int = 20000,
    seed: int = 0,
) -> Card:
    """Return the card of one feature.

    Args:
        codes: The corpus, or its run folder, or an `Analysis` of it.
        feature: Its number.
        described: A frame of `describe` with a row for the feature. None: the row is computed, and
            the following arguments are those of `describe`.
        texts: Texts of all rows; True: those of the corpus; False: leave out what needs all texts.
        n: Length of the lists.
        pool: Number of rows among which inactive rows are searched.
        seed: Seed of the sample of these rows.

    Raises:
        DataTypeError: If the feature is not a number.
        DataError: If it does not exist, or `described` has no row for it.
    """
    codes = as_codes(codes)
    if not isinstance(feature, Real) or isinstance(feature, bool):
        raise DataTypeError(
            f"A feature is given by its number, not by {feature!r}.",
            remedy="The table of features has the number of each label.",
        )
    (feature,) = indices([feature], codes.n_features, "feature").tolist()
    if described is None:
        described = describe(
            codes, texts, features=[feature], n=n, pool=pool, seed=seed
        )
    facts = _facts(described, feature)
    examples = {}
    for kind in EXAMPLES:
        if rows := facts.get(kind):
            examples[kind] = _examples(codes, feature, rows)
    labels = known_labels(codes)
    related = {}
    for kind in RELATED:
        for other in facts.get(kind) or []:
            related[other] = labels.get(other, "")
    is_doubtful = feature in doubtful_labels(codes)
    return Card(feature, labels.get(feature, ""), facts, examples, is_doubtful, related)


def is_described(table: pd.DataFrame) -> np.ndarray:
    """Return which lines of a table have what `describe` says, bool (len(table),)."""
    if "health" not in table:
        return np.zeros(len(table), dtype=bool)
    return table["health"].notna().to_numpy()


def _facts(described: pd.DataFrame, feature: int) -> dict[str, Any]:
    """Return the line of a feature as plain values."""
    is_known = is_described(described)
    places = np.flatnonzero(is_known & (described["feature"] == feature))
    if not len(places):
        raise DataError(
            f"feature {feature} is not among the {is_known.sum()} described features of the frame.",
            remedy="Give a frame of describe, or none.",
        )
    place = places[0]
    return {name: _plain(described[name].iloc[place]) for name in described.columns}


def _plain(value: Any) -> Any:
    """Convert a NumPy array or scalar to Python objects."""
    is_numpy = hasattr(value, "tolist")
    return value.tolist() if is_numpy else value


def _examples(codes: Codes, feature: int, rows: list[int]) -> list[Example]:
    column = codes.take(rows)[:, [feature]]
    activations = column.toarray().ravel().tolist()
    texts: Sequence[str] = [""] * len(rows)
    if codes.has_texts:
        texts = codes.texts(rows).tolist()
    lines = zip(rows, activations, texts, strict=True)
    return [Example(*values) for values in lines]


def _card_text(card: Card) -> str:
    lines = [_title(card), *_number_lines(card)]
    for kind, examples in card.examples.items():
        lines += ["", _heading(kind)]
        lines += [_text_line(example) for example in examples]
    return "\n".join(lines)


def _text_line(example: Example) -> str:
    words = example.text.split()
    text = " ".join(words)[:SHORT]
    activation = f"{example.activation:8.3f}"
    return f"  {activation}  row {example.row}  {text}"


def _card_html(card: Card) -> str:
    title = html.escape(_title(card))
    parts = [f"<h4>{title}</h4>"]
    parts += [f"<p>{html.escape(line)}</p>" for line in _number_lines(card)]
    for kind, examples in card.examples.items():
        body = "".join(_table_row(example) for example in examples)
        parts.append(f"<b>{_heading(kind)}</b><table>{body}</table>")
    content = "".join(parts)
    return f"<div>{content}</div>"


def _table_row(example: Example) -> str:
    activation = f"{example.activation:.3f}"
    text = html.escape(example.text)
    cells = "</td><td>".join([activation, str(example.row), text])
    return f"<tr><td>{cells}</td></tr>"


def _heading(kind: str) -> str:
    return kind.replace("_", " ")


def _title(card: Card) -> str:
    label = card.label or "no label"
    if card.doubtful:
        label += " (doubtful label)"
    health = card.facts["health"]
    return f"feature {card.feature} · {label} · {health}"


def _number_lines(card: Card) -> list[str]:
    """Return a line of statistics, and a line for each non-empty list of related features."""
    facts = card.facts
    lines = [_statistics_line(facts)]
    for name, measure in RELATED.items():
        others = facts.get(name)
        if others:
            values = facts[f"{name}_{measure}"]
            listed = []
            for other, value in zip(others, values, strict=True):
                label = card.related.get(other) or "feature"
                listed.append(f"{label} ({other}; {value:.2f})")
            lines.append(f"{name} ({measure}): " + " · ".join(listed))
    return lines


def _statistics_line(facts: dict[str, Any]) -> str:
    density = f"{100 * facts['density']:.3g} %"
    n_active = int(facts["n_active"])
    mean = f"{facts['mean_activation']:.3g}"
    deviation = f"{facts['std_activation']:.3g}"
    peak = f"{facts['max_activation']:.3g}"
    parts = [
        f"density {density} ({n_active} rows)",
        f"mean {mean} ± {deviation}",
        f"max {peak}",
        _bars(facts["histogram"]),
    ]
    return " · ".join(parts)


def _bars(histogram: list[int]) -> str:
    """Draw a histogram in characters; non-empty bins have at least the lowest bar."""
    most = max([*histogram, 1])
    heights = [-(-8 * count // most) for count in histogram]
    return "".join(BARS[height] for height in heights)
