"""The tools of an agent: questions about a run, with bounded answers in JSON types.

The signature and the docstring of each function are its description for the agent. All functions
are read-only. Lists have at most `MAX_ENTRIES` entries and give their total number, and texts have
at most `MAX_CHARACTERS` characters, so that an answer fits a model's context.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from nanosae.analysis.cards import card, is_described
from nanosae.analysis.comparisons.contrast import contrast
from nanosae.analysis.groups.topic_rows import N_TOPICS
from nanosae.analysis.search.results import Results
from nanosae.analysis.search.search import search
from nanosae.checked import plain
from nanosae.errors import DataError
from nanosae.pipeline.result import Analysis
from nanosae.runs.export import records
from nanosae.runs.tables import doubtful_labels, known_labels

MAX_ENTRIES = 50  # per list
MAX_CHARACTERS = 500  # per text
MAX_VALUES = 12  # listed values per column
# kinds of values that have a range, as pandas calls them
RANGED = ("integer", "floating", "decimal", "date", "datetime64", "timedelta64")
Answer = dict[str, Any]


def overview(analysis: Analysis) -> Answer:
    """Summarise the run: rows, features, columns and their values."""
    codes = analysis.codes
    answer = {
        "run": str(analysis.run),
        "rows": codes.n_rows,
        "features": codes.n_features,
        "active_features_per_row": codes.nnz / max(codes.n_rows, 1),
        "labelled_features": len(known_labels(codes)),
        "has_texts": codes.has_texts,
        "columns": {name: _values(codes.series(name)) for name in codes.columns},
    }
    return _short(answer)


def search_rows(
    analysis: Analysis,
    query: str | None = None,
    row: int | None = None,
    feature: int | None = None,
    n: int = 10,
) -> Answer:
    """Find rows by words (query), by similarity to a row, or by a feature's number."""
    found = search(analysis.codes, query, row=row, feature=feature, n=_bounded(n))
    return _hits(found)


def steer(analysis: Analysis, row: int, edit: dict[str, float], n: int = 10) -> Answer:
    """Find rows similar to a row with edited activations, by feature number or label; 0 is off."""
    changes: dict[int | str, float] = {}
    for feature, activation in edit.items():
        changes[int(feature) if feature.isdecimal() else feature] = activation
    found = search(analysis.codes, row=row, edit=changes, n=_bounded(n))
    return _hits(found)


def show_feature(analysis: Analysis, feature: int) -> Answer:
    """Show a feature: label, statistics, active and inactive rows, related features."""
    codes = analysis.codes
    table = analysis.features
    is_stale = "health" in table.attrs["stale"]
    described = table["feature"][is_described(table)]
    is_known = not is_stale and feature in set(described)
    found = card(codes, feature, described=table if is_known else None)
    examples = {}
    for kind, rows in found.examples.items():
        examples[kind] = [example._asdict() for example in rows[:MAX_ENTRIES]]
    known = found.facts.items()
    facts = {name: value for name, value in known if not isinstance(value, list)}
    label = {"label": found.label, "doubtful": found.doubtful}
    answer = {"feature": feature, **label, "facts": facts}
    related = [{"feature": j, "label": name} for j, name in found.related.items()]
    return _short(plain(answer | {"examples": examples, "related": related}))


def find_features(analysis: Analysis, words: str = "", n: int = 20) -> Answer:
    """List features whose label contains all given words, the most frequent first."""
    counts = analysis.codes.counts
    doubtful = doubtful_labels(analysis.codes)
    wanted = words.lower().split()
    found = []
    for feature, label in known_labels(analysis.codes).items():
        if all(word in label.lower() for word in wanted):
            found.append((feature, label, int(counts[feature])))
    found.sort(key=lambda line: (-line[2], line[0]))
    lines = []
    for number, label, rows in found[: _bounded(n)]:
        is_doubtful = number in doubtful
        line = {"feature": number, "label": label, "doubtful": is_doubtful}
        lines.append(line | {"rows": rows})
    return _short({"features": lines, "of": len(found)})


def show_row(analysis: Analysis, row: int) -> Answer:
    """Show a row: its text, its columns and its features, strongest first."""
    codes = analysis.codes
    if not 0 <= row < codes.n_rows:
        raise DataError(f"There is no row {row}; rows are 0 to {codes.n_rows - 1}.")
    features, activations = codes.row(row)
    labels = known_labels(codes)
    strongest = np.argsort(-activations, kind="stable")[:MAX_ENTRIES]
    lines = []
    for place in strongest.tolist():
        feature = int(features[place])
        activation = float(activations[place])
        lines.append(
            {
                "feature": feature,
                "label": labels.get(feature, ""),
                "activation": activation,
            }
        )
    cells = {name: codes.series(name, [row]) for name in codes.columns}
    (columns,) = records(pd.DataFrame(cells, index=[0]))
    text = codes.texts([row])[0] if codes.has_texts else ""
    answer = {"row": row, "text": text, "columns": columns, "features": lines}
    return _short(answer | {"of": len(features)})


def compare(
    analysis: Analysis, by: str, a: str | None = None, b: str | None = None, n: int = 20
) -> Answer:
    """Test which features differ between rows with value a of a column and those with b."""
    found = contrast(analysis.codes, a, b, by=by)
    lines = found.findings.head(_bounded(n))
    answer = {
        "sentences": found.sentences(len(lines)),
        "findings": records(lines),
        "of": len(found.findings),
        "tested": plain(found.about["n_tested"]),
        "notes": plain(found.about["notes"]),
    }
    return _short(answer)


def topics(analysis: Analysis, n: int = N_TOPICS) -> Answer:
    """List the topics, the largest first, with the numbers of typical rows."""
    table = analysis.topics
    n_features = table["Features"].map(len)
    return _stored(table.assign(n_features=n_features), n, "topics")


def findings(analysis: Analysis, n: int = 20) -> Answer:
    """List the findings about the corpus, the most telling first."""
    return _stored(analysis.findings, n, "findings")


def _stored(table: pd.DataFrame, n: int, what: str) -> Answer:
    lines = records(table.head(_bounded(n)))
    return _short({what: lines, "of": len(table)})


def _hits(found: Results) -> Answer:
    hits = []
    for hit in found.hits:
        shared = _named(hit.shared[:5])
        hits.append(
            {
                "row": hit.row,
                "score": float(hit.score),
                "text": hit.text,
                "shared_features": shared,
            }
        )
    features = _named(found.features[:10])
    return _short({"hits": hits, "query_features": features, "note": found.note})


def _named(lines: list[Any]) -> list[Answer]:
    return [{"feature": int(line.feature), "label": line.label} for line in lines]


def _values(column: pd.Series) -> Any:
    """Return the most frequent values of a column, or the range of numbers or times."""
    known = column.explode().dropna()  # each value of a list
    if pd.api.types.infer_dtype(known) in RANGED and known.nunique() > MAX_VALUES:
        return {"from": plain(known.min()), "to": plain(known.max())}
    counts = known.astype(str).map(_short).value_counts().head(MAX_VALUES)
    return {str(value): int(count) for value, count in counts.items()}


def _bounded(n: int) -> int:
    return max(1, min(n, MAX_ENTRIES))


def _short(value: Any) -> Any:
    """Truncate the texts and lists inside an answer."""
    if isinstance(value, str) and len(value) > MAX_CHARACTERS:
        return f"{value[:MAX_CHARACTERS]}…"
    if isinstance(value, list):
        return [_short(item) for item in value[:MAX_ENTRIES]]
    if isinstance(value, dict):
        return {key: _short(item) for key, item in value.items()}
    return value
