"""What the files of a run folder hold; None where there is nothing to read yet."""

from __future__ import annotations

import threading
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from nanosae import checked

# two threads that parsed headers of arrays at once ended in a SystemError of Python 3.11
_one_reader = threading.Lock()


def read_json(path: Path) -> dict[str, Any] | None:
    """Return what a JSON file holds, None if there is none.

    Raises:
        DamagedFileError: If it is not what was written.
    """
    if not path.exists():
        return None
    return checked.read_json(path, "Make it again.")


def read_arrays(path: Path) -> dict[str, np.ndarray] | None:
    """Return the arrays of an .npz file, None if it is missing, damaged or half written."""
    try:
        with _one_reader, path.open("rb") as stream, np.load(stream) as arrays:
            return dict(arrays)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def changed(path: Path) -> int:
    """Return when a file was last written, in nanoseconds; 0 if there is none."""
    return path.stat().st_mtime_ns if path.exists() else 0
