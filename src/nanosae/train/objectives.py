"""What each activation minimises: pure functions of the kept values.

A `View` shows the pre-activations either as flat pairs (sparse) or as a tile of the full matrix
(dense), so that every formula stands here once. Rows are centred and scaled to mean square 1;
decoder rows have unit norm (the step projects them), so that Σ f‖W_dec‖ is Σ f. All losses are per
element: sums are divided by `n` = rows of the step × input_size.

Covered: reconstruction, L1 (Anthropic, April 2024), gates (Rajamanoharan et al. 2024), JumpReLU
with tanh and pre-activation loss (Anthropic, January 2025) or straight-through L0 (Rajamanoharan et
al. 2024b), Matryoshka prefixes (Bussmann et al. 2025). AuxK is in the step: it selects again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

L1_UNIT = 12.0  # the constant c of TrainConfig.l1_coefficient
TANH_SCALE = 4.0  # Anthropic, January 2025
PRE_ACT_COEFFICIENT = 3e-6  # the same, with their loss summed over elements
Params = dict[str, Tensor]


class View(NamedTuple):
    """Pre-activations and what can be done with them.

    Attributes:
        z: Pre-activations, (nnz,) or (rows, hidden_size), differentiable.
        at: Brings a per-latent vector to the shape of z.
        decode: (values of z's shape, weight, bias) to the reconstruction, (rows, input_size).
        target: What to reconstruct, (rows, output_size): the rows themselves, but for a transcoder.
        n: What sums are divided by: rows of the whole step × output_size.
        prefixes: Values to the reconstructions of all prefixes, (prefixes, rows, input_size).
        sums: Σ over the rows of each latent's pre-activations, (hidden_size,).
    """

    z: Tensor
    at: Callable[[Tensor], Tensor]
    decode: Callable[..., Tensor]
    target: Tensor
    n: int
    prefixes: Callable[[Tensor], Tensor] | None = None
    sums: Callable[[], Tensor] | None = None


class Losses(NamedTuple):
    """Parts of the loss by name, the activations, and the reconstruction."""

    parts: dict[str, Tensor]
    acts: Tensor
    recon: Tensor


def topk(view: View, p: Params) -> Losses:
    """Return the reconstruction loss of entries that were kept for their size."""
    acts = torch.relu(view.z)
    recon = view.decode(acts, weight=p["W_dec"], bias=p["b_dec"])
    return Losses({"mse": squared_error(recon, view)}, acts, recon)


def matryoshka(view: View) -> Losses:
    """Return the mean reconstruction loss of the prefixes; `recon` is the whole dictionary's."""
    assert view.prefixes is not None
    acts = torch.relu(view.z)
    recons = view.prefixes(acts)
    mse = torch.stack([squared_error(recon, view) for recon in recons]).mean()
    return Losses({"mse": mse}, acts, recons[-1])


def relu(view: View, p: Params, coefficient: float) -> Losses:
    """Add the L1 penalty: coefficient × L1_UNIT × the mean over rows of Σ f."""
    loss = topk(view, p)
    loss.parts["sparsity"] = _per_row(loss.acts, view, coefficient)
    return loss


def gated(view: View, p: Params, coefficient: float) -> Losses:
    """Gate on z > 0 with magnitude relu(π·e^r_mag + b_mag), π = z − b_gate.

    The gates' own relu(z) is what is penalised, and reconstructs with a frozen decoder.
    """
    gate = torch.relu(view.z)
    pi = view.z - view.at(p["b_gate"])
    acts = torch.relu(pi * view.at(p["r_mag"].exp()) + view.at(p["b_mag"])) * (view.z > 0)
    recon = view.decode(acts, weight=p["W_dec"], bias=p["b_dec"])
    frozen = view.decode(gate, weight=p["W_dec"].detach(), bias=p["b_dec"].detach())
    parts = {"mse": squared_error(recon, view), "gate": squared_error(frozen, view)}
    parts["sparsity"] = _per_row(gate, view, coefficient)
    return Losses(parts, acts, recon)


def jumprelu(view: View, p: Params, coefficient: float, width: float, tanh: bool) -> Losses:
    """Keep z above its latent's threshold; the jump has a gradient in a window around it.

    Args:
        view: Entries with z > threshold − width / 2 at least.
        p: With log_threshold, (hidden_size,).
        coefficient: Weight of the sparsity penalty, in units of `l1_coefficient`.
        width: Width of the rectangle kernel.
        tanh: Penalise tanh(4 f) and, weakly, all inactive pre-activations for their distance from
            the threshold (all entries, by their column sums, less the active ones); else the L0.
    """
    level = p["log_threshold"].exp()
    threshold = view.at(level)
    on = _Step.apply(view.z, threshold, width)
    # z where it is above θ; in the gradient, a jump from 0 to θ there
    acts = view.z * (view.z > threshold) + threshold.detach() * (on - on.detach())
    recon = view.decode(acts, weight=p["W_dec"], bias=p["b_dec"])
    parts = {"mse": squared_error(recon, view)}
    if not tanh:
        return Losses(parts | {"sparsity": _per_row(on, view, coefficient)}, acts, recon)
    assert view.sums is not None
    parts["sparsity"] = _per_row(torch.tanh(TANH_SCALE * acts), view, coefficient)
    everywhere = (len(view.target) * level - view.sums()).sum()
    inactive = everywhere - ((threshold - view.z) * (view.z > threshold)).sum()
    parts["pre_act"] = PRE_ACT_COEFFICIENT / view.n * inactive
    return Losses(parts, acts, recon)


def auxk(recon: Tensor, residual: Tensor) -> Tensor:
    """Return the share of the residual's sum of squares that dead latents leave unexplained."""
    return ((recon - residual) ** 2).sum() / (residual**2).sum().clamp_min(1e-12)


def squared_error(recon: Tensor, view: View) -> Tensor:
    """Return the squared error of these rows' elements over `view.n`."""
    error = recon - view.target
    return torch.dot(error.flatten(), error.flatten()) / view.n


def _per_row(values: Tensor, view: View, coefficient: float) -> Tensor:
    return coefficient * L1_UNIT * view.target.shape[1] / view.n * values.sum()


class _Step(torch.autograd.Function):
    """1 where z > θ, else 0; the jump's derivative is a rectangle of the given width."""

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
