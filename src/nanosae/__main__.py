"""Entry point of the command line: `nanosae` and `python -m nanosae`."""

import io
import os
import sys

SPINS = "1000"  # GOMP_SPINCOUNT, less than 0.1 ms; the default is 300,000


def main() -> int:
    """Run the command line; exit quietly even if interrupted during imports."""
    sleep_while_waiting()
    print_lines_at_once()
    try:
        from nanosae import cli

        return cli.main()
    except KeyboardInterrupt as stop:
        return 128 + getattr(stop, "signal", 2)


def sleep_while_waiting() -> None:
    """Make waiting OpenMP threads spin only briefly, unless the environment says otherwise.

    If other processes run, threads that spin for long take processor time from the threads they
    wait for. torch's OpenMP reads the variable once, when it is loaded.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)


def print_lines_at_once() -> None:
    """Write each line when it is printed, also to a file or another program."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)


if __name__ == "__main__":
    sys.exit(main())
