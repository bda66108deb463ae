"""Compiling and calling the kernels of the CPU backend."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable

import numba
import torch
from numba.extending import intrinsic
from torch import Tensor

from nanosae.errors import ForkError

CHUNKS = 64  # per parallel loop: more balance the work better, fewer cost less overhead
FAST_MATH = {"nnan", "nsz", "contract", "reassoc"}
# numba's threading layers may not be entered by two threads at once
lock = threading.RLock()

_process: int | None = None  # that has launched threads


def compile_function(function: Callable, parallel: bool = False) -> Callable:
    """Compile a function on its first call; cache it on disk if a cache folder is writable."""
    compiler = functools.partial(
        numba.njit, parallel=parallel, fastmath=FAST_MATH, error_model="numpy"
    )
    try:
        return compiler(cache=True)(function)
    except RuntimeError:
        return compiler()(function)


@compile_function
def rows_of_chunk(chunk, n_rows):
    """Return the first row of a chunk, and the one after its last row."""
    return chunk * n_rows // CHUNKS, (chunk + 1) * n_rows // CHUNKS


def _use_wide_vectors(_typing_context):
    """Let the caller's loops use 512-bit vectors, if the processor has them.

    LLVM prefers 256 bits on most such processors, which keeps their clock rate high. Here, the
    matrix products before and after use 512 bits anyway, and wide loads of gathered rows take a
    fifth less time.
    """

    def generate(context, builder, _signature, _args):
        # llvmlite does not know this attribute, and its own `add` would refuse it
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return numba.types.void(), generate


use_wide_vectors: Callable = intrinsic(_use_wide_vectors)


@functools.cache
def _launch_threads() -> int:
    """Launch numba's threads, and return how many there are.

    numba sets OpenMP's number of threads, which PyTorch shares, to that of the cores. PyTorch keeps
    the number that the program or its environment has set.
    """
    global _process
    _process = os.getpid()
    n_torch_threads = torch.get_num_threads()
    n_threads = numba.get_num_threads()
    if torch.get_num_threads() != n_torch_threads:
        torch.set_num_threads(n_torch_threads)
    return n_threads


def check_process() -> None:
    """Raise a ForkError in a fork of the process with threads: OpenMP would abort it or wait."""
    if _process not in (None, os.getpid()):
        raise ForkError(
            "This process was forked from one in which nanoSAE had started threads, which a fork "
            "lacks.",
            remedy='Start processes with multiprocessing.get_context("spawn").',
        )


def compile_kernel(function: Callable, parallel: bool = True) -> Callable:
    """Compile a kernel, to be called with tensors, by one thread at a time."""
    compiled = compile_function(function, parallel)

    def call(*args):
        arrays = [_as_array(arg) for arg in args]
        with lock:
            max_threads = _launch_threads()
            numba.set_num_threads(min(torch.get_num_threads(), max_threads))
            compiled(*arrays)

    return call


def _as_array(arg):
    """Convert a tensor, or a named tuple of tensors, to numpy; return anything else unchanged."""
    if isinstance(arg, Tensor):
        return arg.numpy()
    if isinstance(arg, tuple):
        return type(arg)(*map(_as_array, arg))
    return arg


compile_serial_kernel = functools.partial(compile_kernel, parallel=False)
