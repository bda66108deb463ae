"""Matching against loops, all permutations and numpy's correlation; argmax is not one-to-one."""

import itertools
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from nanosae.analysis import matching as module
from nanosae.analysis import similarity as similarity_module
from nanosae.analysis.matching import stability
from nanosae.codes import write_codes
from nanosae.codes import writer as codes_module
from nanosae.model.weights import Weights

match: Any = module.match
splitting: Any = module.splitting


@pytest.fixture(autouse=True)
def several_blocks_and_shards(monkeypatch):
    monkeypatch.setattr(codes_module, "SHARD_ROWS", 50)
    monkeypatch.setattr(similarity_module, "BLOCK", 3)


def directions(n, width=6, seed=0):
    return np.random.default_rng(seed).normal(size=(n, width))


def cosines(a, b):
    return np.array([[x @ y / np.sqrt(x @ x) / np.sqrt(y @ y) for y in b] for x in a])


def best_sum(similarity):
    """Greatest sum of a one-to-one matching, over all ways to choose it; no pair counts 0."""
    gain = np.maximum(similarity, 0)
    gain = gain if gain.shape[0] <= gain.shape[1] else gain.T
    n, m = gain.shape
    return max(
        gain[range(n), list(p)].sum() for p in itertools.permutations(range(m), n)
    )


def check_partners(found, similarity):
    """Partners are one-to-one, their similarity is true, and no matching has a greater sum."""
    paired = found[found["partner"] >= 0]
    assert paired["partner"].is_unique
    np.testing.assert_allclose(
        paired["partner_similarity"],
        similarity[paired["feature"], paired["partner"]],
        atol=1e-6,
    )
    assert (found.loc[found["partner"] < 0, "partner_similarity"] == 0).all()
    assert found["partner_similarity"].sum() == pytest.approx(
        best_sum(similarity), abs=1e-5
    )


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 10**6))
def test_matches_are_those_of_loops_and_all_permutations(n, m, seed):
    a, b = directions(n, seed=seed), directions(m, seed=seed + 1)
    similarity, found = cosines(a, b), match(a, b)
    assert found["match"].tolist() == similarity.argmax(1).tolist()
    np.testing.assert_allclose(found["similarity"], similarity.max(1), atol=1e-6)
    mutual = [
        similarity[:, j].argmax() == i for i, j in enumerate(similarity.argmax(1))
    ]
    assert found["mutual"].tolist() == mutual
    check_partners(found, similarity)


def test_a_greedy_assignment_is_rejected():
    similarity = np.array([[0.9, 0.8], [0.85, 0.1]])
    greedy = np.array([0, 1]), similarity[[0, 1], [0, 1]]
    best = module.assign(sp.csr_array(similarity))
    assert best[0].tolist() == [1, 0]
    assert greedy[1].sum() < best[1].sum() == pytest.approx(best_sum(similarity))


def test_beyond_the_dense_limit_the_candidates_give_the_same_partners(monkeypatch):
    a = directions(40, 12)
    b = a[np.random.default_rng(1).permutation(40)] + 0.2 * directions(40, 12, seed=2)
    exact = match(a, b)
    monkeypatch.setattr(module, "DENSE", 10)
    monkeypatch.setattr(module, "CANDIDATES", 6)
    found = match(a, b)
    assert found["partner"].tolist() == exact["partner"].tolist()
    np.testing.assert_allclose(found["partner_similarity"], exact["partner_similarity"])
    assert match(a[:20], b[:15])["partner"].max() < 15


@pytest.mark.parametrize("dense", [5000, 0])
def test_a_greater_sum_goes_before_more_pairs(monkeypatch, dense):
    monkeypatch.setattr(module, "DENSE", dense)
    partner, similarity = module.assign(sp.csr_array([[0.9, 0.05], [0.8, 0]]))
    assert partner.tolist() == [0, -1]
    assert similarity.tolist() == [0.9, 0]


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 10**6))
def test_with_every_pair_a_candidate_the_sparse_assignment_is_optimal(n, m, seed):
    a, b = directions(n, seed=seed), directions(m, seed=seed + 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "DENSE", 0)
        check_partners(match(a, b), cosines(a, b))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6))
