"""What describe says of each feature, against brute force over dense arrays."""

import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from nanosae.analysis import describe as module
from nanosae.analysis import reading
from nanosae.analysis.cards import card
from nanosae.codes import write_codes
from oracles import unit
from small_corpora import DEAD, DENSE, TWIN, D, M, N, save_model


def describe(*args, **options) -> Any:
    return module.describe(*args, **options)


def test_statistics_agree_with_dense_columns(run, dense):
    frame = describe(run, texts=False)
    assert frame["feature"].tolist() == list(range(M))
    for j, line in frame.iterrows():
        column = dense[:, j].astype(np.float64)
        active = column[column > 0]
        assert line["n_active"] == len(active)
        assert line["density"] == pytest.approx(len(active) / N)
        assert line["max_activation"] == (active.max() if len(active) else 0)
        assert line["mean_activation"] == pytest.approx(
            active.mean() if len(active) else 0
        )
        assert line["std_activation"] == pytest.approx(
            active.std() if len(active) else 0, abs=1e-9
        )
        top = active.max() if len(active) else 1
        expected, _ = np.histogram(active, bins=20, range=(0, top))
        assert line["histogram"].tolist() == expected.tolist()
        assert line["histogram"].sum() == len(active)


def test_the_centre_is_the_mean_of_all_rows_whatever_the_blocks(tmp_path):
    """2,049 rows are read as two blocks, the last of which has one row; zeros do not count."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(2049, 3)).astype(np.float32)
    vectors[-1] = 100
    vectors[:500] = 0
    activations = sp.csr_array(np.ones((2049, 1), np.float32))
    codes = write_codes(tmp_path / "codes", activations, vectors=vectors)
    centre = module._centre(codes, None)
    known = vectors[500:].mean(axis=0, dtype=np.float64)
    assert centre == pytest.approx(known, abs=1e-3)
    assert abs(centre).max() < 1


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
        np.testing.assert_allclose(
            frame["nearest_cosine"][i], cosine[i, near], atol=1e-5
        )
        np.testing.assert_allclose(
            frame["opposite_cosine"][i], cosine[i, far], atol=1e-5
        )
    raw = run.weights().W_dec @ run.weights().W_dec.T  # without unit length
    np.fill_diagonal(raw, -np.inf)
    assert (raw.argmax(axis=1) != [n[0] for n in frame["nearest"]]).any()


def test_names_of_neighbours_are_not_shifted_by_leaving_out_the_feature(run):
    """Deleting the feature from its row of cosines and then indexing shifts all later numbers."""
    directions = unit(run.weights().W_dec)
    frame = describe(run, n=1, texts=False)
    shifted = [
        int(np.delete(directions[i] @ directions.T, i).argmax()) for i in range(M)
    ]
    found = [int(n[0]) for n in frame["nearest"]]
    assert found != shifted
    assert found[3] == 9
    assert found[9] == 3


def test_health_flags(run, monkeypatch):
    frame = describe(run, texts=False).set_index("feature")
    assert frame["health"][DEAD] == "dead"
    assert frame["health"][DENSE] == "dense"
    # as often as feature 4, with the higher number
    assert frame["health"][TWIN] == "duplicate"
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
                frame["hard_negatives"][j].tolist()
                == sorted(silent, key=lambda i: -score[i])[:4]
            )
    assert [list(r) for r in frame["hard_negatives"]] != [
        list(r) for r in frame["near_misses"]
    ]


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
    assert [list(r) for r in frame["near_misses"]] == [
        list(r) for r in frame["hard_negatives"]
    ]


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


def test_of_no_rows_all_features_are_dead(tmp_path):
    no_rows = sp.csr_array((0, 3), dtype=np.float32)
    codes = write_codes(tmp_path, no_rows, texts=[], vectors=np.zeros((0, 4), "f4"))
    frame = describe(codes)
    assert frame["health"].tolist() == ["dead"] * 3
    assert frame["top_texts"].tolist() == [[], [], []]
    assert frame["monosemanticity"].isna().all()


def test_of_equal_texts_one_is_listed(tmp_path):
    """Copies of a text, or texts that differ in numbers alone, would fill every list."""
    texts = ["Thanks!", "Paid 12", "thanks", "PAID 7.", "late", "late", "", ""]
    strongest_first = np.arange(8, 0, -1, dtype=np.float32)
    inactive = np.zeros(8, np.float32)
    activations = sp.csr_array(np.stack([strongest_first, inactive], axis=1))
    vectors = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
    codes = write_codes(tmp_path, activations, texts=texts, vectors=vectors)
    frame = describe(codes)
    assert frame["top_rows"][0].tolist() == [0, 1, 4, 6, 7]
    assert frame["quantile_rows"][0].tolist() == [0, 1, 4, 6, 7]
    assert frame["top_texts"][0] == ["Thanks!", "Paid 12", "late", "", ""]
    assert sorted(frame["near_misses"][1]) == [0, 1, 4, 6, 7]
    assert sorted(frame["hard_negatives"][1]) == [0, 1, 4, 6, 7]
    assert frame["n_active"][0] == 8
    without_texts = describe(codes, texts=False)
    assert without_texts["top_rows"][0].tolist() == list(range(8))


def test_given_texts_may_be_missing(run):
    texts = [f"text {row}" for row in range(N)]
    found = describe(run, [None, np.nan, *texts[2:]], features=[DENSE])
    expected = describe(run, ["", "", *texts[2:]], features=[DENSE])
    pd.testing.assert_frame_equal(found, expected)


def test_frame_goes_to_parquet_and_back(run, tmp_path):
    frame = describe(run)
    frame.to_parquet(tmp_path / "features.parquet")
    back = pd.read_parquet(tmp_path / "features.parquet")
    assert back["top_rows"][0].tolist() == frame["top_rows"][0].tolist()
    assert back["top_texts"][0].tolist() == frame["top_texts"][0]


def test_a_feature_that_does_not_exist_is_an_error(run):
    with pytest.raises(
        ValueError, match="feature 1000000 is out of range: there are 0"
    ):
        describe(run, features=[5, 10**6])


@pytest.mark.slow
def test_no_torch_is_imported():
    code = "import nanosae.analysis.describe, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
