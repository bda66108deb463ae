"""The command line."""

from nanosae.cli.commands import main

__all__ = ["main"]
