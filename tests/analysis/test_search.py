"""Search and steer against brute force over dense arrays and planted topics."""

import html
import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from nanosae.analysis import steering
from nanosae.analysis import text_index as text_index_module
from nanosae.analysis.search import search
from nanosae.analysis.steering import reweight, steer
from nanosae.analysis.text_index import (
    find_labels,
    find_texts,
    has_index,
    rows_with,
    text_index,
)
from nanosae.codes import Codes, CodesWriter, write_codes
from nanosae.model.weights import Weights
from nanosae.text import embed
from planted import planted_corpus


def model_of(directions, b_dec, bias=-0.2, architecture="standard", **tensors):
    m, d = directions.shape
    cfg = {
        "architecture": architecture,
        "d_in": d,
        "d_sae": m,
        "k": 3,
        "metadata": {"encoder": None},
    }
    b_enc = np.full(m, bias, np.float32)
    return Weights(directions.T.copy(), directions.copy(), b_dec, cfg, b_enc, **tensors)


@pytest.fixture(scope="module")
def planted():
    return planted_corpus(700)


@pytest.fixture
def codes(tmp_path, planted, monkeypatch):
    """A run whose model has the planted directions and whose codes are what that model encodes."""
    monkeypatch.setattr("nanosae.codes.corpus.SHARD_ROWS", 300)
    monkeypatch.setattr(steering, "BLOCK", 128)
    monkeypatch.setattr(text_index_module, "BLOCK", 128)
    centre = planted.embeddings.mean(axis=0)
    model = model_of(planted.directions, centre)
    model.save(tmp_path / "model")
    names = pd.DataFrame({"feature": np.arange(48), "label": planted.names})
    names.to_parquet(tmp_path / "features.parquet")
    acts = model.encode(planted.embeddings)
    path = tmp_path / "codes" / "default"
    return write_codes(path, acts, texts=planted.texts, vectors=planted.embeddings)


def dense(codes):
    return codes.rows(0, codes.n_rows).toarray().astype(np.float64)


def cosines(codes, vector):
    x = codes.vectors().astype(np.float64)
    return x @ vector / np.linalg.norm(x, axis=1) / np.linalg.norm(vector)


def order_of(scores, n=10, leave=()):
    return [i for i in np.argsort(-scores, kind="stable").tolist() if i not in leave][:n]


# ── ranking ──


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
    assert [h.row for h in found.hits] == order_of(cosines(codes, codes.vectors([5])[0]), 7, [5])
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
    scores = dense(codes)[:, [3, 7, 20]] @ [1.0, 0.5, -2.0]
    scores[scores <= 0] = -np.inf
    assert [h.row for h in found.hits] == order_of(scores, 20)
    assert [(j, w) for j, _, w in found.features] == [(3, 1.0), (7, 0.5), (20, -2.0)]
    assert all(j in (3, 7) for h in found.hits for j, *_ in h.shared)


def test_without_embeddings_shared_activation_ranks(tmp_path, codes):
    model = codes.weights()
    model.save(tmp_path / "b" / "model")
    bare = write_codes(tmp_path / "b" / "codes" / "c", codes.rows(0, 700))
    acts = dense(codes)
    found = search(bare, row=9)
    assert [h.row for h in found.hits] == order_of(acts @ acts[9].astype(np.float32), 10, [9])
    vector = codes.vectors([9])[0]
    again = search(bare, vector)
    asked = model.encode(vector).toarray()[0]
    assert [h.row for h in again.hits] == order_of((acts @ asked).astype(np.float32))
    assert again.hits[0].text == ""


def test_every_hit_says_which_features_it_shares(codes, planted):
    found = search(codes, row=12)
    acts = dense(codes)
    for hit in found.hits:
        both = np.flatnonzero((acts[12] > 0) & (acts[hit.row] > 0))
        both = sorted(both.tolist(), key=lambda j: -acts[12, j] * acts[hit.row, j])
        assert [j for j, *_ in hit.shared] == both
        for j, label, asked, has in hit.shared:
            assert label == planted.names[j]
            assert (asked, has) == (acts[12, j], acts[hit.row, j])
        assert hit.text == planted.texts[hit.row]
    assert any(hit.shared for hit in found.hits)


