"""Topics: groups of similar rows, with the features that characterise them.

1. Rows are represented by their embeddings or, without embeddings, by the reconstructions of their
   features, centred and normalised. A sample of them is smoothed a few times over links to nearest
   neighbours, which removes what is peculiar to a single text (the low-pass filter of simple graph
   convolution: Wu et al., arXiv 1902.07153; for clustering: Zhang et al., arXiv 1906.01210).
2. Ward's method builds one tree of some of the smoothed rows. Cutting it gives any number of
   topics, which are refined on the whole sample by a few steps of spherical k-means.
3. A row belongs to the topics onto whose directions it and its neighbours in the sample project
   furthest. Rows without a direction belong to none and are listed as unassigned: those whose
   embedding is zero, as of an empty text, or, without embeddings, without an active feature.
4. A feature belongs to the topic in which its activation most exceeds the amount expected from the
   topic's number of rows: the one with the largest Pearson residual.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain, pairwise
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from nanosae.analysis.columns import one_hot
from nanosae.analysis.groups.clustering import (
    cut_tree,
    group_sums,
    leaders,
    nearest_rows,
    smooth_rows,
    spherical_steps,
    ward_tree,
)
from nanosae.analysis.groups.topic_rows import N_TOPICS, NAMING_WORDS
from nanosae.analysis.groups.topic_words import (
    most_telling_first,
    spelled,
    topic_words,
    without_copies,
)
from nanosae.analysis.names.group_names import common_words, feature_names
from nanosae.analysis.names.meaning import Meaning, corpus_meaning
from nanosae.analysis.reading import drawn_places, drawn_rows
from nanosae.analysis.similarity import directions_of_features
from nanosae.analysis.splits import first_of_each, same_texts
from nanosae.analysis.statistics import directions_from
from nanosae.codes import Codes, Corpus, as_codes
from nanosae.errors import ConfigError, require_number
from nanosae.lengths import unit
from nanosae.progress import tracked
from nanosae.runs.tables import Labels
from nanosae.text.words import Words

BLOCK = 2**13  # rows projected at a time
SAMPLE_ROWS = 2**15  # rows that are smoothed
SAMPLE_CELLS = 2**25  # their numbers; of wide rows fewer are smoothed
TREE_ROWS = 2**13  # rows of which the tree is built; its memory grows with the square
NEIGHBOURS = 15  # of each row, in the sample
SMOOTHINGS = 8  # repetitions of the smoothing
STEPS = 3  # of spherical k-means
SHARE = 0.7  # a row belongs to every topic with this share of its furthest projection
REPRESENTATIVES = 3  # of a topic
SPELLING_TEXTS = 100  # of a topic, whose spelling of its words is taken
SHOWN = 20  # topics in a notebook
UNNAMED = "unnamed"  # stands for the words of a topic without labels and texts
N_WORDS = 10  # words of a topic, the first three in its name


@dataclass(frozen=True, eq=False)
class SampledTexts:
    """Texts from which topics get their words, read once for all numbers of topics.

    Attributes:
        codes: The corpus.
        rows: Rows of the texts, (m,).
    """

    codes: Codes
    rows: np.ndarray = field(repr=False)

    @cached_property
    def texts(self) -> list[str]:
        """The texts."""
        return list(self.codes.texts(self.rows))

    @cached_property
    def words(self) -> Words:
        """Words and phrases of the texts."""
        return Words(np.array(self.texts, object), np.ones(len(self.rows), bool))

    @cached_property
    def is_copy(self) -> np.ndarray:
        """Whether an earlier text is equal up to case, digits and punctuation, bool (m,)."""
        n_texts = len(self.rows)
        if self.codes.has_tokens:
            return np.zeros(n_texts, bool)
        group = same_texts(self.texts, n_texts)
        is_copy = np.ones(n_texts, bool)
        is_copy[first_of_each(group)] = False
        return is_copy

    @cached_property
    def meaning(self) -> Meaning | None:
        """The space of the texts' embeddings, if the corpus has them."""
        return corpus_meaning(self.codes, self.rows) if self.codes.has_vectors else None


