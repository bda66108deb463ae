"""What describe says of each feature, against brute force over dense arrays."""

import html
import json
import math
import subprocess
import sys
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.feature_extraction.text import TfidfVectorizer

from nanosae.analysis import describe as module
from nanosae.analysis import reading
from nanosae.analysis.cards import card
from nanosae.analysis.coactivation import cooccurrence
from nanosae.analysis.monosemanticity import monosemanticity
from nanosae.codes import Codes, write_codes
from nanosae.model.weights import Weights
from nanosae.runs.tables import known_labels
from planted import planted_corpus

N, M, D = 400, 30, 8
DEAD, DENSE, TWIN, LONE = 5, 6, 7, 8


def describe(*args, **options) -> Any:
    return module.describe(*args, **options)


def save_model(run, directions, b_dec=None):
    m, d = directions.shape
    cfg = {"architecture": "standard", "d_in": d, "d_sae": m, "metadata": {"encoder": None}}
    b_dec = np.zeros(d, np.float32) if b_dec is None else b_dec
    zero = np.zeros(m, np.float32)
    Weights(directions.T.copy(), directions.copy(), b_dec, cfg, zero).save(run / "model")


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(reading, "BLOCK_CELLS", 7 * M)  # seven features at a time
    monkeypatch.setattr("nanosae.codes.corpus.SHARD_ROWS", 150)


@pytest.fixture
def dense():
    rng = np.random.default_rng(0)
    rate = 1 / (np.arange(M) + 3.0)
    acts = (rng.random((N, M)) < rate) * rng.integers(1, 500, (N, M)) / 64
    acts[:, DEAD] = 0
    acts[:, DENSE] = (rng.random(N) < 0.5) * 2.0
    acts[:, TWIN] = acts[:, 4] * 1.5  # always with feature 4
    acts[:, LONE] = 0
    acts[17, LONE] = 3.25
    return acts.astype(np.float32)


@pytest.fixture
def run(tmp_path, dense):
    """A run with a model, texts and embeddings."""
    rng = np.random.default_rng(1)
    directions = rng.normal(size=(M, D)).astype(np.float32)
    directions[9] = directions[3] * 2 + 0.01 * rng.normal(size=D)  # the same direction again
    save_model(tmp_path, directions, rng.normal(size=D).astype(np.float32))
    words = np.array(["alpha", "beta", "gamma", "delta", "naïve", "日本語", "мир"])
    texts = [" ".join(rng.choice(words, 4)) for _ in range(N)]
    x = rng.normal(size=(N, D)).astype(np.float32)
    return write_codes(tmp_path / "codes" / "c", sp.csr_array(dense), texts=texts, vectors=x)


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


# ── statistics ──


def test_statistics_agree_with_dense_columns(run, dense):
    frame = describe(run, texts=False)
    assert frame["feature"].tolist() == list(range(M))
    for j, line in frame.iterrows():
        column = dense[:, j].astype(np.float64)
        active = column[column > 0]
        assert line["n_active"] == len(active)
        assert line["density"] == pytest.approx(len(active) / N)
        assert line["max_activation"] == (active.max() if len(active) else 0)
        assert line["mean_activation"] == pytest.approx(active.mean() if len(active) else 0)
        assert line["std_activation"] == pytest.approx(active.std() if len(active) else 0, abs=1e-9)
        top = active.max() if len(active) else 1
        expected, _ = np.histogram(active, bins=20, range=(0, top))
        assert line["histogram"].tolist() == expected.tolist()
        assert line["histogram"].sum() == len(active)


def test_means_over_all_rows_would_be_rejected(run, dense):
    frame = describe(run, texts=False)
    assert not np.allclose(frame["mean_activation"], dense.mean(axis=0), rtol=0.05)


