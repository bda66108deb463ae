"""Ctrl-C and SIGTERM, from the first import to the last line: the command ends without a word."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
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
def stopping_on_signals() -> Iterator[None]:
    """Raise Stopped on SIGINT and SIGTERM, and note them in `caught`.

    It is raised again until the block ends: libraries may swallow it, as some do while they are
    imported, and no exception leaves a callback.
    """
    caught.clear()
    before = {}
    # not the main thread: signals are the caller's
    with contextlib.suppress(ValueError):
        if hasattr(signal, "setitimer"):
            before[signal.SIGALRM] = signal.signal(signal.SIGALRM, _stop_again)
        for number in (signal.SIGINT, signal.SIGTERM):
            # as nohup and `&` in scripts ask
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, _stop)
    unraisable, sys.unraisablehook = sys.unraisablehook, _ignore_stopped
    try:
        yield
    finally:
        if caught:
            _repeat_after(0)
        sys.unraisablehook = unraisable
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(number: int, frame: Any) -> None:
    caught.append(number)
    _repeat_after(SECONDS)
    raise Stopped(number)


def _stop_again(number: int, frame: Any) -> None:
    raise Stopped(caught[0])


def _repeat_after(seconds: float) -> None:
    """Call `_stop_again` every so many seconds; 0 ends it. Windows has no such timer."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds, seconds)


def _ignore_stopped(unraisable: Any) -> None:
    """Print what escapes from a callback, except Stopped, which is raised again."""
    if not isinstance(unraisable.exc_value, Stopped):
        sys.__unraisablehook__(unraisable)
