"""Similarity of a feature's texts against the sum over all pairs."""

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from nanosae.analysis.monosemanticity import monosemanticity
from nanosae.codes import write_codes
from planted import planted_corpus
from small_corpora import DEAD, DENSE, LONE


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
        assert found[j] == pytest.approx(
            naive_monosemanticity(dense[:, j], e), abs=1e-6
        )
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
    shuffled = write_codes(
        tmp_path / "b", planted.activations[order], texts=planted.texts
    )
    chance = monosemanticity(shuffled)
    assert np.nanmedian(found) > 0.1
    assert abs(np.nanmedian(chance)) < 0.02
    assert np.nanmedian(found) > 10 * abs(np.nanmedian(chance))
