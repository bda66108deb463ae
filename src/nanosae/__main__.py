"""The command line: `nanosae` and `python -m nanosae` begin here."""

import sys


def main() -> int:
    """Run the command line; end quietly even if it is interrupted while it is imported."""
    try:
        from nanosae import cli

        return cli.main()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
