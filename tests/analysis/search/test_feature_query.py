"""Words turned into features."""

import re

import numpy as np
import pytest
import scipy.sparse as sp

from nanosae.analysis.search.feature_query import features_of_words, set_features
from nanosae.analysis.search.search import search
from nanosae.analysis.search.text_index import find_texts, word_terms
from nanosae.codes import write_codes
from nanosae.errors import DataError
from oracles import dense_rows


def test_words_without_an_embedder_are_lifted_to_features_and_the_answer_says_so(
    codes, planted
):
    hits = 0
    for j in range(0, 48, 5):
        found = search(codes, planted.words[j][0])
        assert found.note.startswith("no embedder is known: ")
        assert "texts and" in found.note
        assert "they give" in found.note
        hits += j in [f for f, *_ in found.features[:3]]
        active = dense_rows(codes)[[h.row for h in found.hits], j] > 0
        hits += active.mean() > 0.7
    assert hits >= 16  # of 20


def test_shuffled_texts_lift_words_to_nothing_in_particular(tmp_path, codes, planted):
    order = np.random.default_rng(0).permutation(700)
    other = write_codes(tmp_path / "x", codes.rows(0, 700), texts=planted.texts[order])
    right = 0
    for j in range(0, 48, 5):
        found = search(other, planted.words[j][0])
        right += bool(found.features) and found.features[0][0] == j
    assert right <= 2


def test_words_are_found_in_labels_where_there_are_no_texts(tmp_path, codes, planted):
    bare = write_codes(codes.run / "codes" / "bare", codes.rows(0, 700))
    found = search(bare, planted.names[11])
    assert found.features[0][:2] == (11, planted.names[11])
    assert "0 texts and" in found.note
    assert [h.row for h in found.hits][:1] == codes.top(11, 1)[0].tolist()
    nothing = search(bare, "zzz-unheard-of")
    assert nothing.hits == []
    assert "0 texts and 0 labels" in nothing.note


def test_features_of_words_weigh_mean_activation_times_log_lift(codes, planted):
    word = planted.words[3][0]
    rows, _ = find_texts(codes, word, 100)
    acts = dense_rows(codes)
    share, density = (acts[rows] > 0).mean(axis=0), (acts > 0).mean(axis=0)
    lift = share / np.maximum(density, 1e-12)
    strength = acts[rows].mean(axis=0) * np.log(np.maximum(lift, 1))
    best = np.argsort(-strength, kind="stable")[:10]
    labels = dict(enumerate(planted.names))
    found, how = features_of_words(codes, word, word_terms(codes, word), labels)
    expected = np.zeros(codes.n_features)
    expected[best] = strength[best] / strength.max()
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert how.startswith(f"{len(rows)} texts and 0 labels contain all the words")
    without_lift = acts[rows].mean(axis=0)
    assert not np.allclose(
        found[best], without_lift[best] / without_lift.max(), atol=0.02
    )


def test_texts_with_all_the_words_decide_and_labels_only_where_there_are_none(tmp_path):
    texts = ["red car"] * 4 + ["red tree"] * 8 + ["old car"] * 8
    feature = [0] * 4 + [1] * 8 + [2] * 8
    acts = np.zeros((20, 5), np.float32)
    acts[np.arange(20), feature] = 1
    codes = write_codes(tmp_path, sp.csr_array(acts), texts=texts)
    labels = {1: "red trees", 3: "blue zzqx", 4: "red car"}

    def features_of(words: str) -> list[int]:
        terms = word_terms(codes, words)
        activations, _ = features_of_words(codes, words, terms, labels)
        return np.flatnonzero(activations).tolist()

    assert features_of("red car") == [
        0,
        4,
    ]  # not 1 and 2, whose texts have one of the words
    assert features_of("old tree") == [1, 2]  # no text has both
    assert 3 in features_of("red zzqx")  # no text has the second word, a label does


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
def test_an_activation_must_be_finite(value):
    with pytest.raises(
        DataError, match=re.escape(f"feature 1: the activation {value} is not finite")
    ):
        set_features(np.zeros(3), {1: value}, {})


def test_parts_of_labels_and_numbers_choose_a_feature():
    labels = {1: "red cars", 2: "cars", 3: "old trees"}
    for key, feature in ((3, 3), ("Old", 3), ("CARS", 2), ("red", 1)):
        assert set_features(np.zeros(4), {key: 2.0}, labels).tolist() == [
            2.0 * (j == feature) for j in range(4)
        ]
    for key, message in (
        ("s", "3 labels contain 's': 1 "),
        (4, "there are 0 … 3"),
        (-1, "feature -1"),
    ):
        with pytest.raises(DataError, match=message):
            set_features(np.zeros(4), {key: 1.0}, labels)
