"""One step: what it does to gradients, weights and counters, against formulas written out here."""

import pytest
import torch

from nanosae.train.step import take_step
from nanosae.trainable.auxk import auxk
from nanosae.trainable.noise import with_noise
from states import batch_of, gradients, norm_of, small_state


@pytest.mark.parametrize("clip", [0.01, 0.02, 1e6])
def test_gradients_are_scaled_down_to_the_limit(clip):
    free, data = small_state(clip=1e6)
    take_step(free, batch_of(data))
    whole = norm_of(gradients(free))
    assert 0.02 < whole < 1e6  # or there would be nothing to clip
    clipped, data = small_state(clip=clip)
    take_step(clipped, batch_of(data))
    assert norm_of(gradients(clipped)) == pytest.approx(min(whole, clip), rel=1e-3)
    for name, gradient in gradients(clipped).items():
        scaled = gradients(free)[name] * min(1.0, clip / whole)
        torch.testing.assert_close(gradient, scaled, rtol=1e-3, atol=1e-7)


def test_a_limit_that_is_not_reached_changes_nothing():
    norms = []
    for clip in (1e3, 1e6):
        state, data = small_state(clip=clip)
        take_step(state, batch_of(data))
        norms.append(norm_of(gradients(state)))
    assert norms[0] == pytest.approx(norms[1], rel=1e-6)


def test_weight_decay_shrinks_the_encoder_and_nothing_else():
    plain, data = small_state(activation="relu", lr=0.01, warmup=0.0)
    decayed, _ = small_state(activation="relu", lr=0.01, warmup=0.0, weight_decay=0.5)
    before = plain.params["W_enc"].detach().clone()
    for state in (plain, decayed):
        take_step(state, batch_of(data))
    for name, param in plain.params.items():
        want = param - 0.01 * 0.5 * before if name == "W_enc" else param
        torch.testing.assert_close(decayed.params[name], want, rtol=1e-5, atol=1e-6)


def test_silence_is_counted_in_rows_and_ends_with_an_active_row():
    state, data = small_state(activation="topk", hidden_size=200)
    silent = torch.zeros(200, dtype=torch.int64)
    for seed in range(3):
        batch = batch_of(data, seed)
        pre_acts = batch @ state.params["W_enc"].T + state.params["b_enc"]
        kept = pre_acts.topk(4, dim=1).indices
        is_active = torch.zeros(200, dtype=torch.bool)
        is_active[kept.flatten()] = True
        silent = torch.where(is_active, 0, silent + 64)
        take_step(state, batch)
        assert torch.equal(state.silent_rows, silent)
    assert set(silent.tolist()) > {0, 64}  # both kinds, and some that came back
    state.config = state.config.__class__(**vars(state.config) | {"dead_after": 64})
    assert torch.equal(state.find_dead(), (silent > 64).nonzero().flatten())


def test_a_latent_is_dead_once_it_is_silent_for_more_than_dead_after_rows():
    state, _ = small_state(dead_after=500)
    state.silent_rows[[3, 7, 9]] = torch.tensor([500, 501, 999])
    assert state.find_dead().tolist() == [7, 9]


@pytest.mark.parametrize("activation", ["topk", "relu"])
def test_micro_batches_add_up_to_the_gradients_of_the_whole_step(activation):
    whole, data = small_state(activation=activation, clip=1e6)
    parts, _ = small_state(activation=activation, clip=1e6, accumulate=4)
    for state in (whole, parts):
        state.counters.l0 = 0.0  # the sparse path
        state.counters.step = 50  # past the warm-up
        take_step(state, batch_of(data))
    for name, gradient in gradients(whole).items():
        torch.testing.assert_close(
            gradients(parts)[name], gradient, rtol=1e-4, atol=1e-7
        )
    for name, value in whole.counters.sums.items():
        assert parts.counters.sums[name] == pytest.approx(value, rel=1e-5), name


def test_auxk_of_micro_batches_is_their_mean():
    whole, data = small_state(activation="topk")
    parts, _ = small_state(activation="topk", accumulate=2)
    dead = torch.arange(0, 40, 3)
    none = torch.zeros(len(dead), dtype=torch.bool)
    batch = batch_of(data)
    single = []
    for micro_batch in batch.split(32):
        pre_acts = micro_batch @ whole.params["W_enc"].T + whole.params["b_enc"]
        kept = pre_acts.topk(4, dim=1)
        acts = torch.zeros_like(pre_acts).scatter(
            1, kept.indices, torch.relu(kept.values)
        )
        recon = (acts @ whole.params["W_dec"] + whole.params["b_dec"]).detach()
        single.append(
            auxk(whole, micro_batch, micro_batch, recon, dead, none)["auxk"].item()
        )
    parts.silent_rows[dead] = 10**9
    take_step(parts, batch)
    assert parts.counters.sums["auxk"] == pytest.approx(sum(single) / 2, rel=1e-4)


def noise_of(seed, step):
    state, data = small_state(noise=0.3, seed=seed)
    batch = batch_of(data)
    return with_noise(state.config, batch, state.input_size, step) - batch


def test_noise_is_a_function_of_seed_and_step():
    first = noise_of(2, 7)
    assert torch.equal(first, noise_of(2, 7))
    assert first.std().item() == pytest.approx(0.3, rel=0.1)
    for seed, step in ((2, 8), (3, 7), (7, 2), (2 + 2**31, 7)):
        other = noise_of(seed, step)
        correlation = torch.corrcoef(torch.stack([first.flatten(), other.flatten()]))
        assert abs(correlation[0, 1].item()) < 0.15  # 768 values: 4 standard errors


def test_a_seed_whose_high_bits_are_lost_would_repeat_the_noise(monkeypatch):
    monkeypatch.setattr(
        "nanosae.trainable.noise.mixed_seed",
        lambda seed, kind, step: seed * 2**32 + step,
    )
    assert torch.equal(noise_of(2, 7), noise_of(3, 7))


def test_noise_leaves_the_batch_of_others_alone():
    state, data = small_state(noise=0.3)
    batch = batch_of(data)
    before = batch.clone()
    take_step(state, batch)
    assert torch.equal(batch, before)


def test_the_learning_rate_of_the_schedule_is_what_adam_gets():
    state, data = small_state(warmup=0.1, lr=0.01)
    for step in range(3):
        take_step(state, batch_of(data))
        assert state.optimizer.lr == pytest.approx(0.01 * (step + 1) / 10)


def test_decoder_rows_keep_length_one():
    state, data = small_state(lr=0.1, warmup=0.0)
    before = state.params["W_dec"].detach().clone()
    take_step(state, batch_of(data))
    after = state.params["W_dec"].detach()
    torch.testing.assert_close(after.norm(dim=1), torch.ones(40))
    assert not torch.allclose(before, after, atol=1e-3)


def test_jumprelu_starts_with_the_threshold_of_its_warm_up():
    state, data = small_state(activation="jumprelu", warmup=0.02)  # two steps
    first = state.params["log_threshold"].detach().clone()
    for seed in range(2):
        take_step(state, batch_of(data, seed))
    batch = batch_of(data, 1)
    assert state.counters.threshold > 0
    threshold = state.counters.threshold
    torch.testing.assert_close(state.params["log_threshold"].detach(), first)
    take_step(state, batch)
    moved = state.params["log_threshold"].detach().exp() / threshold
    assert (moved - 1).abs().max() < 0.02  # one step of Adam away
    assert state.counters.threshold == 0.0
