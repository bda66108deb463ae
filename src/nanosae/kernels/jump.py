"""The jump of JumpReLU, with a straight-through gradient (Anthropic, January 2025).

It reaches threshold and pre-activation alike. In Rajamanoharan et al. 2024b (eq. 11 and 12) it
reaches the threshold alone, which reconstructs worse here (docs/log.md, 2026-11-28).
"""

from __future__ import annotations

import torch
from torch import Tensor


def jump(z: Tensor, threshold: Tensor, width: float) -> Tensor:
    """Return 1 where z exceeds the threshold, else 0.

    Its derivative is that of a ramp of the given width around the threshold: 1 ÷ width inside, 0
    outside.

    Args:
        z: Pre-activations.
        threshold: Their thresholds, of the same shape.
        width: Width of the ramp.
    """
    return _Jump.apply(z, threshold, width)


class _Jump(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z, threshold, width):
        ctx.save_for_backward(z, threshold)
        ctx.width = width
        return (z > threshold).to(z.dtype)

    @staticmethod
    def backward(ctx, grad):
        z, threshold = ctx.saved_tensors
        is_near = (z - threshold).abs() < ctx.width / 2
        slope = grad / ctx.width * is_near
        return slope, -slope, None
