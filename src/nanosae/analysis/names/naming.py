"""Choose the few terms that name a feature.

A name consists of up to three terms with content (`name_terms`), from a greedy search that weighs
how well they find the feature's texts and how well they fit them (`name_search`).

Features whose names begin with the same term keep it, and get further terms from the texts on which
they are stronger than the others; a term without content stays alone. Two features have the same
name only if no further term is typical of them, as of copies of a feature.

Terms without content ("next", "how do i", a first name) name a feature only if they find its texts
twice as well as any name with content. So do numbers, letters, stop words and beginnings of words
("over-") that half of the strongest texts have, or a third if none is in half: embedders read
pieces of words, and some features respond to them. A single such term needs to find only a fifth
more if it also fits better by words and meaning together, unless it is the beginning of one word in
several forms ("nutri-" for "nutrition, nutritional"), which a reader would rather see. A phrase
with a stop word at either end ("or relating to") is used only if there is nothing else.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import scipy.sparse as sp

from nanosae.analysis.blas import with_one_blas_thread
from nanosae.analysis.names.keywords import FeatureWords, weights_of_rows
from nanosae.analysis.names.meaning import Meaning, TermMeaning
from nanosae.analysis.names.name_search import MAX_TERMS, Name, NameSearch
from nanosae.analysis.names.name_terms import TermCorpus
from nanosae.analysis.names.word_forms import same_word
from nanosae.analysis.ranking import largest_places
from nanosae.progress import tracked
from nanosae.text.words import Words

CANDIDATES = 150  # most typical terms, from which names are selected
MIN_TEXTS = 5  # on which a feature is stronger than its siblings, for a new name
FORM_ADVANTAGE = 2.0  # ratio of F1 from which on a name without content is preferred
BETTER_FORM_ADVANTAGE = 1.2  # of a single term without content that fits better, too
ONE_WORD = 0.5  # share of a beginning's texts from which on it stands for one word


def candidate_terms(features: Sequence[FeatureWords]) -> np.ndarray:
    """Return all terms from which the names of these features are selected, ascending."""
    of_features = [own.terms[:CANDIDATES] for own in features]
    of_features += [own.forms for own in features]
    distinct = np.unique(np.concatenate(of_features or [[]]))
    return distinct.astype(np.int64)


@with_one_blas_thread
def choose_names(
    words: Words,
    informative: np.ndarray,
    features: Sequence[FeatureWords],
    train_rows: np.ndarray,
    duplicate_group: np.ndarray,
    meaning: Meaning | None = None,
    term_meaning: TermMeaning | None = None,
) -> list[Name]:
    """Select a name for each feature; frequent features first choose between equal names.

    Args:
        words: Terms of all texts.
        informative: Informativeness of each term, (T,).
        features: Typical terms of each feature.
        train_rows: Rows whose texts are used, ascending.
        duplicate_group: Duplicate group of each row, (n_rows,).
        meaning: The space of the embeddings, estimated from some of these rows.
        term_meaning: Meanings of the candidate terms in this space.
    """
    n_all = words.presence.shape[0]
    place_of_row = np.full(n_all, -1)
    place_of_row[train_rows] = np.arange(len(train_rows))
    corpus = TermCorpus(
        words=words,
        informative=informative,
        presence=sp.csc_array(words.presence[train_rows]),
        place_of_row=place_of_row,
        duplicate_group=duplicate_group[train_rows],
        meaning=meaning,
        term_meaning=term_meaning,
        candidates=candidate_terms(features).tolist(),
        place_of={term: place for place, term in enumerate(words.terms)},
    )
    own_names = [
        _choose_name(corpus, own, taken=set())
        for own in tracked(features, "choose labels")
    ]
    names = list(own_names)
    taken: set[frozenset[int]] = set()
    all_siblings = _siblings(own_names)
    n_rows = np.array([len(own.rows) for own in features])
    order = largest_places(n_rows, len(features)).tolist()
    for i in tracked(order, "choose labels"):
        siblings = [features[place] for place in all_siblings[i]]
        if siblings:
            names[i] = _name_apart(corpus, features[i], siblings, own_names[i], taken)
        if frozenset(names[i].terms) in taken:
            names[i] = _choose_name(corpus, features[i], taken)
        taken.add(frozenset(names[i].terms))
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


def _name_apart(
    corpus: TermCorpus,
    own: FeatureWords,
    siblings: Sequence[FeatureWords],
    name: Name,
    taken: set[frozenset[int]],
) -> Name:
    """Return the first term of a name with others, from the texts on which no sibling is stronger.

    A name that begins with a term without content stays as it is.
    """
    search = _search_by_content(corpus, _apart_from(own, siblings))
    first_term = name.terms[0]
    if first_term not in search.candidates:
        return name
    search.begin_with(first_term)
    search.add_terms(taken, most=MAX_TERMS - 1)
    return search.name()


def _search_by_content(corpus: TermCorpus, own: FeatureWords) -> NameSearch:
    """Return a search among the terms with content that are typical of a feature."""
    typical = own.terms[:CANDIDATES].tolist()
    kinds = corpus.kinds
    with_content = [term for term in typical if term in kinds.with_content]
    whole = [term for term in with_content if term in kinds.whole] or with_content
    common = [term for term in whole if term in kinds.common]
    return NameSearch(corpus, own, _strengths(corpus, own), common or whole)


def _choose_name(
    corpus: TermCorpus, own: FeatureWords, taken: set[frozenset[int]]
) -> Name:
    """Select the name of a feature by itself, but none that is taken."""
    by_content = _search_by_content(corpus, own)
    by_content.add_terms(taken)
    strengths = by_content.strengths
    tidy, loose = _terms_of_form(corpus, own)
    best = by_content
    for candidates in (tidy, loose):
        by_form = NameSearch(corpus, own, strengths, candidates)
        if _finds_more(by_form, FORM_ADVANTAGE * best.f1, taken):
            best = by_form
    if best is by_content:
        best = _better_of_form(corpus, own, by_content, tidy, taken)
    name = best.name()
    if not name.terms or frozenset(name.terms) not in taken:
        return name
    # where terms with content are used up, others tell features apart
    by_all = NameSearch(corpus, own, strengths, [*best.candidates, *tidy])
    by_all.add_terms(taken)
    return by_all.name()


def _better_of_form(
    corpus: TermCorpus,
    own: FeatureWords,
    by_content: NameSearch,
    tidy: list[int],
    taken: set[frozenset[int]],
) -> NameSearch:
    """Return a search for a single term of form if it fits better than a name with content."""
    strengths = by_content.strengths
    single = [
        term
        for term in tidy
        if " " not in corpus.words.terms[term]
        and not _stands_for_one_word(corpus, own, strengths, term)
    ]
    by_form = NameSearch(corpus, own, strengths, single)
    finds_more = _finds_more(by_form, BETTER_FORM_ADVANTAGE * by_content.f1, taken)
    fits_better = by_form.score > by_content.score
    is_single = len(by_form.chosen) == 1
    return by_form if finds_more and fits_better and is_single else by_content


def _terms_of_form(
    corpus: TermCorpus, own: FeatureWords
) -> tuple[list[int], list[int]]:
    """Return a feature's terms without content: tidy ones, and phrases with a loose end."""
    typical = own.terms[:CANDIDATES].tolist()
    kinds = corpus.kinds
    of_form = [term for term in typical if term in kinds.of_form]
    of_form += [term for term in own.forms.tolist() if term not in of_form]
    loose = [term for term in of_form if term in kinds.loose]
    tidy = [term for term in of_form if term not in loose]
    return tidy, loose


