"""Directions of terms and features in the space of the embeddings."""

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.covariance import LedoitWolf
from sklearn.metrics import roc_auc_score

from nanosae.analysis.names import meaning as module
from nanosae.analysis.names.meaning import (
    corpus_meaning,
    is_about_texts,
    normal_auc,
    terms_by_embedder,
)
from nanosae.text.words import Words
from small_corpora import corpus


@pytest.fixture
def vectors():
    return (np.random.default_rng(0).normal(size=(60, 5)) + 4).astype(np.float32)


def brute_directions(vectors, rows):
    centred = vectors - vectors[rows].mean(0)
    return centred / np.linalg.norm(centred, axis=1)[:, None]


def test_terms_and_features_point_where_their_rows_do(vectors, tmp_path):
    active = np.arange(60) % 3 == 0
    codes = corpus(tmp_path / "c", active[:, None], ["a text"] * 60, vectors=vectors)
    vectors = codes.vectors()  # as they were stored
    rows = np.arange(0, 60, 2)
    meaning = corpus_meaning(codes, rows)
    directions = brute_directions(vectors, rows)
    presence = np.random.default_rng(1).random((30, 4)) < 0.3
    presence[:, 3] = False
    found = meaning.of_terms(sp.csr_array(presence.astype(np.float32)))
    mean = directions[rows].mean(0)
    covariance = LedoitWolf().fit(directions[rows].astype(float)).covariance_
    for term in range(3):
        difference = directions[rows][presence[:, term]].mean(0) - mean
        expected = np.linalg.solve(covariance, difference.astype(float))
        expected /= np.linalg.norm(expected)
        np.testing.assert_allclose(found[term], expected, atol=1e-4)
        difference /= np.linalg.norm(difference)
        assert not np.allclose(found[term], difference, atol=0.05)
        uncentred = vectors[rows][presence[:, term]].mean(0)
        assert not np.allclose(
            found[term], uncentred / np.linalg.norm(uncentred), atol=0.1
        )
    assert not found[3].any()
    some = rows[:7]
    weights = np.arange(1.0, 8)
    expected = np.average(directions[some], axis=0, weights=weights)
    expected -= directions[rows].mean(0)
    np.testing.assert_allclose(meaning.of_rows(some, weights), expected, atol=1e-5)
    asked = np.array([59, 4, 3, 58, 0])
    assert asked[meaning.has_rows(asked)].tolist() == [4, 58, 0]
    np.testing.assert_allclose(
        meaning.directions_of(vectors[1::2]), directions[1::2], atol=1e-5
    )


def test_rows_of_zeros_change_no_meaning(vectors, tmp_path):
    is_known = np.arange(90) % 3 > 0
    with_zeros = np.zeros((90, 5), np.float32)
    with_zeros[is_known] = vectors
    alone = corpus(tmp_path / "a", np.ones((60, 1)), ["a text"] * 60, vectors=vectors)
    mixed = corpus(
        tmp_path / "m", np.ones((90, 1)), ["a text"] * 90, vectors=with_zeros
    )
    expected = corpus_meaning(alone, np.arange(60))
    found = corpus_meaning(mixed, np.arange(90))
    assert not found.directions[~is_known].any()
    assert not found.directions_of(np.zeros((1, 5), np.float32)).any()
    for name in ("centre", "mean_direction", "second_moments", "precision"):
        np.testing.assert_allclose(
            getattr(found, name), getattr(expected, name), rtol=1e-3, atol=1e-5
        )


def test_a_term_does_not_point_along_what_all_texts_differ_in(tmp_path):
    rng = np.random.default_rng(0)
    n = 2000
    vectors = rng.normal(size=(n, 8)).astype(np.float32)
    has_term = rng.random(n) < 0.1
    common = 6 * rng.normal(size=n)
    vectors[:, 0] += common + 3 * has_term
    vectors[:, 1] += 3 * has_term
    codes = corpus(tmp_path / "c", np.ones((n, 1)), ["a text"] * n, vectors=vectors)
    meaning = corpus_meaning(codes, np.arange(0, n, 2))
    presence = sp.csr_array(has_term[::2, None].astype(np.float32))
    along = meaning.directions_of(vectors[1::2]) @ meaning.of_terms(presence)[0]
    directions = brute_directions(vectors, np.arange(0, n, 2))
    own, unseen = directions[::2], directions[1::2]
    difference = own[has_term[::2]].mean(0) - own.mean(0)
    area = roc_auc_score(has_term[1::2], along)
    assert area > roc_auc_score(has_term[1::2], unseen @ difference) + 0.05


