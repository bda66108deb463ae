"""Schedules of learning rate, sparsity coefficient and jumprelu's window; when training ends.

All are functions of the settings and the counters; only `steer_…` and `note_evaluation` change the
counters.
"""

from __future__ import annotations

import math

from nanosae.config import ResolvedConfig
from nanosae.train.state import Counters
from nanosae.trainable.initial import WIDE

INTEGRAL_GAIN, PROPORTIONAL_GAIN = 0.02, 0.5  # of the controller that steers L0 to k
LOG_COEFFICIENT_RANGE = -16.0, 2.0
WINDOW_GAIN = 0.1
WINDOW_RANGE = 1e-3, 4.0
CANDIDATE_ERROR = 0.05  # largest |log(held-out L0 ÷ k)| of weights that may be the best


def is_warming_up(config: ResolvedConfig, counters: Counters) -> bool:
    """Return whether the next step is part of the warm-up."""
    return counters.step < config.warmup * config.steps


def selects_topk(config: ResolvedConfig, counters: Counters) -> bool:
    """Return whether the next step keeps the largest entries, not those above a threshold.

    During the warm-up, jumprelu does so too; its initial thresholds come from this selection.
    """
    if config.activation == "jumprelu" and config.k is not None:
        return is_warming_up(config, counters)
    return config.keeps_exactly_k


def last_step(config: ResolvedConfig, counters: Counters) -> int:
    """Return the last step, such that the decay takes its share of all steps."""
    return max(1, round(counters.decay_start / (1 - config.decay)))


def learning_rate(config: ResolvedConfig, counters: Counters) -> float:
    """Return the learning rate of the next step: linear warm-up, constant, linear decay to zero."""
    end = last_step(config, counters)
    warmup_steps = max(1, config.warmup * config.steps)
    rise = (counters.step + 1) / warmup_steps
    decay_steps = max(1, end - counters.decay_start)
    fall = (end - counters.step) / decay_steps
    return config.lr * min(1.0, rise, fall)


def sparsity_coefficient(config: ResolvedConfig, counters: Counters) -> float:
    """Return the coefficient of the sparsity penalty in the next step."""
    warmup_steps = max(1, config.warmup * config.steps)
    rise = counters.step / warmup_steps
    log_coefficient = counters.log_coefficient + PROPORTIONAL_GAIN * counters.l0_error
    return math.exp(log_coefficient) * min(1.0, rise)


def steer_coefficient(config: ResolvedConfig, counters: Counters) -> None:
    """Adjust the sparsity coefficient so that held-out L0 approaches k."""
    if config.k is None or selects_topk(config, counters):
        return
    error = log_ratio(counters.l0, config.k) + counters.heldout_excess
    counters.l0_error = _clamp(error, -1.0, 1.0)
    log_coefficient = counters.log_coefficient + INTEGRAL_GAIN * counters.l0_error
    counters.log_coefficient = _clamp(log_coefficient, *LOG_COEFFICIENT_RANGE)


def steer_window(
    config: ResolvedConfig, counters: Counters, kept_per_row: float
) -> None:
    """Adjust jumprelu's window so that it holds three inactive pairs for each active one.

    Args:
        config: The settings.
        counters: The counters after the step.
        kept_per_row: Pairs per row in the window or above it.
    """
    if config.activation != "jumprelu" or selects_topk(config, counters):
        return
    n_active = config.k
    if n_active is None:
        n_active = counters.l0 + 1
    n_inactive = max(0.0, kept_per_row - counters.l0)
    n_wanted = (WIDE - 1) * n_active
    error = _clamp(math.log(n_wanted / (n_inactive + 1)), -1.0, 1.0)
    window = counters.window * math.exp(WINDOW_GAIN * error)
    counters.window = _clamp(window, *WINDOW_RANGE)


def note_evaluation(
    config: ResolvedConfig, counters: Counters, l0: float, fvu: float, loss: float
) -> bool:
    """Record held-out measures in the counters; return whether the weights are the best so far.

    If training has no fixed end, the decay starts after `patience` evaluations without a new best.
    """
    # held-out rows have more active entries than rows that the weights were fitted to
    excess = log_ratio(l0, max(counters.l0, 0.01))
    counters.heldout_excess += 0.5 * (excess - counters.heldout_excess)
    score = loss if config.k is None else fvu
    is_best = False
    if _is_candidate(config, counters, l0):
        is_best = score < counters.best_score
        counters.evaluations_since_best += 1
    if is_best:
        counters.best_score = score
        counters.best_step = counters.step
        counters.evaluations_since_best = 0
    if config.stops_early and counters.evaluations_since_best >= config.patience:
        counters.decay_start = min(counters.decay_start, counters.step)
    return is_best


def _is_candidate(config: ResolvedConfig, counters: Counters, l0: float) -> bool:
    """Return whether the weights are sparse enough to become the best."""
    if config.keeps_exactly_k:
        return True
    if config.k is None:  # the penalty has its full weight after the warm-up
        return not is_warming_up(config, counters)
    return abs(log_ratio(l0, config.k)) <= CANDIDATE_ERROR


def log_ratio(l0: float, target: float) -> float:
    """Return log(l0 ÷ target), finite even if no latent is active."""
    return math.log(max(l0, 0.01) / target)


def _clamp(value: float, low: float, high: float) -> float:
    return max(low, min(high, value))
