"""Topics: features merged into any number of groups, without training anything again.

1. Every row is led by its strongest feature. What a feature stands for is the mean reconstruction
   of the rows it leads: its decoder direction together with those of the features it is active
   with, in the shares in which they are. A feature that leads no row joins the leading feature in
   whose rows most of its activation lies.
2. Ward's method merges these vectors, weighted by numbers of rows, into one tree, once. Any number
   of topics is a cut through it.
3. A topic's direction is the weighted mean of its vectors, centred, moved by a few steps of
   spherical k-means on a sample of the rows. Rows are their embeddings where the corpus has them,
   else their reconstructions, centred and at length one, plus the mean of their nearest neighbours
   in the sample, so that what one text alone says moves nothing. A row has the topics onto whose
   directions it projects furthest; only without embeddings a row on which no feature is active has
   none, and is listed.

How it was chosen: normalised mutual information of row topics with real labels (SAEs of 4,096
features, 32 a row; CLINC150 domains, WordNet lexnames, Debian sections), for so many topics:

                                          CLINC150              WordNet            Debian
                                       10    45   150       10    45   150      10    58   150
    the cut of this tree alone        .53   .58   .57      .29   .32   .32     .37   .43   .41
    k-means on the dense rows         .52   .57   .58      .32   .34   .33     .39   .42   .41
    Ward without weights              .45   .55   .56      .28   .32   .31     .27   .37   .38
    features merged at random         .08   .25   .40      .09   .16   .23     .23   .34   .38
    decoder cosines, average linkage  .22   .31   .39      .12   .20   .25     .20   .29   .33
    activation cosines, the same      .15   .42   .50      .12   .18   .23     .00   .04   .23

(In the last three a row is of the topic with most of its activation.) With the 150 intents of
CLINC150, 150 topics share .85, k-means .89, random merging .67. Steps and neighbours raise the cut
from .60 to .62, .33 to .33 and .44 to .45 (20 topics, 8,000 rows of each corpus). k-means has to
run again for each number, and has no features that say what a topic is made of.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from scipy.sparse import csgraph

from nanosae.analysis.clustering import (
    leaders,
    nearest_rows,
    spherical_steps,
    ward_merges,
)
from nanosae.analysis.family_edges import content_order
from nanosae.analysis.group_names import common_words, feature_names
from nanosae.analysis.statistics import unit
from nanosae.codes import Codes, Corpus, as_codes
from nanosae.errors import ConfigError

MAX_LEAVES = 4096  # features the tree is made of; its memory grows with the square
BLOCK = 2**13  # rows projected at a time
SAMPLE_ROWS = 2**13  # rows that move the topics' directions
NEIGHBOURS = 15  # of a row in the sample, whose mean is added to it
STEPS = 6  # of spherical k-means
SHARE = 0.7  # of the furthest projection: a row has every topic that reaches it
SAMPLE = 100  # texts of a topic that its words come from
UNNAMED = "unnamed"  # stands for the words of a topic without labels and texts
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
        centre: Mean of the rows, (width,).
        sample: Some rows, centred and at length one, (m, width).
        neighbours: Places in the sample of those nearest to each row, (n_rows, 15).
    """

    codes: Codes
    labels: pd.DataFrame | None = field(repr=False)
    n: int
    leaves: np.ndarray = field(repr=False)
    sizes: np.ndarray = field(repr=False)
    vectors: np.ndarray = field(repr=False)
    merges: np.ndarray = field(repr=False)
    decoder: np.ndarray = field(repr=False)
    centre: np.ndarray = field(repr=False)
    sample: np.ndarray = field(repr=False)
    neighbours: np.ndarray = field(repr=False)

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
        n_merges = n_leaves - self.n
        merged, into = self.merges[:n_merges].T
        edges = (np.ones(n_merges), (merged, into))
        graph = sp.csr_array(edges, shape=(n_leaves, n_leaves))
        _, group = csgraph.connected_components(graph, directed=False)
        group_sizes = np.bincount(group, self.sizes)
        largest_first = np.argsort(-group_sizes, kind="stable")
        topic_of_group = np.argsort(largest_first)
        return topic_of_group[group]

    @property
    def feature_topic(self) -> np.ndarray:
        """Topic of each feature, (n_features,) int64; -1 if it is dead or too dense."""
        has_no_leaf = self.leaves < 0
        topic = self.leaf_topic[self.leaves]
        return np.where(has_no_leaf, -1, topic)

    @cached_property
    def axes(self) -> np.ndarray:
        """Direction of each topic among the centred rows, at length one, (n, width)."""
        mean = np.average(self.vectors, axis=0, weights=self.sizes)
        leaf = np.arange(len(self.sizes))
        members = sp.csr_array((self.sizes, (self.leaf_topic, leaf)))
        centred_sums = members @ (self.vectors - mean)
        start = unit(centred_sums)
        near = nearest_rows(self.sample, self.sample, NEIGHBOURS)
        smoothed = self.sample + _means_of(self.sample, near)
        return spherical_steps(unit(smoothed), start, STEPS)

    @cached_property
    def weights(self) -> sp.csr_array:
        """How far each row, with its neighbours, projects onto its topics, (n_rows, n) float32.

        A line holds all topics that reach 0.7 of the row's furthest projection; divide it by its
        sum for shares. It is empty where nothing is known of the row: no feature is active, and the
        corpus has no embeddings.
        """
        blocks = [sp.csr_array((0, self.n), dtype=np.float32)]
        sample_projection = self.sample @ self.axes.T
        stop = 0
        for vectors, is_known in _row_vectors(self.codes, self.decoder):
            start, stop = stop, stop + len(vectors)
            near = self.neighbours[start:stop]
            directions = unit(vectors - self.centre)
            projection = directions @ self.axes.T
            projection += _means_of(sample_projection, near)
            blocks.append(_topics_of_rows(projection, ~is_known))
        return sp.csr_array(sp.vstack(blocks, format="csr"))

    @cached_property
    def row_topic(self) -> np.ndarray:
        """Main topic of each row, (n_rows,) int64; -1 only where nothing is known of it."""
        main = np.full(self.codes.n_rows, -1)
        rows, main_topic = leaders(self.weights)
        main[rows] = main_topic
        return main

    @property
    def unassigned(self) -> np.ndarray:
        """Rows without an active feature, in a corpus without embeddings: they have no topic."""
        return np.flatnonzero(self.row_topic < 0)

    @cached_property
    def table(self) -> pd.DataFrame:
        """One line per topic, with the columns of BERTopic and what the topic is made of.

        `Topic`, `Count` (rows whose main topic it is), `Name`, `Representation` (terms of its
        features' labels, else of its texts; empty without either), `Representative_Docs` (texts of
        the three rows that project furthest), `Representative_Rows`, `Features` (frequent ones
        first).
        """
        rows = self._strongest_rows()
        features = self._features_by_frequency()
        texts = self._texts_of(rows)
        words = self._words(features, rows, texts)
        assigned = self.row_topic[self.row_topic >= 0]
        names = []
        for topic, of_topic in enumerate(words):
            first_words = of_topic[:4] or [UNNAMED]
            name = "_".join([str(topic), *first_words])
            names.append(name)
        representatives = [of_topic[:3] for of_topic in rows]
        representative_texts = []
        for of_topic in representatives:
            known = [texts[row] for row in of_topic if row in texts]
            representative_texts.append(known)
        return pd.DataFrame(
            {
                "Topic": range(self.n),
                "Count": np.bincount(assigned, minlength=self.n),
                "Name": names,
                "Representation": words,
                "Representative_Docs": representative_texts,
                "Representative_Rows": representatives,
                "Features": features,
            }
        )

    def _texts_of(self, rows: list[list[int]]) -> dict[int, str]:
        """Return the text of each row of these topics; nothing if there are no texts."""
        if not self.codes.has_texts:
            return {}
        sampled = [row for of_topic in rows for row in of_topic]
        texts = self.codes.texts(sampled)
        return dict(zip(sampled, texts, strict=True))

    def _strongest_rows(self) -> list[list[int]]:
        """Return up to 100 rows of each topic, those that project furthest first."""
        furthest = self.weights.max(1).toarray()
        order = np.lexsort((-furthest, self.row_topic))
        ordered_topics = self.row_topic[order]
        ends = np.searchsorted(ordered_topics, np.arange(self.n + 1))
        strongest = []
        for start, stop in pairwise(ends):
            of_topic = order[start:stop]
            strongest.append(of_topic[:SAMPLE].tolist())
        return strongest

    def _features_by_frequency(self) -> list[list[int]]:
        """Return the features of each topic, frequent ones first."""
        order = np.argsort(-self.codes.counts, kind="stable")
        feature_topic = self.feature_topic[order]
        features = []
        for topic in range(self.n):
            of_topic = order[feature_topic == topic]
            features.append(of_topic.tolist())
        return features

    def _words(
        self,
        features: list[list[int]],
        rows: list[list[int]],
        texts: dict[int, str],
    ) -> list[list[str]]:
        """Describe each topic by common words of its labels, its labels, or words of its texts."""
        names = feature_names(self.labels, self.codes)
        of_labels = common_words(features, names, N_WORDS)
        equal_weights = {row: (text, 1.0) for row, text in texts.items()}
        of_texts = common_words(rows, equal_weights, N_WORDS)
        described = []
        for topic, members in enumerate(features):
            labels = [names[feature].text for feature in members if feature in names]
            words = of_labels[topic] or labels[:1] or of_texts[topic]
            described.append(words)
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
    if directions is None:
        directions = codes.weights().directions()
    features = _eligible_features(codes, max_density)
    activation, n_led = _activation_of_led_rows(codes, features)
    n_leaves = min(MAX_LEAVES, np.count_nonzero(n_led))
    leading = np.argsort(-n_led, kind="stable")[:n_leaves]
    activation = sp.csc_array(activation[leading])
    sizes = n_led[leading]

    leaves = np.full(codes.n_features, -1)
    if n_leaves:
        active_on_led = activation.sum(0) > 0
        joining = features[active_on_led]
        of_joining = activation[:, active_on_led]
        leaves[joining] = of_joining.argmax(0)
    leaves[features[leading]] = np.arange(n_leaves)
    has_leaf = leaves[:, None] >= 0
    decoder = np.where(has_leaf, np.asarray(directions), 0)
    reconstruction_sums = activation @ decoder[features]
    vectors = reconstruction_sums / sizes[:, None]
    merges = ward_merges(vectors, sizes)
    centre, sample = _sample_of_rows(codes, decoder)
    neighbours = _neighbours_of_rows(codes, decoder, centre, sample)
    tree = (leaves, sizes, vectors, merges, decoder)
    return Topics(codes, labels, n, *tree, centre, sample, neighbours).cut(n)


