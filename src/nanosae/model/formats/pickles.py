"""Files of torch.save: found by their names, told apart by their keys, read once."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from nanosae.checked import file_state
from nanosae.model.formats.common import REMEDY
from nanosae.model.tensors import read_pickle

ENDINGS = (".pt", ".pth")


def file_in(path: Path) -> Path | None:
    """Return a .pt file: the path itself, `ae.pt` in a folder, or its only one."""
    if path.is_file():
        return path if path.suffix in ENDINGS else None
    if (path / "ae.pt").is_file():
        return path / "ae.pt"
    files = [file for ending in ENDINGS for file in path.glob(f"*{ending}")]
    return files[0] if len(files) == 1 else None


def content(path: Path) -> dict[str, Any] | None:
    """Return what the .pt file of a path holds; None if there is none.

    Raises:
        DamagedFileError: If it is not a file of torch.save.
        DataError: If it holds more than tensors and plain values.
    """
    file = file_in(path)
    if file is None:
        return None
    return _read(file.absolute(), file_state(file))


@functools.lru_cache(maxsize=1)
def _read(file: Path, _state: tuple[int, ...]) -> dict[str, Any]:
    return read_pickle(file, REMEDY)