def test_top_rows_are_the_strongest_and_ties_go_to_the_lower_row(run, dense):
    frame = describe(run, n=6, texts=False)
    for j in range(M):
        active = [i for i in range(N) if dense[i, j] > 0]
        expected = sorted(active, key=lambda i: (-dense[i, j], i))
        assert frame["top_rows"][j].tolist() == expected[:6]
    ties = frame["top_rows"][DENSE].tolist()  # all equally strong
    assert ties == np.flatnonzero(dense[:, DENSE])[:6].tolist()
    assert ties != np.flatnonzero(dense[:, DENSE])[::-1][:6].tolist()


def test_quantile_rows_come_from_even_bands_of_ranks(run, dense):
    frame = describe(run, n=5, texts=False)
    for j in range(M):
        active = [i for i in range(N) if dense[i, j] > 0]
        ranked = sorted(active, key=lambda i: (-dense[i, j], i))
        rows = frame["quantile_rows"][j].tolist()
        assert len(rows) == min(5, len(ranked))
        for band, row in enumerate(rows):
            share = (ranked.index(row) + 0.5) / len(ranked)
            assert band / len(rows) <= share <= (band + 1) / len(rows)
    assert frame["quantile_rows"][0].tolist() != frame["top_rows"][0].tolist()


def test_blocks_do_not_change_the_result(run, monkeypatch):
    small = describe(run)
    monkeypatch.setattr(reading, "BLOCK_CELLS", 2**20)
    large = describe(run)
    pd.testing.assert_frame_equal(small, large)
    monkeypatch.setattr(reading, "BLOCK_PAIRS", 1)
    pd.testing.assert_frame_equal(small, describe(run))
    some = describe(run, features=[20, 3, 5])
    for column in ("histogram", "nearest", "coactive", "near_misses", "top_texts"):
        for place, j in enumerate((20, 3, 5)):
            assert list(some[column][place]) == list(large[column][j])


# ── together ──


def naive_pairs(dense):
    return (dense > 0).astype(int).T @ (dense > 0).astype(int)


def test_cooccurrence_counts_shared_rows(run, dense):
    expected = naive_pairs(dense)
    both = cooccurrence(run, min_share=0)
    assert isinstance(both, sp.csr_array)
    np.testing.assert_array_equal(both.toarray(), expected)
    np.testing.assert_array_equal(cooccurrence(run, [8, 2], 0).toarray(), expected[[8, 2]])
    assert both.dtype.kind == "i"
    weighted = dense.T @ dense  # a product of the activations is something else
    assert not np.allclose(both.toarray(), weighted)


def test_min_share_keeps_pairs_by_the_rarer_feature(run, dense):
    expected, f = naive_pairs(dense), (dense > 0).sum(axis=0)
    both = cooccurrence(run, min_share=0.3).toarray()
    for i in range(M):
        for j in range(M):
            enough = expected[i, j] >= 0.3 * min(f[i], f[j])
            assert both[i, j] == (expected[i, j] if enough else 0)
    assert (both == both.T).all()
    assert 0 < np.count_nonzero(both) < np.count_nonzero(expected)


def test_coactive_features_with_lift_and_npmi(run, dense):
    frame = describe(run, n=4, texts=False)
    both, f = naive_pairs(dense), (dense > 0).sum(axis=0)
    for i in range(M):
        scored = []
        for j in range(M):
            c = both[i, j]
            if i == j or c < 5 or c * N <= f[i] * f[j]:
                continue
            lift = (c / N) / (f[i] / N * f[j] / N)
            scored.append((-math.log(lift) / -math.log(c / N), j, c, lift))
        scored.sort()
        line = frame.iloc[i]
        assert line["coactive"].tolist() == [j for _, j, _, _ in scored[:4]]
        assert line["coactive_count"].tolist() == [c for *_, c, _ in scored[:4]]
        np.testing.assert_allclose(line["coactive_lift"], [lift for *_, lift in scored[:4]])
        np.testing.assert_allclose(line["coactive_npmi"], [-s[0] for s in scored[:4]])
    assert frame["coactive"][4][0] == TWIN
    assert frame["coactive_npmi"][4][0] == pytest.approx(1)


