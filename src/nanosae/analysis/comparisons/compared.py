"""What a comparison tests: the features of a corpus and, if the run has them, its topics.

An effect that is spread over many rare features shows in none of them, but it may show in the topic
that gathers their texts. Membership of a topic is an indicator like "the feature is active", so
topics are tested exactly like features. Topics are computed from texts and vectors alone, never
from the compared column: permuting that column changes no topic, and tests of topics therefore
keep their level.

Features come first, then topics, as columns of one matrix: column j is feature j.
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

# a feature belongs to a topic that shares this part of the texts of either
MIN_SHARED = 0.5


@dataclass(frozen=True, eq=False)
class Compared:
    """Features followed by topics, as the columns of one matrix.

    Attributes:
        codes: The corpus.
        topics: Its topics; None if it has none.
        has_features: Whether its features are compared as well.
    """

    codes: Codes
    topics: RowTopics | None = None
    has_features: bool = True

    @property
    def n_features(self) -> int:
        """Number of features; also the column of the first topic."""
        return self.codes.n_features if self.has_features else 0

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
        """Indicators of the topics, float32 csr_array (n_rows, n_topics)."""
        row_topic = np.full(self.codes.n_rows, -1)
        if self.topics is not None:
            row_topic = self.topics.row_topic
        return sp.csr_array(one_hot(row_topic, self.n_topics), dtype=np.float32)

    def take(self, rows: np.ndarray) -> sp.csr_array:
        """Return all columns of the given rows, csr_array (len(rows), n_columns)."""
        if not self.has_features:
            return self.membership[rows]
        activations = self.codes.take(rows)
        if self.topics is None:
            return activations
        return sp.csr_array(sp.hstack([activations, self.membership[rows]]))

    def columns(self, numbers: np.ndarray) -> sp.csc_array:
        """Return the given columns of all rows, in the order given, csc_array (n_rows, n)."""
        is_feature = numbers < self.n_features
        activations = self.codes.features(numbers[is_feature])
        topics = self._topic_columns(numbers[~is_feature])
        features_first = np.argsort(~is_feature, kind="stable")
        order_given = np.argsort(features_first)
        both: Any = sp.hstack([activations, topics], format="csc")
        return both[:, order_given]

    def column_blocks(self, numbers: np.ndarray) -> Iterator[sp.csc_array]:
        """Yield the given columns of all rows in blocks of bounded size, features before topics."""
        is_feature = numbers < self.n_features
        for features in feature_blocks(self.codes, numbers[is_feature]):
            yield sp.csc_array(self.codes.features(features))
        yield self._topic_columns(numbers[~is_feature])

    def split(self, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the feature and the topic of each column, each (n,); -1 for the other kind."""
        is_feature = columns < self.n_features
        feature = np.where(is_feature, columns, -1)
        topic = np.where(is_feature, -1, columns - self.n_features)
        return feature, topic

    def column_numbers(self, table: pd.DataFrame) -> np.ndarray:
        """Return the column for each line of a comparison's table, (n,)."""
        feature = table["feature"].to_numpy()
        topic = table["topic"].to_numpy()
        return np.where(feature >= 0, feature, self.n_features + topic)

    def _topic_columns(self, numbers: np.ndarray) -> sp.csc_array:
        topics = numbers - self.n_features
        return sp.csc_array(self.membership[:, topics])

    def topics_of(self, features: np.ndarray) -> np.ndarray:
        """Return the topic that shares most texts with each feature, (n,).

        -1 where the shared texts are less than half of the feature's and of the topic's.
        """
        if not self.n_topics or not len(features):
            return np.full(len(features), -1)
        distinct, place = np.unique(features, return_inverse=True)
        topics = []
        topic_sizes = self.membership.sum(axis=0, dtype=np.float64)
        for block in feature_blocks(self.codes, distinct):
            is_active: Any = self.codes.features(block).astype(bool)
            n_shared = (is_active.astype(np.float64).T @ self.membership).toarray()
            largest = n_shared.argmax(axis=1)
            most = n_shared.max(axis=1)
            smaller = np.minimum(self.codes.counts[block], topic_sizes[largest])
            has_topic = (most > 0) & (most >= MIN_SHARED * smaller)
            topics.append(np.where(has_topic, largest, -1))
        return np.concatenate(topics)[place]


def load_compared(codes: Codes) -> Compared:
    """Return the features of a corpus and the topics of its run, if there are any."""
    return Compared(codes, load_row_topics(codes))