def _eligible_features(codes: Codes, max_density: float) -> np.ndarray:
    """Return the features that may belong to a topic, frequent ones first."""
    ordered = content_order(codes)
    is_active = codes.counts[ordered] > 0
    is_sparse = codes.density[ordered] <= max_density
    return ordered[is_active & is_sparse]


def _neighbours_of_rows(
    codes: Codes, decoder: np.ndarray, centre: np.ndarray, sample: np.ndarray
) -> np.ndarray:
    """Return the places in the sample of those nearest to each row, (n_rows, 15) int32."""
    n_neighbours = min(NEIGHBOURS, len(sample))
    near = np.empty((codes.n_rows, n_neighbours), np.int32)
    stop = 0
    for rows, _ in _row_vectors(codes, decoder):
        start, stop = stop, stop + len(rows)
        row_directions = unit(rows - centre)
        near[start:stop] = nearest_rows(row_directions, sample, NEIGHBOURS)
    return near


def _means_of(values: np.ndarray, neighbours: np.ndarray) -> np.ndarray:
    """Return the mean of the values of each row's neighbours, (n, width)."""
    n_neighbours = neighbours.shape[1]
    shape = (len(neighbours), values.shape[1])
    total = np.zeros(shape, values.dtype)
    for places in neighbours.T:
        total += values[places]
    return total / max(n_neighbours, 1)


