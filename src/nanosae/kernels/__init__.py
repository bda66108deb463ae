"""Sparse encode and decode: the one seam between the training step and its kernels.

A step selects a few (row, latent) pairs from `z = x @ W_enc + b_enc` without gradient, one tile of
rows at a time, so that the full matrix of pre-activations is never held. Everything after works on
the flat pairs. Both weights are latent-major and contiguous here: (hidden_size, input_size).

A backend is a module with the functions of `reference.py`, which is the oracle for the others.
The weight gradient of a leaf whose `.grad` is already allocated is written there in place (see
`fresh_gradients`); any other is returned to autograd. Rows get no gradient.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor


class Pairs(NamedTuple):
    """The kept entries of a batch of B rows, ordered by row, then by latent.

    Those from `row_ptr[-1]` on are padding, which only the `cuda` backend makes, so that the host
    need not wait to know nnz: their value is below any threshold, their latent any, and they have
    no part in decoding nor in any gradient.

    Attributes:
        values: Pre-activations, (nnz,).
        cols: Latents, (nnz,) int32.
        row_ptr: Row r owns the pairs `row_ptr[r]:row_ptr[r + 1]`, (B + 1,) int64.
    """

    values: Tensor
    cols: Tensor
    row_ptr: Tensor


class Plan(NamedTuple):
    """The same pairs ordered by latent, then by row; shared by all weight gradients of a step.

    Attributes:
        order: Pair at each place of this order, (nnz,) int32.
        rows: Row at each place of this order, (nnz,) int32.
        starts: Latent f owns the places `starts[f]:starts[f + 1]`, (hidden_size + 1,) int64.
    """

    order: Tensor
    rows: Tensor
    starts: Tensor


def unpadded(pairs: Pairs) -> Pairs:
    """Return the pairs without padding; on a GPU, this waits for their number."""
    nnz = int(pairs.row_ptr[-1])
    return Pairs(pairs.values[:nnz], pairs.cols[:nnz], pairs.row_ptr)


def owners(starts: Tensor) -> Tensor:
    """Return the row of each pair by `row_ptr`, or the latent of each place by `Plan.starts`."""
    return torch.arange(len(starts) - 1, device=starts.device).repeat_interleave(starts.diff())


def trim(pairs: Pairs, keep: Tensor) -> Pairs:
    """Return the pairs marked in `keep`, (nnz,) bool."""
    row_ptr = torch.cat([pairs.row_ptr[:1], keep.cumsum(0)])[pairs.row_ptr]
    return Pairs(pairs.values[keep], pairs.cols[keep], row_ptr)


def backend(device: torch.device, name: str = "auto") -> ModuleType:
    """Return the kernel module for a device, or the one named.

    That is `cpu` on a CPU, `cuda` on a GPU where Triton is installed, else `reference`.

    Raises:
        ImportError: If the `cuda` backend is asked for without Triton.
    """
    triton = importlib.util.find_spec("triton") is not None
    if name == "auto":
        name = {"cpu": "cpu", "cuda": "cuda" if triton else ""}.get(device.type) or "reference"
    if name == "cuda" and not triton:
        raise ImportError('the cuda backend needs Triton: pip install "nanosae[triton]".')
    return importlib.import_module(f"nanosae.kernels.{name}")


@contextmanager
def encoder_precision(kernels: ModuleType, name: str) -> Iterator[None]:
    """Let the `cuda` backend's selections round the factors of the encoder's product.

    Args:
        kernels: The backend; the others always compute in the rows' own type.
        name: float32, tf32 or bfloat16; sums are float32, and so is all else.
    """
    before = getattr(kernels, "PRECISION", "float32")
    vars(kernels)["PRECISION"] = name
    try:
        yield
    finally:
        vars(kernels)["PRECISION"] = before


def fresh_gradients(weights: Iterable[Tensor]) -> None:
    """Let the next backward pass overwrite the gradient buffers, allocating them at first."""
    for weight in weights:
        if weight.grad is None:
            weight.grad = torch.zeros_like(weight)
        weight.fresh = True  # type: ignore[attr-defined]


def _target(weight: Tensor) -> tuple[Tensor, bool, bool]:
    """Return (where to write the gradient, whether to add, whether autograd wants it)."""
    if weight.grad is None or not weight.is_leaf:
        return torch.empty_like(weight), False, True
    add = not getattr(weight, "fresh", False)
    weight.fresh = False  # type: ignore[attr-defined]
    return weight.grad, add, False


class _Encode(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, pairs, plan, kernels):
        ctx.args = x, weight, plan, kernels
        return pairs.values.clone()

    @staticmethod
    def backward(ctx, grad_values):
        x, weight, plan, kernels = ctx.args
        grad_weight, add, wanted = _target(weight)
        grad_bias = kernels.encode_grads(grad_values.contiguous(), plan, x, grad_weight, add)
        return None, grad_weight if wanted else None, grad_bias, None, None, None


class _Decode(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values, weight, bias, pairs, plan, kernels):
        ctx.args = values.detach(), weight, plan, kernels
        return kernels.decode(values.detach(), pairs, weight.detach(), bias.detach())

    @staticmethod
    def backward(ctx, grad):
        values, weight, plan, kernels = ctx.args
        grad_weight, add, wanted = _target(weight)
        grad = grad.contiguous()
        grad_values = kernels.decode_grads(grad, values, plan, weight.detach(), grad_weight, add)
        return grad_values, grad_weight if wanted else None, grad.sum(0), None, None, None


class _ColumnSums(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.sums, ctx.n_rows, ctx.weight = x.sum(0), len(x), weight
        return weight @ ctx.sums + len(x) * bias

    @staticmethod
    def backward(ctx, grad):
        grad_weight, add, wanted = _target(ctx.weight)
        torch.addr(grad_weight, grad, ctx.sums, beta=1 if add else 0, out=grad_weight)
        return None, grad_weight if wanted else None, ctx.n_rows * grad


def column_sums(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return Σ over the rows of every pre-activation, (hidden_size,), without making them."""
    return _ColumnSums.apply(x, weight, bias)


def sparse_encode(
    x: Tensor, weight: Tensor, bias: Tensor, pairs: Pairs, plan: Plan, kernels: ModuleType
) -> Tensor:
    """Return the pairs' pre-activations, (nnz,), differentiable in weight and bias.

    Args:
        x: Rows, (B, input_size).
        weight: Encoder, latent-major, (hidden_size, input_size).
        bias: Encoder bias, (hidden_size,).
        pairs: What a selection of `kernels` kept of these very arguments.
        plan: `kernels.make_plan(pairs, hidden_size)`.
        kernels: The backend.
    """
    return _Encode.apply(x, weight, bias, pairs, plan, kernels)


def sparse_decode(
    values: Tensor, weight: Tensor, bias: Tensor, pairs: Pairs, plan: Plan, kernels: ModuleType
) -> Tensor:
    """Return the reconstruction, (B, input_size), differentiable in values, weight and bias.

    Args:
        values: Activations of the pairs, (nnz,); zeros cost a gradient but no decoding.
        weight: Decoder, (hidden_size, input_size).
        bias: Decoder bias, (input_size,).
        pairs: Which latent of which row each value is.
        plan: `kernels.make_plan(pairs, hidden_size)`.
        kernels: The backend.
    """
    return _Decode.apply(values, weight, bias, pairs, plan, kernels)
