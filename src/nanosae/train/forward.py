"""The forward pass: which entries of x · W_enc + b_enc are kept, and what is minimised on them."""

from __future__ import annotations

import torch
from torch import Tensor

from nanosae.kernels import Pairs, encoder_precision
from nanosae.kernels.batchtopk import initial_threshold
from nanosae.train import schedule
from nanosae.train.state import TrainingState
from nanosae.trainable import objectives
from nanosae.trainable.batch import DenseBatch, SparseBatch
from nanosae.trainable.initial import wide_selection
from nanosae.trainable.nesting import Nesting
from nanosae.trainable.objectives import Losses

DENSE_SHARE = 0.08  # share of active entries above which dense tiles are faster


def sparse_losses(
    state: TrainingState, rows: Tensor, n_elements: int, nesting: Nesting | None = None
) -> tuple[Losses, SparseBatch, float]:
    """Return the losses of rows, the pairs kept of them, and the threshold that `select` returns.

    Args:
        state: The parameters.
        rows: (rows, input_size), a transcoder's with its targets.
        n_elements: What sums are divided by: rows of the whole step × output_size.
        nesting: What a step of a nested training keeps; None for k and the whole dictionary.
    """
    x, target = state.inputs_and_targets(rows)
    pairs, threshold = select(state, x, nesting)
    batch = SparseBatch(state, x, target, n_elements, pairs)
    if nesting is not None:
        return objectives.nested(batch, nesting.prefix), batch, threshold
    return _losses(state, batch), batch, threshold


def dense_losses(
    state: TrainingState, rows: Tensor, n_elements: int
) -> tuple[Losses, DenseBatch]:
    """Return the losses of rows by the full matrix of pre-activations."""
    x, target = state.inputs_and_targets(rows)
    batch = DenseBatch(state, x, target, n_elements)
    return _losses(state, batch), batch


def _losses(state: TrainingState, batch: SparseBatch | DenseBatch) -> Losses:
    """Return what the configured activation minimises on a batch."""
    config, counters, params = state.config, state.counters, state.params
    coefficient = schedule.sparsity_coefficient(config, counters)
    if config.activation == "gated":
        return objectives.gated(batch, params, coefficient)
    if config.activation == "relu":
        return objectives.relu(batch, params, coefficient)
    assert isinstance(batch, SparseBatch)
    if config.matryoshka is not None:
        return objectives.matryoshka(batch)
    if schedule.selects_by_order(config, counters):
        return objectives.topk(batch, params)
    penalty = config.jumprelu_penalty
    return objectives.jumprelu(batch, params, coefficient, counters.window, penalty)


@torch.no_grad()
def select(
    state: TrainingState, x: Tensor, nesting: Nesting | None = None
) -> tuple[Pairs, float]:
    """Keep the entries that the objective needs.

    Args:
        state: The weights.
        x: (rows, input_size).
        nesting: Which says how many, if not k.

    Returns:
        The kept pairs, and the smallest value that a selection by order kept; 0 if unknown.
    """
    config, counters = state.config, state.counters
    k = config.expected_l0 if nesting is None else nesting.k
    with encoder_precision(config.precision):
        if config.activation == "topk":
            return _topk(state, x, k)
        if schedule.selects_by_order(config, counters):
            return _batchtopk(state, x, k)
        return _above(state, x)


def is_dense(state: TrainingState) -> bool:
    """Tell from counters alone whether the next step works on dense tiles."""
    if state.config.activation not in ("relu", "gated"):
        return False
    return state.counters.l0 > DENSE_SHARE * state.n_latents


def _topk(state: TrainingState, x: Tensor, k: int) -> tuple[Pairs, float]:
    weight, bias = _encoder(state)
    return state.ranks.select_topk(state.kernels, x, weight, bias, k), 0.0


def _batchtopk(state: TrainingState, x: Tensor, k: int) -> tuple[Pairs, float]:
    weight, bias = _encoder(state)
    if state.defers_reading:  # the host knows no threshold
        pairs = state.kernels.select_batchtopk(x, weight, bias, k * len(x))
        return pairs, 0.0
    if not state.config.keeps_exactly_k:
        k = wide_selection(state.config)
    first = initial_threshold(state.thresholds, k)
    pairs, threshold = state.ranks.select_batchtopk(
        state.kernels, x, weight, bias, k, first
    )
    state.thresholds[k] = threshold
    return pairs, threshold


def _above(state: TrainingState, x: Tensor) -> tuple[Pairs, float]:
    weight, bias = _encoder(state)
    threshold = torch.zeros_like(bias)
    if state.config.activation == "jumprelu":
        theta = state.params["log_threshold"].detach().exp()
        threshold = theta - state.counters.window / 2
    return state.kernels.select_above(x, weight, bias, threshold), 0.0


def _encoder(state: TrainingState) -> tuple[Tensor, Tensor]:
    return state.params["W_enc"].detach(), state.encoder_bias.detach()