def _row_vectors(
    codes: Codes, decoder: np.ndarray, rows: np.ndarray | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield embeddings, else reconstructions, block by block, and of which rows they are known."""
    if rows is None:
        rows = np.arange(codes.n_rows)
    has_vectors = _has_vectors_like(codes, decoder)
    has_leaf = 1.0 * decoder.any(axis=1)
    starts = range(BLOCK, len(rows), BLOCK)
    for block in np.split(rows, starts):
        if has_vectors:
            is_known = np.ones(len(block), dtype=bool)
            yield codes.vectors(block), is_known
        else:
            activations = codes.take(block)
            reconstructions = activations @ decoder
            is_known = activations @ has_leaf > 0
            yield reconstructions, is_known


def _has_vectors_like(codes: Codes, decoder: np.ndarray) -> bool:
    if not codes.has_vectors:
        return False
    first_row = codes.vectors(np.arange(1))
    return first_row.shape[1] == decoder.shape[1]


def _sample_of_rows(codes: Codes, decoder: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean of some rows; and these, centred and at length one."""
    rng = np.random.default_rng(0)
    drawn = rng.permutation(codes.n_rows)[:SAMPLE_ROWS]
    blocks = _row_vectors(codes, decoder, np.sort(drawn))
    known = [vectors[is_known] for vectors, is_known in blocks]
    vectors = np.concatenate(known)
    if not len(vectors):
        return np.zeros(decoder.shape[1]), vectors
    centre = vectors.mean(axis=0)
    return centre, unit(vectors - centre)


def _activation_of_led_rows(
    codes: Codes, features: np.ndarray
) -> tuple[Any, np.ndarray]:
    """Sum activations over the rows that each feature leads; count these rows.

    Returns:
        Sums, csr_array (n, n), by leading feature and active feature; and rows led, (n,).
    """
    n_features = len(features)
    activation: Any = sp.csr_array((n_features, n_features))
    n_led = np.zeros(n_features)
    for _, block in codes.shards():
        block = block[:, features]
        rows, leader = leaders(block)
        shape = (block.shape[1], block.shape[0])
        once = np.ones(len(rows))
        entries = (once, (leader, rows))
        leads = sp.csr_array(entries, shape=shape)
        activation = activation + leads @ block
        n_led = n_led + leads.sum(1)
    return activation, n_led


def _topics_of_rows(projection: np.ndarray, inactive: np.ndarray) -> sp.csr_array:
    """Keep the topics that reach 0.7 of each row's furthest projection, float32."""
    furthest = projection.max(1, keepdims=True)
    is_furthest = projection == furthest
    # the furthest counts even if it lies behind the mean
    kept = np.maximum(projection, 1e-9 * is_furthest)
    is_short = kept < SHARE * furthest
    kept[is_short | inactive[:, None]] = 0
    return sp.csr_array(kept.astype(np.float32))
