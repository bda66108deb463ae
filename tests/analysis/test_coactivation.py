"""Features that are active together, against dense arrays."""

import math

import numpy as np
import pytest
import scipy.sparse as sp

from nanosae.analysis.coactivation import coactive_features, cooccurrence, shared_rows
from nanosae.analysis.describe import describe
from nanosae.codes import write_codes
from planted import planted_corpus
from small_corpora import TWIN, M, N


def naive_pairs(dense):
    return (dense > 0).astype(int).T @ (dense > 0).astype(int)


def test_cooccurrence_counts_shared_rows(run, dense):
    expected = naive_pairs(dense)
    both = cooccurrence(run, min_share=0)
    assert isinstance(both, sp.csr_array)
    np.testing.assert_array_equal(both.toarray(), expected)
    np.testing.assert_array_equal(
        cooccurrence(run, [8, 2], 0).toarray(), expected[[8, 2]]
    )
    assert both.dtype.kind == "i"
    weighted = dense.T @ dense  # a product of the activations is something else
    assert not np.allclose(both.toarray(), weighted)


@pytest.mark.parametrize("cells", [1, 3 * M, 2**27])
def test_counts_do_not_depend_on_how_often_the_corpus_is_read(
    run, dense, monkeypatch, cells
):
    monkeypatch.setattr("nanosae.analysis.coactivation.COUNTED_CELLS", cells)
    monkeypatch.setattr("nanosae.analysis.coactivation.COUNTED", 2)
    expected = naive_pairs(dense)
    seen = []
    for block, counts in shared_rows(run):
        np.testing.assert_array_equal(counts, expected[block])
        seen += block.tolist()
    assert seen == list(range(M))
    assert not np.array_equal(expected, naive_pairs(dense[1:]))  # a lost row shows


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
        np.testing.assert_allclose(
            line["coactive_lift"], [lift for *_, lift in scored[:4]]
        )
        np.testing.assert_allclose(line["coactive_npmi"], [-s[0] for s in scored[:4]])
    assert frame["coactive"][4][0] == TWIN
    assert frame["coactive_npmi"][4][0] == pytest.approx(1)


def test_ranking_by_counts_would_be_rejected(run, dense):
    both = naive_pairs(dense)
    np.fill_diagonal(both, 0)
    found = describe(run, n=1, texts=False)["coactive"]
    most = both.argmax(axis=1)
    assert any(len(j) and j[0] != most[i] for i, j in enumerate(found))


def test_planted_parents_are_coactive_with_their_children(tmp_path):
    planted = planted_corpus(1500)
    codes = write_codes(tmp_path, planted.activations)
    frame = describe(codes)
    for parent, children in planted.families.items():
        for child in children:
            assert parent in frame["coactive"][child][:3].tolist()


@pytest.mark.parametrize(("shared", "is_duplicate"), [(95, True), (94, False)])
def test_duplicates_share_nearly_all_rows_of_both(tmp_path, shared, is_duplicate):
    active = np.zeros((300, 2))
    active[:100, 0] = 1
    active[:shared, 1] = 1  # all its rows are rows of the other
    codes = write_codes(tmp_path, sp.csr_array(active))
    [(block, both)] = shared_rows(codes)
    found = coactive_features(codes, block, both, 5, 0.95)[1]
    assert [few.tolist() for few in found] == ([[1], [0]] if is_duplicate else [[], []])


@pytest.mark.parametrize(("shared", "n"), [(4, 0), (5, 1)])
def test_so_few_shared_rows_prove_nothing(tmp_path, shared, n):
    """Features that are active on the same 4 of 300 rows are neither coactive nor duplicates."""
    active = np.zeros((300, 2))
    active[:shared] = 1
    codes = write_codes(tmp_path, sp.csr_array(active))
    frame = describe(codes, texts=False)
    assert [len(few) for few in frame["coactive"]] == [n, n]
    assert frame["health"].tolist() == ["ok", ["ok", "duplicate"][n]]


def test_lift_of_many_shared_rows_does_not_overflow(tmp_path):
    n_rows, n_together = 50_000, 45_000
    assert n_rows * n_together > 2**31
    active = np.zeros((n_rows, 2), dtype=np.float32)
    active[:n_together] = 1
    codes = write_codes(tmp_path, sp.csr_array(active))
    [(block, both)] = shared_rows(codes)
    facts, duplicates = coactive_features(codes, block, both, 5, 0.95)
    assert [few.tolist() for few in facts["coactive"]] == [[1], [0]]
    assert facts["coactive_lift"][0] == pytest.approx(n_rows / n_together)
    assert [few.tolist() for few in duplicates] == [[1], [0]]