def test_renumbering_the_other_sae_renumbers_its_matches(seed):
    rng = np.random.default_rng(seed)
    a, b, order = (
        directions(7, seed=seed),
        directions(9, seed=seed + 1),
        rng.permutation(9),
    )
    one, other = match(a, b), match(a, b[order])
    assert one["match"].tolist() == order[other["match"]].tolist()
    assert one["mutual"].tolist() == other["mutual"].tolist()
    np.testing.assert_allclose(
        one["partner_similarity"], other["partner_similarity"], atol=1e-6
    )


def test_weights_and_their_scale():
    a, b = directions(5), directions(8, seed=1)
    nothing = np.zeros((6, 5), np.float32)
    weights = Weights(nothing, a.astype(np.float32), np.zeros(6), {}, b_enc=np.zeros(5))
    found = match(weights, b * 7)
    np.testing.assert_allclose(found["similarity"], cosines(a, b).max(1), atol=1e-6)


def test_models_match_like_their_weights():
    torch = pytest.importorskip("torch")
    from nanosae import SAEModel

    W_dec = torch.tensor(directions(5, 4, seed=2), dtype=torch.float32)
    tensors = {
        "W_enc": W_dec.T,
        "b_enc": torch.zeros(5),
        "W_dec": W_dec,
        "b_dec": torch.zeros(4),
    }
    model = SAEModel({"d_in": 4, "d_sae": 5, "architecture": "standard"}, tensors)
    assert model.W_dec.requires_grad
    other = directions(7, 4, seed=3)
    assert match(model, other).equals(match(W_dec.numpy(), other))
    assert match(other, model).equals(match(other, W_dec.numpy()))
    assert splitting(model, model)["children"].tolist() == [[0], [1], [2], [3], [4]]
    assert stability(model, [model]) == pytest.approx(1)


def test_of_equal_features_the_first_is_the_mutual_match():
    # they lie in two blocks
    found = match(np.eye(4)[[0, 1, 2, 0, 0]], np.eye(4)[[1, 0]])
    assert found["mutual"].tolist() == [True, True, False, False, False]


def test_dead_features_match_nothing():
    a = directions(5)
    a[2] = 0
    found = match(a, a)
    assert found["partner"].tolist() == [0, 1, -1, 3, 4]
    assert found["partner_similarity"][2] == 0
    assert found["similarity"][2] == 0


@pytest.fixture
def two_codes(tmp_path):
    """Write codes of the same 120 rows with 8 and 11 features."""
    rng = np.random.default_rng(0)
    a = rng.exponential(size=(120, 8)) * (rng.random((120, 8)) < 0.4)
    mix = rng.exponential(size=(8, 11)) * (rng.random((8, 11)) < 0.3)
    b = a @ mix + rng.exponential(size=(120, 11)) * (rng.random((120, 11)) < 0.2)
    a[:, 3] = 0  # dead
    b[:, 4] = 1.5  # constant
    a, b = (
        a.astype(np.float16).astype(np.float32),
        b.astype(np.float16).astype(np.float32),
    )
    written = [
        write_codes(tmp_path / n, sp.csr_array(x)) for n, x in (("a", a), ("b", b))
    ]
    return *written, a, b


def check_correlations(codes_a, codes_b, a, b):
    blocks = dict(similarity_module.similarities(codes_a, codes_b))
    found = np.vstack([blocks[start] for start in sorted(blocks)])
    expected = np.zeros((8, 11))
    for i, j in itertools.product(range(8), range(11)):
        if a[:, i].std() and b[:, j].std():
            expected[i, j] = np.corrcoef(a[:, i], b[:, j])[0, 1]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_codes_of_the_same_rows_match_by_the_correlation_of_activations(two_codes):
    codes_a, codes_b, a, b = two_codes
    check_correlations(codes_a, codes_b, a, b)
    expected = np.nan_to_num([[np.cov(x, y)[0, 1] for y in b.T] for x in a.T])
    found = match(codes_a, codes_b)
    assert len(found) == 8
    assert found["similarity"][3] == 0
    assert found["partner"][3] == -1
    assert np.count_nonzero(expected) > 50


def test_a_cosine_of_activations_is_rejected(two_codes, monkeypatch):
    moments = similarity_module._moments

    def uncentred(codes):
        mean, sd = moments(codes)
        return np.zeros_like(mean), np.sqrt(sd**2 + mean**2)

    monkeypatch.setattr(similarity_module, "_moments", uncentred)
    with pytest.raises(AssertionError):
        check_correlations(*two_codes)


