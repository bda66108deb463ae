"""The greedy search for the terms of one name.

A name consists of up to three terms from a greedy search. Each step adds the term that gives the
name the highest score: the F1 with which its words (including inflections) find the feature's
texts, plus the area under the ROC curve along the mean direction of its terms (see `meaning`).
Texts are weighted by activation, because names are read beside the strongest texts. Without
embeddings, words alone decide. Because terms are selected for the texts at hand, they will be in
fewer new texts: one text is subtracted from the count of the first term, and two from the texts
that each further term adds (absolute discounting: Ney, Essen and Kneser, Comput. Speech Lang. 8
(1994) 1).

A further term must be about the strongest texts that the name does not cover yet: it must be in
three of the twenty strongest that have no term of the name, where near-duplicates count once. Terms
of weak texts only ("flask, flake8") belong in the feature's keywords, and those of copies of one
text belong nowhere. It must be specific: words that are in all kinds of texts
("solution, use") add nothing to a name. It must also fit the other strongest texts: those of the
twenty without the term must lie along its meaning, with an area under the ROC curve of 0.8 against
all texts. (Those with the term do so because its direction was estimated from them.) Terms that add
less than 0.02 or repeat a word of the name are left out. A longer phrase replaces a term that it
contains if it has two thirds of the term's texts and is not much worse ("Wells Fargo" for "wells").
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nanosae.analysis.names.keywords import FeatureWords
from nanosae.analysis.names.meaning import Meaning, normal_auc
from nanosae.analysis.names.name_terms import SPECIFIC, TermCorpus
from nanosae.analysis.names.word_forms import holds, inflections, repeats
from nanosae.analysis.ranking import largest_places

MAX_TERMS = 3
MIN_GAIN = 0.02  # in score, by a further term
DISCOUNT = 1  # subtracted from the texts found by the first term
FURTHER_DISCOUNT = 2  # subtracted from the texts that each further term adds
WHOLE = 2 / 3  # share of a term's texts that a longer phrase must have to replace it
PHRASE_LOSS = 0.1  # maximum loss in score by such a replacement
N_STRONGEST = 20  # strongest texts, which a further term must be about
STRONGEST_SHARE = 0.15  # of these texts that must have it and no other term of the name
# "excellent discrimination" (Hosmer, Lemeshow and Sturdivant 2013, §5.2.4)
STRONGEST_AUC = 0.8  # of the strongest texts without a term, along its meaning


@dataclass(frozen=True)
class Name:
    """The name of a feature.

    Attributes:
        terms: Positions in `Words.terms`, the first selected term first.
        matching: These terms and their inflections; texts with any of them match the name.
        direction: Sum of the terms' directions, (width,); None without embeddings.
    """

    terms: list[int]
    matching: list[int]
    direction: np.ndarray | None


@dataclass(frozen=True)
class _CandidateMeanings:
    """What the candidates for one name mean, and what its feature means.

    Attributes:
        directions: Direction of each candidate, (candidates, width).
        variances: Variance of all rows along each, (candidates,).
        target: Mean direction of the feature's rows minus that of all rows, (width,).
        means_the_strongest: Whether the strongest texts without each candidate lie along its
            meaning, bool (candidates,).
    """

    directions: np.ndarray
    variances: np.ndarray
    target: np.ndarray
    means_the_strongest: np.ndarray


class NameSearch:
    """A greedy search for the terms of one name.

    Attributes:
        shared: The first term of the name, if other names begin with it as well.
        chosen: Further terms so far, as positions in `candidates`.
        strengths: Weight of each training row for the feature, (n_train,).
        rows: Training rows with each candidate or an inflection of it.
        n_rows: Number of these, (candidates,).
        covered: Training rows with a chosen term or an inflection of it, bool (n_train,).
        found: Total weight of the covered rows, minus the discount of each chosen term.
        f1: F1 of the covered rows, after the discount.
        score: The same, plus the area under the ROC curve along the name's direction.
    """

    def __init__(
        self,
        corpus: TermCorpus,
        own: FeatureWords,
        strengths: np.ndarray,
        candidates: list[int],
    ) -> None:
        self.corpus = corpus
        self.own = own
        self.candidates = candidates
        self.terms = corpus.words.terms[candidates].tolist()
        self.strengths = strengths
        self.n_active = float(strengths.sum())
        self.inflections = inflections(self.terms)
        own_rows = [corpus.rows_with(term) for term in candidates]
        self.rows: list[np.ndarray] = []
        for place, others in enumerate(self.inflections):
            rows = own_rows[place]  # ascending, each once
            if others:
                rows_of_others = [own_rows[other] for other in others]
                rows = np.unique(np.concatenate([rows, *rows_of_others]))
            self.rows.append(rows)
        self.n_rows = np.array([len(rows) for rows in self.rows], np.intp)
        self.candidate_of_pair = np.repeat(np.arange(len(candidates)), self.n_rows)
        self.row_of_pair = np.concatenate([*self.rows, np.zeros(0, np.intp)])
        self.covered = np.zeros(len(strengths), dtype=bool)
        self.open = np.ones(len(candidates), dtype=bool)  # which may still be added
        self.shared: list[int] = []
        self.chosen: list[int] = []
        self.found = 0.0
        self.f1 = 0.0
        self.score = 0.0

    @cached_property
    def is_strongest(self) -> np.ndarray:
        """Which training rows are the feature's strongest, without copies, bool (n_train,)."""
        active = np.flatnonzero(self.strengths)
        by_strength = active[largest_places(self.strengths[active], len(active))]
        groups = self.corpus.duplicate_group[by_strength]
        _, first_places = np.unique(groups, return_index=True)
        distinct = by_strength[np.sort(first_places)]
        least_strength = self.strengths[distinct[:N_STRONGEST]].min(initial=np.inf)
        is_strongest = np.zeros(len(self.strengths), dtype=bool)
        is_strongest[distinct] = self.strengths[distinct] >= least_strength
        return is_strongest

    @cached_property
    def n_found(self) -> np.ndarray:
        """Total weight of the training rows with each candidate, (candidates,)."""
        return self._count(self.strengths)

    @cached_property
    def meanings(self) -> _CandidateMeanings | None:
        """What the candidates and the feature mean; None without embeddings of its texts."""
        own = self.own
        meaning = self.corpus.meaning
        term_meaning = self.corpus.term_meaning
        if meaning is None or term_meaning is None:
            return None
        is_sampled = meaning.has_rows(own.rows)
        if not is_sampled.any():
            return None
        directions = term_meaning.directions_of(self.candidates)
        moments = directions @ meaning.second_moments
        variances = np.einsum("ij,ij->i", moments, directions)
        strongest = own.rows[is_sampled][:N_STRONGEST]
        return _CandidateMeanings(
            directions=directions,
            variances=variances,
            target=meaning.of_rows(own.rows[is_sampled], own.activations[is_sampled]),
            means_the_strongest=self._means_others(
                meaning, strongest, directions, variances
            ),
        )

    def _means_others(
        self,
        meaning: Meaning,
        rows: np.ndarray,
        directions: np.ndarray,
        variances: np.ndarray,
    ) -> np.ndarray:
        """Return along which candidates' meanings the rows without the candidate lie."""
        is_without = ~self.corpus.words.have_terms(rows, self.candidates)
        n_without = is_without.sum(axis=0)
        along = meaning.of_each(rows) @ directions.T
        mean_along = (along * is_without).sum(axis=0) / np.maximum(n_without, 1)
        difference = mean_along - directions @ meaning.mean_direction
        auc = normal_auc(difference, variances)
        return (auc >= STRONGEST_AUC) | (n_without == 0)

    def begin_with(self, term: int) -> None:
        """Begin the name with a term that other names begin with as well."""
        place = self.candidates.index(term)
        self.shared = [place]
        self._close(place)

    def add_terms(self, taken: set[frozenset[int]], most: int = MAX_TERMS) -> None:
        """Add terms while they improve the name, or until no other feature has the same name."""
        while self.open.any() and len(self.chosen) <= most:
            is_new = frozenset(self._terms()) not in taken
            is_in_strongest = self.open & self._is_in_strongest()
            is_allowed = is_in_strongest & self._means_them()
            if not is_allowed.any():
                if is_new:
                    return
                is_allowed = is_in_strongest if is_in_strongest.any() else self.open
            found = self._found_with_each()
            f1 = self._f1_of(found)
            auc = self._auc_with_each()
            scores = np.where(is_allowed, f1 + auc, -1.0)
            highest = int(scores.argmax())
            best = self._whole_phrase(highest, scores)
            least_gain = MIN_GAIN if self.chosen else 0
            gains = scores[best] > self.score + least_gain
            has_room = len(self.chosen) < most
            wanted = not self.chosen or (gains and has_room)
            if not wanted and is_new:
                return
            self.score = float(scores[best])
            self.f1 = float(f1[best])
            self.found = found[best]
            self._add(best)

    def highest_f1(self) -> float:
        """Return the highest F1 of a name of one candidate, after the discount."""
        f1 = self._f1_of(self._found_with_each())
        return float(f1.max(initial=0))

    def _whole_phrase(self, place: int, scores: np.ndarray) -> int:
        """Return the longest candidate that contains a term and is not much worse."""
        term = self.terms[place]
        n_found = self.n_found[place]
        best = place
        least = scores[place] - PHRASE_LOSS
        good_enough = np.flatnonzero(scores > least)
        for other in good_enough.tolist():
            phrase = self.terms[other]
            is_longer = len(phrase) > len(self.terms[best])
            if not is_longer or not holds(phrase, term):
                continue
            if self.n_found[other] >= WHOLE * n_found:
                best = other
        return best

    def _found_with_each(self) -> np.ndarray:
        """Return `found` with each further candidate, (candidates,)."""
        newly_found = self.n_found
        if self.chosen:
            newly_found = self._count(~self.covered * self.strengths)
        return self.found + self._discounted(newly_found)

    def _f1_of(self, found: np.ndarray) -> np.ndarray:
        """Return the F1 of the name with each further candidate, given `found` with it."""
        n_new = self._count(~self.covered) if self.chosen else self.n_rows
        covered = int(self.covered.sum()) + n_new
        return 2 * found / np.maximum(covered + self.n_active, 1)

    def _is_in_strongest(self) -> np.ndarray:
        """Return which candidates enough strongest, uncovered texts have; for the first, all."""
        if not self.shared and not self.chosen:
            return np.ones(len(self.candidates), dtype=bool)
        least = STRONGEST_SHARE * self.is_strongest.sum()
        n_new = self._count(self.is_strongest & ~self.covered)
        is_specific = self.corpus.informative[self.candidates] >= SPECIFIC
        return is_specific & (n_new >= least)

    def _means_them(self) -> np.ndarray:
        """Return which candidates fit the strongest texts without them; for the first, all."""
        is_first = not self.shared and not self.chosen
        if is_first or self.meanings is None:
            return np.ones(len(self.candidates), dtype=bool)
        return self.meanings.means_the_strongest

    def _count(self, counts: np.ndarray) -> np.ndarray:
        """Sum `counts` over the training rows with each candidate, (candidates,)."""
        counts_of_pairs = counts[self.row_of_pair]
        return np.bincount(
            self.candidate_of_pair, counts_of_pairs, len(self.candidates)
        )

    def _discounted(self, n_found: np.ndarray) -> np.ndarray:
        is_further = bool(self.chosen or self.shared)
        discount = FURTHER_DISCOUNT if is_further else DISCOUNT
        return np.maximum(n_found - discount, 0)

    def _auc_with_each(self) -> np.ndarray:
        """Return the area under the ROC curve along the name's direction with each candidate."""
        meanings = self.meanings
        if meanings is None:
            return np.zeros(len(self.candidates))
        assert self.corpus.meaning is not None
        directions = meanings.directions
        direction = directions[self.chosen].sum(axis=0)
        moments = self.corpus.meaning.second_moments @ direction
        difference = (directions + direction) @ meanings.target
        covariances = directions @ moments
        own_variance = direction @ moments
        variance = meanings.variances + 2 * covariances + own_variance
        return normal_auc(difference, variance)

    def _add(self, place: int) -> None:
        self.chosen.append(place)
        self.covered[self.rows[place]] = True
        self._close(place)

    def _close(self, place: int) -> None:
        """Exclude all terms that repeat one of the name."""
        self.open[place] = False
        for other in np.flatnonzero(self.open):
            if repeats(self.terms[place], self.terms[other]):
                self.open[other] = False

    def name(self) -> Name:
        """Return the current name."""
        terms = self._terms()
        forms = []
        for place in [*self.shared, *self.chosen]:
            others = self.inflections[place]
            forms += [self.candidates[other] for other in others]
        direction = None
        if self.meanings is not None:
            in_order = [*self.chosen, *self.shared]
            direction = self.meanings.directions[in_order].sum(axis=0)
        return Name(terms, terms + forms, direction)

    def _terms(self) -> list[int]:
        """Return the terms of the current name, the first selected one first."""
        return [self.candidates[place] for place in [*self.shared, *self.chosen]]
