"""The entry point of the command line. Everything else is imported once signals are caught."""

from __future__ import annotations

import signal
import sys

from nanosae.cli.signals import caught, stopping_on_signals


def main(argv: list[str] | None = None) -> int:
    """Run a command; return its exit code.

    Args:
        argv: Command-line arguments; None uses those of the process.

    Returns:
        0 on success, 1 after a defect of this package, 2 after a mistake in the command or its
        data, or 128 + the number of the signal that stopped it.
    """
    code = 0
    with stopping_on_signals(owns_process=argv is None):
        try:
            from nanosae.cli.app import run

            code = run(argv)
        except KeyboardInterrupt as stop:
            if str(stop):
                print(stop, file=sys.stderr)
            return 128 + getattr(stop, "signal", signal.SIGINT)
        except BaseException:
            if not caught:
                raise
    # an interrupted import may raise another error, and an interrupted server may end normally
    return 128 + caught[0] if caught else code
