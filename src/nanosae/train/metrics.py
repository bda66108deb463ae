"""Metrics of each step and of the held-out rows, and snapshots of the weights."""

from __future__ import annotations

import math

import numpy as np
import torch

from nanosae.model.snapshots import snapshot
from nanosae.train import schedule
from nanosae.train.forward import sparse_losses
from nanosae.train.state import Numbers, Tensors, TrainingState, add_to

BLOCK_ROWS = 4096
SNAPSHOT_ROWS = 2048
SNAPSHOT_ACTS = 65_536
SUMS_OVER_LATENTS = ("sparsity", "pre_act", "kept", "l0")


def measure_step(state: TrainingState, sums: Tensors) -> Numbers | None:
    """Return a step's metrics, or None if they stay on the device until later.

    Raises:
        DivergedError: If the loss is not finite.
    """
    if state.defers_reading:
        _defer(state, sums)
        return None
    measured = sum_over_ranks(state, sums)
    state.raise_if_diverged(measured)
    return measured | {"steps": 1}


def sum_over_ranks(state: TrainingState, sums: Tensors) -> Numbers:
    """Add up what each rank has summed over its rows or latents."""
    ranks = state.ranks
    precise = [value.to(state.sum_dtype) for value in sums.values()]
    values = torch.stack(precise)
    if ranks.size > 1:
        parts = SUMS_OVER_LATENTS if ranks.divides_latents else sums
        # the first rank tells what all have computed, so that no rounding parts their decisions
        counts = [ranks.rank == 0 or name in parts for name in sums]
        is_counted = torch.tensor(counts, device=state.device)
        values = ranks.sum(values.where(is_counted, 0.0))
    return dict(zip(sums, values.tolist(), strict=True))


def metrics_line(state: TrainingState) -> Numbers:
    """Return the mean metrics since the last line, and reset their sums."""
    state.read_deferred()
    config, counters = state.config, state.counters
    n_steps = max(1, counters.sums.pop("steps", 0))
    means = {name: value / n_steps for name, value in counters.sums.items()}
    counters.sums = {}
    squares = max(1e-12, means.pop("squares", 1.0))  # a single row is zero once centred
    l0 = means.pop("l0", counters.l0)
    parts = means  # of the loss: nothing else is left
    is_dead = state.silent_rows > config.dead_after
    coefficient = 0.0
    if not config.keeps_exactly_k:
        coefficient = schedule.sparsity_coefficient(config, counters)
    return {
        "step": counters.step,
        "rows": counters.rows,
        "loss": sum(parts.values()),
        "parts": parts,
        "fvu": parts.get("mse", math.nan) / squares,
        "l0": l0,
        "dead": float(is_dead.to(state.sum_dtype).mean()),
        "lr": state.optimizer.lr,
        "coefficient": coefficient,
        "steps_planned": schedule.last_step(config, counters),
    }


def _defer(state: TrainingState, sums: Tensors) -> None:
    """Leave a step's metrics on the device; skip the update if any is not finite."""
    total = torch.stack(list(sums.values())).sum()
    is_finite = total.isfinite()
    state.optimizer.found_inf = (~is_finite).float()
    counted = sums | {"steps": is_finite}
    precise = {name: value.to(state.sum_dtype) for name, value in counted.items()}
    add_to(state.unread, precise)


@torch.no_grad()
def evaluate(state: TrainingState) -> Numbers:
    """Measure the held-out rows; keep the weights if they are the best so far."""
    state.read_deferred()
    n_rows = len(state.heldout)
    n_elements = n_rows * state.output_size
    sums: Tensors = {}
    for block in state.heldout.split(BLOCK_ROWS):
        rows = state.ranks.own_rows(block.to(state.device))
        loss, batch, _ = sparse_losses(state, rows, n_elements)
        parts = dict(loss.parts)
        n_active = (loss.acts > 0).sum()
        parts["l0"] = n_active / n_rows
        parts["squares"] = batch.target_squares()
        add_to(sums, parts)
    measured = sum_over_ranks(state, sums)
    l0 = measured.pop("l0")
    squares = max(1e-12, measured.pop("squares"))
    fvu = measured["mse"] / squares
    loss = sum(measured.values())
    if schedule.note_evaluation(state.config, state.counters, l0, fvu, loss):
        state.keep_as_best()
    return {"heldout_fvu": fvu, "heldout_l0": l0}


@torch.no_grad()
def take_snapshot(state: TrainingState) -> dict[str, np.ndarray]:
    """Return histograms of this rank's weights and of activations of held-out rows."""
    stride = len(state.heldout) // SNAPSHOT_ROWS + 1
    rows = state.heldout[::stride].to(state.device)
    n_elements = len(rows) * state.output_size
    loss, batch, _ = sparse_losses(state, rows, n_elements)
    is_active = loss.acts > 0
    active_rows = torch.bincount(batch.cols[is_active], minlength=state.n_latents)
    return snapshot(
        encoder=state.params["W_enc"],
        decoder=state.params["W_dec"],
        density=active_rows / len(rows),
        acts=loss.acts[is_active][:SNAPSHOT_ACTS],
        targets=batch.target,
    )
