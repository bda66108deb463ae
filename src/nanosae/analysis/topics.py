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

from nanosae.analysis.family_edges import content_order
from nanosae.analysis.group_names import common_words, feature_names
from nanosae.analysis.statistics import unit
from nanosae.codes import Codes

LEAVES = 4096  # features the tree is made of; its memory grows with the square
ROWS = 2**16  # rows projected at a time
SHARE = 0.7  # of the furthest projection: a row has every topic that reaches it
SAMPLE = 100  # texts of a topic that its words come from


@dataclass(frozen=True, eq=False)
class Topics:
    """Hold topics, numbered from the one with the most led rows; rows are assigned when asked for.

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
            ValueError: If `n` is not between 1 and the number of leaves.
        """
        if not 1 <= n <= len(self.sizes):
            raise ValueError(f"n={n} topics: there are {len(self.sizes)} features to make them of.")
        return replace(self, n=n)

    @cached_property
    def _leaf_topic(self) -> np.ndarray:
        i, j = self.merges[: len(self.sizes) - self.n].T
        graph = sp.csr_array((np.ones(len(i)), (i, j)), shape=self.sizes.shape * 2)
        group = csgraph.connected_components(graph, directed=False)[1]
        order = np.argsort(-np.bincount(group, self.sizes), kind="stable")
        return np.argsort(order)[group]

    @property
    def feature_topic(self) -> np.ndarray:
        """Topic of each feature, (n_features,) int64; -1 if it is dead or too dense."""
        return np.where(self.leaves < 0, -1, self._leaf_topic[self.leaves])

    @cached_property
    def weights(self) -> sp.csr_array:
        """How far each row projects onto its topics, (n_rows, n) float32.

        A line holds all topics that reach 0.7 of the row's furthest projection; divide it by its
        sum for shares. It is empty where nothing is active.
        """
        mean = np.average(self.vectors, axis=0, weights=self.sizes)
        member = sp.csr_array((self.sizes, (self._leaf_topic, np.arange(len(self.sizes)))))
        axes = unit(member @ (self.vectors - mean))
        onto, known, parts = self.decoder @ axes.T, 1.0 * (self.leaves >= 0), []
        for start in range(0, self.codes.n_rows, ROWS):
            rows = self.codes.rows(start, start + ROWS)
            near = rows @ onto - axes @ mean
            furthest = near.max(1, keepdims=True)
            near = np.maximum(near, 1e-9 * (near == furthest))  # it counts even if behind the mean
            near[(near < SHARE * furthest) | np.equal(rows @ known, 0)[:, None]] = 0
            parts.append(sp.csr_array(near.astype(np.float32)))
        return sp.csr_array(sp.vstack(parts, format="csr"))

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
        order = np.lexsort((-self.weights.max(1).toarray(), self.row_topic))
        ends = np.searchsorted(self.row_topic[order], np.arange(self.n + 1))
        rows = [order[a:b][:SAMPLE].tolist() for a, b in pairwise(ends)]
        order = np.argsort(-self.codes.counts, kind="stable")
        features = [order[self.feature_topic[order] == t].tolist() for t in range(self.n)]
        flat = [row for sample in rows for row in sample]
        texts = dict(zip(flat, self.codes.texts(flat), strict=True)) if self.codes.has_texts else {}
        names = feature_names(self.labels, self.codes)
        known = names or {row: (text, 1.0) for row, text in texts.items()}
        words = common_words(features if names else rows, known, 10)
        words = [
            w or [f"feature {j}" for j in m[:10]] for w, m in zip(words, features, strict=True)
        ]
        found = pd.DataFrame({"Topic": range(self.n), "Count": np.diff(ends)})
        found["Name"] = ["_".join([str(t), *w[:4]]) for t, w in enumerate(words)]
        found["Representation"], first = words, [m[:3] for m in rows]
        found["Representative_Docs"] = [[texts[r] for r in m if r in texts] for m in first]
        found["Representative_Rows"], found["Features"] = first, features
        return found


def topics(
    codes: Codes,
    n: int,
    labels: pd.DataFrame | None = None,
    *,
    directions: np.ndarray | None = None,
    max_density: float = 0.2,
) -> Topics:
    """Merge features into topics.

    Args:
        codes: The corpus.
        n: How many topics; `Topics.cut` gives any other number at once.
        labels: Names of features: `feature`, `label` and perhaps `label_auc`; by default the run's.
            Without any, topics are named by words of their texts.
        directions: Decoder rows, (n_features, width); by default those of the run's model.
        max_density: Features active on a larger share of the rows belong to no topic.

    Raises:
        ValueError: If there are fewer leading features than topics, or no directions.
    """
    decoder = codes.weights().directions() if directions is None else np.asarray(directions)
    ids = content_order(codes)
    ids = ids[(codes.counts[ids] > 0) & (codes.density[ids] <= max_density)]
    mass, led = sp.csr_array((len(ids), len(ids))), np.zeros(len(ids))
    for _, block in codes.shards():
        block = block[:, ids]
        rows, best = leaders(block)
        leads = sp.csr_array((np.ones(len(rows)), (best, rows)), shape=block.shape[::-1])
        mass, led = mass + leads @ block, led + leads.sum(1)
    top = np.argsort(-led, kind="stable")[: min(LEAVES, np.count_nonzero(led))]
    mass, sizes, leaves = sp.csc_array(mass[top]), led[top], np.full(codes.n_features, -1)
    near = mass.sum(0) > 0
    leaves[ids[near]] = mass[:, near].argmax(0) if len(top) else -1
    leaves[ids[top]] = np.arange(len(top))
    decoder = np.where(leaves[:, None] >= 0, decoder, 0)
    vectors = mass @ decoder[ids] / sizes[:, None]
    return Topics(codes, labels, n, leaves, sizes, vectors, _ward(vectors, sizes), decoder).cut(n)


def leaders(block: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows with any entry, and the column of each one's largest; ties: the first."""
    block.sort_indices()
    length = np.diff(block.indptr)
    rows = np.flatnonzero(length)
    most = np.maximum.reduceat(block.data, block.indptr[rows]) if len(rows) else block.data
    best = np.flatnonzero(block.data == np.repeat(most, length[rows]))
    first = best[np.searchsorted(best, block.indptr[rows])]
    return rows, block.indices[first].astype(np.int64)


def _ward(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return Ward's merges of weighted points, best first: pairs of points, one of each group.

    The nearest-neighbour chain with Lance and Williams' update of the n × n merging costs.
    """
    w, chain, merges = weights.copy(), [0], []
    square = (x * x).sum(1)
    cost = np.maximum(square[:, None] + square - 2 * x @ x.T, 0)
    cost *= np.outer(w, w) / np.add.outer(w, w)
    np.fill_diagonal(cost, np.inf)
    while len(merges) < len(x) - 1:
        a, b = chain[-1], int(cost[chain[-1]].argmin())
        if len(chain) == 1 or cost[a, b] < cost[a, chain[-2]]:
            chain.append(b)
            continue
        i, j = sorted(chain[-2:])
        chain = chain[:-2] or [0]  # of two groups the lower point stays: 0 is always there
        merges.append((cost[i, j], i, j))
        new = ((w[i] + w) * cost[i] + (w[j] + w) * cost[j] - w * cost[i, j]) / (w[i] + w[j] + w)
        cost[i] = cost[:, i] = new
        cost[j] = cost[:, j] = np.inf
        w[i] += w[j]
    return np.array([pair for _, *pair in sorted(merges)], np.int64).reshape(-1, 2)