def test_ranking_by_counts_would_be_rejected(run, dense):
    both = naive_pairs(dense)
    np.fill_diagonal(both, 0)
    found = describe(run, n=1, texts=False)["coactive"]
    most = both.argmax(axis=1)
    assert any(len(j) and j[0] != most[i] for i, j in enumerate(found))


# ── the decoder ──


def test_nearest_and_opposite_decoder_directions(run, dense):
    directions = unit(run.weights().W_dec.astype(np.float64))
    cosine = directions @ directions.T
    frame = describe(run, n=3, texts=False)
    alive = [j for j in range(M) if j != DEAD]
    for i in range(M):
        others = [j for j in alive if j != i]
        near = sorted(others, key=lambda j: -cosine[i, j])[:3]
        far = sorted(others, key=lambda j: cosine[i, j])[:3]
        assert frame["nearest"][i].tolist() == near
        assert frame["opposite"][i].tolist() == far
        np.testing.assert_allclose(frame["nearest_cosine"][i], cosine[i, near], atol=1e-5)
        np.testing.assert_allclose(frame["opposite_cosine"][i], cosine[i, far], atol=1e-5)
    raw = run.weights().W_dec @ run.weights().W_dec.T  # without unit length
    np.fill_diagonal(raw, -np.inf)
    assert (raw.argmax(axis=1) != [n[0] for n in frame["nearest"]]).any()


def test_names_of_neighbours_are_not_shifted_by_leaving_out_the_feature(run):
    """Deleting the feature from its row of cosines and then indexing shifts all later numbers."""
    directions = unit(run.weights().W_dec)
    frame = describe(run, n=1, texts=False)
    shifted = [int(np.delete(directions[i] @ directions.T, i).argmax()) for i in range(M)]
    found = [int(n[0]) for n in frame["nearest"]]
    assert found != shifted
    assert found[3] == 9
    assert found[9] == 3


# ── health ──


def test_health_flags(run, monkeypatch):
    frame = describe(run, texts=False).set_index("feature")
    assert frame["health"][DEAD] == "dead"
    assert frame["health"][DENSE] == "dense"
    assert frame["health"][TWIN] == "duplicate"  # as often as feature 4, with the higher number
    assert frame["duplicate_of"][TWIN] == 4
    assert frame["duplicate_of"][4] == -1
    rarer = 9 if run.counts[9] < run.counts[3] else 3
    assert frame["duplicate_of"][rarer] == 12 - rarer  # the same decoder direction
    assert frame["duplicate_of"][12 - rarer] == -1
    assert frame["health"][10] == "ok"
    assert frame["duplicate_of"][DEAD] == -1
    monkeypatch.setattr(module, "DENSE", 0.6)
    monkeypatch.setattr(module, "DUPLICATE", 1.1)
    strict = describe(run, texts=False)
    assert set(strict["health"]) == {"ok", "dead"}


# ── near and silent ──


def test_near_misses_are_the_silent_rows_nearest_to_the_direction(run, dense):
    frame = describe(run, n=4, texts=False)
    model = run.weights()
    x = unit(run.vectors().astype(np.float64) - model.b_dec)
    for j in range(M):
        score = x @ unit(model.W_dec[j].astype(np.float64))
        silent = [i for i in range(N) if dense[i, j] == 0]
        expected = sorted(silent, key=lambda i: -score[i])[:4]
        assert frame["near_misses"][j].tolist() == expected
        assert dense[frame["near_misses"][j], j].sum() == 0


def test_hard_negatives_are_the_silent_rows_nearest_to_the_top_rows(run, dense):
    frame = describe(run, n=4, texts=False)
    x = unit(run.vectors().astype(np.float64) - run.weights().b_dec)
    for j in range(M):
        top = frame["top_rows"][j]
        silent = [i for i in range(N) if dense[i, j] == 0]
        if len(top):
            score = x @ x[top].mean(axis=0)
            assert (
                frame["hard_negatives"][j].tolist() == sorted(silent, key=lambda i: -score[i])[:4]
            )
    assert [list(r) for r in frame["hard_negatives"]] != [list(r) for r in frame["near_misses"]]


