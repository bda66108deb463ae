"""Snapshots: histograms of an SAE's weights and activations that replay a training."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

BINS = 64
MAX_WEIGHTS = 2**17  # single weights in a histogram, about
MAX_POSITIONS = 2048  # latents whose place in the plane is kept
MAX_COMPARED = 512  # latents whose decoder rows are compared with each other


def snapshot(
    encoder: Tensor, decoder: Tensor, density: Tensor, acts: Tensor, targets: Tensor
) -> dict[str, np.ndarray]:
    """Return the histograms and positions of one moment of a training, in a few kilobytes.

    Args:
        encoder: Latent-major, (hidden_size, input_size).
        decoder: (hidden_size, output_size); where a transcoder's has another width, there are no
            cosines between the two.
        density: (hidden_size,).
        acts: Some active values, any length.
        targets: Rows that are reconstructed, (rows, output_size), the same in each snapshot:
            decoder rows are projected on their two principal axes.

    Returns:
        `positions` (n, 2) of the `latents` (n,), and NAME, (64,), with NAME_edges, (65,), for each
        histogram.
    """
    encoder, decoder = encoder.detach().cpu(), decoder.detach().cpu()
    encoder_norm, decoder_norm = encoder.norm(dim=1), decoder.norm(dim=1)
    n_shown = min(len(decoder), MAX_POSITIONS)
    shown = torch.linspace(0, len(decoder) - 1, n_shown).long()
    directions = decoder[shown] / decoder_norm[shown, None].clamp_min(1e-12)
    cosines = directions[:MAX_COMPARED] @ directions[:MAX_COMPARED].T
    above_diagonal = torch.triu_indices(len(cosines), len(cosines), 1)
    stride = 1 + encoder.numel() // MAX_WEIGHTS
    series = {
        "encoder_weight": encoder.flatten()[::stride],
        "decoder_weight": decoder.flatten()[::stride],
        "encoder_norm": encoder_norm,
        "decoder_norm": decoder_norm,
        "decoder_cosine": cosines[tuple(above_diagonal)],
        "decoder_max_cosine": cosines.fill_diagonal_(-1).max(1).values,
        "log10_density": density.cpu().clamp_min(1e-9).log10(),
        "activation": acts.detach().cpu(),
        "encoder_decoder_cosine": _encoder_decoder_cosines(encoder, decoder),
    }
    positions = directions @ _principal_axes(targets.cpu())
    arrays = {"positions": positions.half().numpy(), "latents": shown.int().numpy()}
    for name, values in series.items():
        counts, edges = _histogram(values)
        arrays[name], arrays[f"{name}_edges"] = counts, edges
    return arrays


def _principal_axes(rows: Tensor) -> Tensor:
    """Return the two principal axes of centred rows, (width, 2); zeros where there is but one."""
    n_rows, width = rows.shape
    if width <= n_rows:
        axes = torch.linalg.eigh(rows.T @ rows).eigenvectors[:, -2:]
    else:  # of wide rows, their products with each other are the smaller matrix
        axes = rows.T @ torch.linalg.eigh(rows @ rows.T).eigenvectors[:, -2:]
        axes /= axes.norm(dim=0).clamp_min(1e-12)
    return F.pad(axes, (0, 2 - axes.shape[1]))


def _encoder_decoder_cosines(encoder: Tensor, decoder: Tensor) -> Tensor:
    if encoder.shape != decoder.shape:
        return encoder.new_empty(0)
    norms = encoder.norm(dim=1) * decoder.norm(dim=1)
    return (encoder * decoder).sum(1) / norms.clamp_min(1e-12)


def _histogram(values: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return counts and edges, also of values that are all equal or of none."""
    low, high = 0.0, 0.0
    if len(values):
        low, high = float(values.min()), float(values.max())
    if high - low <= 1e-3:
        low, high = low - 0.5, low + 0.5
    return np.histogram(values.numpy(), bins=BINS, range=(low, high))
