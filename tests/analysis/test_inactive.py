"""Hard inactive rows against brute force."""

import numpy as np
import pytest

from nanosae.analysis.inactive import hard_inactive
from small_corpora import corpus


@pytest.fixture(scope="module")
def planted(labelled_corpus):
    return labelled_corpus


@pytest.fixture(scope="module")
def codes(labelled_codes):
    return labelled_codes


def test_hard_inactive_rows_are_the_nearest_by_brute_force(planted, codes):
    rows = np.arange(0, codes.n_rows, 2)
    features = np.array([3, 11])
    x = planted.embeddings.astype(np.float16).astype(np.float64)
    x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    dense = planted.activations.toarray()
    for j, mine in zip(features, hard_inactive(codes, features, rows, 10), strict=True):
        acts = dense[rows, j]
        top = np.argsort(-acts, kind="stable")[: min(50, (acts > 0).sum())]
        near = x[rows] @ (acts[top] @ x[rows[top]])
        near[acts > 0] = -np.inf
        assert set(mine) == set(rows[np.argsort(-near)[:10]])
        assert not dense[mine, j].any()


def test_without_vectors_hard_inactive_rows_share_other_features(tmp_path):
    active = np.zeros((60, 9))
    active[:10, 0] = active[:10, 1] = active[:10, 2] = 1  # the feature and its company
    active[10:20, 1] = active[10:20, 2] = 1  # company without the feature
    active[20:, 3] = 1
    codes = corpus(tmp_path / "c", active, ["x"] * 60)
    (mine,) = hard_inactive(codes, np.array([0]), np.arange(60), 10)
    assert set(mine) == set(range(10, 20))
