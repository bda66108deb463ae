"""Launching Triton kernels."""

from typing import Any

import torch


def launch(kernel: Any, grid: tuple[int, ...], *args: Any, warps: int = 4) -> None:
    """Launch a kernel on the device of its first argument, unless the grid is empty."""
    if 0 not in grid:
        with torch.cuda.device_of(args[0]):
            kernel[grid](*args, num_warps=warps)
