"""Rows: pages of a selection, the details of a row, tags, and a selection as CSV."""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pandas' stubs see arrays for columns

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from nanosae.analysis.groups.topic_rows import load_row_topics
from nanosae.codes import Codes
from nanosae.errors import DataError
from nanosae.runs import annotations
from nanosae.runs.export import for_csv, free_name
from nanosae.runs.export import tag as feature_columns
from nanosae.view.explorer.corpus import Answer, OpenCorpus, as_text
from nanosae.view.explorer.evidence import can_weigh
from nanosae.view.explorer.selections import Selection, select_rows

PAGE = 40  # lines sent at once
MAX_TEXT = 600  # characters of a text in a list
LINE_FEATURES = 3  # features named below a text in a list
EXPORT_BLOCK = 2**14  # rows written together


def list_rows(
    corpus: OpenCorpus, where: Selection | None = None, at: int = 0
) -> Answer:
    """Return a page of the rows of a selection.

    Args:
        corpus: The corpus.
        where: The selection.
        at: Number of rows to skip.
    """
    rows = select_rows(corpus, where)
    features = (where or {}).get("features", [])
    return {
        "total": len(rows),
        "labels": {feature: corpus.labels.get(feature, "") for feature in features},
        "lines": row_lines(corpus, rows[at : at + PAGE]),
    }


def row_lines(
    corpus: OpenCorpus, rows: np.ndarray, feature: int | None = None
) -> list[Answer]:
    """Return rows with their texts and strongest features, and the activation of `feature`."""
    codes, labels = corpus.codes, corpus.labels
    block: Any = codes.take(rows)
    texts = codes.texts(rows) if codes.has_texts else [""] * len(rows)
    activations = [None] * len(rows)
    if feature is not None:
        column = block[:, [feature]].toarray()
        activations = column.ravel().tolist()
    lines = []
    for i, row in enumerate(rows.tolist()):
        entries = slice(block.indptr[i], block.indptr[i + 1])
        by_strength = np.argsort(-block.data[entries], kind="stable")
        strongest = block.indices[entries][by_strength[:LINE_FEATURES]].tolist()
        lines.append(
            {
                "row": row,
                "text": texts[i][:MAX_TEXT],
                "activation": activations[i],
                "features": [[j, labels.get(j, "")] for j in strongest],
            }
        )
    return lines


def show_row(corpus: OpenCorpus, row: int) -> Answer:
    """Return the details of a row."""
    codes, labels = corpus.codes, corpus.labels
    features, activations = codes.row(row)
    order = np.argsort(-activations, kind="stable")
    strongest = features[order].tolist()
    pairs = zip(strongest, activations[order].tolist(), strict=True)
    text = codes.texts([row])[0] if codes.has_texts else ""
    return {
        "row": row,
        "text": text,
        "columns": _known_values(corpus, row),
        "topic": _topic_of(corpus, row),
        "weighable": can_weigh(corpus, text),
        "tags": annotations.tags_of(corpus.run, codes.name, row, codes.data),
        "features": [[j, labels.get(j, ""), activation] for j, activation in pairs],
    }


def _known_values(corpus: OpenCorpus, row: int) -> dict[str, str]:
    """Return the metadata of a row as texts, without missing values."""
    known = {}
    for name in corpus.codes.columns:
        value = as_text(corpus.codes.series(name, [row])[0])
        if not pd.isna(value) and value != "":
            known[name] = str(value)
    return known


def _topic_of(corpus: OpenCorpus, row: int) -> list[Any] | None:
    """Return the number and the name of a row's topic; None if it has none."""
    topics = load_row_topics(corpus.codes)
    if topics is None or topics.row_topic[row] < 0:
        return None
    topic = int(topics.row_topic[row])
    return [topic, topics.names[topic]]


def tag_rows(
    corpus: OpenCorpus,
    tag: str,
    where: Selection | None = None,
    rows: list[int] | None = None,
    on: bool = True,
) -> Answer:
    """Add a tag to rows, or to all rows of a selection; or remove it."""
    if rows is None:
        rows = select_rows(corpus, where).tolist()
    elif max(rows, default=0) >= corpus.codes.n_rows:
        raise DataError(
            f"there is no row {max(rows)}: there are {corpus.codes.n_rows:,} rows."
        )
    run, name, data = corpus.run, corpus.codes.name, corpus.codes.data
    annotations.tag(run, name, tag, rows, on=on, data=data)
    return {"tags": annotations.tags(run, name, data), "rows": len(rows)}


def export_rows(corpus: OpenCorpus, where: Selection | None = None) -> Iterator[str]:
    """Return a selection as CSV: row, text, columns, activations of its features, tags.

    Errors are raised immediately; the CSV is generated in blocks of rows.
    """
    rows = select_rows(corpus, where)
    features = (where or {}).get("features", [])
    codes = corpus.codes
    run, name, data = corpus.run, codes.name, codes.data
    tags = annotations.tags(run, name, data)
    tagged = {tag: annotations.tagged(run, name, tag, data) for tag in tags}
    writers = [_time_writer(codes, name, rows) for name in codes.columns]
    first_column = 1 + codes.has_texts  # after the row and its text

    def write_block(start: int) -> str:
        table = feature_columns(
            codes, features, rows=rows[start : start + EXPORT_BLOCK]
        )
        for place, write_times in enumerate(writers, first_column):
            if write_times is not None:
                table.isetitem(place, write_times(table.iloc[:, place]))
        table[free_name("tags", table)] = _tags_of_rows(table["row"], tagged)
        return for_csv(table).to_csv(index=False, header=start == 0)

    n_lines = max(len(rows), 1)  # an empty selection has a header
    return map(write_block, range(0, n_lines, EXPORT_BLOCK))


def _time_writer(
    codes: Codes, name: str, rows: np.ndarray
) -> Callable[[pd.Series], pd.Series] | None:
    """Return a function that writes times of a column as text; None if it has none.

    Times are written as days only if all of them are midnights, in whichever block.
    """
    if codes.series(name, rows[:1]).dtype.kind != "M":
        return None
    known = codes.series(name, rows).dropna()
    are_days = known.dt.tz is None and (known == known.dt.normalize()).all()
    return _as_days if are_days else _as_times


def _as_days(times: pd.Series) -> pd.Series:
    return times.dt.strftime("%Y-%m-%d")


def _as_times(times: pd.Series) -> pd.Series:
    return times.astype(object).map(str, na_action="ignore")


def _tags_of_rows(rows: Any, tagged: dict[str, np.ndarray]) -> list[str]:
    """Return the tags of each row, joined by "|"."""
    tags_of_row: list[list[str]] = [[] for _ in range(len(rows))]
    for tag, with_tag in tagged.items():
        for place in np.flatnonzero(rows.isin(with_tag)).tolist():
            tags_of_row[place].append(tag)
    return ["|".join(tags) for tags in tags_of_row]
