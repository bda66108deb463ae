"""Folding: the centring and scaling of the rows become part of the weights, exactly."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

BLOCK_LATENTS = 4096  # converted to float64 at once, to save memory


def fold(
    tensors: dict[str, Tensor],
    mean: np.ndarray,
    scale: float,
    target_mean: np.ndarray | None = None,
    target_scale: float = 1.0,
) -> dict[str, Tensor]:
    """Convert an SAE trained on (x − mean) · scale to one on raw rows.

    Reconstructions are the same. Activations are in the units of raw rows (for a transcoder, of its
    targets), and decoder rows have unit norm; zero rows stay zero.

    Args:
        tensors: Names and shapes as in files, except that pre-activations are x · W_enc + b_enc,
            without subtracting b_dec.
        mean: Mean of the rows, (input_size,).
        scale: Scale of the rows.
        target_mean: Mean of a transcoder's targets, (output_size,).
        target_scale: Scale of a transcoder's targets.
    """
    trained = {name: _precise(tensor) for name, tensor in tensors.items()}
    row_mean = torch.from_numpy(mean).double()
    if target_mean is None:
        out_mean, out_scale = row_mean, scale
        shift = trained["b_dec"]  # with saved files, b_dec is subtracted from the rows
    else:
        out_mean, out_scale = torch.from_numpy(target_mean).double(), target_scale
        shift = -scale * row_mean
    norm = trained["W_dec"].norm(dim=1, dtype=torch.float64)
    norm = torch.where(norm > 0, norm, torch.ones_like(norm))
    gain = scale / out_scale
    blocks = trained["W_enc"].split(BLOCK_LATENTS, dim=1)
    bias_shift = torch.cat([shift @ block.double() for block in blocks])

    folded = {
        "W_enc": trained["W_enc"] * (norm * gain).float(),
        "W_dec": trained["W_dec"] / norm.float()[:, None],
        "b_dec": out_mean + trained["b_dec"] / out_scale,
    }
    for name in ("b_enc", "b_gate"):
        if name in trained:
            folded[name] = (trained[name] + bias_shift) * norm / out_scale
    if "threshold" in trained:
        folded["threshold"] = trained["threshold"] * norm / out_scale
    if "r_mag" in trained:
        magnitude_shift = bias_shift * trained["r_mag"].exp()
        folded["r_mag"] = trained["r_mag"]
        folded["b_mag"] = (trained["b_mag"] + magnitude_shift) * norm / out_scale
    if "W_skip" in trained:
        folded["W_skip"] = trained["W_skip"] * gain
        folded["b_dec"] -= folded["W_skip"].double() @ row_mean
    return {name: tensor.float() for name, tensor in folded.items()}


def _precise(tensor: Tensor) -> Tensor:
    """Return a tensor on the CPU; vectors become float64."""
    tensor = tensor.detach().cpu()
    return tensor.double() if tensor.dim() == 1 else tensor
