"""The losses that each activation minimises, as functions of the kept pre-activations.

Rows are centred and scaled to mean square 1. Decoder rows have unit norm (each step projects them),
so Σ f‖W_dec‖ is Σ f. All losses are per element: sums are divided by `n_elements`, the rows of the
step × output_size.

They are: reconstruction; L1 (Anthropic, April 2024); gates (Rajamanoharan et al. 2024); JumpReLU
with tanh and pre-activation loss (Anthropic, January 2025) or straight-through L0 (Rajamanoharan et
al. 2024b); Matryoshka prefixes (Bussmann et al. 2025), fixed or random (`nesting`). AuxK, which
makes a selection of its own, is in `auxk`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from nanosae.kernels.jump import jump
from nanosae.kernels.squares import squared_error
from nanosae.trainable.batch import DenseBatch, SparseBatch

L1_UNIT = 12.0  # the constant c of TrainConfig.l1_coefficient
TANH_SCALE = 4.0  # Anthropic, January 2025
PRE_ACT_COEFFICIENT = 3e-6  # also theirs, for a loss that is summed over elements
PREFIX_ROW_DIVISOR = 4  # one row in so many is reconstructed from a prefix
AnyBatch = SparseBatch | DenseBatch


class Losses(NamedTuple):
    """Parts of the loss by name, the activations, and the reconstruction."""

    parts: dict[str, Tensor]
    acts: Tensor
    recon: Tensor


def topk(batch: AnyBatch) -> Losses:
    """Return the reconstruction loss of a top-k selection."""
    params = batch.sae.params
    acts = torch.relu(batch.pre_acts)
    recon = batch.decode(acts, params["W_dec"], params["b_dec"])
    return Losses({"mse": _squared_error(recon, batch)}, acts, recon)


def matryoshka(batch: SparseBatch) -> Losses:
    """Return the mean reconstruction loss of the prefixes; `recon` uses the whole dictionary."""
    acts = torch.relu(batch.pre_acts)
    recons = batch.decode_prefixes(acts)
    errors = [_squared_error(recon, batch) for recon in recons]
    return Losses({"mse": torch.stack(errors).mean()}, acts, recons[-1])


def nested(batch: SparseBatch, prefix: int) -> Losses:
    """Return the losses of `topk` plus the reconstruction loss of the first `prefix` latents alone.

    The latter is estimated from one row in `PREFIX_ROW_DIVISOR`.
    """
    loss = topk(batch)
    ranks = batch.sae.ranks
    n_rows, weight = ranks.first_rows(batch.target, PREFIX_ROW_DIVISOR)
    recon = batch.decode_prefix(loss.acts, prefix, n_rows)
    squares = squared_error(recon, batch.target[:n_rows])
    loss.parts["prefix"] = weight * squares / batch.n_elements
    return loss


def relu(batch: AnyBatch, coefficient: float) -> Losses:
    """Return reconstruction loss and L1 penalty: coefficient × L1_UNIT × mean over rows of Σ f."""
    loss = topk(batch)
    loss.parts["sparsity"] = _penalty(loss.acts, batch, coefficient)
    return loss


def gated(batch: AnyBatch, coefficient: float) -> Losses:
    """Return the losses of gates z > 0 with magnitude relu(π·e^r_mag + b_mag), π = z − b_gate.

    The penalty is on relu(z), which also reconstructs the target through a frozen decoder.
    """
    params = batch.sae.params
    z = batch.pre_acts
    pi = z - batch.per_pair(params["b_gate"])
    gain = batch.per_pair(params["r_mag"].exp())
    magnitude = torch.relu(pi * gain + batch.per_pair(params["b_mag"]))
    acts = magnitude * (z > 0)
    recon = batch.decode(acts, params["W_dec"], params["b_dec"])
    gate = torch.relu(z)
    gate_recon = batch.decode(gate, params["W_dec"].detach(), params["b_dec"].detach())
    parts = {
        "mse": _squared_error(recon, batch),
        "gate": _squared_error(gate_recon, batch),
        "sparsity": _penalty(gate, batch, coefficient),
    }
    return Losses(parts, acts, recon)


def jumprelu(
    batch: SparseBatch, coefficient: float, width: float, penalty: str
) -> Losses:
    """Return the losses of z·H(z − θ), where the jump H has a gradient in a window around θ.

    The gradient reaches both θ and z (Anthropic, January 2025).

    Args:
        batch: At least the entries with z > θ − width / 2.
        coefficient: Weight of the sparsity penalty, in units of `l1_coefficient`.
        width: Width of the window.
        penalty: "l0" penalises the number of active entries; "tanh" penalises tanh(4 f) and,
            weakly, the distance of all inactive pre-activations from θ.
    """
    params = batch.sae.params
    z = batch.pre_acts
    theta = params["log_threshold"].exp()
    threshold = batch.per_pair(theta)
    is_active = jump(z, threshold, width)
    # z where it is above θ; in the gradient, a jump from 0 to θ there
    jump_gradient = threshold.detach() * (is_active - is_active.detach())
    acts = z * (z > threshold) + jump_gradient
    recon = batch.decode(acts, params["W_dec"], params["b_dec"])
    parts = {"mse": _squared_error(recon, batch)}
    if penalty == "l0":
        parts["sparsity"] = _penalty(is_active, batch, coefficient)
    else:
        parts["sparsity"] = _penalty(torch.tanh(TANH_SCALE * acts), batch, coefficient)
        parts["pre_act"] = _pre_act_loss(batch, theta, threshold)
    return Losses(parts, acts, recon)


def _pre_act_loss(batch: SparseBatch, theta: Tensor, threshold: Tensor) -> Tensor:
    """Return Σ (θ − z) over the inactive entries: that over all entries less the active ones."""
    z = batch.pre_acts
    everywhere = (len(batch.target) * theta - batch.pre_act_sums()).sum()
    active = ((threshold - z) * (z > threshold)).sum()
    return PRE_ACT_COEFFICIENT / batch.n_elements * (everywhere - active)


def _squared_error(recon: Tensor, batch: AnyBatch) -> Tensor:
    return squared_error(recon, batch.target) / batch.n_elements


def _penalty(values: Tensor, batch: AnyBatch, coefficient: float) -> Tensor:
    """Return coefficient × L1_UNIT × the mean over rows of Σ values."""
    output_size = batch.target.shape[1]
    return coefficient * L1_UNIT * output_size / batch.n_elements * values.sum()
