"""The precision of the encoder's product in a selection on a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_precision = ContextVar("precision", default="float32")


@contextmanager
def encoder_precision(name: str) -> Iterator[None]:
    """Set the precision of the encoder's factors in selections of the `cuda` backend.

    The other backends always compute in the type of the rows.

    Args:
        name: float32, tf32 or bfloat16; sums and everything else are float32.
    """
    token = _precision.set(name)
    try:
        yield
    finally:
        _precision.reset(token)


def current_precision() -> str:
    """Return the precision set by `encoder_precision`: float32, tf32 or bfloat16."""
    return _precision.get()
