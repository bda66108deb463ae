"""The details of a topic."""

from __future__ import annotations

from typing import Any

import numpy as np

from nanosae.analysis.groups.topic_rows import TOPICS, load_row_topics, topic_name
from nanosae.errors import DataError
from nanosae.runs.results import fresh_value
from nanosae.view.explorer.corpus import Answer, OpenCorpus
from nanosae.view.explorer.glance import sentences_about
from nanosae.view.explorer.rows import row_lines

EXAMPLES = 6  # texts of a topic that are shown
FEATURES = 12


def topic(corpus: OpenCorpus, topic: int) -> Answer:
    """Return the details of a topic.

    Returns:
        `name`, `words`, `rows`, `share`, `features` (number, name and rows, the most frequent
        first), `findings` (sentences about it), `examples` (its most typical texts) and `has_rows`
        (whether texts can be filtered by it).

    Raises:
        DataError: If there is no such topic.
    """
    line = _known_topics(corpus).get(topic)
    if line is None:
        raise DataError(f"there is no topic {topic} in this run.")
    n_rows = int(line["Count"])
    typical = np.asarray(line["Representative_Rows"], np.int64)
    words = list(line["Representation"])
    return {
        "topic": topic,
        "name": topic_name(words),
        "words": words,
        "rows": n_rows,
        "share": n_rows / max(corpus.codes.n_rows, 1),
        "features": _features(corpus, list(line["Features"])),
        "findings": sentences_about(corpus, "topic", topic),
        "examples": row_lines(corpus, typical[:EXAMPLES]),
        "has_rows": load_row_topics(corpus.codes) is not None,
    }


def _known_topics(corpus: OpenCorpus) -> dict[int, dict[str, Any]]:
    """Return the run's topics by number; none if they are stale."""
    table = fresh_value(corpus.run, TOPICS, corpus.codes)
    if table is None:
        return {}
    lines: list[dict[str, Any]] = table.to_dict("records")
    return {int(line["Topic"]): line for line in lines}


def _features(corpus: OpenCorpus, features: list[int]) -> list[list[Any]]:
    counts = corpus.codes.counts
    first = [int(feature) for feature in features[:FEATURES]]
    return [[j, corpus.labels.get(j, ""), int(counts[j])] for j in first]