@dataclass(frozen=True, eq=False, repr=False)
class Topics:
    """Topics, the largest in the sample first; rows and features are assigned on first use.

    Attributes:
        codes: The corpus.
        labels: Labels of features; see `topics`.
        n: Number of topics.
        is_eligible: Which features may belong to a topic, (n_features,).
        decoder: Directions of these features, zero for others, (n_features, width).
        centre: Mean of the sampled rows, (width,).
        sample: Normalised sums of each sampled row, centred, and its smoothed version, (m, width).
        tree_rows: Positions in the sample of the rows of the tree, (t,).
        tree: Merges of these rows by Ward's method, in the format of SciPy, (t − 1, 4).
        neighbours: Positions in the sample of rows near each row, (n_rows, 15).
        texts: Texts from which topics get their words.
    """

    codes: Codes
    labels: Labels | None = field(repr=False)
    n: int
    is_eligible: np.ndarray = field(repr=False)
    decoder: np.ndarray = field(repr=False)
    centre: np.ndarray = field(repr=False)
    sample: np.ndarray = field(repr=False)
    tree_rows: np.ndarray = field(repr=False)
    tree: np.ndarray = field(repr=False)
    neighbours: np.ndarray = field(repr=False)
    texts: SampledTexts = field(repr=False)

    def __repr__(self) -> str:
        return f"{self._head()}\n{self._shown().to_string(index=False)}"

    def _repr_html_(self) -> str:
        return f"<b>{self._head()}</b>{self._shown().to_html(index=False)}"

    def _head(self) -> str:
        return f"{self.n:,} topics of {self.codes.n_rows:,} rows"

    def _shown(self) -> pd.DataFrame:
        return self.table.loc[:, ["Topic", "Count", "Name"]].head(SHOWN)

    def cut(self, n: int) -> Topics:
        """Return `n` topics from the same tree.

        Raises:
            ConfigError: If `n` is not between 1 and the number of rows of the tree.
        """
        n_most = len(self.tree_rows)
        if not n_most:
            raise ConfigError(
                "There are no topics: no row has a direction.",
                remedy="Encode the corpus with its embeddings, or raise max_density.",
            )
        if not isinstance(n, Integral) or not 1 <= n <= n_most:
            raise ConfigError(
                f"n={n} topics: there are {n_most:,} rows to make them of.",
                remedy="Give a whole number between 1 and the number of rows.",
            )
        return replace(self, n=int(n))

    @cached_property
    def axes(self) -> np.ndarray:
        """Unit direction of each topic among the centred rows, (n, width)."""
        group = cut_tree(self.tree, self.n)
        sums = group_sums(self.sample[self.tree_rows], group, self.n)
        start = unit(sums)
        axes = spherical_steps(self.sample, start, STEPS)
        nearest = (self.sample @ axes.T).argmax(axis=1)
        sizes = np.bincount(nearest, minlength=self.n)
        largest_first = np.argsort(-sizes, kind="stable")
        return axes[largest_first]

    @cached_property
    def feature_topic(self) -> np.ndarray:
        """Topic of each feature, (n_features,) int64; -1 for dead and too dense features."""
        activation = self._activation_by_topic()
        pairs = activation.tocoo()
        feature, topic = pairs.coords
        assigned = self.row_topic[self.row_topic >= 0]
        sizes = np.bincount(assigned, minlength=self.n)
        share_of_rows = sizes / max(len(assigned), 1)
        of_feature = activation.sum(axis=1)
        expected = of_feature[feature] * share_of_rows[topic]
        residual = (pairs.data - expected) / np.sqrt(expected)
        residuals = sp.csr_array((residual, pairs.coords), shape=pairs.shape)
        topic_of_feature = np.full(self.codes.n_features, -1)
        features, largest = leaders(residuals)
        topic_of_feature[features] = largest
        return np.where(self.is_eligible, topic_of_feature, -1)

    def _activation_by_topic(self) -> sp.csr_array:
        """Sum the activation of each feature over the rows of each topic, (n_features, n)."""
        shape = (self.codes.n_features, self.n)
        total: Any = sp.csr_array(shape, dtype=np.float64)
        for first, block in self.codes.shards():
            by_feature: Any = block.T
            topic = self.row_topic[first : first + by_feature.shape[1]]
            total = total + by_feature @ one_hot(topic, self.n)
        return sp.csr_array(total)

    @cached_property
    def weights(self) -> sp.csr_array:
        """Projection of each row, with its neighbours, onto its topics, (n_rows, n) float32.

        A row holds all topics with at least 0.7 of its furthest projection; divide it by its sum to
        get shares. Rows without a direction are empty.
        """
        blocks = [sp.csr_array((0, self.n), dtype=np.float32)]
        sample_projection = self.sample @ self.axes.T
        stop = 0
        for vectors, is_known in _row_vectors(self.codes, self.decoder):
            start, stop = stop, stop + len(vectors)
            near = self.neighbours[start:stop]
            directions = directions_from(vectors, self.centre)
            projection = directions @ self.axes.T
            projection += _means_of(sample_projection, near)
            blocks.append(_topics_of_rows(projection, ~is_known))
        return sp.csr_array(sp.vstack(blocks, format="csr"))

    @cached_property
    def row_topic(self) -> np.ndarray:
        """Main topic of each row, (n_rows,) int64; -1 for unassigned rows."""
        main = np.full(self.codes.n_rows, -1)
        rows, main_topic = leaders(self.weights)
        main[rows] = main_topic
        return main

    @property
    def unassigned(self) -> np.ndarray:
        """Rows without a topic: of zeros or, without embeddings, without an active feature."""
        return np.flatnonzero(self.row_topic < 0)

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per topic, with the columns of BERTopic and the topic's rows and features.

        `Topic`, `Count` (rows whose main topic it is), `Name`, `Representation` (terms that are
        typical of its texts; without texts, or if labels were given, common terms of its features'
        labels; empty without either), `Representative_Docs` (texts of the three rows that project
        furthest, of equal texts one), `Representative_Rows`, `Features` (the most frequent first).
        """
        rows = self._strongest_rows()
        features = self._features_by_frequency()
        texts = self._texts_of(rows)
        words = self._words(features, rows, texts)
        assigned = self.row_topic[self.row_topic >= 0]
        names = []
        for topic, of_topic in enumerate(words):
            first_words = of_topic[:NAMING_WORDS] or [UNNAMED]
            name = "_".join([str(topic), *first_words])
            names.append(name)
        representatives = [self._representatives(of_topic, texts) for of_topic in rows]
        representative_texts = [
            [texts[row] for row in of_topic if row in texts]
            for of_topic in representatives
        ]
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

    def _representatives(self, rows: list[int], texts: dict[int, str]) -> list[int]:
        """Return the first of some rows; of equal texts one, unless they are tokens."""
        if not texts or self.codes.has_tokens:
            return rows[:REPRESENTATIVES]
        group = same_texts((texts[row] for row in rows), len(rows))
        return [rows[place] for place in first_of_each(group)[:REPRESENTATIVES]]

    def _texts_of(self, rows: list[list[int]]) -> dict[int, str]:
        """Return the texts of these rows by row number; empty if there are no texts."""
        if not self.codes.has_texts:
            return {}
        sampled = list(chain.from_iterable(rows))
        texts = self.codes.texts(sampled)
        return dict(zip(sampled, texts, strict=True))

    def _strongest_rows(self) -> list[list[int]]:
        """Return up to 100 rows of each topic, those with the furthest projection first."""
        furthest = self.weights.max(1).toarray()
        order = np.lexsort((-furthest, self.row_topic))
        ordered_topics = self.row_topic[order]
        ends = np.searchsorted(ordered_topics, np.arange(self.n + 1))
        of_topics = [order[start:stop] for start, stop in pairwise(ends)]
        return [rows[:SPELLING_TEXTS].tolist() for rows in of_topics]

    def _features_by_frequency(self) -> list[list[int]]:
        """Return the features of each topic, the most frequent first."""
        order = np.argsort(-self.codes.counts, kind="stable")
        feature_topic = self.feature_topic[order]
        return [order[feature_topic == topic].tolist() for topic in range(self.n)]

    def _words(
        self,
        features: list[list[int]],
        rows: list[list[int]],
        texts: dict[int, str],
    ) -> list[list[str]]:
        """Return words of each topic's texts, or of its labels if these were given or no texts."""
        of_labels = self._words_of_labels(features)
        if not self.codes.has_texts:
            return of_labels
        of_texts = self._words_of_texts(rows, texts)
        if self.labels is None:
            first, second = of_texts, of_labels
        else:
            first, second = of_labels, of_texts
        pairs = zip(first, second, strict=True)
        return [preferred or other for preferred, other in pairs]

    def _words_of_labels(self, features: list[list[int]]) -> list[list[str]]:
        """Return common terms of each topic's labels, or else its first label."""
        names = feature_names(self.labels, self.codes)
        common = common_words(features, names, N_WORDS)
        described = []
        for words, members in zip(common, features, strict=True):
            labels = [names[feature].text for feature in members if feature in names]
            described.append(words or labels[:1])
        return described

    def _words_of_texts(
        self, rows: list[list[int]], texts: dict[int, str]
    ) -> list[list[str]]:
        """Return the terms that are typical of each topic's texts, in their usual spelling."""
        topic = without_copies(
            self.row_topic[self.texts.rows], self.texts.is_copy, self.n
        )
        words, meaning = self.texts.words, self.texts.meaning
        typical = topic_words(words, topic, self.n, N_WORDS)
        if meaning is not None:
            typical = most_telling_first(words, topic, typical, meaning)
        described = []
        for terms, of_topic in zip(typical, rows, strict=True):
            own_texts = [texts[row] for row in of_topic]
            described.append(spelled(terms, own_texts))
        return described