# ── texts ──


def test_a_text_is_encoded_by_a_callable(codes, planted):
    def encode(texts):
        return [planted.embeddings[planted.texts.tolist().index(text)] for text in texts]

    found = search(codes, planted.texts[33], encoder=encode)
    assert found.hits[0].row == 33 or planted.texts[found.hits[0].row] == planted.texts[33]
    assert found.note == "rows like the text"
    assert found.vector is not None


def test_words_without_an_encoder_are_lifted_to_features_and_the_answer_says_so(codes, planted):
    hits = 0
    for j in range(0, 48, 5):
        found = search(codes, planted.words[j][0])
        assert found.note.startswith("no encoder is known: ")
        assert "texts and" in found.note
        assert "lifted to" in found.note
        hits += j in [f for f, *_ in found.features[:3]]
        active = dense(codes)[[h.row for h in found.hits], j] > 0
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


def test_a_missing_extra_is_named(codes, monkeypatch, planted):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    embed._load_encoder.cache_clear()
    found = search(codes, planted.words[0][0], encoder="some-model")
    assert 'some-model needs pip install "nanosae[embed]": ' in found.note
    assert found.hits


def test_the_encoder_of_the_run_is_used_where_it_can_be_loaded(codes, monkeypatch, planted):
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
    assert "gone could not be loaded: " in search(codes, planted.words[0][0], encoder="gone").note
    embed._load_encoder.cache_clear()


def words_of(text):
    return set("".join(c if c.isalnum() or c == "_" else " " for c in text.casefold()).split())


def test_full_text_search_finds_the_rows_with_a_word(codes, planted):
    for word in (planted.words[0][0], planted.words[5][1], "日本語", "мир", "ÜBUNG"):
        rows, scores = find_texts(codes, word, 1000)
        expected = {i for i, text in enumerate(planted.texts) if word.casefold() in words_of(text)}
        assert set(rows.tolist()) == expected
        assert expected
        assert (np.diff(scores) <= 0).all()
        assert (scores > 0).all() or len(expected) > 350  # BM25 of words in most texts is about 0
    two = find_texts(codes, f"{planted.words[0][0]} {planted.words[1][0]}", 1000)[0]
    one = find_texts(codes, planted.words[0][0], 1000)[0]
    assert set(one) < set(two)
    assert len(find_texts(codes, planted.words[0][0], 3)[0]) == 3


@pytest.mark.parametrize(
    "text", ["", "!?", '"', "a AND", "NOT", "col:x*", "(", "' OR 1=1 --", "NEAR("]
)
def test_any_text_is_a_safe_query(codes, text):
    rows, scores = find_texts(codes, text)
    assert len(rows) == len(scores)
    assert isinstance(search(codes, text).note, str)


def test_the_index_is_made_once_and_anew_when_the_corpus_grows(tmp_path):
    path = tmp_path / "c"
    codes = write_codes(path, sp.csr_array(np.eye(2)), texts=["one", None])
    assert not (path / "texts.sqlite").exists()
    assert find_texts(codes, "one")[0].tolist() == [0]
    made = (path / "texts.sqlite").stat().st_mtime_ns
    assert find_texts(codes, "two")[0].tolist() == []
    assert (path / "texts.sqlite").stat().st_mtime_ns == made
    with CodesWriter(path, n_features=2, append=True) as writer:
        writer.append(sp.csr_array(np.eye(2)), table=["two", "one"])
    grown = Codes(path)
    assert find_texts(grown, "two")[0].tolist() == [2]
    assert find_texts(grown, "one")[0].tolist() == [0, 3]
    assert sorted(p.name for p in path.iterdir() if p.is_file()) == [
        "manifest.json",
        "texts.sqlite",
    ]
    (path / "texts.sqlite").write_bytes(b"this is no database, and long enough to be read as one")
    assert find_texts(grown, "two")[0].tolist() == [2]


