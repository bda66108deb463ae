"""The command line: `nanosae` and `python -m nanosae` begin here."""

import os
import sys

SPINS = "1000"  # of GNU OpenMP, less than 0.1 ms; by default 300,000


def main() -> int:
    """Run the command line; end quietly even if it is interrupted while it is imported."""
    sleep_while_waiting()
    try:
        from nanosae import cli

        return cli.main()
    except KeyboardInterrupt as stop:
        return 128 + getattr(stop, "signal", 2)


def sleep_while_waiting() -> None:
    """Let threads that wait for work spin briefly, then sleep, if the environment says nothing.

    Those that spin for long take the processor from the threads that they wait for, wherever other
    processes run. torch's OpenMP reads it once, when it is loaded.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)


if __name__ == "__main__":
    sys.exit(main())