def topics(
    codes: Corpus,
    n: int = N_TOPICS,
    labels: Labels | None = None,
    *,
    directions: np.ndarray | None = None,
    max_density: float = 0.2,
) -> Topics:
    """Group rows and features into topics.

    Args:
        codes: The corpus, or its run folder, or an `Analysis` of it.
        n: Number of topics; `Topics.cut` gives any other number without further computation.
        labels: Labels of features with which to name topics: a mapping, or a table with `feature`,
            `label` and optionally `label_auc`. By default topics are named by words of their texts
            or, without texts, by the run's labels.
        directions: Decoder rows, (n_features, width); by default those of the run's model.
        max_density: Features active on a larger share of the rows belong to no topic.

    Raises:
        ConfigError: If `n` exceeds the number of rows or 8,192, or `max_density` is no number.
        DataError: If there are no directions, or not one per feature.
    """
    codes = as_codes(codes)
    require_number(max_density=max_density)
    directions = directions_of_features(codes, directions)
    is_active = codes.counts > 0
    is_eligible = is_active & (codes.density <= max_density)
    decoder = np.where(is_eligible[:, None], directions, 0)
    centre, sampled, sample = _sample_of_rows(codes, decoder)
    tree_rows = drawn_places(len(sample), TREE_ROWS)
    near = nearest_rows(sample, sample, NEIGHBOURS)
    neighbours = np.empty((codes.n_rows, near.shape[1]), np.int32)
    neighbours[sampled] = near
    is_other = np.ones(codes.n_rows, bool)
    is_other[sampled] = False
    others = np.flatnonzero(is_other)
    of_tree = sample[tree_rows]
    for block, places in _nearest_to_rows(codes, decoder, centre, others, of_tree):
        neighbours[block] = tree_rows[places]
    smoothed = smooth_rows(sample, near, SMOOTHINGS)
    tree = ward_tree(smoothed[tree_rows])
    with_neighbours = unit(sample + smoothed)
    texts = SampledTexts(codes, drawn_rows(codes, TREE_ROWS))
    of_rows = (centre, with_neighbours, tree_rows, tree, neighbours, texts)
    return Topics(codes, labels, n, is_eligible, decoder, *of_rows).cut(n)


