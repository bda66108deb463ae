"""Stopping a training by a signal, after the current step."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import Any


class Stopped(KeyboardInterrupt):
    """A training was stopped by a signal, after writing a checkpoint.

    Attributes:
        signal: Number of the signal.
    """

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.signal = signal


@contextlib.contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Collect the first SIGINT or SIGTERM in a list; a second one acts as usual."""
    received: list[int] = []
    usual_handlers = {}

    def collect(number: int, frame: Any) -> None:
        signal.signal(number, usual_handlers[number])
        received.append(number)

    # outside the main thread, signals are left to the caller
    with contextlib.suppress(ValueError):
        for number in (signal.SIGINT, signal.SIGTERM):
            # otherwise a program that embeds Python handles it
            if signal.getsignal(number) is not None:
                usual_handlers[number] = signal.signal(number, collect)
    try:
        yield received
    finally:
        for number, handler in usual_handlers.items():
            signal.signal(number, handler)
