"""Ctrl-C and SIGTERM, from the first import to the last line: the command ends without a word."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from typing import Any

# signals belong to the process, and so does the list of those that came
caught: list[int] = []


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
    """Raise Stopped on SIGINT and SIGTERM, and note them in `caught`."""
    caught.clear()
    before = {}
    # not the main thread: signals are the caller's
    with contextlib.suppress(ValueError):
        for number in (signal.SIGINT, signal.SIGTERM):
            # as nohup and `&` in scripts ask
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, _stop)
    unraisable, sys.unraisablehook = sys.unraisablehook, _raise_again
    try:
        yield
    finally:
        sys.unraisablehook = unraisable
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(number: int, frame: Any) -> None:
    caught.append(number)
    raise Stopped(number)


def _raise_again(unraisable: Any) -> None:
    """Repeat a signal that arrived in a callback, from which Python lets no exception escape."""
    if not isinstance(unraisable.exc_value, Stopped):
        sys.__unraisablehook__(unraisable)
        return
    import threading

    number = unraisable.exc_value.signal
    threading.Timer(0.01, _signal_main_thread, [number]).start()


def _signal_main_thread(number: int) -> None:
    if hasattr(signal, "pthread_kill"):
        import threading

        main_thread = threading.main_thread().ident
        if main_thread is not None:
            signal.pthread_kill(main_thread, number)
    else:
        import _thread

        _thread.interrupt_main(signal.Signals(number))
