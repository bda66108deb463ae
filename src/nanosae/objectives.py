"""What each activation minimises: pure functions of the kept values.

A `View` shows the pre-activations either as flat pairs (sparse) or as a tile of the full matrix
(dense), so that every formula stands here once. Rows are centred and scaled to mean square 1; decoder
rows have unit norm (the trainer projects them), so that Σ f‖W_dec‖ is Σ f. All losses are per
element: sums are divided by `n` = rows of the step × input_size.

Covered: reconstruction, L1 (Anthropic, April 2024), gates (Rajamanoharan et al. 2024), JumpReLU with
tanh and pre-activation loss (Anthropic, January 2025) or straight-through L0 (Rajamanoharan et al.
2024b), Matryoshka prefixes (Bussmann et al. 2025). AuxK is in the trainer: it selects again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

L1_UNIT = 10.0  # the constant c of TrainConfig.l1_coefficient
TANH_SCALE = 4.0  # Anthropic, January 2025
PRE_ACT_COEFFICIENT = 3e-6  # the same, with their loss summed over elements
INNER = Callable[[Tensor], Tensor]


class View(NamedTuple):
    """Pre-activations and what can be done with them.

    Attributes:
        z: Pre-activations, (nnz,) or (rows, hidden_size), differentiable.
        at: Brings a per-latent vector to the shape of z.
        decode: Values of z's shape to the reconstruction, (rows, input_size).
        decode_frozen: The same without gradient to the decoder.
        x: The rows, (rows, input_size).
        n: What sums are divided by: rows of the whole step × input_size.
    """

    z: Tensor
    at: INNER
    decode: INNER
    decode_frozen: INNER
    x: Tensor
    n: int


class Losses(NamedTuple):
    """Parts of the loss, by name, and what came of the rows."""

    parts: dict[str, Tensor]
    acts: Tensor
    recon: Tensor


def topk(view: View) -> Losses:
    """Return the reconstruction loss of entries that were kept for their size."""
    acts = torch.relu(view.z)
    recon = view.decode(acts)
    return Losses({"mse": squared_error(recon, view)}, acts, recon)


def relu(view: View, coefficient: float) -> Losses:
    """Add the L1 penalty `coefficient` × L1_UNIT × Σ f per row."""
    loss = topk(view)
    loss.parts["sparsity"] = _l1(loss.acts, view, coefficient)
    return loss


def gated(view: View, coefficient: float, bias: Tensor, r_mag: Tensor, b_mag: Tensor) -> Losses:
    """Gate on z > 0; magnitude relu((z − bias)·e^r_mag + b_mag); the gates reconstruct, too."""
    gate = torch.relu(view.z)
    magnitude = torch.relu((view.z - view.at(bias)) * view.at(r_mag.exp()) + view.at(b_mag))
    acts = magnitude * (view.z > 0)
    recon = view.decode(acts)
    parts = {
        "mse": squared_error(recon, view),
        "sparsity": _l1(gate, view, coefficient),
        "gate": squared_error(view.decode_frozen(gate), view),
    }
    return Losses(parts, acts, recon)


def jumprelu(
    view: View,
    coefficient: float,
    log_threshold: Tensor,
    width: float,
    z_sums: Tensor | None,
) -> Losses:
    """Keep z above its latent's threshold; gradients of the jump in a window of `width` around it.

    Args:
        view: Entries with z > threshold − width / 2 at least.
        coefficient: Weight of the sparsity penalty, in units of `l1_coefficient`.
        log_threshold: (hidden_size,).
        width: Width of the rectangle kernel.
        z_sums: Σ over the rows of each latent's pre-activations, (hidden_size,), for the
            pre-activation loss: all inactive entries are all entries less the active ones. None
            means the straight-through L0 penalty.
    """
    threshold = view.at(log_threshold.exp())
    acts = _Jump.apply(view.z, threshold, width)
    recon = view.decode(acts)
    parts = {"mse": squared_error(recon, view)}
    scale = coefficient * L1_UNIT * view.x.shape[1] / view.n
    if z_sums is None:
        parts["sparsity"] = scale * _Step.apply(view.z, threshold, width).sum()
        return Losses(parts, acts, recon)
    parts["sparsity"] = scale * torch.tanh(TANH_SCALE * acts).sum()
    active = (view.z > threshold).to(view.z.dtype)
    everywhere = (len(view.x) * log_threshold.exp() - z_sums).sum()
    inactive = everywhere - ((threshold - view.z) * active).sum()
    parts["pre_act"] = PRE_ACT_COEFFICIENT / view.n * inactive
    return Losses(parts, acts, recon)


def matryoshka(view: View, decode_prefixes: INNER) -> Losses:
    """Return the mean over prefixes of the reconstruction loss; `recon` is the whole dictionary's.

    Args:
        view: The kept entries.
        decode_prefixes: Values to the reconstructions of all prefixes, (prefixes, rows, input_size).
    """
    acts = torch.relu(view.z)
    recons = decode_prefixes(acts)
    mse = ((recons - view.x) ** 2).sum() / (view.n * len(recons))
    return Losses({"mse": mse}, acts, recons[-1])


def auxk(recon: Tensor, residual: Tensor) -> Tensor:
    """Return the share of the residual's sum of squares that dead latents leave unexplained."""
    return ((recon - residual) ** 2).sum() / (residual**2).sum().clamp_min(1e-12)


def squared_error(recon: Tensor, view: View) -> Tensor:
    """Return the squared error of these rows' elements over `view.n`."""
    error = recon - view.x
    return torch.dot(error.flatten(), error.flatten()) / view.n


def _l1(values: Tensor, view: View, coefficient: float) -> Tensor:
    return coefficient * L1_UNIT * view.x.shape[1] / view.n * values.sum()


class _Jump(torch.autograd.Function):
    """z where z > θ, else 0; the jump's derivative is a rectangle of the given width."""

    @staticmethod
    def forward(ctx, z, threshold, width):
        ctx.save_for_backward(z, threshold)
        ctx.width = width
        return z * (z > threshold)

    @staticmethod
    def backward(ctx, grad):
        z, threshold = ctx.saved_tensors
        jump = threshold / ctx.width * ((z - threshold).abs() < ctx.width / 2)
        return grad * ((z > threshold) + jump), -grad * jump, None


class _Step(torch.autograd.Function):
    """1 where z > θ, else 0; derivative as above."""

    @staticmethod
    def forward(ctx, z, threshold, width):
        ctx.save_for_backward(z, threshold)
        ctx.width = width
        return (z > threshold).to(z.dtype)

    @staticmethod
    def backward(ctx, grad):
        z, threshold = ctx.saved_tensors
        jump = grad / ctx.width * ((z - threshold).abs() < ctx.width / 2)
        return jump, -jump, None
