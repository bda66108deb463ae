"""Sparse encode and decode: the interface between the training step and its kernels.

A step selects a few (row, latent) pairs from `z = x @ W_enc + b_enc` without gradient, one tile of
rows at a time, so that the full matrix of pre-activations is never held. Everything after that
works on flat pairs. Both weights are latent-major and contiguous here: (hidden_size, input_size).

A backend is a module with the functions of `reference.py`, against which the others are tested:

    select_topk, select_batchtopk, select_above    make `Pairs` from rows and encoder
    make_plan                                      makes a `Plan` from `Pairs`
    decode, decode_grads, value_grads,
    encode_grads                                   are wrapped by `autograd.py`
"""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

import torch
from torch import Tensor

from nanosae.errors import ExtraError
from nanosae.kernels.autograd import (
    column_sums,
    reset_gradients,
    sparse_decode,
    sparse_encode,
)
from nanosae.kernels.defaults import own_defaults, training_state
from nanosae.kernels.devices import find_device
from nanosae.kernels.pairs import (
    Pairs,
    Plan,
    filter_pairs,
    no_pairs,
    segment_ids,
    without_padding,
)
from nanosae.kernels.precision import encoder_precision

__all__ = [
    "Pairs",
    "Plan",
    "backend",
    "column_sums",
    "compile_all",
    "encoder_precision",
    "filter_pairs",
    "find_device",
    "no_pairs",
    "own_defaults",
    "reset_gradients",
    "segment_ids",
    "selection_path",
    "sparse_decode",
    "sparse_encode",
    "training_state",
    "without_padding",
]


def backend(device: torch.device, name: str = "auto") -> ModuleType:
    """Return the kernel module for a device, or the one named.

    Args:
        device: Where the tensors are.
        name: `auto` takes `cpu` on a CPU, `cuda` on a GPU where Triton and PyTorch 2.9 are
            installed, and `reference` elsewhere.

    Raises:
        ExtraError: If the `cuda` backend is asked for without these.
        ForkError: If this process was forked from one that has used the `cpu` backend.
    """
    runs_triton = _runs_triton()
    if name == "auto":
        name = _default_backend(device.type, runs_triton)
    if name == "cuda" and not runs_triton:
        raise ExtraError(
            "the cuda backend needs Triton and PyTorch 2.9 or newer; this is PyTorch "
            f"{torch.__version__}.",
            remedy='Install both: pip install "nanosae[triton]".',
        )
    kernels = importlib.import_module(f"nanosae.kernels.{name}")
    if hasattr(kernels, "check_process"):
        kernels.check_process()
    return kernels


def compile_all(kernels: ModuleType, n_rows: int, weight: Tensor, topk: bool) -> None:
    """Compile a backend's kernels ahead of time, so that no step waits for the compiler.

    Args:
        kernels: The backend.
        n_rows: Rows of the largest batch, which decides which kernels are needed.
        weight: The encoder, (hidden_size, input_size).
        topk: Whether rows keep their k largest entries.
    """
    if hasattr(kernels, "compile_all"):
        kernels.compile_all(n_rows, weight, topk)


def selection_path(kernels: ModuleType) -> str:
    """Return the kind of products that selections use here; different kinds round differently."""
    if hasattr(kernels, "selection_path"):
        return kernels.selection_path()
    return "float32"


def _runs_triton() -> bool:
    """Return whether Triton is installed, and a PyTorch that has all that our kernels' calls need.

    Before 2.9, PyTorch comes with Triton as well, but cannot set the precision of a product.
    """
    has_precision = hasattr(torch.backends.cuda.matmul, "fp32_precision")
    return has_precision and importlib.util.find_spec("triton") is not None


def _default_backend(device_type: str, runs_triton: bool) -> str:
    if device_type == "cpu":
        return "cpu"
    if device_type == "cuda" and runs_triton:
        return "cuda"
    return "reference"
