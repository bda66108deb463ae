"""Topics: features merged into any number of groups, without training anything again.

1. Every row is led by its strongest feature. What a feature stands for is the mean reconstruction
   of the rows it leads: its decoder direction together with those of the features it is active
   with, in the shares in which they are. A feature that leads no row joins the leading feature in
   whose rows most of its activation lies.
2. Ward's method merges these vectors, weighted by numbers of rows, into one tree, once. Any number
   of topics is a cut through it.
3. A topic's direction is the weighted mean of its vectors, centred. A row has the topics onto whose
   directions its reconstruction, centred, projects furthest. Only a row on which no feature is
   active has none; such rows are listed, there is no topic "-1" for what is hard.

How it was chosen: normalised mutual information of row topics with real labels (SAEs of 4,096
features, 32 a row; CLINC150 domains, WordNet lexnames, Debian sections), for so many topics:

                                          CLINC150              WordNet            Debian
                                       10    45   150       10    45   150      10    58   150
    this                              .53   .58   .57      .29   .32   .32     .37   .43   .41
    k-means on the dense rows         .52   .57   .58      .32   .34   .33     .39   .42   .41
    Ward without weights              .45   .55   .56      .28   .32   .31     .27   .37   .38
    features merged at random         .08   .25   .40      .09   .16   .23     .23   .34   .38
    decoder cosines, average linkage  .22   .31   .39      .12   .20   .25     .20   .29   .33
    activation cosines, the same      .15   .42   .50      .12   .18   .23     .00   .04   .23

(In the last three a row is of the topic with most of its activation.) With the 150 intents of
CLINC150, 150 topics share .85, k-means .89, random merging .67. k-means has to run again for each
number, gives a row one topic, and has no features that say what a topic is made of.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from scipy.sparse import csgraph

from nanosae.analysis.clustering import leaders, ward_merges
from nanosae.analysis.family_edges import content_order
from nanosae.analysis.group_names import common_words, feature_names
from nanosae.analysis.statistics import unit
from nanosae.codes import Codes, Corpus, as_codes
from nanosae.errors import ConfigError

MAX_LEAVES = 4096  # features the tree is made of; its memory grows with the square
BLOCK = 2**16  # rows projected at a time
SHARE = 0.7  # of the furthest projection: a row has every topic that reaches it
SAMPLE = 100  # texts of a topic that its words come from
N_WORDS = 10  # words of a topic, the first 4 in its name


@dataclass(frozen=True, eq=False)
class Topics:
    """Topics, numbered from the one with the most led rows; rows are assigned when asked for.

    Attributes:
        codes: The corpus.
        labels: Names of features, see `topics`.
        n: Number of topics.
        leaves: Place in the tree of each feature, (n_features,) int64; -1 if dead or too dense.
        sizes: Rows led by each leaf, (n_leaves,).
        vectors: Mean reconstruction of those rows, without the decoder's bias, (n_leaves, width).
        merges: Pairs of leaves whose groups are merged, first merge first, (n_leaves − 1, 2).
        decoder: Directions of the features, zero without a leaf, (n_features, width).
    """

    codes: Codes
    labels: pd.DataFrame | None = field(repr=False)
    n: int
    leaves: np.ndarray = field(repr=False)
    sizes: np.ndarray = field(repr=False)
    vectors: np.ndarray = field(repr=False)
    merges: np.ndarray = field(repr=False)
    decoder: np.ndarray = field(repr=False)

    def cut(self, n: int) -> Topics:
        """Return `n` topics from the same tree.

        Raises:
            ConfigError: If `n` is not between 1 and the number of leaves.
        """
        if not 1 <= n <= len(self.sizes):
            raise ConfigError(
                f"n={n} topics: there are {len(self.sizes)} features to make them of."
            )
        return replace(self, n=n)

    @cached_property
    def leaf_topic(self) -> np.ndarray:
        """Topic of each leaf, (n_leaves,) int64."""
        n_leaves = len(self.sizes)
        i, j = self.merges[: n_leaves - self.n].T
        graph = sp.csr_array((np.ones(len(i)), (i, j)), shape=(n_leaves, n_leaves))
        group = csgraph.connected_components(graph, directed=False)[1]
        largest_first = np.argsort(-np.bincount(group, self.sizes), kind="stable")
        topic_of_group = np.argsort(largest_first)
        return topic_of_group[group]

    @property
    def feature_topic(self) -> np.ndarray:
        """Topic of each feature, (n_features,) int64; -1 if it is dead or too dense."""
        return np.where(self.leaves < 0, -1, self.leaf_topic[self.leaves])

    @cached_property
    def weights(self) -> sp.csr_array:
        """How far each row projects onto its topics, (n_rows, n) float32.

        A line holds all topics that reach 0.7 of the row's furthest projection; divide it by its
        sum for shares. It is empty where no feature is active.
        """
        mean = np.average(self.vectors, axis=0, weights=self.sizes)
        leaf = np.arange(len(self.sizes))
        members = sp.csr_array((self.sizes, (self.leaf_topic, leaf)))
        axes = unit(members @ (self.vectors - mean))  # (n, width)
        decoder_on_axes = self.decoder @ axes.T
        mean_on_axes = axes @ mean
        has_leaf = 1.0 * (self.leaves >= 0)
        blocks = []
        for start in range(0, self.codes.n_rows, BLOCK):
            rows = self.codes.rows(start, start + BLOCK)
            projection = rows @ decoder_on_axes - mean_on_axes
            inactive = np.equal(rows @ has_leaf, 0)
            blocks.append(_topics_of_rows(projection, inactive))
        return sp.csr_array(sp.vstack(blocks, format="csr"))

    @cached_property
    def row_topic(self) -> np.ndarray:
        """Main topic of each row, (n_rows,) int64; -1 only where no feature is active."""
        main = np.full(self.codes.n_rows, -1)
        rows, main_topic = leaders(self.weights)
        main[rows] = main_topic
        return main

    @property
    def unassigned(self) -> np.ndarray:
        """Rows on which no feature is active: they have no topic."""
        return np.flatnonzero(self.row_topic < 0)

    @cached_property
    def table(self) -> pd.DataFrame:
        """One line per topic, with the columns of BERTopic and what the topic is made of.

        `Topic`, `Count` (rows whose main topic it is), `Name`, `Representation` (words of its
        features' labels, else of its texts, else its features), `Representative_Docs` (texts of the
        three rows that project furthest), `Representative_Rows`, `Features` (frequent ones first).
        """
        rows = self._strongest_rows()
        features = self._features_by_frequency()
        sampled = [row for of_topic in rows for row in of_topic]
        texts: dict[int, str] = {}
        if self.codes.has_texts:
            texts = dict(zip(sampled, self.codes.texts(sampled), strict=True))
        words = self._words(features, rows, texts)
        representatives = [of_topic[:3] for of_topic in rows]
        return pd.DataFrame(
            {
                "Topic": range(self.n),
                "Count": np.bincount(
                    self.row_topic[self.row_topic >= 0], minlength=self.n
                ),
                "Name": [
                    "_".join([str(topic), *of_topic[:4]])
                    for topic, of_topic in enumerate(words)
                ],
                "Representation": words,
                "Representative_Docs": [
                    [texts[row] for row in of_topic if row in texts]
                    for of_topic in representatives
                ],
                "Representative_Rows": representatives,
                "Features": features,
            }
        )

    def _strongest_rows(self) -> list[list[int]]:
        """Return up to 100 rows of each topic, those that project furthest first."""
        furthest = self.weights.max(1).toarray()
        order = np.lexsort((-furthest, self.row_topic))
        ends = np.searchsorted(self.row_topic[order], np.arange(self.n + 1))
        return [order[start:stop][:SAMPLE].tolist() for start, stop in pairwise(ends)]

    def _features_by_frequency(self) -> list[list[int]]:
        """Return the features of each topic, frequent ones first."""
        order = np.argsort(-self.codes.counts, kind="stable")
        topic = self.feature_topic[order]
        return [order[topic == t].tolist() for t in range(self.n)]

    def _words(
        self, features: list[list[int]], rows: list[list[int]], texts: dict[int, str]
    ) -> list[list[str]]:
        """Describe each topic by words of its labels, else of its texts, else by its features."""
        names = feature_names(self.labels, self.codes)
        if names:
            words = common_words(features, names, N_WORDS)
        else:
            equal_weights = {row: (text, 1.0) for row, text in texts.items()}
            words = common_words(rows, equal_weights, N_WORDS)
        described = []
        for of_topic, members in zip(words, features, strict=True):
            numbers = [f"feature {feature}" for feature in members[:N_WORDS]]
            described.append(of_topic or numbers)
        return described


def topics(
    codes: Corpus,
    n: int,
    labels: pd.DataFrame | None = None,
    *,
    directions: np.ndarray | None = None,
    max_density: float = 0.2,
) -> Topics:
    """Merge features into topics.

    Args:
        codes: The corpus, or its run folder, or an `Analysis` of it.
        n: How many topics; `Topics.cut` gives any other number at once.
        labels: Names of features: `feature`, `label` and perhaps `label_auc`; by default the run's.
            Without any, topics are named by words of their texts.
        directions: Decoder rows, (n_features, width); by default those of the run's model.
        max_density: Features active on a larger share of the rows belong to no topic.

    Raises:
        ConfigError: If there are fewer leading features than topics.
        DataError: If there are no directions.
    """
    codes = as_codes(codes)
    decoder = (
        codes.weights().directions() if directions is None else np.asarray(directions)
    )
    ordered = content_order(codes)
    eligible = (codes.counts[ordered] > 0) & (codes.density[ordered] <= max_density)
    features = ordered[eligible]
    activation, n_led = _activation_of_led_rows(codes, features)
    n_leaves = min(MAX_LEAVES, np.count_nonzero(n_led))
    leading = np.argsort(-n_led, kind="stable")[:n_leaves]
    activation = sp.csc_array(activation[leading])
    sizes = n_led[leading]

    leaves = np.full(codes.n_features, -1)
    if n_leaves:
        active_on_led = activation.sum(0) > 0
        leaves[features[active_on_led]] = activation[:, active_on_led].argmax(0)
    leaves[features[leading]] = np.arange(n_leaves)
    decoder = np.where(leaves[:, None] >= 0, decoder, 0)
    vectors = activation @ decoder[features] / sizes[:, None]
    merges = ward_merges(vectors, sizes)
    return Topics(codes, labels, n, leaves, sizes, vectors, merges, decoder).cut(n)


def _activation_of_led_rows(
    codes: Codes, features: np.ndarray
) -> tuple[Any, np.ndarray]:
    """Sum activations over the rows that each feature leads; count these rows.

    Returns:
        Sums, csr_array (n, n), by leading feature and active feature; and rows led, (n,).
    """
    n = len(features)
    activation: Any = sp.csr_array((n, n))
    n_led = np.zeros(n)
    for _, block in codes.shards():
        block = block[:, features]
        rows, leader = leaders(block)
        shape = (block.shape[1], block.shape[0])
        leads = sp.csr_array((np.ones(len(rows)), (leader, rows)), shape=shape)
        activation = activation + leads @ block
        n_led = n_led + leads.sum(1)
    return activation, n_led


def _topics_of_rows(projection: np.ndarray, inactive: np.ndarray) -> sp.csr_array:
    """Keep the topics that reach 0.7 of each row's furthest projection, float32."""
    furthest = projection.max(1, keepdims=True)
    # the furthest counts even if it lies behind the mean
    kept = np.maximum(projection, 1e-9 * (projection == furthest))
    kept[(kept < SHARE * furthest) | inactive[:, None]] = 0
    return sp.csr_array(kept.astype(np.float32))
