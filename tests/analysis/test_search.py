"""Search against brute force over dense arrays and planted topics."""

import html
import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse as sp

from nanosae.analysis.search import search
from nanosae.analysis.steering import reweight
from nanosae.codes import write_codes
from nanosae.text import embed, static
from oracles import cosines, dense_rows, order_of


@pytest.fixture(scope="module")
def planted(searched_corpus):
    return searched_corpus


@pytest.fixture
def codes(searched_codes):
    return searched_codes


def test_a_vector_finds_the_rows_of_highest_cosine(codes):
    vector = np.random.default_rng(0).normal(size=64).astype(np.float32)
    found = search(codes, vector)
    expected = cosines(codes, vector)
    assert [h.row for h in found.hits] == order_of(expected)
    np.testing.assert_allclose(
        [h.score for h in found.hits], np.sort(expected)[::-1][:10], atol=1e-5
    )
    dots = codes.vectors() @ vector  # favours long rows
    assert [h.row for h in found.hits] != order_of(dots)


def test_a_row_finds_rows_like_it_but_not_itself(codes):
    found = search(codes, row=5, n=7)
    assert [h.row for h in found.hits] == order_of(
        cosines(codes, codes.vectors([5])[0]), 7, [5]
    )
    assert "row 5" in found.note
    assert {j for j, *_ in found.features} == set(codes.row(5)[0].tolist())


def test_a_feature_finds_its_strongest_rows_by_number_and_by_label(codes, planted):
    for j in (0, 7, 20):
        rows, acts = codes.top(j, 5)
        for key in (j, planted.names[j], planted.names[j].upper()):
            found = search(codes, feature=key, n=5)
            assert [h.row for h in found.hits] == rows.tolist()
            np.testing.assert_allclose([h.score for h in found.hits], acts)
            assert found.features == [(j, planted.names[j], 1.0)]


def test_weighted_features_with_signs(codes):
    found = search(codes, feature={3: 1.0, 7: 0.5, 20: -2.0}, n=20)
    scores = dense_rows(codes)[:, [3, 7, 20]] @ [1.0, 0.5, -2.0]
    scores[scores <= 0] = -np.inf
    assert [h.row for h in found.hits] == order_of(scores, 20)
    assert [(j, w) for j, _, w in found.features] == [(3, 1.0), (7, 0.5), (20, -2.0)]
    assert all(j in (3, 7) for h in found.hits for j, *_ in h.shared)


def test_without_embeddings_shared_activation_ranks(tmp_path, codes):
    model = codes.weights()
    model.save(tmp_path / "b" / "model")
    bare = write_codes(tmp_path / "b" / "codes" / "c", codes.rows(0, 700))
    acts = dense_rows(codes)
    found = search(bare, row=9)
    assert [h.row for h in found.hits] == order_of(
        acts @ acts[9].astype(np.float32), 10, [9]
    )
    vector = codes.vectors([9])[0]
    again = search(bare, vector)
    asked = model.encode(vector).toarray()[0]
    assert [h.row for h in again.hits] == order_of((acts @ asked).astype(np.float32))
    assert again.hits[0].text == ""


def test_every_hit_says_which_features_it_shares(codes, planted):
    found = search(codes, row=12)
    acts = dense_rows(codes)
    for hit in found.hits:
        both = np.flatnonzero((acts[12] > 0) & (acts[hit.row] > 0))
        both = sorted(both.tolist(), key=lambda j: -acts[12, j] * acts[hit.row, j])
        assert [j for j, *_ in hit.shared] == both
        for j, label, asked, has in hit.shared:
            assert label == planted.names[j]
            assert (asked, has) == (acts[12, j], acts[hit.row, j])
        assert hit.text == planted.texts[hit.row]
    assert any(hit.shared for hit in found.hits)


def test_a_text_is_encoded_by_a_callable(codes, planted):
    def encode(texts):
        return [
            planted.embeddings[planted.texts.tolist().index(text)] for text in texts
        ]

    found = search(codes, planted.texts[33], encoder=encode)
    assert (
        found.hits[0].row == 33 or planted.texts[found.hits[0].row] == planted.texts[33]
    )
    assert found.note == "rows like the text"
    assert found.vector is not None


def test_a_missing_extra_is_named(codes, monkeypatch, planted):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    embed._load_encoder.cache_clear()
    found = search(codes, planted.words[0][0], encoder="some-model")
    assert 'some-model needs pip install "nanosae[embed]": ' in found.note
    assert found.hits


