"""The CPU backend, in numba: selection, decode, and both weight gradients over flat pairs.

Every output element is written by one loop iteration in a fixed order, and no scalar is reduced
over threads, so that results are bitwise reproducible. Rows and latents are divided into `CHUNKS`
chunks of about equal work, whatever the number of threads. Nothing here checks for NaN.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nanosae.kernels.cpu.capability import selects_by_screening
from nanosae.kernels.cpu.compiler import check_process
from nanosae.kernels.cpu.products import (
    decode,
    decode_grads,
    encode_grads,
    make_plan,
    value_grads,
)
from nanosae.kernels.cpu.screening import screened_above, screened_topk
from nanosae.kernels.cpu.selection import (
    MIN_WEIGHTS,
    is_screened,
    select_above,
    select_batchtopk,
    select_topk,
)

__all__ = [
    "check_process",
    "compile_all",
    "decode",
    "decode_grads",
    "encode_grads",
    "make_plan",
    "select_above",
    "select_batchtopk",
    "select_topk",
    "selection_path",
    "value_grads",
]


def compile_all(n_rows: int, weight: Tensor, topk: bool) -> None:
    """Run every kernel that batches of this size need once, on tiny inputs.

    AuxK needs top-k selection, too, but only if it does not take all dead latents, which is rare in
    small dictionaries: there, its kernel is compiled on its first use.
    """
    eye = torch.eye(2)
    bias = torch.zeros(2)
    gradient = torch.empty_like(eye)
    pairs = select_above(eye, eye, bias, bias)
    if topk or weight.numel() >= MIN_WEIGHTS:
        select_topk(eye, eye, bias, 1)
    if is_screened(n_rows, weight):
        screened_above(eye, eye, bias, bias)
        screened_topk(eye, eye, bias, 1)
    plan = make_plan(pairs, 2)
    decode(pairs.values, pairs, eye, bias)
    decode_grads(eye, pairs.values, plan, eye, gradient, False)
    encode_grads(pairs.values, plan, eye, gradient, False)


def selection_path() -> str:
    """Return the kind of products that selections use here; different kinds round differently."""
    return "8-bit screening" if selects_by_screening() else "float32"