def test_negatives_differ_between_features_and_seeds(run):
    """Negatives drawn once for all features (the first silent rows) are a known mistake."""
    frame = describe(run, n=5, pool=100, texts=False)
    lists = {tuple(rows) for rows in frame["hard_negatives"]}
    assert len(lists) > M // 2
    again = describe(run, n=5, pool=100, texts=False)
    assert {tuple(rows) for rows in again["hard_negatives"]} == lists
    other = describe(run, n=5, pool=100, texts=False, seed=1)
    assert {tuple(rows) for rows in other["hard_negatives"]} != lists


def test_without_a_model_the_mean_of_the_top_rows_takes_its_place(tmp_path, dense):
    x = np.random.default_rng(1).normal(size=(N, D)).astype(np.float32)
    codes = write_codes(tmp_path, sp.csr_array(dense), vectors=x)
    frame = describe(codes)
    assert "nearest" not in frame
    assert [list(r) for r in frame["near_misses"]] == [list(r) for r in frame["hard_negatives"]]


# ── a second space ──


def naive_monosemanticity(acts, e):
    """Mean similarity of different active rows, weighted, minus that of any two rows."""
    acts, similar = acts.astype(np.float64), e @ e.T
    total = weight = 0.0
    rows = np.flatnonzero(acts)
    for a in rows:
        for b in rows:
            if a != b:
                total += acts[a] * acts[b] * similar[a, b]
                weight += acts[a] * acts[b]
    pairs = len(e) * (len(e) - 1)
    return total / weight - (similar.sum() - np.trace(similar)) / pairs


def test_monosemanticity_equals_the_sum_over_pairs(run, dense):
    texts = run.texts()
    e = TfidfVectorizer(sublinear_tf=True).fit_transform(texts).toarray()
    found = monosemanticity(run)
    for j in (0, 1, 4, DENSE, 20):
        assert found[j] == pytest.approx(naive_monosemanticity(dense[:, j], e), abs=1e-6)
    assert np.isnan(found[[DEAD, LONE]]).all()
    np.testing.assert_allclose(monosemanticity(run, space=e), found, atol=1e-6)
    assert monosemanticity(run, [4])[0] == pytest.approx(found[4])
    with_itself = (dense[:, 0] @ e @ e.T @ dense[:, 0]) / dense[:, 0].sum() ** 2
    assert abs(found[0] - with_itself) > 0.01  # pairs of a row with itself do not count


def test_planted_topics_are_monosemantic_and_shuffled_ones_are_not(tmp_path):
    planted = planted_corpus(600)
    codes = write_codes(tmp_path / "a", planted.activations, texts=planted.texts)
    found = monosemanticity(codes)
    order = np.random.default_rng(0).permutation(600)
    shuffled = write_codes(tmp_path / "b", planted.activations[order], texts=planted.texts)
    chance = monosemanticity(shuffled)
    assert np.nanmedian(found) > 0.1
    assert abs(np.nanmedian(chance)) < 0.02
    assert np.nanmedian(found) > 10 * abs(np.nanmedian(chance))


def test_planted_parents_are_coactive_with_their_children(tmp_path):
    planted = planted_corpus(1500)
    codes = write_codes(tmp_path, planted.activations)
    frame = describe(codes)
    for parent, children in planted.families.items():
        for child in children:
            assert parent in frame["coactive"][child][:3].tolist()


# ── edges ──


def test_a_corpus_without_texts_model_and_embeddings(tmp_path, dense):
    frame = describe(write_codes(tmp_path, sp.csr_array(dense)))
    columns = {"top_texts", "monosemanticity", "nearest", "near_misses"}
    assert columns.isdisjoint(frame.columns)
    assert len(frame) == M


