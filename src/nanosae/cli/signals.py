"""Ctrl-C and SIGTERM, from the first import to the last line: the command ends without a word."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

# signals belong to the process, and so does the list of those that came
caught: list[int] = []

SECONDS = 0.5  # after which a command that has not ended is stopped again


class Stopped(KeyboardInterrupt):
    """Raised where the process is when a signal arrives.

    Args:
        number: Number of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.signal = number


@contextlib.contextmanager
def stopping_on_signals(owns_process: bool = False) -> Iterator[None]:
    """Raise Stopped on SIGINT and SIGTERM, and note them in `caught`.

    It is raised again until the block ends: libraries may swallow it, as some do while they are
    imported, and no exception leaves a callback.

    Args:
        owns_process: Whether the process may end at once where a module is being imported: some
            libraries abort it if an exception meets them while they are loaded.
    """
    caught.clear()
    stop, stop_again = partial(_stop, owns_process), partial(_stop_again, owns_process)
    before = {}
    # not the main thread: signals are the caller's
    with contextlib.suppress(ValueError):
        if hasattr(signal, "setitimer"):
            before[signal.SIGALRM] = signal.signal(signal.SIGALRM, stop_again)
        for number in (signal.SIGINT, signal.SIGTERM):
            # as nohup and `&` in scripts ask
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
    """Return whether a module is being imported in this or a calling frame of the command."""
    while frame is not None:
        module = frame.f_globals.get("__name__")
        if module == "nanosae.cli":  # where the command begins
            return False
        if module == "importlib._bootstrap":
            return True
        frame = frame.f_back
    return False


def _repeat_after(seconds: float) -> None:
    """Call `_stop_again` every so many seconds; 0 ends it. Windows has no such timer."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds, seconds)


def _ignore_stopped(unraisable: Any) -> None:
    """Print what escapes from a callback, except Stopped, which is raised again."""
    if not isinstance(unraisable.exc_value, Stopped):
        sys.__unraisablehook__(unraisable)
