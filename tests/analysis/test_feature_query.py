"""Words turned into features."""

import numpy as np
import pytest

from nanosae.analysis.search import search
from nanosae.codes import write_codes
from oracles import dense_rows


@pytest.fixture(scope="module")
def planted(searched_corpus):
    return searched_corpus


@pytest.fixture
def codes(searched_codes):
    return searched_codes


def test_words_without_an_encoder_are_lifted_to_features_and_the_answer_says_so(codes, planted):
    hits = 0
    for j in range(0, 48, 5):
        found = search(codes, planted.words[j][0])
        assert found.note.startswith("no encoder is known: ")
        assert "texts and" in found.note
        assert "lifted to" in found.note
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
