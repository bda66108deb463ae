"""Snapshots: histograms of weights and activations, from which a training can be replayed."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

BINS = 64
MAX_WEIGHTS = 2**17  # approximate number of weights in a histogram
MAX_POSITIONS = 2048  # latents with a position in the plane
MAX_COMPARED = 512  # latents with pairwise cosines of their decoder rows


def snapshot(
    encoder: Tensor, decoder: Tensor, density: Tensor, acts: Tensor, targets: Tensor
) -> dict[str, np.ndarray]:
    """Return histograms and latent positions at one step of a training, a few kilobytes.

    Args:
        encoder: Latent-major, (hidden_size, input_size).
        decoder: (hidden_size, output_size); without encoder–decoder cosines if output_size is not
            input_size.
        density: (hidden_size,).
        acts: A sample of positive activations, of any length.
        targets: Rows to reconstruct, (rows, output_size), the same in every snapshot: decoder rows
            are projected on their two principal axes.

    Returns:
        `positions`, (n, 2), of the `latents`, (n,); and for each histogram its counts NAME, (64,),
        and edges NAME_edges, (65,).
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
    """Return the two principal axes of centred rows, (width, 2), padded with zeros."""
    n_rows, width = rows.shape
    if width <= n_rows:
        axes = torch.linalg.eigh(rows.T @ rows).eigenvectors[:, -2:]
    else:  # the Gram matrix is smaller
        of_rows = torch.linalg.eigh(rows @ rows.T).eigenvectors[:, -2:]
        axes = rows.T @ of_rows
        axes /= axes.norm(dim=0).clamp_min(1e-12)
    return F.pad(axes, (0, 2 - axes.shape[1]))


def _encoder_decoder_cosines(encoder: Tensor, decoder: Tensor) -> Tensor:
    if encoder.shape != decoder.shape:
        return encoder.new_empty(0)
    norms = encoder.norm(dim=1) * decoder.norm(dim=1)
    return (encoder * decoder).sum(1) / norms.clamp_min(1e-12)


def _histogram(values: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return counts and edges of a histogram; values may all be equal, or there may be none."""
    low, high = 0.0, 0.0
    if len(values):
        low, high = float(values.min()), float(values.max())
    if high - low <= 1e-3:
        low, high = low - 0.5, low + 0.5
    return np.histogram(values.numpy(), bins=BINS, range=(low, high))
