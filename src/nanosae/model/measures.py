"""Measures of a reconstruction, pooled over rows in float64.

FVU is Σ‖x − x̂‖² ÷ Σ‖x − mean‖² over the whole set, never a mean of ratios. L0 counts non-zero
activations per row. Density is the share of rows on which a latent is active.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from nanosae.errors import ConfigError
from nanosae.kernels import backend, own_defaults, segment_ids
from nanosae.model.architectures import is_transcoder
from nanosae.model.sae import SAEModel

BLOCK_ROWS = 4096
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)  # of the rows' L0


class Pool:
    """Sums over blocks of rows, from which the measures follow.

    Example:
        >>> pool = Pool(hidden_size=2)
        >>> x, acts = torch.tensor([[1.0, 0.0], [3.0, 0.0]]), torch.tensor([[0.0, 2.0], [1.0, 1.0]])
        >>> pool.add(x, x, *acts.nonzero(as_tuple=True))
        >>> pool.summary()["l0"]
        1.5
    """

    def __init__(self, hidden_size: int) -> None:
        self.n_rows = 0
        self.squared_error = 0.0
        # the first block's mean, about which sums are taken, so that a large mean costs no digits
        self.origin: Tensor | None = None
        self.squares = 0.0
        self.column_sums: Tensor | float = 0.0
        self.l0s: list[Tensor] = []
        self.active_rows = torch.zeros(hidden_size, dtype=torch.int64)

    def add(self, x: Tensor, recon: Tensor, rows: Tensor, cols: Tensor) -> None:
        """Add a block: x and recon, (B, input_size), and row and latent of each active entry."""
        x = x.double()
        self.n_rows += len(x)
        self.squared_error += float(((x - recon) ** 2).sum())
        if self.origin is None:
            self.origin = x.mean(0)
        shifted = x - self.origin
        self.squares += float((shifted**2).sum())
        self.column_sums = self.column_sums + shifted.sum(0)
        self.l0s.append(torch.bincount(rows, minlength=len(x)))
        self.active_rows += torch.bincount(cols, minlength=len(self.active_rows))

    @property
    def fvu(self) -> float:
        """Fraction of variance unexplained; NaN if the rows do not vary."""
        squared_sums = float((torch.as_tensor(self.column_sums) ** 2).sum())
        variance = self.squares - squared_sums / max(self.n_rows, 1)
        if variance <= 1e-12 * self.squares:
            return float("nan")
        return self.squared_error / variance

    @property
    def l0(self) -> float:
        """Mean number of active latents per row."""
        return float(torch.cat(self.l0s).double().mean())

    def summary(self) -> dict[str, Any]:
        """Return FVU, the mean and quantiles of L0, and a histogram of log10 densities."""
        l0s = torch.cat(self.l0s).double()
        quantiles = torch.quantile(l0s, torch.tensor(QUANTILES).double())
        density = self.active_rows[self.active_rows > 0].double() / self.n_rows
        counts, _ = np.histogram(np.log10(density.numpy()), bins=24, range=(-6, 0))
        return {
            "fvu": self.fvu,
            "l0": self.l0,
            "l0_quantiles": quantiles.tolist(),
            "density_histogram": counts.tolist(),
            "rows_measured": self.n_rows,
        }


@own_defaults()
@torch.no_grad()
def measure(
    model: SAEModel, rows: np.ndarray, targets: np.ndarray, pool: Pool | None = None
) -> Pool:
    """Measure the reconstruction of raw rows.

    Args:
        model: A model of any type on any device.
        rows: (n_rows, input_size).
        targets: What to reconstruct, (n_rows, output_size): the rows themselves, except for a
            transcoder.
        pool: Sums of earlier rows, to which these are added.
    """
    pool = Pool(model.cfg["d_sae"]) if pool is None else pool
    kernels = backend(model.device)
    decoder = model.W_dec.detach().float()
    bias = model.b_dec.detach().float()
    blocks = torch.from_numpy(rows).split(BLOCK_ROWS)
    target_blocks = torch.from_numpy(targets).split(BLOCK_ROWS)
    for x, target in zip(blocks, target_blocks, strict=True):
        x = x.to(model.device)
        pairs = model.pairs(x)
        decoded = kernels.decode(pairs.values, pairs, decoder, bias)
        recon = model.in_units_of(x, decoded) + model.skip(x)
        active = pairs.values > 0
        active_rows = segment_ids(pairs.row_ptr)[active]
        pool.add(target, recon.cpu(), active_rows.cpu(), pairs.cols[active].cpu())
    return pool


@own_defaults()
def explained_variance(model: SAEModel, data: Any) -> float:
    """Return 1 − FVU of raw rows, in any form that `features` takes.

    Raises:
        ConfigError: If the model is a transcoder, which does not reconstruct its rows.
    """
    if is_transcoder(model.cfg["architecture"]):
        raise ConfigError(
            "a transcoder predicts targets: its score on the rows alone is not defined.",
            remedy="Compare it with its targets: nanosae.evaluate(codes, targets=targets).",
        )
    pool = Pool(model.cfg["d_sae"])
    for block in model.open_rows(data).blocks(BLOCK_ROWS):
        measure(model, block, block, pool)
    return 1.0 - pool.fvu