def test_a_corpus_without_activations(tmp_path):
    run = tmp_path / "run"
    save_model(run, np.eye(4, dtype=np.float32))
    codes = write_codes(
        run / "codes" / "c",
        sp.csr_array((3, 4), dtype=np.float32),
        texts=["a", "", "b"],
        vectors=np.ones((3, 4), np.float32),
    )
    frame = describe(codes)
    assert frame["health"].tolist() == ["dead"] * 4
    assert frame["monosemanticity"].isna().all()
    assert [list(r) for r in frame["top_texts"]] == [[]] * 4
    assert all(len(r) == 3 for r in frame["near_misses"])
    assert "dead" in str(card(codes, 2))


def test_one_row_and_no_rows(tmp_path):
    one = write_codes(tmp_path / "one", sp.csr_array([[1.0, 0, 2.0]]), texts=["мир"])
    frame = describe(one)
    assert frame["top_rows"][2].tolist() == [0]
    assert frame["density"].tolist() == [1, 0, 1]
    none = write_codes(tmp_path / "none", sp.csr_array((0, 3), dtype=np.float32))
    assert describe(none)["health"].tolist() == ["dead"] * 3
    assert len(describe(one, features=[])) == 0


def test_frame_goes_to_parquet_and_back(run, tmp_path):
    frame = describe(run)
    frame.to_parquet(tmp_path / "features.parquet")
    back = pd.read_parquet(tmp_path / "features.parquet")
    assert back["top_rows"][0].tolist() == frame["top_rows"][0].tolist()
    assert back["top_texts"][0].tolist() == frame["top_texts"][0]


# ── cards ──


def test_a_card_holds_the_examples_with_their_activations(run, dense):
    found = card(run, 4, n=3)
    assert set(found.examples) == {"top_rows", "quantile_rows", "near_misses", "hard_negatives"}
    texts = run.texts()
    for kind, examples in found.examples.items():
        for row, activation, text in examples:
            assert activation == dense[row, 4]
            assert text == texts[row]
            assert (activation > 0) == (kind in ("top_rows", "quantile_rows"))
    assert [row for row, *_ in found.examples["top_rows"]] == run.top(4, 3)[0].tolist()
    described = describe(run)
    assert card(run, 4, described=described).facts["monosemanticity"] == pytest.approx(
        described["monosemanticity"][4]
    )


def test_a_feature_that_does_not_exist_is_an_error(run):
    with pytest.raises(ValueError, match="feature 5 … 1000000: there are 0"):
        describe(run, features=[5, 10**6])


def test_a_card_is_plain_data_text_and_html(run):
    found = card(run, 4)
    assert json.loads(json.dumps(found.to_dict()))["feature"] == 4
    text = str(found)
    assert text.startswith("feature 4 · no label · ok")
    assert "nearest (cosine)" in text
    assert found.examples["top_rows"][0][2] in text


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.seen, self.open, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_html_is_escaped_and_balanced(tmp_path):
    evil = "<script>alert('x')</script> & \"quotes\""
    codes = write_codes(tmp_path / "codes" / "c", sp.csr_array(np.eye(3)), texts=[evil] * 3)
    frame = pd.DataFrame({"feature": [0, 1], "label": [evil, None]})
    frame.to_parquet(tmp_path / "features.parquet")
    page = card(Codes.open(tmp_path), 0)._repr_html_()
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert set(tags.seen) == {"div", "h4", "p", "b", "table", "tr", "td"}
    assert evil in tags.text
    assert html.escape(evil) in page
    assert known_labels(codes) == {0: evil}


def test_labels_are_optional(run, tmp_path):
    assert known_labels(run) == {}
    pd.DataFrame({"feature": [4], "density": [0.1]}).to_parquet(tmp_path / "features.parquet")
    assert known_labels(run) == {}
    pd.DataFrame({"feature": [4], "label": ["a name"]}).to_parquet(tmp_path / "features.parquet")
    assert str(card(run, 4)).startswith("feature 4 · a name · ok")


def test_no_torch_is_imported():
    code = "import nanosae.analysis.describe, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
