"""The command line: one sub-command per verb, flags of the same names as the Python arguments.

Nothing heavy is imported before a command runs. A user's mistake is one `error:` line and exit code
2; a run stopped by a signal exits with 128 + its number.
"""

from __future__ import annotations

import sys

import tyro

from nanosae.cli import analysis, corpus, pages, training  # noqa: F401 (they add their verbs)
from nanosae.cli.parameters import app
from nanosae.cli.settings import with_config, with_lists


def main(argv: list[str] | None = None) -> int:
    """Run a command; return its exit code."""
    try:
        argv = sys.argv[1:] if argv is None else argv
        how = (tyro.conf.DisallowNone, tyro.conf.OmitArgPrefixes)
        app.cli(args=with_lists(with_config(argv)), prog="nanosae", config=how)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 2
    except KeyboardInterrupt as stop:
        print(f"{stop or 'interrupted'}", file=sys.stderr)
        return 130
    except (ValueError, TypeError, OSError, ImportError, FloatingPointError) as error:
        print("error:", *str(error).split(), file=sys.stderr)  # on one line
        return 2
    return 0
