"""Sparse encode and decode as autograd functions, over any backend.

The gradient of a leaf weight whose `.grad` is already allocated is written there in place (see
`reset_gradients`); any other is returned to autograd. Rows get no gradient.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import ModuleType

import torch
from torch import Tensor

from nanosae.kernels.pairs import Pairs, Plan


def reset_gradients(weights: Iterable[Tensor]) -> None:
    """Let the next backward pass overwrite the gradient buffers, allocated on the first call."""
    for weight in weights:
        if weight.grad is None:
            weight.grad = torch.zeros_like(weight)
        weight.overwrite_grad = True  # type: ignore[attr-defined]


def sparse_encode(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    pairs: Pairs,
    plan: Plan,
    kernels: ModuleType,
) -> Tensor:
    """Return the pairs' pre-activations, (nnz,), differentiable in weight and bias.

    Args:
        x: Rows, (B, input_size).
        weight: Encoder, latent-major, (hidden_size, input_size).
        bias: Encoder bias, (hidden_size,).
        pairs: The result of a selection by `kernels` from these x, weight and bias.
        plan: `kernels.make_plan(pairs, hidden_size)`.
        kernels: The backend.
    """
    return _Encode.apply(x, weight, bias, pairs, plan, kernels)


def sparse_decode(
    values: Tensor,
    weight: Tensor,
    bias: Tensor,
    pairs: Pairs,
    plan: Plan,
    kernels: ModuleType,
) -> Tensor:
    """Return the reconstruction, (B, input_size), differentiable in values, weight and bias.

    Args:
        values: Activations of the pairs, (nnz,); zeros are skipped in decoding but get a gradient.
        weight: Decoder, (hidden_size, input_size).
        bias: Decoder bias, (input_size,).
        pairs: Row and latent of each value.
        plan: `kernels.make_plan(pairs, hidden_size)`.
        kernels: The backend.
    """
    return _Decode.apply(values, weight, bias, pairs, plan, kernels)


def column_sums(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return the column sums of the pre-activations, (hidden_size,), without computing these.

    Args:
        x: Rows, (B, input_size).
        weight: Encoder, latent-major, (hidden_size, input_size).
        bias: Encoder bias, (hidden_size,).
    """
    return _ColumnSums.apply(x, weight, bias)


class _Encode(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, pairs, plan, kernels):
        ctx.x = x
        ctx.weight = weight
        ctx.plan = plan
        ctx.kernels = kernels
        return pairs.values.clone()

    @staticmethod
    def backward(ctx, grad_values):
        grad_weight, accumulate = _gradient_buffer(ctx.weight)
        grad_bias = ctx.kernels.encode_grads(
            grad_values.contiguous(), ctx.plan, ctx.x, grad_weight, accumulate
        )
        returned = _unless_in_place(ctx.weight, grad_weight)
        return None, returned, grad_bias, None, None, None


class _Decode(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values, weight, bias, pairs, plan, kernels):
        ctx.values = values.detach()
        ctx.weight = weight
        ctx.pairs = pairs
        ctx.plan = plan
        ctx.kernels = kernels
        return kernels.decode(values.detach(), pairs, weight.detach(), bias.detach())

    @staticmethod
    def backward(ctx, grad):
        grad = grad.contiguous()
        weight = ctx.weight.detach()
        if not ctx.needs_input_grad[1]:
            grad_values = ctx.kernels.value_grads(grad, ctx.pairs, ctx.plan, weight)
            return grad_values, None, None, None, None, None
        grad_weight, accumulate = _gradient_buffer(ctx.weight)
        grad_values = ctx.kernels.decode_grads(
            grad, ctx.values, ctx.plan, weight, grad_weight, accumulate
        )
        returned = _unless_in_place(ctx.weight, grad_weight)
        return grad_values, returned, grad.sum(0), None, None, None


class _ColumnSums(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.sum_of_rows = x.sum(0)
        ctx.n_rows = len(x)
        ctx.weight = weight
        return weight @ ctx.sum_of_rows + len(x) * bias

    @staticmethod
    def backward(ctx, grad):
        grad_weight, accumulate = _gradient_buffer(ctx.weight)
        torch.addr(
            grad_weight, grad, ctx.sum_of_rows, beta=int(accumulate), out=grad_weight
        )
        return None, _unless_in_place(ctx.weight, grad_weight), ctx.n_rows * grad


def _gradient_buffer(weight: Tensor) -> tuple[Tensor, bool]:
    """Return the buffer for a weight's gradient, and whether to add to its content."""
    if not weight.is_leaf or weight.grad is None:
        return torch.empty_like(weight), False
    accumulate = not getattr(weight, "overwrite_grad", False)
    weight.overwrite_grad = False  # type: ignore[attr-defined]
    return weight.grad, accumulate


def _unless_in_place(weight: Tensor, grad_weight: Tensor) -> Tensor | None:
    """Return a weight's gradient for autograd to add, or None if it is in place already."""
    in_place = weight.is_leaf and grad_weight is weight.grad
    return None if in_place else grad_weight
