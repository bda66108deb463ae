"""Reading of files that may not exist yet."""

from __future__ import annotations

import threading
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from nanosae import checked

# parsing the headers of arrays in two threads at once can raise a SystemError in Python 3.11
_one_reader = threading.Lock()


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the content of a JSON file, or None if there is no such file.

    Raises:
        DamagedFileError: If the file is damaged.
    """
    if not path.exists():
        return None
    return checked.read_json(path, "Make it again.")


def read_arrays(path: Path) -> dict[str, np.ndarray] | None:
    """Return the arrays of an .npz file, or None if it is missing, damaged or incomplete."""
    try:
        with _one_reader, path.open("rb") as stream, np.load(stream) as arrays:
            return dict(arrays)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def snapshot_files(run: Path) -> dict[int, Path]:
    """Return the snapshots of a run by step, ascending, without copies that somebody made."""
    found = (run / "snapshots").glob("*.npz")
    paths = {int(path.stem): path for path in found if path.stem.isdecimal()}
    return dict(sorted(paths.items()))


def modified_at(path: Path) -> int:
    """Return when a file was last written, in nanoseconds; 0 if it does not exist."""
    return path.stat().st_mtime_ns if path.exists() else 0
