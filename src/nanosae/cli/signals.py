"""Ctrl-C and SIGTERM end the command quietly, from its first import to its last line."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

caught: list[int] = []  # signals received by the process

SECONDS = 0.5  # interval at which a command that has not ended is stopped again


class Stopped(KeyboardInterrupt):
    """A signal has arrived.

    Args:
        number: Number of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.signal = number


@contextlib.contextmanager
def stopping_on_signals(owns_process: bool = False) -> Iterator[None]:
    """Raise Stopped on SIGINT and SIGTERM, and record them in `caught`.

    Stopped is raised repeatedly until the block ends, because libraries may swallow it (some do
    while they are imported) and exceptions do not leave callbacks.

    Args:
        owns_process: Whether to end the process at once if a module is being imported: some
            libraries abort the process if an exception interrupts their import.
    """
    caught.clear()
    stop, stop_again = partial(_stop, owns_process), partial(_stop_again, owns_process)
    before = {}
    # outside the main thread, signals cannot be handled
    with contextlib.suppress(ValueError):
        if hasattr(signal, "setitimer"):
            before[signal.SIGALRM] = signal.signal(signal.SIGALRM, stop_again)
        for number in (signal.SIGINT, signal.SIGTERM):
            # keep signals ignored, as nohup and `&` in scripts do
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, stop)
    unraisable, sys.unraisablehook = sys.unraisablehook, _ignore_stopped
    try:
        yield
    finally:
        if caught:
            _repeat_after(0)
        sys.unraisablehook = unraisable
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(owns_process: bool, number: int, frame: Any) -> None:
    caught.append(number)
    _repeat_after(SECONDS)
    _stop_again(owns_process, number, frame)


def _stop_again(owns_process: bool, number: int, frame: Any) -> None:
    if owns_process and _is_importing(frame):
        os._exit(128 + caught[0])
    raise Stopped(caught[0])


def _is_importing(frame: Any) -> bool:
    """Return whether a module is being imported in this frame of the command or a caller."""
    while frame is not None:
        module = frame.f_globals.get("__name__")
        if module == "nanosae.cli":  # the command's outermost frame
            return False
        if module == "importlib._bootstrap":
            return True
        frame = frame.f_back
    return False


def _repeat_after(seconds: float) -> None:
    """Call `_stop_again` at an interval; 0 cancels it. Windows has no such timer."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds, seconds)


def _ignore_stopped(unraisable: Any) -> None:
    """Print exceptions from callbacks, except Stopped, which is raised again later."""
    if not isinstance(unraisable.exc_value, Stopped):
        sys.__unraisablehook__(unraisable)
