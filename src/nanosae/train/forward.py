"""The forward pass: which entries of x · W_enc + b_enc are kept, and the losses on them."""

from __future__ import annotations

import torch
from torch import Tensor

from nanosae.kernels import Pairs, encoder_precision
from nanosae.train import schedule
from nanosae.train.state import TrainingState
from nanosae.trainable import objectives
from nanosae.trainable.batch import DenseBatch, SparseBatch
from nanosae.trainable.initial import inputs_and_targets, wide_selection
from nanosae.trainable.nesting import Nesting
from nanosae.trainable.objectives import Losses

DENSE_SHARE = 0.08  # share of active entries above which dense tiles are faster


def sparse_losses(
    state: TrainingState, rows: Tensor, n_elements: int, nesting: Nesting | None = None
) -> tuple[Losses, SparseBatch, float]:
    """Return the losses on the kept pairs, the batch of these, and the threshold of `select`.

    Args:
        state: The parameters.
        rows: (rows, input_size); the targets of a transcoder follow in further columns.
        n_elements: Divisor of all sums: rows of the whole step × output_size.
        nesting: The k and prefix of a nested step; None for k and the whole dictionary.
    """
    x, target = inputs_and_targets(rows, state.input_size)
    pairs, threshold = select(state, x, nesting)
    batch = SparseBatch(state, x, target, n_elements, pairs)
    if nesting is not None:
        return objectives.nested(batch, nesting.prefix), batch, threshold
    return _losses(state, batch), batch, threshold


def dense_losses(
    state: TrainingState, rows: Tensor, n_elements: int
) -> tuple[Losses, DenseBatch]:
    """Return the losses computed from the full matrix of pre-activations, and its batch."""
    x, target = inputs_and_targets(rows, state.input_size)
    batch = DenseBatch(state, x, target, n_elements)
    return _losses(state, batch), batch


def _losses(state: TrainingState, batch: SparseBatch | DenseBatch) -> Losses:
    """Return the losses of the configured activation."""
    config, counters = state.config, state.counters
    coefficient = schedule.sparsity_coefficient(config, counters)
    if config.activation == "gated":
        return objectives.gated(batch, coefficient)
    if config.activation == "relu":
        return objectives.relu(batch, coefficient)
    assert isinstance(batch, SparseBatch)
    if config.matryoshka is not None:
        return objectives.matryoshka(batch)
    if schedule.selects_topk(config, counters):
        return objectives.topk(batch)
    penalty = config.jumprelu_penalty
    return objectives.jumprelu(batch, coefficient, counters.window, penalty)


@torch.no_grad()
def select(
    state: TrainingState, x: Tensor, nesting: Nesting | None = None
) -> tuple[Pairs, float]:
    """Keep the entries that the losses need.

    Args:
        state: The parameters.
        x: (rows, input_size).
        nesting: Replaces k by its own.

    Returns:
        The kept pairs, and the smallest value that a top-k selection kept; 0 if unknown.
    """
    config, counters = state.config, state.counters
    k = config.expected_l0 if nesting is None else nesting.k
    with encoder_precision(config.precision):
        if config.activation == "topk":
            return _select_topk(state, x, k)
        if schedule.selects_topk(config, counters):
            return _select_batchtopk(state, x, k)
        return _select_above(state, x)


def is_dense(state: TrainingState) -> bool:
    """Return whether the next step computes all pre-activations; decided by counters alone."""
    if state.config.activation not in ("relu", "gated"):
        return False
    return state.counters.l0 > DENSE_SHARE * state.config.hidden_size


def _select_topk(state: TrainingState, x: Tensor, k: int) -> tuple[Pairs, float]:
    weight, bias = _encoder(state)
    return state.ranks.select_topk(state.kernels, x, weight, bias, k), 0.0


def _select_batchtopk(state: TrainingState, x: Tensor, k: int) -> tuple[Pairs, float]:
    weight, bias = _encoder(state)
    if state.defers_reading:  # the threshold stays on the device
        pairs = state.kernels.select_batchtopk(x, weight, bias, k * len(x))
        return pairs, 0.0
    if not state.config.keeps_exactly_k:
        k = wide_selection(state.config)
    pairs, threshold = state.ranks.select_batchtopk(
        state.kernels, x, weight, bias, k, state.thresholds
    )
    state.thresholds[k] = threshold
    return pairs, threshold


def _select_above(state: TrainingState, x: Tensor) -> tuple[Pairs, float]:
    weight, bias = _encoder(state)
    threshold = torch.zeros_like(bias)
    if state.config.activation == "jumprelu":
        theta = state.params["log_threshold"].detach().exp()
        threshold = theta - state.counters.window / 2
    return state.kernels.select_above(x, weight, bias, threshold), 0.0


def _encoder(state: TrainingState) -> tuple[Tensor, Tensor]:
    return state.params["W_enc"].detach(), state.encoder_bias.detach()
