"""AuxK: dead latents learn to reconstruct the residual of the others (Gao et al. 2024, A.2)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nanosae.kernels.squares import squared_error
from nanosae.trainable.batch import SparseBatch
from nanosae.trainable.sae import TrainableSAE

ROW_DIVISOR = 4  # one row in so many is used: the same loss in expectation


def auxk(
    sae: TrainableSAE,
    x: Tensor,
    target: Tensor,
    recon: Tensor,
    dead: Tensor,
    revived: Tensor,
) -> dict[str, Tensor]:
    """Return the AuxK loss of the dead latents on some of the rows; empty if none is dead.

    Unless the activation keeps exactly k, pre-activations leave out the bias: a dead latent may be
    negative on all rows, and would never learn. The bias receives its gradient all the same.

    Args:
        sae: The parameters.
        x: Rows, (rows, input_size).
        target: (rows, output_size).
        recon: Reconstruction by the other latents, (rows, output_size), without gradient.
        dead: The dead latents, (n_dead,).
        revived: Which of these have been active since, and are left out, (n_dead,) bool.
    """
    config, ranks = sae.config, sae.ranks
    n_dead = len(dead)
    if ranks.divides_latents:
        n_dead = int(ranks.sum(torch.tensor(n_dead, device=x.device)))
    if n_dead == 0 or config.auxk_coefficient == 0:
        return {}
    n_rows, _ = ranks.first_rows(x, ROW_DIVISOR)
    rows = x[:n_rows]
    residual = target[:n_rows] - recon[:n_rows]
    encoder = sae.params["W_enc"].detach()[dead]
    bias = sae.encoder_bias.detach()[dead]
    if not config.keeps_exactly_k:
        bias = torch.zeros_like(bias)
    bias.masked_fill_(revived, -math.inf)
    k = min(config.k_aux, n_dead)
    pairs = ranks.select_topk(sae.kernels, rows, encoder, bias, k)
    pairs = pairs._replace(cols=dead[pairs.cols.long()].int())
    batch = SparseBatch(sae, rows, residual, residual.numel(), pairs)
    no_bias = torch.zeros_like(sae.params["b_dec"])
    fitted = batch.decode_latents(batch.pre_acts, sae.params["W_dec"], no_bias)
    error = squared_error(fitted, residual)
    squares = ranks.sum_over_rows(residual.square().sum()).clamp_min(1e-12)
    weight = config.auxk_coefficient * (1 / config.accumulate)
    return {"auxk": weight * error / squares}