def test_the_encoder_of_the_run_is_used_where_it_can_be_loaded(
    codes, monkeypatch, planted
):
    class Library:
        class SentenceTransformer:
            def __init__(self, name):
                if name == "gone":
                    raise OSError("offline")
                assert name == "model-of-the-run"

            def encode(self, texts, **_):
                return planted.embeddings[[3] * len(texts)]

    monkeypatch.setitem(sys.modules, "sentence_transformers", Library)
    embed._load_encoder.cache_clear()
    model = codes.weights()
    model.cfg["metadata"]["encoder"] = "model-of-the-run"
    model.save(codes.run / "model")
    found = search(codes, "anything")
    assert found.note == "rows like the text, encoded by model-of-the-run"
    assert found.hits[0].row == 3
    assert (
        "gone could not be loaded: "
        in search(codes, planted.words[0][0], encoder="gone").note
    )
    embed._load_encoder.cache_clear()


def test_a_query_is_encoded_by_static_word_vectors_where_the_run_names_them(
    codes, monkeypatch, planted
):
    model = codes.weights()
    model.cfg["metadata"]["encoder"] = static.NAME
    model.save(codes.run / "model")
    monkeypatch.setattr(static, "encode_static", lambda _: planted.embeddings[[3]])
    found = search(codes, "anything")
    assert found.note == f"rows like the text, encoded by {static.NAME}"
    assert found.hits[0].row == 3


def test_mistakes_are_named(tmp_path, codes, planted):
    with pytest.raises(ValueError, match="exactly one of query, row and feature"):
        search(codes)
    with pytest.raises(ValueError, match="exactly one"):
        search(codes, "word", row=3)
    with pytest.raises(ValueError, match="feature 48: there are 0 … 47"):
        search(codes, feature=48)
    with pytest.raises(ValueError, match="0 labels hold 'zzz': none; give a number"):
        search(codes, feature="zzz")
    common = planted.names[0][0]
    with pytest.raises(
        ValueError, match=rf"\d+ labels hold '{common}': \d+ \(.*; give a number"
    ):
        search(codes, feature=common)
    with pytest.raises(ValueError, match="there are 0 … 699"):
        search(codes, row=700)
    with pytest.raises(ValueError, match="width 5, but this SAE expects 64"):
        search(codes, np.ones(5))
    bare = write_codes(tmp_path / "bare", sp.csr_array(np.eye(3)))
    with pytest.raises(ValueError, match="an edit needs the run's model"):
        search(bare, row=0, edit={1: 1.0})
    with pytest.raises(ValueError, match="neither texts nor labels: give encoder"):
        search(bare, "word")
    with pytest.raises(ValueError, match="neither embeddings nor a model"):
        search(bare, np.ones(3))
    with pytest.raises(ValueError, match="needs a model"):
        next(reweight(bare, {0: 2.0}))


def test_rows_and_features_without_activations(tmp_path):
    codes = write_codes(
        tmp_path, sp.csr_array(np.diag([1.0, 0.0, 2.0])), texts=["a", "b", "c"]
    )
    assert search(codes, row=1).hits == []
    assert search(codes, feature=1).hits == []
    assert search(codes, feature={0: -1.0}).hits == []
    empty = write_codes(tmp_path / "e", sp.csr_array((0, 3), dtype=np.float32))
    assert search(empty, feature=0).hits == []


def test_results_are_a_frame_text_and_escaped_html(tmp_path):
    evil = "<script>alert(1)</script> & more"
    codes = write_codes(tmp_path, sp.csr_array(np.ones((3, 2))), texts=[evil] * 3)
    found = search(codes, feature=1, n=2)
    frame = found.to_frame()
    assert frame.columns.tolist() == ["row", "score", "text", "shared"]
    assert frame["row"].tolist() == [0, 1]
    page = found._repr_html_()
    assert "<script>" not in page
    assert html.escape(evil) in page
    text = str(found)
    assert "row 0" in text
    assert "feature (1)" in text
    nothing = search(
        write_codes(tmp_path / "n", sp.csr_array((1, 2))), feature=0
    ).to_frame()
    assert nothing.columns.tolist() == ["row", "score", "text", "shared"]


def test_no_torch_is_imported():
    code = "import nanosae.analysis.search, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
