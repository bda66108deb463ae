"""Which topic each row of a corpus is in, as the run folder keeps it beside the topics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from nanosae.codes import Codes
from nanosae.runs.results import load_result, save_result

if TYPE_CHECKING:
    from nanosae.analysis.groups.topics import Topics

TOPICS = "topics.parquet"
ROWS = "topic_rows.parquet"
NAMING_WORDS = 4  # of a topic, in sentences


@dataclass(frozen=True, eq=False)
class RowTopics:
    """The topics of a corpus and their rows.

    Attributes:
        names: What to call each topic, (n_topics,) of str.
        row_topic: Topic of each row, (n_rows,) int; -1 of a row that is in none.
    """

    names: list[str]
    row_topic: np.ndarray


def save_topics(codes: Codes, found: Topics, parameters: dict[str, Any]) -> None:
    """Keep topics and their rows in the run folder, with the parameters of the request."""
    rows = pd.DataFrame({"topic": found.row_topic.astype(np.int32)})
    save_result(codes, ROWS, rows, parameters)
    save_result(codes, TOPICS, found.table, parameters)


def load_row_topics(codes: Codes) -> RowTopics | None:
    """Return the topics that a run knows of a corpus; None if it has none that are fresh.

    Raises:
        DamagedFileError: If a file of the run is not what was written.
    """
    if codes.run is None:
        return None
    topics = load_result(codes.run, TOPICS, codes)
    rows = load_result(codes.run, ROWS, codes)
    if topics is None or rows is None:
        return None
    is_of_codes = rows.corpus == codes.name == topics.corpus
    is_of_topics = rows.parameters == topics.parameters
    if not (topics.fresh and rows.fresh and is_of_codes and is_of_topics):
        return None
    names = []
    for topic, words in enumerate(topics.value["Representation"]):
        name = ", ".join(words[:NAMING_WORDS])
        names.append(name or f"topic {topic}")
    return RowTopics(names, rows.value["topic"].to_numpy(np.int64))
