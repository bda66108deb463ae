"""Whether this machine multiplies 8-bit integers much faster than float32 numbers."""

from __future__ import annotations

import functools
import os

import torch
from torch import Tensor

SWITCH = "NANOSAE_SCREENING"  # environment variable; 0 turns screening off
FAST_INSTRUCTIONS = ("avx512_vnni", "avx_vnni", "amx_int8")
CHECKED_WIDTH = 128


def selects_by_screening() -> bool:
    """Return whether selections are screened by 8-bit products.

    This depends on the processor, on torch and on the environment variable NANOSAE_SCREENING (0
    turns screening off), never on a timing.
    """
    return os.environ.get(SWITCH) != "0" and _multiplies_integers()


@functools.cache
def _multiplies_integers() -> bool:
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    if not any(capabilities.get(name, False) for name in FAST_INSTRUCTIONS):
        return False
    return hasattr(torch, "_int_mm") and _products_are_exact()


def multiply_codes(codes: Tensor, other: Tensor, out: Tensor) -> Tensor:
    """Write the product codes · otherᵀ, of (n, width) and (m, width) int8, to out, (n, m) int32."""
    return torch._int_mm(codes, other.T, out=out)  # pyright: ignore[reportPrivateImportUsage]


def _products_are_exact() -> bool:
    """Return whether products of the largest codes are exact; 16-bit sums would saturate."""
    signs = torch.tensor([[1], [-1]], dtype=torch.int8)
    codes = 127 * signs.expand(2, CHECKED_WIDTH)
    products = torch.empty(2, 2, dtype=torch.int32)
    try:
        multiply_codes(codes.contiguous(), codes.contiguous(), products)
    except (RuntimeError, TypeError):
        return False
    return products.tolist() == [
        [127**2 * CHECKED_WIDTH, -(127**2) * CHECKED_WIDTH],
        [-(127**2) * CHECKED_WIDTH, 127**2 * CHECKED_WIDTH],
    ]
