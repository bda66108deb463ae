"""Rows of vectors, and their metadata, out of anything: `open_rows` makes `Rows`."""

from nanosae.sources.opening import open_rows
from nanosae.sources.rows import Rows

__all__ = ["Rows", "open_rows"]
