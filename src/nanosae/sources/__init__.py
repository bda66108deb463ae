"""Read rows of vectors and their metadata from data of any kind with `open_rows`."""

from nanosae.sources.opening import open_rows
from nanosae.sources.rows import Rows

__all__ = ["Rows", "open_rows"]
