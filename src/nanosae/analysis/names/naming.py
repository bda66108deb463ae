"""Choose the few terms that name a feature.

A name consists of up to three terms from a greedy search. Each step adds the term that gives the
name the highest score: the F1 with which its words (including inflections) find the feature's
texts, plus the area under the ROC curve along the mean direction of its terms (see `meaning`).
Texts are weighted by activation, because names are read beside the strongest texts. Without
embeddings, words alone decide. Because terms are selected for the texts at hand, they will be in
fewer new texts: one text is subtracted from the count of the first term, and two from the texts
that each further term adds (absolute discounting, Church and Gale 1991).

A further term must be about the strongest texts that the name does not cover yet: it must be in
three of the twenty strongest that have no term of the name. Terms of weak texts only ("flask,
flake8") belong in the feature's keywords. It must also fit the other strongest texts: those of the
twenty without the term must lie along its meaning, with an area under the ROC curve of 0.8 against
all texts. (Those with the term do so because its direction was estimated from them.) Terms that add
less than 0.02 or repeat a word of the name are left out. A longer phrase replaces a term that it
contains if it has two thirds of the term's texts and is not much worse ("Wells Fargo" for "wells").

A phrase is whole unless it nearly always stands before the same word, or after the same content
word ("includes a number", of; "driven software", event), or joins by a stop word two words that
mostly occur without each other ("tool to manage", but not "Bank of America"). Japanese and Chinese
terms that begin or end with a particle are not whole either. Terms that are not whole are used only
if there are no others.

Features whose names begin with the same term keep it, and get further terms from the texts on which
they are stronger than the others. No two features have the same name.

Terms without content ("next", "how do i", a first name) name a feature only if they find its texts
twice as well as any name with content. So do numbers, letters, stop words and beginnings of words
("over-") that half of the strongest texts have: encoders read pieces of words, and some features
respond to them. A phrase with a stop word at either end ("or relating to") is used only if there
is nothing else.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import scipy.sparse as sp

from nanosae.analysis.names.keywords import FeatureWords, weights_of_rows
from nanosae.analysis.names.meaning import Meaning, TermMeaning, normal_auc
from nanosae.analysis.names.word_forms import holds, inflections, is_unspaced, repeats
from nanosae.analysis.ranking import largest_places
from nanosae.progress import tracked
from nanosae.text.unspaced import unspaced_words
from nanosae.text.words import Words, is_stop_word

# short words in Hiragana are mostly particles and endings, and so are these Chinese words
PARTICLE = re.compile("[\u3041-\u309f]{1,3}|[的了是和与或及为也它这那您]")
LONGEST_ALONE = 2  # characters of such a word that is a term by itself
MAX_TERMS = 3
CANDIDATES = 150  # most typical terms, from which names are selected
MIN_GAIN = 0.02  # in score, by a further term
COMMON = 3  # minimum number of training texts with a term, unless the corpus is small
SMALL_CORPUS = 2000  # training texts below which rare terms are allowed
DISCOUNT = 1  # subtracted from the texts found by the first term
FURTHER_DISCOUNT = 2  # subtracted from the texts that each further term adds
JOINED = 0.25  # minimum share of the texts with the rarer end of a phrase that have the phrase
WHOLE = 2 / 3  # share of a term's texts that a longer phrase must have to replace it
PHRASE_LOSS = 0.1  # maximum loss in score by such a replacement
N_STRONGEST = 20  # strongest texts, which a further term must be about
STRONGEST_SHARE = 0.15  # of these texts that must have it and no other term of the name
# "excellent discrimination" (Hosmer, Lemeshow and Sturdivant 2013, §5.2.4)
STRONGEST_AUC = 0.8  # of the strongest texts without a term, along its meaning
MIN_TEXTS = 5  # on which a feature is stronger than its siblings, for a new name
MIN_STOP_WORDS = 3  # in a phrase of stop words only
FORM_ADVANTAGE = 2.0  # ratio of F1 from which on a name without content is preferred


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
class _Corpus:
    """The data from which names are selected: the terms of training texts, and their meanings.

    Attributes:
        words: Terms of all texts.
        informative: Informativeness of each term, (T,).
        presence: Indicators of terms in training rows, csc_array (n_train, T).
        place_of_row: Position of each row among the training rows, -1 for others, (n_rows,).
        meaning: The space of the embeddings, if there are any.
        term_meaning: Meanings of the candidate terms, if there are embeddings.
        place_of: Position of each term in `words.terms`.
    """

    words: Words
    informative: np.ndarray
    presence: Any
    place_of_row: np.ndarray
    meaning: Meaning | None
    term_meaning: TermMeaning | None
    place_of: dict[str, int]

    def rows_with(self, term: int) -> np.ndarray:
        """Return the positions of the training rows with a term."""
        start, stop = self.presence.indptr[term : term + 2]
        return self.presence.indices[start:stop]

    def n_texts(self, word: str) -> int:
        """Return the number of training texts with a word, 0 if it is not a term."""
        place = self.place_of.get(word)
        return 0 if place is None else len(self.rows_with(place))

    def says_something(self, word: str) -> bool:
        """Return whether a word has content; words that are not terms are assumed to."""
        place = self.place_of.get(word)
        is_informative = place is None or self.informative[place] > 0
        return is_informative and not is_stop_word(word)


def candidate_terms(features: Sequence[FeatureWords]) -> np.ndarray:
    """Return all terms from which the names of these features are selected, ascending."""
    of_features = [own.terms[:CANDIDATES] for own in features]
    of_features += [own.forms for own in features]
    distinct = np.unique(np.concatenate(of_features or [[]]))
    return distinct.astype(np.int64)


def choose_names(
    words: Words,
    informative: np.ndarray,
    features: Sequence[FeatureWords],
    train_rows: np.ndarray,
    meaning: Meaning | None = None,
    term_meaning: TermMeaning | None = None,
) -> list[Name]:
    """Select a name for each feature, frequent features first.

    Args:
        words: Terms of all texts.
        informative: Informativeness of each term, (T,).
        features: Typical terms of each feature.
        train_rows: Rows whose texts are used, ascending.
        meaning: The space of the embeddings, estimated from some of these rows.
        term_meaning: Meanings of the candidate terms in this space.
    """
    n_all = words.presence.shape[0]
    place_of_row = np.full(n_all, -1)
    place_of_row[train_rows] = np.arange(len(train_rows))
    corpus = _Corpus(
        words=words,
        informative=informative,
        presence=sp.csc_array(words.presence[train_rows]),
        place_of_row=place_of_row,
        meaning=meaning,
        term_meaning=term_meaning,
        place_of={term: place for place, term in enumerate(words.terms)},
    )
    n_rows = np.array([len(own.rows) for own in features])
    order = largest_places(n_rows, len(features)).tolist()
    nothing = [None] * len(features)
    first_pass = _choose_in_order(corpus, features, order, nothing, nothing)
    apart = []
    shared_terms = []
    without_siblings: list[Name | None] = []
    for own, name, places in zip(
        features, first_pass, _siblings(first_pass), strict=True
    ):
        siblings = [features[place] for place in places]
        apart.append(_apart_from(own, siblings))
        shared_terms.append(name.terms[0] if siblings else None)
        without_siblings.append(None if siblings else name)
    return _choose_in_order(corpus, apart, order, shared_terms, without_siblings)


def _choose_in_order(
    corpus: _Corpus,
    features: Sequence[FeatureWords],
    order: Sequence[int],
    shared_terms: Sequence[int | None],
    known: Sequence[Name | None],
) -> list[Name]:
    """Name features one by one with distinct names; a known name is kept if it is not taken."""
    without_terms = Name([], [], None)
    names = [without_terms] * len(features)
    taken: set[frozenset[int]] = set()
    for i in tracked(order, "choose labels"):
        name = known[i]
        if name is None or frozenset(name.terms) in taken:
            name = _choose_name(corpus, features[i], taken, shared_terms[i])
        names[i] = name
        taken.add(frozenset(name.terms))
    return names


def _siblings(names: Sequence[Name]) -> list[list[int]]:
    """Return the positions of the other names that begin with the same term as each name."""
    by_first_term: dict[int, list[int]] = defaultdict(list)
    for i, name in enumerate(names):
        if name.terms:
            by_first_term[name.terms[0]].append(i)
    siblings = []
    for i, name in enumerate(names):
        same_first_term = by_first_term[name.terms[0]] if name.terms else []
        siblings.append([j for j in same_first_term if j != i])
    return siblings


def _apart_from(own: FeatureWords, siblings: Sequence[FeatureWords]) -> FeatureWords:
    """Drop the texts on which a sibling is stronger, unless too few would be left."""
    if not siblings:
        return own
    rows = np.concatenate([sibling.rows for sibling in siblings])
    activations = np.concatenate([sibling.activations for sibling in siblings])
    last_row = max(rows.max(initial=0), own.rows.max(initial=0))
    strongest = np.zeros(last_row + 1)
    np.maximum.at(strongest, rows, activations)
    is_stronger = own.activations >= strongest[own.rows]
    if is_stronger.sum() < MIN_TEXTS:
        return own
    own_rows = own.rows[is_stronger]
    own_activations = own.activations[is_stronger]
    return replace(own, rows=own_rows, activations=own_activations)


def _choose_name(
    corpus: _Corpus,
    own: FeatureWords,
    taken: set[frozenset[int]],
    shared_term: int | None,
) -> Name:
    """Select the name of a feature; a term shared with other features comes first."""
    typical = own.terms[:CANDIDATES].tolist()
    strengths = _strengths(corpus, own)
    with_content = [term for term in typical if _has_content(corpus, term)]
    whole = [term for term in with_content if _is_whole(corpus, term)] or with_content
    common = [term for term in whole if _is_common(corpus, term)]
    by_content = _Search(corpus, own, strengths, common or whole)
    if shared_term in by_content.candidates:
        by_content.begin_with(shared_term)
        by_content.add_terms(taken, most=MAX_TERMS - 1)
        return by_content.name()
    by_content.add_terms(taken)
    of_form = [term for term in typical if _is_of_form(corpus, term)]
    of_form += [term for term in own.forms.tolist() if term not in of_form]
    loose = [term for term in of_form if _is_loose_phrase(corpus, term)]
    tidy = [term for term in of_form if term not in loose]
    best = by_content
    for candidates in (tidy, loose):
        if not candidates:
            continue
        by_form = _Search(corpus, own, strengths, candidates)
        by_form.add_terms(taken, most=1)
        if by_form.f1 > FORM_ADVANTAGE * best.f1:
            best = by_form
    return best.name()


def _has_content(corpus: _Corpus, term: int) -> bool:
    """Return whether a term is informative and neither begins nor ends with a stop word."""
    is_informative = corpus.informative[term] > 0
    if not is_informative:
        return False
    return _ends_have_content(corpus.words.terms[term])


@lru_cache(maxsize=2**16)
def _ends_have_content(text: str) -> bool:
    if is_unspaced(text):
        return True
    word_list = text.split(" ")
    ends = (word_list[0], word_list[-1])
    return not any(is_stop_word(word) or len(word) < 2 for word in ends)


def _is_whole(corpus: _Corpus, term: int) -> bool:
    """Return whether a term is not a fragment of a longer phrase."""
    words = corpus.words
    if _has_loose_end(words.terms[term]):
        return False
    before = words.before[term]
    is_cut_before = before != "" and corpus.says_something(before)
    is_cut_after = words.after[term] != ""
    if is_cut_before or is_cut_after:
        return False
    word_list = words.terms[term].split(" ")
    if not any(is_stop_word(word) for word in word_list[1:-1]):
        return True
    first, last = word_list[0], word_list[-1]
    n_rarer = min(corpus.n_texts(first), corpus.n_texts(last))
    return len(corpus.rows_with(term)) >= JOINED * n_rarer


@lru_cache(maxsize=2**16)
def _has_loose_end(text: str) -> bool:
    """Return whether a term without spaces begins or ends with a particle."""
    if not is_unspaced(text):
        return False
    word_list = unspaced_words(text, text)
    if len(word_list) == 1 and len(text) > LONGEST_ALONE:
        return False
    ends = (word_list[0], word_list[-1])
    return any(PARTICLE.fullmatch(word) for word in ends)


def _is_of_form(corpus: _Corpus, term: int) -> bool:
    """Return whether none of a term's words has content, and yet it can be a name.

    One or two stop words ("of the") cannot, but three ("how do i") or a rarer word can.
    """
    text = corpus.words.terms[term]
    word_list = text.split(" ")
    if len(word_list) < MIN_STOP_WORDS and all(map(is_stop_word, word_list)):
        return False
    if len(word_list) == 1:
        return not _has_content(corpus, term)
    return not any(corpus.says_something(word) for word in word_list)


def _is_loose_phrase(corpus: _Corpus, term: int) -> bool:
    """Return whether a phrase begins or ends with a stop word ("or relating to")."""
    text = corpus.words.terms[term]
    return " " in text and not _ends_have_content(text)


def _is_common(corpus: _Corpus, term: int) -> bool:
    """Return whether a term is in enough texts for its meaning to be known."""
    n_texts = len(corpus.rows_with(term))
    n_train = corpus.presence.shape[0]
    return n_texts >= COMMON or n_train < SMALL_CORPUS


def _strengths(corpus: _Corpus, own: FeatureWords) -> np.ndarray:
    """Return the weight of each training row for a feature, 0 if it is inactive, (n_train,)."""
    n_train = corpus.presence.shape[0]
    strengths = np.zeros(n_train)
    places = corpus.place_of_row[own.rows]
    is_train = places >= 0
    strengths[places[is_train]] = weights_of_rows(own.activations)[is_train]
    return strengths


class _Search:
    """A greedy search for the terms of one name.

    Attributes:
        means_the_strongest: Whether the strongest texts without each candidate lie along its
            meaning, bool (candidates,); only with embeddings.
        shared: The first term of the name, if other names begin with it as well.
        chosen: Further terms so far, as positions in `candidates`.
        strengths: Weight of each training row for the feature, (n_train,).
        is_strongest: Which training rows are the feature's strongest, bool (n_train,).
        rows: Training rows with each candidate or an inflection of it.
        n_found: Total weight of these rows, (candidates,).
        covered: Training rows with a chosen term or an inflection of it, bool (n_train,).
        found: Total weight of the covered rows, minus the discount of each chosen term.
        f1: F1 of the covered rows, after the discount.
    """

    def __init__(
        self,
        corpus: _Corpus,
        own: FeatureWords,
        strengths: np.ndarray,
        candidates: list[int],
    ) -> None:
        self.corpus = corpus
        self.candidates = candidates
        self.terms = corpus.words.terms[candidates].tolist()
        self.strengths = strengths
        self.n_active = float(strengths.sum())
        strongest = largest_places(strengths, N_STRONGEST)
        least_strength = strengths[strongest].min(initial=np.inf)
        self.is_strongest = (strengths > 0) & (strengths >= least_strength)
        self.inflections = inflections(self.terms)
        own_rows = [corpus.rows_with(term) for term in candidates]
        self.rows: list[np.ndarray] = []
        for place, others in enumerate(self.inflections):
            rows = own_rows[place]  # ascending, each once
            if others:
                rows_of_others = [own_rows[other] for other in others]
                rows = np.unique(np.concatenate([rows, *rows_of_others]))
            self.rows.append(rows)
        n_rows = [len(rows) for rows in self.rows]
        self.candidate_of_pair = np.repeat(np.arange(len(candidates)), n_rows)
        self.row_of_pair = np.concatenate([*self.rows, np.zeros(0, np.intp)])
        self.n_found = self._count(strengths)
        self.covered = np.zeros(len(strengths), dtype=bool)
        self.open = np.ones(len(candidates), dtype=bool)  # which may still be added
        self.shared: list[int] = []
        self.chosen: list[int] = []
        self.found = 0.0
        self.f1 = 0.0
        self._begin_meaning(own)

    def _begin_meaning(self, own: FeatureWords) -> None:
        meaning = self.corpus.meaning
        self.direction = None
        term_meaning = self.corpus.term_meaning
        if meaning is None or term_meaning is None:
            return
        is_sampled = meaning.has_rows(own.rows)
        if not is_sampled.any():
            return
        self.target = meaning.of_rows(own.rows[is_sampled], own.activations[is_sampled])
        width = len(meaning.centre)
        self.direction = np.zeros(width, np.float32)
        self.directions = term_meaning.of(self.candidates)
        moments = self.directions @ meaning.second_moments
        self.variances = np.einsum("ij,ij->i", moments, self.directions)
        strongest = own.rows[is_sampled][:N_STRONGEST]
        self.means_the_strongest = self._means_others(meaning, strongest)

    def _means_others(self, meaning: Meaning, rows: np.ndarray) -> np.ndarray:
        """Return along which candidates' meanings the rows without the candidate lie."""
        presence = self.corpus.words.presence[rows][:, self.candidates]
        is_without = ~presence.toarray().astype(bool)
        n_without = is_without.sum(axis=0)
        along = meaning.of_each(rows) @ self.directions.T
        mean_along = (along * is_without).sum(axis=0) / np.maximum(n_without, 1)
        difference = mean_along - self.directions @ meaning.mean_direction
        auc = normal_auc(difference, self.variances)
        return (auc >= STRONGEST_AUC) | (n_without == 0)

    def begin_with(self, term: int) -> None:
        """Begin the name with a term that other names begin with as well."""
        place = self.candidates.index(term)
        self.shared = [place]
        self._close(place)

    def add_terms(self, taken: set[frozenset[int]], most: int = MAX_TERMS) -> None:
        """Add terms while they improve the name, or until no other feature has the same name."""
        score = 0.0
        while self.open.any() and len(self.chosen) <= most:
            is_new = frozenset(self.name().terms) not in taken
            is_in_strongest = self.open & self._is_in_strongest()
            is_allowed = is_in_strongest & self._means_them()
            if not is_allowed.any():
                if is_new:
                    return
                is_allowed = is_in_strongest if is_in_strongest.any() else self.open
            f1 = self._f1_with_each()
            auc = self._auc_with_each()
            scores = np.where(is_allowed, f1 + auc, -1.0)
            highest = int(scores.argmax())
            best = self._whole_phrase(highest, scores)
            least_gain = MIN_GAIN if self.chosen else 0
            gains = scores[best] > score + least_gain
            has_room = len(self.chosen) < most
            wanted = not self.chosen or (gains and has_room)
            if not wanted and is_new:
                return
            score = scores[best]
            self.f1 = float(f1[best])
            self._add(best)

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

    def _f1_with_each(self) -> np.ndarray:
        """Return the F1 of the name with each further candidate, after the discount."""
        is_new = ~self.covered
        n_new = self._count(is_new)
        covered = int(self.covered.sum()) + n_new
        found = self.found + self._discounted(self._count(is_new * self.strengths))
        return 2 * found / np.maximum(covered + self.n_active, 1)

    def _is_in_strongest(self) -> np.ndarray:
        """Return which candidates enough strongest, uncovered texts have; for the first, all."""
        if not self.shared and not self.chosen:
            return np.ones(len(self.candidates), dtype=bool)
        least = STRONGEST_SHARE * self.is_strongest.sum()
        return self._count(self.is_strongest & ~self.covered) >= least

    def _means_them(self) -> np.ndarray:
        """Return which candidates fit the strongest texts without them; for the first, all."""
        is_first = not self.shared and not self.chosen
        if is_first or self.direction is None:
            return np.ones(len(self.candidates), dtype=bool)
        return self.means_the_strongest

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
        if self.direction is None:
            return np.zeros(len(self.candidates))
        assert self.corpus.meaning is not None
        moments = self.corpus.meaning.second_moments @ self.direction
        sums = self.directions + self.direction
        difference = sums @ self.target
        covariances = self.directions @ moments
        own_variance = self.direction @ moments
        variance = self.variances + 2 * covariances + own_variance
        return normal_auc(difference, variance)

    def _add(self, place: int) -> None:
        new_strengths = ~self.covered * self.strengths
        self.found += self._discounted(self._count(new_strengths))[place]
        self.chosen.append(place)
        self.covered[self.rows[place]] = True
        self._close(place)
        if self.direction is not None:
            self.direction = self.direction + self.directions[place]

    def _close(self, place: int) -> None:
        """Exclude all terms that repeat one of the name."""
        self.open[place] = False
        for other in np.flatnonzero(self.open):
            if repeats(self.terms[place], self.terms[other]):
                self.open[other] = False

    def name(self) -> Name:
        """Return the current name."""
        places = [*self.shared, *self.chosen]
        terms = [self.candidates[place] for place in places]
        forms = []
        for place in places:
            others = self.inflections[place]
            forms += [self.candidates[other] for other in others]
        direction = self.direction
        if direction is not None:
            direction = direction + self.directions[self.shared].sum(axis=0)
        return Name(terms, terms + forms, direction)
