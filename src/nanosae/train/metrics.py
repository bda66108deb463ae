"""Measures of a reconstruction, pooled over rows in float64, and histograms of the weights.

FVU is Σ‖x − x̂‖² ÷ Σ‖x − mean‖² over the whole set, never a mean of ratios. L0 counts non-zero
activations per row. Density is the share of rows on which a latent is active.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from nanosae.kernels import backend, segment_ids
from nanosae.model.sae import SAEModel

BINS = 64


class Pool:
    """Sums over any number of blocks of rows.

    Example:
        >>> pool = Pool(hidden_size=2)
        >>> x, acts = torch.tensor([[1.0, 0.0], [3.0, 0.0]]), torch.tensor([[0.0, 2.0], [1.0, 1.0]])
        >>> pool.add(x, x, *acts.nonzero(as_tuple=True))
        >>> pool.summary()["l0"]
        1.5
    """

    def __init__(self, hidden_size: int) -> None:
        self.rows, self.error, self.squares = 0, 0.0, 0.0
        self.sums: Tensor | float = 0.0
        self.l0s: list[Tensor] = []
        self.counts = torch.zeros(hidden_size, dtype=torch.int64)

    def add(self, x: Tensor, recon: Tensor, rows: Tensor, cols: Tensor) -> None:
        """Add a block: x and recon (B, input_size), and the row and latent of each active entry."""
        x = x.double()
        self.rows += len(x)
        self.error += float(((x - recon) ** 2).sum())
        self.squares += float((x**2).sum())
        self.sums = self.sums + x.sum(0)
        self.l0s.append(torch.bincount(rows, minlength=len(x)))
        self.counts += torch.bincount(cols, minlength=len(self.counts))

    @property
    def fvu(self) -> float:
        """Fraction of variance unexplained; NaN where the rows do not vary."""
        variance = self.squares - float((torch.as_tensor(self.sums) ** 2).sum()) / max(self.rows, 1)
        return self.error / variance if variance > 1e-12 * self.squares else float("nan")

    def summary(self) -> dict[str, Any]:
        """Return fvu, l0 (mean) and its quantiles, and the histogram of log10 densities."""
        l0s = torch.cat(self.l0s).double()
        quantiles = torch.quantile(l0s, torch.tensor([0.05, 0.25, 0.5, 0.75, 0.95]).double())
        density = self.counts[self.counts > 0].double() / self.rows
        bins, _ = np.histogram(np.log10(density.numpy()), bins=24, range=(-6, 0))
        return {
            "fvu": self.fvu,
            "l0": float(l0s.mean()),
            "l0_quantiles": quantiles.tolist(),
            "density_histogram": bins.tolist(),
            "rows_measured": self.rows,
        }


@torch.no_grad()
def measure(model: SAEModel, rows: np.ndarray, targets: np.ndarray) -> Pool:
    """Pool what the model makes of raw rows, (n_rows, input_size), against the targets."""
    pool = Pool(model.cfg["d_sae"])
    kernels, weights = backend(torch.device("cpu")), (model.W_dec.detach(), model.b_dec.detach())
    for x, y in zip(*(torch.from_numpy(t).split(4096) for t in (rows, targets)), strict=True):
        pairs = model.pairs(x)
        active = pairs.values > 0
        at = segment_ids(pairs.row_ptr)[active]
        recon = kernels.decode(pairs.values, pairs, *weights) + model.skip(x)
        pool.add(y, recon, at, pairs.cols[active])
    return pool


def snapshot(
    encoder: Tensor, decoder: Tensor, density: Tensor, acts: Tensor, basis: Tensor
) -> dict[str, np.ndarray]:
    """Return the histograms and positions that replay a training run, in a few kilobytes.

    Args:
        encoder: Latent-major, (hidden_size, input_size).
        decoder: (hidden_size, input_size); where a transcoder's has another width, there are no
            cosines between the two.
        density: (hidden_size,).
        acts: Some active values, any length.
        basis: Two fixed directions, (input_size, 2), on which decoder rows are drawn.
    """
    norms = encoder.norm(dim=1), decoder.norm(dim=1)
    cosine = (encoder * decoder).sum(1) if encoder.shape == decoder.shape else norms[0][:0]
    some = torch.linspace(0, len(decoder) - 1, min(len(decoder), 2048)).long()
    unit = decoder[some] / norms[1][some, None].clamp_min(1e-12)
    pairwise = unit[:512] @ unit[:512].T
    stride = 1 + encoder.numel() // 2**17  # of single weights, a part is enough
    series = {
        "encoder_weight": encoder.flatten()[::stride],
        "decoder_weight": decoder.flatten()[::stride],
        "encoder_norm": norms[0],
        "decoder_norm": norms[1],
        "decoder_cosine": pairwise[tuple(torch.triu_indices(len(pairwise), len(pairwise), 1))],
        "decoder_max_cosine": pairwise.fill_diagonal_(-1).max(1).values,
        "log10_density": density.clamp_min(1e-9).log10(),
        "activation": acts,
        "encoder_decoder_cosine": cosine / (norms[0] * norms[1]).clamp_min(1e-12)[: len(cosine)],
    }
    out = {"positions": (unit @ basis).half().numpy(), "latents": some.int().numpy()}
    for name, values in series.items():
        low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 0.0)
        span = (low, high) if high - low > 1e-3 else (low - 0.5, low + 0.5)  # all equal, or none
        out[name], out[f"{name}_edges"] = np.histogram(values.numpy(), bins=BINS, range=span)
    return out
