"""What a comparison looks for in texts: the features of a corpus and, where they are known, topics.

An effect that is spread over many rare features is in none of them, but in the topic that gathers
their texts. A row has a topic or has it not, so that all that is done with "is active" is done with
topics. They are made from texts and vectors alone: what a row is compared by has no part in them,
and shuffling it changes no topic, so that tests of topics hold their level as those of features do.

Features and topics are columns of one matrix, in this order: the number of a feature is that of its
column.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from nanosae.analysis.columns import one_hot
from nanosae.analysis.groups.topic_rows import RowTopics, load_row_topics
from nanosae.analysis.reading import feature_blocks
from nanosae.codes import Codes

MOST = 0.5  # of the texts of a feature, or of a topic, that both must share


@dataclass(frozen=True, eq=False)
class Compared:
    """Features, and topics behind them, as the columns of one matrix.

    Attributes:
        codes: The corpus.
        topics: Its topics, if they are compared as well.
    """

    codes: Codes
    topics: RowTopics | None = None

    @property
    def n_features(self) -> int:
        """Number of features, and of the first column that is a topic."""
        return self.codes.n_features

    @property
    def n_columns(self) -> int:
        """Number of features and topics."""
        return self.n_features + self.n_topics

    @property
    def n_topics(self) -> int:
        """Number of topics."""
        return 0 if self.topics is None else len(self.topics.names)

    @cached_property
    def membership(self) -> sp.csr_array:
        """Which rows are in which topic, csr_array (n_rows, n_topics) float32 of 0 and 1."""
        row_topic = np.full(self.codes.n_rows, -1)
        if self.topics is not None:
            row_topic = self.topics.row_topic
        return sp.csr_array(one_hot(row_topic, self.n_topics), dtype=np.float32)

    def take(self, rows: np.ndarray) -> sp.csr_array:
        """Return some rows of all columns, csr_array (len(rows), n_columns)."""
        activations = self.codes.take(rows)
        if self.topics is None:
            return activations
        return sp.csr_array(sp.hstack([activations, self.membership[rows]]))

    def columns(self, numbers: np.ndarray) -> sp.csc_array:
        """Return some columns of all rows, in any order, csc_array (n_rows, n)."""
        is_feature = numbers < self.n_features
        activations = self.codes.features(numbers[is_feature])
        topics = self._topic_columns(numbers[~is_feature])
        features_first = np.argsort(~is_feature, kind="stable")
        as_asked = np.argsort(features_first)
        both: Any = sp.hstack([activations, topics], format="csc")
        return both[:, as_asked]

    def column_blocks(self, numbers: np.ndarray) -> Iterator[sp.csc_array]:
        """Yield some columns of all rows, features before topics, in blocks of bounded size."""
        is_feature = numbers < self.n_features
        for features in feature_blocks(self.codes, numbers[is_feature]):
            yield sp.csc_array(self.codes.features(features))
        yield self._topic_columns(numbers[~is_feature])

    def split(self, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the feature of each column and its topic, -1 where it is the other, each (n,)."""
        is_feature = columns < self.n_features
        feature = np.where(is_feature, columns, -1)
        topic = np.where(is_feature, -1, columns - self.n_features)
        return feature, topic

    def column_numbers(self, table: pd.DataFrame) -> np.ndarray:
        """Return the column that each line of a comparison's table is about, (n,)."""
        feature = table["feature"].to_numpy()
        topic = table["topic"].to_numpy()
        return np.where(feature >= 0, feature, self.n_features + topic)

    def _topic_columns(self, numbers: np.ndarray) -> sp.csc_array:
        topics = numbers - self.n_features
        return sp.csc_array(self.membership[:, topics])

    def topics_of(self, features: np.ndarray) -> np.ndarray:
        """Return the topic with most texts of each feature: half of its texts, or of the topic's.

        Returns:
            Topics, (n,); -1 where no topic shares so many texts.
        """
        if not self.n_topics or not len(features):
            return np.full(len(features), -1)
        different, place = np.unique(features, return_inverse=True)
        topics = []
        topic_sizes = self.membership.sum(axis=0)
        for block in feature_blocks(self.codes, different):
            is_active: Any = self.codes.features(block).astype(bool)
            n_shared = (is_active.astype(np.float64).T @ self.membership).toarray()
            largest = n_shared.argmax(axis=1)
            most = n_shared.max(axis=1)
            smaller = np.minimum(self.codes.counts[block], topic_sizes[largest])
            has_topic = (most > 0) & (most >= MOST * smaller)
            topics.append(np.where(has_topic, largest, -1))
        return np.concatenate(topics)[place]


def load_compared(codes: Codes) -> Compared:
    """Return what is compared in a corpus: its features, and the topics that its run knows."""
    return Compared(codes, load_row_topics(codes))
