"""The helper that compares activations lets rounding pass at a threshold, and nothing else."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from agreement import (
    assert_agree,
    decisions_above,
    decisions_batchtopk,
    decisions_of,
    decisions_topk,
)
from nanosae.model.weights import Weights

N_ROWS, WIDTH, N_LATENTS, K = 40, 12, 30, 4
RULES = ["above", "topk", "batchtopk"]


def problem(rule, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N_ROWS, WIDTH)).astype(np.float32)
    weight = rng.normal(size=(N_LATENTS, WIDTH)).astype(np.float32)
    bias = rng.normal(size=N_LATENTS).astype(np.float32)
    if rule == "above":
        decisions = decisions_above(x, weight, bias, np.linspace(0, 2, N_LATENTS))
    elif rule == "topk":
        decisions = decisions_topk(x, weight, bias, K)
    else:
        decisions = decisions_batchtopk(x, weight, bias, K * N_ROWS)
    return decisions, decisions.activations()


def place_of(acts, decisions, wanted):
    """Find an entry that is active, or not, and far from its threshold."""
    far = np.abs(decisions.pre - decisions.threshold) > 0.1
    return tuple(np.argwhere(far & ((acts != 0) == wanted))[7])


@pytest.mark.parametrize("rule", RULES)
def test_equal_activations_agree_in_any_form(rule):
    decisions, acts = problem(rule)
    assert_agree(acts, acts.astype(np.float32), decisions)
    assert_agree(sp.csr_array(acts), torch.from_numpy(acts), decisions)
    n_kept = np.count_nonzero(acts)
    assert decisions.decided_rows().mean() > 0.9
    assert n_kept == {"topk": K * N_ROWS, "batchtopk": K * N_ROWS}.get(rule, n_kept)


@pytest.mark.parametrize("rule", RULES)
def test_an_entry_far_from_the_threshold_must_be_kept_by_both_or_neither(rule):
    decisions, acts = problem(rule)
    for wanted, value in ((True, 0.0), (False, 0.3)):
        other = acts.copy()
        other[place_of(acts, decisions, wanted)] = value
        for pair in ((acts, other), (other, acts)):
            with pytest.raises(AssertionError, match="kept by one only: 1 entries"):
                assert_agree(*pair, decisions)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("factor", [1.001, -1.0, np.nan])
def test_values_must_agree(rule, factor):
    decisions, acts = problem(rule)
    other = acts.copy()
    other[place_of(acts, decisions, True)] *= factor
    with pytest.raises(AssertionError, match="values differ: 1 entries"):
        assert_agree(other, acts, decisions)


@pytest.mark.parametrize("rule", RULES)
def test_the_same_entry_within_rounding_of_its_threshold_may_differ(rule):
    decisions, acts = problem(rule)
    at = place_of(acts, decisions, True)
    threshold = np.broadcast_to(decisions.threshold, acts.shape)
    rounding = decisions.rounding[at]
    other = acts.copy()
    other[at] = 0
    near = decisions.pre.copy()
    near[at] = threshold[at] + 0.9 * rounding
    assert_agree(other, acts, decisions._replace(pre=near))
    near[at] = threshold[at] + 1.1 * rounding
    with pytest.raises(AssertionError, match="kept by one only"):
        assert_agree(other, acts, decisions._replace(pre=near))


def test_rounding_covers_float32_products_and_hardly_more():
    for seed in range(20):
        decisions, _ = problem("above", seed)
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(N_ROWS, WIDTH)).astype(np.float32)
        weight = rng.normal(size=(N_LATENTS, WIDTH)).astype(np.float32)
        bias = rng.normal(size=N_LATENTS).astype(np.float32)
        error = np.abs(x @ weight.T + bias - decisions.pre)
        assert (error < decisions.rounding).all()
        assert error.max() > 0.01 * decisions.rounding.mean()
    assert decisions.rounding.max() < 1e-4


def test_shapes_must_agree():
    decisions, acts = problem("topk")
    with pytest.raises(AssertionError):
        assert_agree(acts[:1], acts, decisions)


@pytest.mark.parametrize("architecture", ["standard", "jumprelu", "topk", "gated"])
def test_a_model_s_decisions_are_those_of_its_architecture(architecture):
    rng = np.random.default_rng(0)
    shapes = {"W_enc": (2, 3), "W_dec": (3, 2), "b_dec": (2,)}
    arrays = {
        name: rng.normal(size=shape).astype(np.float32)
        for name, shape in shapes.items()
    }
    bias = np.array([0.5, 0.25, -0.25], np.float32)
    if architecture == "gated":
        arrays |= {
            "b_gate": bias,
            "r_mag": np.log(np.full(3, 2.0)),
            "b_mag": np.zeros(3),
        }
    else:
        arrays["b_enc"] = bias
    if architecture == "jumprelu":
        arrays["threshold"] = np.array([0.75, -1, 0], np.float32)
    cfg = {"architecture": architecture, "d_in": 2, "d_sae": 3, "k": 1}
    made = decisions_of(Weights(cfg=cfg, **arrays), arrays["b_dec"][None])
    np.testing.assert_allclose(made.pre, [[0.5, 0.25, -0.25]])
    thresholds = {"jumprelu": [0.75, 0, 0], "topk": [0.375] * 3}.get(
        architecture, [0, 0, 0]
    )
    np.testing.assert_array_equal(
        np.broadcast_to(made.threshold, (1, 3))[0], thresholds
    )
    assert np.allclose(made.gain, 2 if architecture == "gated" else 1)
