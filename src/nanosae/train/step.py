"""One optimiser step: select pairs, losses, backward, clip, Adam, unit-norm decoder, counters.

Ranks that train one SAE together differ from a single process only in what `ranks` sums and
gathers.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nanosae.kernels import reset_gradients
from nanosae.train import metrics, schedule
from nanosae.train.forward import dense_losses, is_dense, sparse_losses
from nanosae.train.state import Tensors, TrainingState, add_to
from nanosae.trainable.auxk import auxk
from nanosae.trainable.batch import Batch
from nanosae.trainable.nesting import draw_nesting
from nanosae.trainable.noise import with_noise

DENSE_TILE = 2**23  # pre-activations of a dense micro-batch
MIN_DENSE_ROWS = 256


def take_step(state: TrainingState, batch: Tensor) -> None:
    """Take one optimiser step.

    Args:
        state: What the step reads and changes.
        batch: Centred and scaled rows, (batch_size, input_size), the same on every rank; the
            targets of a transcoder follow in further columns.

    Raises:
        DivergedError: If the loss is not finite; the weights are unchanged.
    """
    config, counters, ranks = state.config, state.counters, state.ranks
    n_rows = len(batch)
    state.optimizer.lr = schedule.learning_rate(config, counters)
    _initialise_thresholds(state)
    dense = is_dense(state)
    _reset_gradients(state, dense)
    noisy = with_noise(config, batch, state.input_size, counters.step)
    active_rows, sums = _accumulate_gradients(state, noisy, dense)
    sums["l0"] = active_rows.sum() / n_rows
    measured = metrics.measure_step(state, sums)
    ranks.sum_over_rows(active_rows)
    _clip_gradients(state)
    state.optimizer.step()
    state.normalise_decoder()
    state.silent_rows += n_rows
    state.silent_rows.masked_fill_(active_rows > 0, 0)
    counters.step += 1
    counters.rows += n_rows
    if measured is not None:
        state.record(measured)
        schedule.steer_coefficient(config, counters)
        schedule.steer_window(config, counters, measured["kept"] / n_rows)
    elif counters.step % config.log_every == 0:
        state.read_deferred()


def _initialise_thresholds(state: TrainingState) -> None:
    """Initialise jumprelu's thresholds after the warm-up, from the last top-k selection."""
    counters = state.counters
    if state.is_fine_tuned or counters.threshold == 0:
        return
    if not schedule.selects_topk(state.config, counters):
        log_threshold = math.log(counters.threshold)
        state.params["log_threshold"].data.fill_(log_threshold)
        counters.threshold = 0.0


def _reset_gradients(state: TrainingState, dense: bool) -> None:
    """Clear all gradients; keep the buffers that the sparse kernels write into."""
    reused = [] if dense else ["W_enc", "W_dec"]
    for name, param in state.params.items():
        if name not in reused:
            param.grad = None
    reset_gradients(state.params[name] for name in reused)


def _accumulate_gradients(
    state: TrainingState, batch: Tensor, dense: bool
) -> tuple[Tensor, Tensors]:
    """Accumulate gradients over the micro-batches.

    Returns:
        How many rows each latent is active on, (n_latents,), and the parts of the loss, with
        `squares`, the mean square of the targets, and `kept`, the number of pairs.
    """
    active_rows = torch.zeros_like(state.silent_rows)
    sums: Tensors = {}
    n_elements = len(batch) * state.output_size
    backward = _backward_dense if dense else _backward_sparse
    for micro_batch in batch.split(_micro_batch_size(state, len(batch), dense)):
        parts = backward(
            state, state.ranks.own_rows(micro_batch), n_elements, active_rows
        )
        add_to(sums, parts)
    return active_rows, sums


def _micro_batch_size(state: TrainingState, n_rows: int, dense: bool) -> int:
    size = math.ceil(n_rows / state.config.accumulate)
    if not dense:
        return size
    return min(size, max(MIN_DENSE_ROWS, DENSE_TILE // state.config.hidden_size))


def _backward_sparse(
    state: TrainingState, rows: Tensor, n_elements: int, active_rows: Tensor
) -> Tensors:
    """Backpropagate the losses of some rows at their kept pairs; return the losses."""
    nesting = draw_nesting(state.config, state.counters.step)
    loss, batch, threshold = sparse_losses(state, rows, n_elements, nesting)
    if schedule.selects_topk(state.config, state.counters):
        state.counters.threshold = threshold
    is_active = loss.acts.detach() > 0
    active_rows.scatter_add_(0, batch.cols, is_active.long())
    dead = state.dead if state.defers_reading else state.find_dead()
    revived = state.silent_rows[dead] <= state.config.dead_after
    recon = loss.recon.detach()
    parts = loss.parts | auxk(state, batch.x, batch.target, recon, dead, revived)
    n_kept = batch.pairs.row_ptr[-1]
    return _backward(parts, batch, n_kept)


def _backward_dense(
    state: TrainingState, rows: Tensor, n_elements: int, active_rows: Tensor
) -> Tensors:
    """Backpropagate the losses of some rows on the full matrix of pre-activations."""
    loss, batch = dense_losses(state, rows, n_elements)
    is_active = loss.acts > 0
    active_rows += is_active.sum(0)
    return _backward(loss.parts, batch, is_active.sum())


def _backward(parts: Tensors, batch: Batch, n_kept: Tensor) -> Tensors:
    loss = torch.stack(list(parts.values())).sum()
    loss.backward()
    sums = {name: value.detach() for name, value in parts.items()}
    sums["kept"] = n_kept.to(batch.x.dtype)
    sums["squares"] = batch.target_squares()
    return sums


def _clip_gradients(state: TrainingState) -> None:
    """Scale all gradients down if their global norm exceeds `clip`."""
    norm, limit = state.gradient_norm(), state.config.clip
    if state.optimizer.fused:
        state.optimizer.grad_scale = ((norm + 1e-6) / limit).clamp_min(1.0)
    elif norm > limit:
        torch.nn.utils.clip_grads_with_norm_(state.params.values(), limit, norm)