def _finds_more(search: NameSearch, f1: float, taken: set[frozenset[int]]) -> bool:
    """Add one term to a search if its F1 exceeds the given one; return whether it does."""
    if search.highest_f1() <= f1:
        return False
    search.add_terms(taken, most=1)
    return search.f1 > f1


def _stands_for_one_word(
    corpus: TermCorpus, own: FeatureWords, strengths: np.ndarray, term: int
) -> bool:
    """Return whether half of a feature's texts with a beginning have one word, in any form."""
    words = corpus.words
    beginning = words.terms[term]
    if not beginning.endswith("-"):
        return False
    n_letters = len(beginning)  # with one more than the beginning, which ends with "-"
    rows_of_word = {}
    for place in own.terms.tolist():
        word = str(words.terms[place])
        if words.single[place] and word.startswith(beginning[:-1]):
            rows_of_word[word] = corpus.rows_with(place)
    if not rows_of_word:
        return False
    weights = {word: strengths[rows].sum() for word, rows in rows_of_word.items()}
    commonest = max(weights, key=weights.__getitem__)
    forms = [
        word
        for word in rows_of_word
        if word[:n_letters] == commonest[:n_letters] and same_word(word, commonest)
    ]
    rows_of_forms = np.concatenate([rows_of_word[word] for word in forms])
    weight_of_forms = strengths[np.unique(rows_of_forms)].sum()
    weight_of_all = strengths[corpus.rows_with(term)].sum()
    return bool(weight_of_forms > ONE_WORD * weight_of_all)


def _strengths(corpus: TermCorpus, own: FeatureWords) -> np.ndarray:
    """Return the weight of each training row for a feature, 0 if it is inactive, (n_train,)."""
    n_train = corpus.presence.shape[0]
    strengths = np.zeros(n_train)
    places = corpus.place_of_row[own.rows]
    is_train = places >= 0
    strengths[places[is_train]] = weights_of_rows(own.activations)[is_train]
    return strengths
