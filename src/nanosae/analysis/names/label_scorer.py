"""Scores of labels on held-out rows.

The areas under ROC curves are measured on a sample of the held-out rows; for a feature that is
active on few of these, further ones on which it is active are drawn.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from nanosae.analysis.names.keywords import FeatureWords
from nanosae.analysis.names.meaning import Meaning
from nanosae.analysis.names.name_search import Name
from nanosae.analysis.names.scoring import (
    area,
    area_with_interval,
    is_doubtful,
    word_scores,
)
from nanosae.codes import Codes
from nanosae.text.words import Words

SCORED = 20_000  # held-out rows on which labels are scored by meaning
LEAST_ACTIVE = 200  # of these rows, if the feature is active on as many held-out ones
STRONGEST = 30  # rows from which the usual spelling and the typical text are taken


class LabelScorer:
    """Scores labels on held-out rows.

    Args:
        codes: The corpus.
        words: Terms of all texts.
        held: Whether a row is held out, bool (n_rows,).
        duplicate_group: Duplicate group of each row, (n_rows,).
        meaning: The space of the embeddings, if there are any.
        seed: Seed of the sample of held-out rows.
    """

    def __init__(
        self,
        codes: Codes,
        words: Words,
        held: np.ndarray,
        duplicate_group: np.ndarray,
        meaning: Meaning | None,
        seed: int,
    ) -> None:
        self.codes = codes
        self.words = words
        self.held = held
        self.by_term = sp.csc_array(words.presence)
        self.weights = words.weight
        self.mean_weights = words.weight.mean(axis=0)
        self.meaning = meaning
        self.duplicate_group = duplicate_group
        held_rows = np.flatnonzero(held)
        in_order = np.random.default_rng(seed).permutation(held_rows)
        self.place_in_order = np.full(len(held), len(held))
        self.place_in_order[in_order] = np.arange(len(in_order))
        self.sample = np.sort(in_order[:SCORED])
        self.group_of_sample = _numbered(duplicate_group[self.sample])
        self.place_in_sample = np.full(len(held), -1)
        self.place_in_sample[self.sample] = np.arange(len(self.sample))
        self.weights_of_sample = sp.csc_array(words.weight[self.sample])
        self.directions: np.ndarray | None = None
        if meaning is not None:
            self.directions = meaning.directions_of(codes.vectors(self.sample))

    def scores(
        self, name: Name, rows: np.ndarray, strongest: np.ndarray
    ) -> dict[str, float]:
        """Return the scores of a label, by its words and by its meaning, and whether to doubt it.

        Args:
            name: The label.
            rows: Active rows of the feature.
            strongest: The strongest of them.
        """
        has_word = np.zeros(len(self.held), dtype=bool)
        has_word[self.by_term[:, name.matching].indices] = True
        added = self._added_rows(rows)
        along = np.append(self._along_in_sample(name), self._along(name, added))
        is_active = self._is_active(rows, added)
        auc, low, high = area_with_interval(along, is_active, self._groups(added))
        areas = {"label_auc": auc, "label_auc_low": low, "label_auc_high": high}
        by_words = word_scores(has_word, rows, self.held)
        doubtful = is_doubtful(
            low,
            by_words["label_recall"],
            by_words["label_f1"],
            has_word[strongest].mean(),
        )
        return areas | by_words | {"label_doubtful": doubtful}

    def _added_rows(self, rows: np.ndarray) -> np.ndarray:
        """Return active rows that are held out but not sampled, of a feature with few sampled ones.

        Together with the sampled ones they are a random sample of the held-out active rows.
        """
        held_rows = rows[self.held[rows]]
        places = self.place_in_order[held_rows]
        in_order = held_rows[np.argsort(places)]
        n_sampled = np.count_nonzero(places < len(self.sample))
        n_wanted = max(n_sampled, LEAST_ACTIVE)
        return in_order[n_sampled:n_wanted]

    def _along_in_sample(self, name: Name) -> np.ndarray:
        """Return `_along` of the sampled rows, which are kept in memory."""
        if self.directions is not None and name.direction is not None:
            return self.directions @ name.direction
        return self.weights_of_sample[:, name.matching].sum(axis=1)

    def _along(self, name: Name, rows: np.ndarray) -> np.ndarray:
        """Return how well a label fits rows: by its meaning or, without one, by its words."""
        if self.meaning is not None and name.direction is not None:
            vectors = self.codes.vectors(rows)
            return self.meaning.directions_of(vectors) @ name.direction
        return self.weights[rows][:, name.matching].sum(axis=1)

    def _is_active(self, rows: np.ndarray, added: np.ndarray) -> np.ndarray:
        """Return which sampled and added rows are active, bool."""
        is_active = np.zeros(len(self.sample) + len(added), dtype=bool)
        places = self.place_in_sample[rows]
        is_active[places[places >= 0]] = True
        is_active[len(self.sample) :] = True
        return is_active

    def _groups(self, added: np.ndarray) -> np.ndarray:
        """Return the duplicate groups of sampled and added rows."""
        if not len(added):
            return self.group_of_sample
        return _numbered(self.duplicate_group[np.append(self.sample, added)])

    def query(self, own: FeatureWords) -> np.ndarray:
        """Return the weight of each term in the query of a feature's keywords, (T,)."""
        query = np.zeros(len(self.mean_weights))
        query[own.keywords] = own.keyword_weights
        return query

    def query_auc(self, query: np.ndarray, rows: np.ndarray) -> float:
        """Return the area under the ROC curve of a query on held-out rows."""
        terms = np.flatnonzero(query)
        added = self._added_rows(rows)
        of_sample = self.weights_of_sample[:, terms] @ query[terms]
        of_added = self.weights[added][:, terms] @ query[terms]
        answers = np.append(of_sample, of_added)
        return area(answers, self._is_active(rows, added))

    def typical_row(self, own: FeatureWords, query: np.ndarray) -> np.ndarray:
        """Return the row among the strongest with the best product of activation and keywords."""
        strongest = own.rows[:STRONGEST]
        answers = self.weights[strongest] @ query
        mean_answer = self.mean_weights @ query
        relative_answers = answers / (answers + mean_answer + 1e-9)
        typicality = own.activations[:STRONGEST] * relative_answers
        return strongest[np.argsort(-typicality, kind="stable")[:1]]


def _numbered(group: np.ndarray) -> np.ndarray:
    """Number groups from 0 without gaps."""
    return np.unique(group, return_inverse=True)[1]
