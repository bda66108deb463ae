"""Labels are scored on a sample of held-out rows, and on more of those of rare features."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from nanosae.analysis.names import label_scorer
from nanosae.analysis.names.keywords import feature_words
from nanosae.analysis.names.label_scorer import LabelScorer
from nanosae.analysis.names.meaning import corpus_meaning
from nanosae.analysis.names.name_search import Name
from nanosae.text.words import Words
from small_corpora import NOISE, corpus

N, SAMPLED = 1200, 100


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A corpus of one feature, of whose 40 held-out active rows few are in a sample of 100."""
    monkeypatch.setattr(label_scorer, "SCORED", SAMPLED)
    rng = np.random.default_rng(0)
    held = np.arange(N) % 2 == 0
    is_active = np.isin(np.arange(N), rng.choice(N // 2, 40, replace=False) * 2)
    is_active |= np.isin(np.arange(N), rng.choice(N // 2, 40, replace=False) * 2 + 1)
    words = rng.choice(NOISE, (N, 4)).tolist()
    has_word = is_active & (rng.random(N) < 0.7) | (rng.random(N) < 0.1)
    texts = []
    for own, has in zip(words, has_word, strict=True):
        texts.append(" ".join([*own, "ruby"] if has else own))
    vectors = rng.normal(size=(N, 8)) + 1.5 * is_active[:, None]
    codes = corpus(tmp_path / "c", is_active[:, None], texts, vectors=vectors)
    counted = Words(codes.texts(), ~held)
    meaning = corpus_meaning(codes, np.flatnonzero(~held))
    return codes, counted, held, meaning, np.flatnonzero(is_active)


@pytest.mark.parametrize("has_meaning", [True, False])
def test_all_active_rows_of_a_rare_feature_count(made, has_meaning):
    codes, words, held, meaning, rows = made
    own = meaning if has_meaning else None
    scorer = LabelScorer(codes, words, held, np.arange(N), own, seed=0)
    place = words.terms.tolist().index("ruby")
    direction = np.ones(8) if has_meaning else None
    found = scorer.scores(Name([place], [place], direction), rows, rows[:10])
    active = rows[held[rows]]
    inactive = np.setdiff1d(scorer.sample, rows)
    assert len(active) == 40 > 2 * len(np.intersect1d(scorer.sample, rows))
    scored = np.append(active, inactive)
    along = words.weight[scored][:, [place]].toarray()[:, 0]
    if has_meaning:
        centred = codes.vectors(scored) - codes.vectors(np.flatnonzero(~held)).mean(0)
        along = (centred / np.linalg.norm(centred, axis=1)[:, None]).sum(axis=1)
    truth = np.isin(scored, active)
    assert found["label_auc"] == pytest.approx(roc_auc_score(truth, along), abs=1e-6)
    is_sampled = np.isin(scored, scorer.sample)
    of_sample = roc_auc_score(truth[is_sampled], along[is_sampled])
    assert found["label_auc"] != pytest.approx(of_sample, abs=1e-3)


def test_queries_are_scored_on_the_same_rows(made):
    codes, words, held, meaning, rows = made
    scorer = LabelScorer(codes, words, held, np.arange(N), meaning, seed=0)
    train = rows[~held[rows]]
    own = feature_words(words, train, np.ones(len(train)), np.arange(9), 30)
    query = scorer.query(own)
    scored = np.append(rows[held[rows]], np.setdiff1d(scorer.sample, rows))
    expected = roc_auc_score(np.isin(scored, rows), words.weight[scored] @ query)
    assert scorer.query_auc(query, rows) == pytest.approx(expected, abs=1e-6)


def test_copies_among_the_added_rows_are_known(made, monkeypatch):
    codes, words, held, meaning, rows = made
    in_pairs = np.arange(N)
    active = rows[held[rows]]
    in_pairs[active] = active[np.arange(40) // 2 * 2]
    scorer = LabelScorer(codes, words, held, in_pairs, meaning, seed=0)
    given = []
    monkeypatch.setattr(
        label_scorer, "area_with_interval", lambda *a: given.append(a) or (0.5, 0, 1)
    )
    scorer.scores(Name([0], [0], np.ones(8)), rows, rows[:10])
    ((_, is_active, group),) = given
    assert is_active.sum() == 40
    assert np.bincount(group[is_active]).max() == 2
    assert len(np.unique(group[is_active])) == 20
    assert len(np.unique(group[~is_active])) == (~is_active).sum()


def test_a_frequent_feature_is_scored_on_the_sample(made, monkeypatch):
    codes, words, held, meaning, _ = made
    monkeypatch.setattr(label_scorer, "LEAST_ACTIVE", 30)
    scorer = LabelScorer(codes, words, held, np.arange(N), meaning, seed=0)
    frequent = np.arange(0, N, 3)
    n_sampled = len(np.intersect1d(scorer.sample, frequent))
    assert n_sampled >= 30
    assert len(scorer._added_rows(frequent)) == 0
    rare = np.arange(0, N, 12)
    added = scorer._added_rows(rare)
    assert len(np.intersect1d(scorer.sample, rare)) + len(added) == 30
    assert held[added].all()
    assert not np.isin(added, scorer.sample).any()