def test_labels_with_more_of_the_words_come_first(codes, planted):
    words = f"{planted.names[4]} {planted.names[9].split()[0]}"
    found = find_labels(codes, words)
    assert found[0] == (4, planted.names[4])
    assert 9 in [j for j, _ in found]
    assert find_labels(codes, "zzz") == []


# ── steering ──


def test_an_edit_is_decoded_and_keeps_what_the_sae_leaves_unexplained(codes):
    vector = codes.vectors([40])[0]
    acts = codes.weights().encode(vector).toarray()[0]
    on = int(acts.argmax())
    directions = codes.weights().W_dec
    found = search(codes, row=40, edit={on: 0.0, 3: 0.8})
    held = codes.row(40)
    stored = dict(zip(held[0].tolist(), held[1].tolist(), strict=True))
    expected = vector - stored[on] * directions[on] + (0.8 - stored.get(3, 0)) * directions[3]
    assert found.vector is not None
    np.testing.assert_allclose(found.vector, expected, atol=1e-4)
    assert [h.row for h in found.hits] == order_of(cosines(codes, expected), 10, [40])
    asked = {j: a for j, _, a in found.features}
    assert on not in asked
    assert asked[3] == pytest.approx(0.8)
    assert "edited: cosine 0." in found.note
    only_decoded = codes.weights().decode(acts[None])[0]
    assert np.abs(found.vector - only_decoded).max() > 0.01


def test_an_empty_edit_changes_nothing(codes):
    plain, edited = search(codes, row=8), search(codes, row=8, edit={})
    assert [h.row for h in plain.hits] == [h.row for h in edited.hits]
    assert "cosine 1.00 to the query" in edited.note


def test_turning_a_feature_up_brings_rows_that_have_it(codes):
    acts = dense(codes)
    row = int(np.flatnonzero(acts[:, 20] == 0)[0])
    strong = float(np.quantile(acts[:, 20][acts[:, 20] > 0], 0.9))
    before = acts[[h.row for h in search(codes, row=row, n=20).hits], 20] > 0
    after = acts[[h.row for h in search(codes, row=row, edit={20: 4 * strong}, n=20).hits], 20] > 0
    assert after.mean() > before.mean() + 0.5


def naive_miss(model, x, target):
    z = (x - model.b_dec).astype(np.float64) @ model.W_enc + model.b_enc
    return ((np.maximum(z, 0) - target) ** 2).sum() / (target**2).sum()


def test_steps_bring_the_encoded_features_nearer_to_the_edit(codes):
    model = codes.weights()
    better = 0
    rich = np.flatnonzero(np.diff(codes.rows(0, 700).indptr) > 1)
    for row in rich[:20].tolist():
        x = codes.vectors([row])[0]
        acts = model.encode(x).toarray()[0]
        for j, value in ((int(acts.argmax()), 0.0), (int(acts.argmin()), 0.7)):
            target = acts.copy()
            target[j] = value
            plain, before, same = steer(model, x, acts, target, steps=0)
            moved, start, after = steer(model, x, acts, target, steps=10)
            assert before == start == same
            assert before == pytest.approx(naive_miss(model, plain, target), abs=1e-4)
            assert after == pytest.approx(naive_miss(model, moved, target), abs=1e-4)
            assert after <= before
            better += after < 0.5 * before
    assert better >= 30  # of 40


