"""Edited queries and corpora against dense arrays."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanosae.analysis.search.search import search
from nanosae.analysis.search.steering import steer
from nanosae.errors import ConfigError
from oracles import cosines, dense_rows, order_of
from small_corpora import sae


def test_an_edit_is_decoded_and_keeps_what_the_sae_leaves_unexplained(codes):
    vector = codes.vectors([40])[0]
    acts = codes.weights().encode(vector).toarray()[0]
    on = int(acts.argmax())
    directions = codes.weights().W_dec
    found = search(codes, row=40, edit={on: 0.0, 3: 0.8})
    held = codes.row(40)
    stored = dict(zip(held[0].tolist(), held[1].tolist(), strict=True))
    expected = (
        vector - stored[on] * directions[on] + (0.8 - stored.get(3, 0)) * directions[3]
    )
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
    acts = dense_rows(codes)
    row = int(np.flatnonzero(acts[:, 20] == 0)[0])
    strong = float(np.quantile(acts[:, 20][acts[:, 20] > 0], 0.9))
    before = acts[[h.row for h in search(codes, row=row, n=20).hits], 20] > 0
    after = (
        acts[
            [h.row for h in search(codes, row=row, edit={20: 4 * strong}, n=20).hits],
            20,
        ]
        > 0
    )
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
@given(
    st.sampled_from(["standard", "topk", "jumprelu"]),
    st.integers(0, 10**6),
    st.booleans(),
)
def test_the_best_vector_is_kept_for_every_architecture(architecture, seed, clear):
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(12, 6)).astype(np.float32)
    extra: dict[str, Any] = {}
    if architecture == "jumprelu":
        extra["threshold"] = np.full(12, 0.3, np.float32)
    model = sae(
        directions, rng.normal(size=6).astype(np.float32), 0.1, architecture, **extra
    )
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


def linear_model(scale=1.0):
    """A model that encodes linearly around 0: every pre-activation is far above 0."""
    rng = np.random.default_rng(5)
    directions = (scale * rng.normal(size=(4, 6)) / np.sqrt(6)).astype(np.float32)
    return sae(directions, np.zeros(6, np.float32), bias=50.0)


@pytest.mark.slow
def test_a_step_goes_exactly_as_far_as_is_best_on_a_linear_model():
    model = linear_model()
    x = np.zeros(6, np.float32)
    acts = model.encode(x).toarray()[0]
    target = acts + np.array([1, -2, 0.5, 0], np.float32)
    decoded = x + (target - acts) @ model.W_dec
    gap = target - model.encode(decoded).toarray()[0]
    gradient = model.W_enc @ gap
    missed = [
        ((target - model.encode(decoded + t * gradient).toarray()[0]) ** 2).sum()
        for t in np.linspace(0, 3, 3001)
    ]
    moved, decoded_error, error = steer(model, x, acts, target, steps=1)
    norm = (target**2).sum()
    assert decoded_error == pytest.approx((gap**2).sum() / norm, rel=1e-3)
    assert error == pytest.approx(min(missed) / norm, rel=1e-2)
    assert error < 0.9 * decoded_error
    length = (moved - decoded) @ gradient / (gradient @ gradient)
    assert length == pytest.approx(
        np.linspace(0, 3, 3001)[int(np.argmin(missed))], abs=2e-3
    )
    # a step half as long is measurably worse
    halfway = missed[int(np.argmin(missed)) // 2]
    assert halfway > 1.05 * min(missed)


def test_features_of_a_transcoder_cannot_be_edited(codes):
    model = codes.weights()
    model.cfg["architecture"] = "transcoder"
    x = np.zeros(64, np.float32)
    with pytest.raises(ConfigError, match="features of a transcoder cannot be edited"):
        steer(model, x, np.zeros(48), np.ones(48))


@pytest.mark.slow
def test_a_step_that_does_not_help_is_halved_until_it_does():
    saved = 0
    for seed in range(400):
        rng = np.random.default_rng(seed)
        directions = rng.normal(size=(30, 6)).astype(np.float32)
        model = sae(directions, rng.normal(size=6).astype(np.float32), 0.1, "topk")
        x = rng.normal(size=6).astype(np.float32)
        acts = model.encode(x).toarray()[0]
        target = acts.copy()
        target[rng.integers(30)] += 2.0
        once, often = (steer(model, x, acts, target, steps) for steps in (1, 8))
        saved += once.error == once.decoded_error > often.error
    assert saved >= 3
