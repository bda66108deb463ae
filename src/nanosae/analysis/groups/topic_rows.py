"""Topics in the run folder: their table, and the topic of each row and of each feature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from nanosae.codes import Codes, run_folder
from nanosae.runs.results import load_result, save_result
from nanosae.runs.tables import save_features

if TYPE_CHECKING:
    from nanosae.analysis.groups.topics import Topics

TOPICS = "topics.parquet"
N_TOPICS = 20  # unless asked for another number
ROWS = "topic_rows.parquet"
NAMING_WORDS = 3  # of a topic, in its name


@dataclass(frozen=True, eq=False)
class RowTopics:
    """The topics of a corpus and their rows.

    Attributes:
        names: Name of each topic, (n_topics,) of str.
        row_topic: Topic of each row, (n_rows,) int; -1 for rows without a topic.
    """

    names: list[str]
    row_topic: np.ndarray


def topic_name(words: Sequence[str]) -> str:
    """Return the name of a topic, "" if it has no words.

    Example:
        >>> topic_name(["genus", "leaves", "tree", "shrub"])
        'genus, leaves, tree'
    """
    return ", ".join(words[:NAMING_WORDS])


def save_topics(codes: Codes, found: Topics) -> None:
    """Save topics with their rows and features in the run folder."""
    parameters = {"n": found.n}
    topic_of_feature = pd.DataFrame({"topic": found.feature_topic})
    features = topic_of_feature.rename_axis("feature").reset_index()
    save_features(run_folder(codes), features, codes)
    rows = pd.DataFrame({"topic": found.row_topic.astype(np.int32)})
    save_result(codes, ROWS, rows, parameters)
    save_result(codes, TOPICS, found.table, parameters)


def load_row_topics(codes: Codes) -> RowTopics | None:
    """Return the saved topics of a corpus; None if its run has no fresh ones.

    Raises:
        DamagedFileError: If a file of the run is damaged.
    """
    if codes.run is None:
        return None
    topics = load_result(codes.run, TOPICS, codes)
    rows = load_result(codes.run, ROWS, codes)
    if topics is None or rows is None:
        return None
    have_same_corpus = rows.corpus == codes.name == topics.corpus
    have_same_parameters = rows.parameters == topics.parameters
    are_fresh = topics.fresh and rows.fresh
    if not (are_fresh and have_same_corpus and have_same_parameters):
        return None
    names = []
    for topic, words in enumerate(topics.value["Representation"]):
        names.append(topic_name(words) or f"topic {topic}")
    return RowTopics(names, rows.value["topic"].to_numpy(np.int64))
