"""The squared error of a reconstruction, with a gradient that needs no further memory."""

from __future__ import annotations

import torch
from torch import Tensor


def squared_error(recon: Tensor, target: Tensor) -> Tensor:
    """Return Σ (recon − target)², differentiable in `recon`; backward can be called only once.

    Args:
        recon: Reconstruction, (..., input_size).
        target: Of the same shape; it gets no gradient.

    Example:
        >>> squared_error(torch.tensor([[1.0, 3.0]]), torch.tensor([[0.0, 1.0]]))
        tensor(5.)
    """
    return _SquaredError.apply(recon, target)


class _SquaredError(torch.autograd.Function):
    @staticmethod
    def forward(ctx, recon, target):
        difference = recon - target
        ctx.difference = difference
        entries = difference.flatten()
        return torch.dot(entries, entries)

    @staticmethod
    def backward(ctx, grad):
        # in place: nothing else uses the difference
        return ctx.difference.mul_(2 * grad), None
