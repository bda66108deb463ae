"""Schedules: learning rate, sparsity coefficient, jumprelu's window and the end, by hand."""

import math

import pytest

from nanosae import TrainConfig
from nanosae.train import schedule
from nanosae.train.state import Counters


def made(step=50, l0=8.0, **fields):
    settings = {
        "hidden_size": 64,
        "k": 8,
        "steps": 100,
        "lr": 0.01,
        "activation": "relu",
    }
    config = TrainConfig(**settings | fields).resolved(1000, 16)
    counters = Counters(
        decay_start=100 * (1 - config.decay), log_coefficient=-3.0, l0=l0
    )
    counters.step = step
    return config, counters


@pytest.mark.parametrize(
    ("step", "share"),
    [
        (0, 1 / 10),
        (4, 5 / 10),
        (9, 1),
        (10, 1),
        (80, 1),
        (90, 10 / 20),
        (99, 1 / 20),
        (100, 0),
    ],
)
def test_the_learning_rate_rises_stays_and_falls_to_zero(step, share):
    config, counters = made(step, warmup=0.1, decay=0.2)
    assert schedule.learning_rate(config, counters) == pytest.approx(0.01 * share)


def test_an_earlier_decay_takes_the_same_share_of_a_shorter_run():
    config, counters = made(warmup=0.1, decay=0.2)
    counters.decay_start = 40
    assert schedule.last_step(config, counters) == 50
    counters.step = 45
    assert schedule.learning_rate(config, counters) == pytest.approx(0.01 * 0.5)


def test_the_coefficient_rises_in_the_warm_up():
    for step, share in ((0, 0), (5, 0.5), (10, 1), (60, 1)):
        config, counters = made(step, warmup=0.1)
        want = share * math.exp(-3)
        assert schedule.sparsity_coefficient(config, counters) == pytest.approx(want)


def test_a_constant_coefficient_is_not_steered():
    config, counters = made(k=None, l1_coefficient=0.1, l0=30.0)
    schedule.steer_coefficient(config, counters)
    assert (counters.log_coefficient, counters.l0_error) == (-3.0, 0.0)


@pytest.mark.parametrize(
    ("l0", "excess", "error"),
    [
        (8.0, 0.0, 0.0),
        (12.0, 0.0, math.log(1.5)),
        (6.0, 0.0, math.log(0.75)),
        (8.0, 0.2, 0.2),  # held-out rows have more active entries
        (12.0, -0.1, math.log(1.5) - 0.1),
        (800.0, 0.0, 1.0),  # clamped
        (0.0, 0.0, -1.0),
    ],
)
def test_the_controller_adds_up_the_error_and_answers_it_at_once(l0, excess, error):
    config, counters = made(l0=l0)
    counters.heldout_excess = excess
    schedule.steer_coefficient(config, counters)
    assert counters.l0_error == pytest.approx(error)
    assert counters.log_coefficient == pytest.approx(-3 + 0.02 * error)
    coefficient = schedule.sparsity_coefficient(config, counters)
    assert coefficient == pytest.approx(math.exp(-3 + 0.02 * error + 0.5 * error))


def test_the_coefficient_has_bounds():
    for start, l0, bound in ((1.99, 800.0, 2.0), (-15.99, 0.0, -16.0)):
        config, counters = made(l0=l0)
        counters.log_coefficient = start
        schedule.steer_coefficient(config, counters)
        assert counters.log_coefficient == bound


@pytest.mark.parametrize(
    ("kept", "error"),
    [(8 + 23, 0.0), (8 + 11, math.log(2)), (8, 1.0), (8 + 500, -1.0)],
)
def test_the_window_holds_three_inactive_pairs_for_each_of_k(kept, error):
    config, counters = made(activation="jumprelu", l0=8.0)
    schedule.steer_window(config, counters, kept)
    assert counters.window == pytest.approx(0.1 * math.exp(0.1 * error))


def test_the_window_without_a_target_follows_the_active_pairs():
    config, counters = made(activation="jumprelu", k=None, l1_coefficient=0.1, l0=5.0)
    schedule.steer_window(config, counters, 5 + 17)
    assert counters.window == pytest.approx(0.1)  # 3 · (5 + 1) = 17 + 1


@pytest.mark.parametrize("activation", ["relu", "topk"])
def test_other_activations_have_no_window(activation):
    config, counters = made(activation=activation)
    schedule.steer_window(config, counters, 500)
    assert counters.window == 0.1


def evaluations(l0s, fvus, losses=None, **fields):
    """Which of a series of evaluations counted as the best so far, and the counters."""
    config, counters = made(**fields)
    best = []
    for l0, fvu, loss in zip(l0s, fvus, losses or fvus, strict=True):
        best.append(schedule.note_evaluation(config, counters, l0, fvu, loss))
        counters.step += 1
    return best, counters


def test_weights_are_candidates_within_five_per_cent_of_k():
    l0s = [8.5, 8.39, 7.61, 7.5, 8.0]
    best, counters = evaluations(l0s, [0.1, 0.5, 0.4, 0.1, 0.3])
    assert best == [False, True, True, False, True]
    assert (counters.best_score, counters.best_step) == (0.3, 54)


def test_topk_is_always_a_candidate():
    best, _ = evaluations([3.0, 7.0], [0.5, 0.4], activation="topk")
    assert best == [True, True]


def test_without_a_target_the_loss_decides_once_the_penalty_has_its_weight():
    fields = {"k": None, "l1_coefficient": 0.1, "warmup": 0.52}
    best, counters = evaluations(
        [8.0] * 4, [0.1, 0.1, 0.9, 0.1], [1.0, 1.0, 2.0, 3.0], **fields
    )
    assert best == [False, False, True, False]
    assert counters.best_score == 2.0


def test_a_score_that_is_not_a_number_is_never_the_best():
    best, counters = evaluations([8.0, 8.0], [math.nan, math.inf])
    assert best == [False, False]
    assert counters.evaluations_since_best == 2


def test_the_held_out_excess_is_smoothed():
    _, counters = evaluations([16.0], [0.5])
    assert counters.heldout_excess == pytest.approx(0.5 * math.log(2))
    _, counters = evaluations([16.0, 16.0], [0.5, 0.5])
    assert counters.heldout_excess == pytest.approx(0.75 * math.log(2))


@pytest.mark.parametrize("stops_early", [True, False])
def test_the_decay_starts_when_patience_ends(stops_early):
    steps = {"steps": None} if stops_early else {}
    config, counters = made(patience=2, **steps)
    counters.decay_start = 80.0
    for fvu in (0.5, 0.6, 0.4, 0.4):
        schedule.note_evaluation(config, counters, 8.0, fvu, fvu)
    assert counters.decay_start == 80.0
    schedule.note_evaluation(config, counters, 8.0, 0.7, 0.7)
    assert counters.decay_start == (50 if stops_early else 80.0)


def test_jumprelu_selects_topk_until_the_warm_up_ends():
    for step, by_order in ((0, True), (9, True), (10, False)):
        config, counters = made(step, activation="jumprelu", warmup=0.1)
        assert schedule.selects_topk(config, counters) is by_order
    config, counters = made(
        0, activation="jumprelu", k=None, l1_coefficient=0.1, warmup=0.1
    )
    assert not schedule.selects_topk(config, counters)
