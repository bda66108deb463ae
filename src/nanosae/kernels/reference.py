"""Kernels in plain PyTorch, on any device and in any float type: the oracle for the other backends.

Ties go to the larger value, then the lower row, then the lower latent. Only positive entries are
kept by `topk` and `batchtopk`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nanosae.kernels import Pairs, Plan, owners

TILE = 1024  # rows encoded at once


def _tiles(x: Tensor, weight: Tensor, bias: Tensor):
    for start in range(0, len(x), TILE):
        yield start, torch.addmm(bias, x[start : start + TILE], weight.T)


def _pairs(kept: list[tuple[Tensor, Tensor, Tensor]], n_rows: int) -> Pairs:
    values, rows, cols = (torch.cat(parts) for parts in zip(*kept, strict=True))
    row_ptr = torch.zeros(n_rows + 1, dtype=torch.int64, device=values.device)
    row_ptr[1:] = torch.bincount(rows, minlength=n_rows).cumsum(0)
    return Pairs(values, cols.int(), row_ptr)


def select_topk(x: Tensor, weight: Tensor, bias: Tensor, k: int) -> Pairs:
    """Keep the k largest positive entries of each row."""
    kept = []
    for start, z in _tiles(x, weight, bias):
        rank = z.sort(dim=1, descending=True, stable=True).indices[:, :k]
        mask = torch.zeros_like(z, dtype=torch.bool).scatter_(1, rank, True) & (z > 0)
        rows, cols = mask.nonzero(as_tuple=True)
        kept.append((z[rows, cols], rows + start, cols))
    return _pairs(kept, len(x))


def select_batchtopk(
    x: Tensor, weight: Tensor, bias: Tensor, total: int, hint: float | None = None
) -> Pairs:
    """Keep the `total` largest positive entries of all rows; `hint` is for other backends."""
    shortlist = [_above(start, z, z > 0) for start, z in _tiles(x, weight, bias)]
    values, rows, cols = (torch.cat(parts) for parts in zip(*shortlist, strict=True))
    keep = values.sort(descending=True, stable=True).indices[:total].sort().values
    return _pairs([(values[keep], rows[keep], cols[keep])], len(x))


def select_above(x: Tensor, weight: Tensor, bias: Tensor, cut: Tensor) -> Pairs:
    """Keep the entries greater than their latent's `cut`, (hidden_size,)."""
    return _pairs([_above(s, z, z > cut) for s, z in _tiles(x, weight, bias)], len(x))


def _above(start: int, z: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    rows, cols = mask.nonzero(as_tuple=True)
    return z[rows, cols], rows + start, cols


def make_plan(pairs: Pairs, hidden_size: int) -> Plan:
    """Order the pairs by latent, rows ascending within each."""
    rows = owners(pairs.row_ptr)
    order = pairs.cols.sort(stable=True).indices
    starts = torch.zeros(hidden_size + 1, dtype=torch.int64, device=order.device)
    starts[1:] = torch.bincount(pairs.cols, minlength=hidden_size).cumsum(0)
    return Plan(order.int(), rows[order].int(), starts)


def decode(values: Tensor, pairs: Pairs, weight: Tensor, bias: Tensor) -> Tensor:
    """Return bias + the sum of each row's values × decoder rows."""
    out = bias.expand(len(pairs.row_ptr) - 1, -1).clone()
    return out.index_add_(0, owners(pairs.row_ptr), values[:, None] * weight[pairs.cols])


def decode_grads(
    grad: Tensor, values: Tensor, plan: Plan, weight: Tensor, grad_weight: Tensor, add: bool
) -> Tensor:
    """Write (or add) the decoder's gradient; return that of the values."""
    latents, order, rows = owners(plan.starts), plan.order, plan.rows
    if not add:
        grad_weight.zero_()
    grad_weight.index_add_(0, latents, values[order][:, None] * grad[rows])
    grad_values = torch.empty_like(values)
    grad_values[order] = (grad[rows] * weight[latents]).sum(1)
    return grad_values


def encode_grads(
    grad_values: Tensor, plan: Plan, x: Tensor, grad_weight: Tensor, add: bool
) -> Tensor:
    """Write (or add) the encoder's gradient; return that of its bias."""
    latents, dz = owners(plan.starts), grad_values[plan.order]
    if not add:
        grad_weight.zero_()
    grad_weight.index_add_(0, latents, dz[:, None] * x[plan.rows])
    return dz.new_zeros(len(grad_weight)).index_add_(0, latents, dz)