def distinct_topics(topics: Topics, n: int) -> Topics:
    """Return `n` topics, or fewer if some of them would share most words of their names.

    If so, the tree is cut again into as many topics as had distinct names, until all names are
    distinct.
    """
    found = topics.cut(n)
    n_different = _count_different(found.table["Representation"].tolist())
    if n_different == n:
        return found
    return distinct_topics(topics, n_different)


def _count_different(words: list[list[str]]) -> int:
    """Count the topics that share at most half of their naming words with every earlier one."""
    different: list[set[str]] = []
    for of_topic in words:
        naming = set(of_topic[:NAMING_WORDS])
        shared = [len(naming & other) for other in different]
        if not naming or max(shared, default=0) <= len(naming) / 2:
            different.append(naming)
    return len(different)


def _nearest_to_rows(
    codes: Codes,
    decoder: np.ndarray,
    centre: np.ndarray,
    rows: np.ndarray,
    directions: np.ndarray,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield blocks of rows, and the positions of the directions nearest to each, (m, 15)."""
    starts = range(0, len(rows), BLOCK)
    blocks = zip(starts, _row_vectors(codes, decoder, rows), strict=False)
    for start, (vectors, _) in tracked(blocks, "compare rows", len(starts)):
        row_directions = directions_from(vectors, centre)
        nearest = nearest_rows(row_directions, directions, NEIGHBOURS)
        yield rows[start : start + BLOCK], nearest


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
    """Yield embeddings or else reconstructions block by block, and which have a direction."""
    if rows is None:
        rows = np.arange(codes.n_rows)
    has_vectors = _has_vectors_like(codes, decoder)
    is_eligible = 1.0 * decoder.any(axis=1)
    starts = range(BLOCK, len(rows), BLOCK)
    for block in np.split(rows, starts):
        if has_vectors:
            vectors: Any = codes.vectors(block)
            yield vectors, vectors.any(axis=1)
        else:
            activations = codes.take(block)
            reconstructions = activations @ decoder
            is_known = activations @ is_eligible > 0
            yield reconstructions, is_known


def _has_vectors_like(codes: Codes, decoder: np.ndarray) -> bool:
    if not codes.has_vectors:
        return False
    first_row = codes.vectors(np.arange(1))
    return first_row.shape[1] == decoder.shape[1]


def _sample_of_rows(
    codes: Codes, decoder: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw rows that have a direction.

    Returns:
        Their mean; their numbers, (m,); and the rows, centred and normalised, (m, width).
    """
    width = decoder.shape[1]
    n_of_cells = max(TREE_ROWS, SAMPLE_CELLS // width)
    drawn = drawn_rows(codes, min(SAMPLE_ROWS, n_of_cells))
    blocks, known = zip(*_row_vectors(codes, decoder, drawn), strict=True)
    is_known = np.concatenate(known)
    vectors = np.concatenate(blocks)[is_known]
    sampled = drawn[is_known]
    if not len(vectors):
        return np.zeros(width), sampled, vectors
    centre = vectors.mean(axis=0)
    return centre, sampled, unit(vectors - centre)


def _topics_of_rows(projection: np.ndarray, inactive: np.ndarray) -> sp.csr_array:
    """Keep the topics with at least SHARE of each row's furthest projection, float32."""
    furthest = projection.max(1, keepdims=True)
    is_furthest = projection == furthest
    # the furthest is kept even if it is negative
    kept = np.maximum(projection, 1e-9 * is_furthest)
    is_short = kept < SHARE * furthest
    kept[is_short | inactive[:, None]] = 0
    return sp.csr_array(kept.astype(np.float32))