def test_embeddings_that_are_all_alike_have_no_directions(tmp_path):
    vectors = np.ones((20, 3), np.float32)
    codes = corpus(tmp_path / "c", np.ones((20, 1)), ["a text"] * 20, vectors=vectors)
    meaning = corpus_meaning(codes, np.arange(20))
    assert not meaning.of_terms(sp.csr_array(np.eye(20, dtype=np.float32))).any()


def test_two_embeddings_have_one_direction(tmp_path):
    vectors = np.tile(np.float32([[1, 2, 0], [3, 0, 0]]), (20, 1))
    codes = corpus(tmp_path / "c", np.ones((40, 1)), ["a text"] * 40, vectors=vectors)
    meaning = corpus_meaning(codes, np.arange(40))
    presence = sp.csr_array(np.float32(np.arange(40) % 2)[:, None])
    expected = np.array([[1, -1, 0]]) / np.sqrt(2)
    np.testing.assert_allclose(meaning.of_terms(presence), expected, atol=1e-3)


VOCABULARY = ["red", "green", "blue", "car", "bus", "ship", "tree", "leaf", "sea"]


def says_something(folder, seed, strength, width=16, n=200):
    """Whether embeddings of random texts are about them, with so much of each word in them."""
    rng = np.random.default_rng(seed)
    has_word = rng.random((n, len(VOCABULARY))) < 0.3
    texts = [" ".join(np.array(VOCABULARY)[row]) for row in has_word]
    of_words = rng.normal(size=(len(VOCABULARY), width))
    vectors = 5 + rng.normal(size=(n, width)) + strength * has_word @ of_words
    codes = corpus(folder, has_word[:, :1], texts, vectors=vectors.astype(np.float32))
    words = Words(np.array(texts, object), np.ones(n, bool))
    meaning = corpus_meaning(codes, np.arange(n))
    return is_about_texts(meaning, words, np.arange(len(words.terms)))


def test_embeddings_are_about_texts_if_texts_with_a_word_are_alike(tmp_path):
    about = [says_something(tmp_path / f"a{seed}", seed, 1.0) for seed in range(10)]
    assert all(about)


@pytest.mark.slow
@pytest.mark.parametrize("width", [3, 16, 100])
def test_noise_is_about_nothing(tmp_path, width):
    found = [
        says_something(tmp_path / f"n{seed}", seed, 0.0, width) for seed in range(40)
    ]
    assert sum(found) <= 2


def test_an_embedder_says_what_terms_mean_apart_from_all_terms():
    texts = np.array(["red car", "red bus", "blue bus"], object)
    words = Words(texts, np.ones(3, bool))
    embeddings = {"red": [5.0, 1.0], "bus": [3.0, 3.0], "blue": [9.0, 9.0]}
    terms = np.flatnonzero(np.isin(words.terms, ["red", "bus"]))
    asked = []

    def encode(texts):
        asked.extend(texts)
        return np.array([embeddings[text] for text in texts])

    found = terms_by_embedder(encode, words, terms)
    assert asked == words.terms[terms].tolist()
    place_of_red = terms[words.terms[terms] == "red"]
    # (5, 1) less the mean (4, 2)
    expected = np.array([[1, -1]]) / np.sqrt(2)
    np.testing.assert_allclose(found.directions_of(place_of_red), expected)
    assert not np.allclose(
        found.directions_of(place_of_red), np.array([[5, 1]]) / np.sqrt(26)
    )


def test_a_sample_stands_for_a_large_corpus(vectors, tmp_path, monkeypatch):
    codes = corpus(tmp_path / "c", np.ones((60, 1)), ["a text"] * 60, vectors=vectors)
    monkeypatch.setattr(module, "MAX_ROWS", 20)
    meaning = corpus_meaning(codes, np.arange(60))
    assert len(set(meaning.rows.tolist())) == 20
    assert (np.diff(meaning.rows) > 0).all()


@pytest.mark.parametrize("difference", [0.0, 0.7, -1.5])
def test_the_area_of_normal_groups_is_that_of_a_simulation(difference):
    rng = np.random.default_rng(0)
    scores = np.append(rng.normal(difference, 2, 40_000), rng.normal(0, 2, 40_000))
    is_active = np.arange(80_000) < 40_000
    found = normal_auc(np.array([difference]), np.array([4.0]))[0]
    assert found == pytest.approx(roc_auc_score(is_active, scores), abs=0.006)
