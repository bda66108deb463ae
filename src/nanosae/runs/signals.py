"""Stopping a training by a signal, after the step that is under way."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import Any


class Stopped(KeyboardInterrupt):
    """A training was stopped by a signal, and its checkpoint is written.

    Attributes:
        signal: The signal's number.
    """

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.signal = signal


@contextlib.contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM in a list instead of dying; a second one acts as before."""
    stopped: list[int] = []
    before = {}

    def note(number: int, frame: Any) -> None:
        signal.signal(number, before[number])
        stopped.append(number)

    # not the main thread: signals are the caller's
    with contextlib.suppress(ValueError):
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, note)
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