def test_descent_without_a_guard_can_diverge(codes):
    """What steer must not do: constant steps that overshoot."""
    model = codes.weights()
    x = codes.vectors([0])[0]
    acts = model.encode(x).toarray()[0]
    target = acts.copy()
    target[int(acts.argmax())] = 0
    loose = x + (target - acts) @ model.W_dec
    start = naive_miss(model, loose, target)
    for _ in range(10):
        loose = loose + 4.0 * model.W_enc @ (target - model.encode(loose).toarray()[0])
    assert naive_miss(model, loose, target) > start
    assert steer(model, x, acts, target, 10)[2] <= start


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(["standard", "topk", "jumprelu"]), st.integers(0, 10**6), st.booleans())
def test_the_best_vector_is_kept_for_every_architecture(architecture, seed, clear):
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(12, 6)).astype(np.float32)
    extra: dict[str, Any] = {}
    if architecture == "jumprelu":
        extra["threshold"] = np.full(12, 0.3, np.float32)
    model = model_of(directions, rng.normal(size=6).astype(np.float32), 0.1, architecture, **extra)
    x = rng.normal(size=6).astype(np.float32)
    acts = model.encode(x).toarray()[0]
    target = np.zeros_like(acts) if clear else acts.copy()
    target[rng.integers(12)] = 0 if clear else 2.0
    moved, before, after = steer(model, x, acts, target, 8)
    assert np.isfinite(moved).all()
    assert after <= before
    norm = (target**2).sum() or (acts**2).sum() or 1
    again = ((model.encode(moved).toarray()[0] - target) ** 2).sum() / norm
    assert after == pytest.approx(again, abs=1e-5)


def test_a_search_reports_steps(codes):
    found = search(codes, row=2, edit={20: 0.9}, steps=5)
    assert "before 5 steps)" in found.note


# ── a space of one's own ──


def test_reweighting_decodes_the_whole_corpus(codes, planted):
    model = codes.weights()
    acts = dense(codes)
    acts[:, 3] *= 5
    acts[:, 7] = 0
    expected = acts @ model.W_dec + model.b_dec
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    blocks = list(reweight(codes, {3: 5.0, planted.names[7]: 0.0}))
    assert [start for start, _ in blocks] == list(range(0, 700, 128))
    found = np.concatenate([x for _, x in blocks])
    np.testing.assert_allclose(found, expected, atol=1e-5)
    plain = np.concatenate([x for _, x in reweight(codes, {})])
    assert np.abs(plain - found).max() > 0.1
    with_3, without = acts[:, 3] > 0, acts[:, 3] == 0
    assert (found[with_3] @ model.W_dec[3]).mean() > (plain[with_3] @ model.W_dec[3]).mean() + 0.1
    assert np.abs((found[without] - plain[without]) @ model.W_dec[3]).mean() < 0.05


# ── what cannot be asked ──


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
    with pytest.raises(ValueError, match=rf"\d+ labels hold '{common}': \d+ \(.*; give a number"):
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
    codes = write_codes(tmp_path, sp.csr_array(np.diag([1.0, 0.0, 2.0])), texts=["a", "b", "c"])
    assert search(codes, row=1).hits == []
    assert search(codes, feature=1).hits == []
    assert search(codes, feature={0: -1.0}).hits == []
    empty = write_codes(tmp_path / "e", sp.csr_array((0, 3), dtype=np.float32))
    assert search(empty, feature=0).hits == []


# ── showing ──


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
    nothing = search(write_codes(tmp_path / "n", sp.csr_array((1, 2))), feature=0).to_frame()
    assert nothing.columns.tolist() == ["row", "score", "text", "shared"]


def test_no_torch_is_imported():
    code = "import nanosae.analysis.search, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_rows_with_all_the_words_as_by_splitting_the_texts(codes, planted):
    first, second = planted.words[0][:2]
    words = [set(text.casefold().split()) for text in planted.texts]
    both = [i for i, found in enumerate(words) if {first, second} <= found]
    assert len(both) > 3
    assert rows_with(codes, f"{second.upper()}, {first}").tolist() == both
    assert sorted(find_texts(codes, f"{first} {second}", 999, every=True)[0].tolist()) == both
    assert rows_with(codes, f"{first} nosuchword").tolist() == []
    assert rows_with(codes, "?!").tolist() == []


def test_the_index_is_known_to_be_there(codes):
    assert not has_index(codes)
    text_index(codes)
    assert has_index(codes)
    (codes.path / "texts.sqlite").write_bytes(b"damaged" * 99)
    assert not has_index(codes)
