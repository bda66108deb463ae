"""The state of PyTorch that the code of this package expects, whatever a program has set."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

AUTOCAST_DEVICES = ("cpu", "cuda", "mps", "xpu")


@contextmanager
def own_defaults() -> Iterator[None]:
    """Create tensors in float32 on the CPU, unless said otherwise, and compute in their own type.

    `torch.set_default_dtype`, `torch.set_default_device` and `torch.autocast` keep their effect on
    other code. This is also a decorator.

    Example:
        >>> with torch.device("meta"), own_defaults():
        ...     torch.zeros(2).device
        device(type='cpu')
    """
    dtype = torch.get_default_dtype()
    with ExitStack() as stack:
        is_on_cpu = torch.get_default_device().type == "cpu"
        if not is_on_cpu:  # the context slows every call down
            stack.enter_context(torch.device("cpu"))
        for kind in AUTOCAST_DEVICES:
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)


@contextmanager
def training_state() -> Iterator[None]:
    """Turn on gradients, which notebooks on language models turn off, with `own_defaults`."""
    with torch.inference_mode(False), torch.enable_grad(), own_defaults():
        yield
