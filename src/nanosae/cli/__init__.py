"""The command line."""

from nanosae.cli.main import main

__all__ = ["main"]
