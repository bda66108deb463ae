"""Initial parameters: noisy directions of data points, scaled to fit the first reconstructions."""

from __future__ import annotations

import math
from types import ModuleType

import torch
from torch import Tensor

from nanosae.config import ResolvedConfig
from nanosae.data.dataset import Dataset
from nanosae.distributed import Ranks
from nanosae.trainable.seeds import INITIAL_DIRECTIONS, mixed_seed

SAMPLE_ROWS = 1024
BLOCK_LATENTS = 4096  # latents initialised at a time
NOISE = 0.2  # relative to the norm of a direction
WIDE = 4  # pairs per row of a wide selection, in units of k
Params = dict[str, Tensor]


def initial_parameters(
    config: ResolvedConfig,
    data: Dataset,
    ranks: Ranks,
    kernels: ModuleType,
    device: torch.device,
) -> Params:
    """Return the initial parameters of this rank's latents, by name."""
    sample = torch.from_numpy(data.sample(SAMPLE_ROWS, config.seed)).to(device)
    x, target = inputs_and_targets(sample, data.width)
    latents = ranks.own_latents(config.hidden_size)
    encoder, decoder = _directions(config, data, latents)
    encoder, decoder = encoder.to(device), decoder.to(device)
    zeros = x.new_zeros(len(encoder))
    params = {
        "W_enc": encoder,
        "W_dec": decoder.clone(),
        "b_dec": torch.zeros_like(target[0]),
    }
    if config.skip:
        params["W_skip"] = x.new_zeros(target.shape[1], x.shape[1])

    # encoder rows scaled by least squares, so that the first reconstructions fit
    pairs, _ = ranks.select_batchtopk(
        kernels, x, encoder, zeros, config.expected_l0, {}
    )
    recon = kernels.decode(pairs.values, pairs, decoder, params["b_dec"])
    recon = ranks.sum_over_latents(recon)
    squares = recon.square().sum().clamp_min(1e-12)
    params["W_enc"] *= (recon * target).sum() / squares

    n_wide = wide_selection(config)
    _, threshold = ranks.select_batchtopk(
        kernels, x, params["W_enc"], zeros, n_wide, {}
    )
    if threshold == 0:  # a single row is zero once centred
        threshold = 1.0
    params |= _biases(config, zeros, threshold)
    return {name: param.contiguous().requires_grad_() for name, param in params.items()}


def inputs_and_targets(rows: Tensor, input_size: int) -> tuple[Tensor, Tensor]:
    """Split rows into inputs and targets; without targets, both are the rows themselves."""
    if rows.shape[1] == input_size:
        return rows, rows
    inputs, targets = rows[:, :input_size], rows[:, input_size:]
    return inputs.contiguous(), targets.contiguous()


def wide_selection(config: ResolvedConfig) -> int:
    """Return how many pairs per row a selection wider than k keeps."""
    return max(1, min(WIDE * config.expected_l0, config.hidden_size // 2))


def _biases(config: ResolvedConfig, zeros: Tensor, threshold: float) -> Params:
    """Return biases and thresholds such that few latents are active at first."""
    if config.activation == "gated":
        return {"b_gate": zeros - threshold, "r_mag": zeros, "b_mag": zeros.clone()}
    if config.activation == "relu":
        return {"b_enc": zeros - threshold}
    if config.activation == "jumprelu":
        return {"b_enc": zeros, "log_threshold": zeros + math.log(threshold)}
    return {"b_enc": zeros}


def _directions(
    config: ResolvedConfig, data: Dataset, latents: slice
) -> tuple[Tensor, Tensor]:
    """Return directions of data points for encoder and decoder.

    The points are chosen by their content, so that trainings with different seeds learn similar
    features; only the noise depends on the seed. Latents are initialised in blocks, each with its
    own seed, so that they do not depend on the number of ranks.
    """
    encoder, decoder = [], []
    first_block = latents.start // BLOCK_LATENTS * BLOCK_LATENTS
    for start in range(first_block, latents.stop, BLOCK_LATENTS):
        points = torch.from_numpy(data.rows_by_hash(start, start + BLOCK_LATENTS))
        x, target = inputs_and_targets(points, data.width)
        seed = mixed_seed(config.seed, INITIAL_DIRECTIONS, start)
        generator = torch.Generator().manual_seed(seed)
        inputs = _noisy_directions(x, generator)
        outputs = inputs if target is x else _noisy_directions(target, generator)
        own = slice(max(0, latents.start - start), latents.stop - start)
        encoder.append(inputs[own])
        decoder.append(outputs[own])
    return torch.cat(encoder), torch.cat(decoder)


def _noisy_directions(points: Tensor, generator: torch.Generator) -> Tensor:
    """Return the points' directions with some noise, scaled to unit norm."""
    directions = points / points.norm(dim=1, keepdim=True).clamp_min(1e-6)
    noise = torch.randn(directions.shape, generator=generator)
    directions.add_(noise, alpha=NOISE / math.sqrt(directions.shape[1]))
    return directions / directions.norm(dim=1, keepdim=True).clamp_min(1e-6)