def test_splitting_lists_the_children_of_each_parent():
    small = np.eye(4)
    large = np.array(
        [
            [1, 0.1, 0, 0],
            [0, 0, 1, 0],
            [1, 0.5, 0, 0],
            [0, 1, 0, 0.2],
            [1, 0, 0, 0],
            [-1, 0, 0, -1],
        ]
    )
    table = splitting(small, large)
    assert table["parent"].tolist() == [0, 1, 2, 3]
    assert table["children"].tolist() == [[4, 0, 2], [3], [1], []]
    assert table["n_children"].tolist() == [3, 1, 1, 0]
    np.testing.assert_allclose(
        table["similarities"][0], cosines(small[:1], large[[4, 0, 2]])[0]
    )
    assert splitting(small, large, threshold=0.95)["children"].tolist() == [
        [4, 0],
        [3],
        [1],
        [],
    ]


def test_a_permuted_copy_is_fully_stable_and_another_dictionary_is_not():
    a = directions(30, 64)
    copy = a[np.random.default_rng(3).permutation(30)]
    np.testing.assert_allclose(stability(a, [copy, a * 2]), 1, atol=1e-6)
    assert stability(a, [directions(30, 64, seed=9)]).max() < 0.6
    half = np.vstack([a[:15], directions(15, 64, seed=9)])
    mean = stability(a, [copy, half])
    np.testing.assert_allclose(mean[:15], 1, atol=1e-6)
    assert mean[15:].max() < 0.85


def many_to_one(model, others):
    return np.mean([match(model, other)["similarity"] for other in others], axis=0)


def check_duplicates_are_not_all_stable(measure):
    """Five near-copies in one SAE, a single such feature in the other: only one is found again."""
    noise = 0.01 * directions(5, 32, seed=1)
    model = np.vstack([np.eye(1, 32) + noise, directions(5, 32, seed=2)])
    other = np.vstack([np.eye(1, 32), directions(9, 32, seed=3)])
    assert (measure(model, [other])[:5] > 0.9).sum() == 1


def test_stability_is_one_to_one():
    check_duplicates_are_not_all_stable(stability)
    with pytest.raises(AssertionError):
        check_duplicates_are_not_all_stable(many_to_one)


def test_errors_say_what_differs(two_codes, tmp_path):
    codes = two_codes[0]
    with pytest.raises(ValueError, match="different widths: 6 and 7"):
        match(directions(3), directions(3, 7))
    with pytest.raises(ValueError, match="numbers of rows: 120 and 2"):
        match(codes, write_codes(tmp_path / "short", sp.csr_array(np.eye(2))))
    with pytest.raises(TypeError, match="cannot match codes with directions"):
        match(codes, directions(3))
    with pytest.raises(ValueError, match="0 others"):
        stability(directions(3), [])
    with pytest.raises(ValueError, match="threshold='x' must be a number"):
        splitting(directions(3), directions(3), "x")
    for nothing in (directions(3) * np.nan, np.zeros((0, 3)), np.full((2, 3), 1e300)):
        with pytest.raises(ValueError, match="empty, or hold NaN or infinite"):
            match(nothing, directions(3))
        with pytest.raises(ValueError, match="empty, or hold NaN or infinite"):
            stability(directions(3), nothing)


def test_similarities_do_not_exceed_one(two_codes):
    many = np.random.default_rng(0).normal(size=(200, 7)).astype(np.float32)
    for side in (many, two_codes[0]):
        found = match(side, side)
        assert found["similarity"].max() == pytest.approx(1)
        assert found[["similarity", "partner_similarity"]].max(axis=None) <= 1


def test_no_rows_correlate_with_nothing(tmp_path):
    codes = write_codes(tmp_path / "none", sp.csr_array((0, 3), dtype=np.float32))
    found = match(codes, codes)
    assert found["similarity"].tolist() == [0, 0, 0]
    assert found["partner"].tolist() == [-1, -1, -1]


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_directions_of_any_length_match(scale):
    a = directions(5).astype(np.float32)
    order = np.array([3, 0, 4, 2, 1])
    found = match((scale * a).astype(np.float32), a[order])
    assert found["similarity"].to_numpy() == pytest.approx(np.ones(5), abs=1e-6)
