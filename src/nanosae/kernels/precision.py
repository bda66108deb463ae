"""The precision of the encoder's product in a selection on a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_precision = ContextVar("precision", default="float32")


@contextmanager
def encoder_precision(name: str) -> Iterator[None]:
    """Let the selections of the `cuda` backend round the factors of the encoder's product.

    The other backends always compute in the rows' own type.

    Args:
        name: float32, tf32 or bfloat16; sums are float32, and so is all else.
    """
    token = _precision.set(name)
    try:
        yield
    finally:
        _precision.reset(token)


def current_precision() -> str:
    """Return what `encoder_precision` has set: float32, tf32 or bfloat16."""
    return _precision.get()
