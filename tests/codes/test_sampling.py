"""Some rows in the place of all: the same as a corpus of these rows alone."""

import numpy as np
import pytest
import scipy.sparse as sp

from nanosae.codes import excerpt, sampled_rows, write_codes
from nanosae.codes.sampling import BLOCK

N, M = 400, 9
RARE, DEAD = 7, 8


@pytest.fixture
def dense():
    rng = np.random.default_rng(0)
    active = rng.random((N, M)) < 0.3
    active[:, RARE] = False
    active[rng.permutation(N)[:12], RARE] = True
    active[:, DEAD] = False
    return (active * rng.integers(1, 500, (N, M)) / 64).astype(np.float32)


def written(path, dense, rows, monkeypatch):
    monkeypatch.setattr("nanosae.codes.writer.SHARD_ROWS", 90)
    vectors = np.random.default_rng(1).integers(-8, 8, (N, 5)).astype(np.float32)
    return write_codes(
        path,
        sp.csr_array(dense[rows]),
        texts=[f"text {row}" for row in rows],
        metadata={"number": np.arange(N)[rows]},
        vectors=vectors[rows],
    )


@pytest.fixture
def codes(tmp_path, dense, monkeypatch):
    return written(tmp_path / "all", dense, np.arange(N), monkeypatch)


@pytest.mark.parametrize("block", [1, 7, BLOCK])
def test_an_excerpt_is_a_corpus_of_its_rows(codes, dense, tmp_path, monkeypatch, block):
    monkeypatch.setattr("nanosae.codes.sampling.BLOCK", block)
    rows = np.sort(np.random.default_rng(3).permutation(N)[:130])
    part = excerpt(codes, rows)
    alone = written(tmp_path / "alone", dense, rows, monkeypatch)
    assert (part.n_rows, part.nnz) == (130, np.count_nonzero(dense[rows]))
    np.testing.assert_array_equal(part.counts, np.count_nonzero(dense[rows], axis=0))
    some = [5, 129, 5, 0]
    np.testing.assert_array_equal(part.take(some).toarray(), dense[rows][some])
    np.testing.assert_array_equal(
        part.features([4, RARE]).toarray(), dense[rows][:, [4, RARE]]
    )
    for j in (0, RARE, DEAD):
        for mine, theirs in zip(part.top(j, 9), alone.top(j, 9), strict=True):
            np.testing.assert_array_equal(mine, theirs)
    assert part.texts().tolist() == alone.texts().tolist()
    np.testing.assert_array_equal(part.column("number", some), rows[some])
    np.testing.assert_array_equal(part.vectors(), alone.vectors())
    blocks = [block for _, block in part.scan(size=33)]
    np.testing.assert_array_equal(np.concatenate(blocks), alone.vectors())
    for values in (True, False):
        read = [block.toarray() for _, block in part.shards(values)]
        expected = dense[rows] if values else dense[rows] > 0
        np.testing.assert_array_equal(np.concatenate(read), expected)
    # the rows before it would be something else
    assert not np.array_equal(part.take(some).toarray(), dense[some])


def test_rows_outside_an_excerpt_are_refused(codes):
    part = excerpt(codes, np.arange(10, 20))
    with pytest.raises(ValueError, match="there are 0 … 9"):
        part.take([10])


def test_all_rows_are_the_corpus_itself(codes):
    assert excerpt(codes, np.arange(N)) is codes
    rows, is_random = sampled_rows(codes, N)
    assert rows.tolist() == list(range(N))
    assert is_random.all()


def test_a_sample_holds_the_rows_of_rare_features(codes, dense):
    rows, is_random = sampled_rows(codes, 100, seed=5, least=10)
    assert is_random.sum() == 100
    assert (np.diff(rows) > 0).all()
    active = dense[rows] > 0
    wanted = np.minimum((dense > 0).sum(0), 10)
    assert (active.sum(0) >= wanted).all()
    assert active[is_random, RARE].sum() < 10  # chance alone would not do
    # what was added is active on the rare feature
    assert active[~is_random, RARE].all()
    assert not np.array_equal(rows, sampled_rows(codes, 100, seed=6, least=10)[0])


def test_rare_features_at_most_double_a_sample(tmp_path, monkeypatch):
    rare = sp.csr_array(np.repeat(np.eye(40, dtype=np.float32), 10, axis=0))
    monkeypatch.setattr("nanosae.codes.writer.SHARD_ROWS", 90)
    codes = write_codes(tmp_path / "rare", rare)
    rows, is_random = sampled_rows(codes, 60, seed=2, least=10)  # all 400 otherwise
    assert is_random.sum() == 60
    assert 60 < len(rows) <= 120
    n_active = np.bincount(rows // 10, minlength=40)
    drawn = np.bincount(rows[is_random] // 10, minlength=40)
    least = n_active.min()
    # every feature has as many, or those that chance gave it
    np.testing.assert_array_equal(n_active, np.maximum(drawn, least))
    one_more = np.maximum(least + 1 - drawn, 0).sum()
    assert one_more > 60


@pytest.mark.slow
def test_rows_drawn_at_random_are_of_all_with_equal_chance(codes):
    drawn = np.zeros(N)
    for seed in range(400):
        rows, is_random = sampled_rows(codes, 100, seed=seed, least=10)
        drawn[rows[is_random]] += 1
    # binomial with p = 1/4 of 400: 100 ± 8.7
    assert abs(drawn.mean() - 100) < 1e-9
    assert drawn.min() > 60
    assert drawn.max() < 140
