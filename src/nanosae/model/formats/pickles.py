"""Files of torch.save: found by their names, told apart by their keys, read once."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from nanosae.checked import file_state
from nanosae.model.formats.common import REMEDY, take, transposed
from nanosae.model.tensors import Arrays, float32, read_pickle

ENDINGS = (".pt", ".pth")


def file_in(path: Path) -> Path | None:
    """Return a .pt file: the path itself, `ae.pt` in a folder, or its only one."""
    if path.is_file():
        return path if path.suffix in ENDINGS else None
    if (path / "ae.pt").is_file():
        return path / "ae.pt"
    files = [*path.glob("*.pt"), *path.glob("*.pth")]
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


def holds(path: Path, keys: set[str]) -> bool:
    """Return whether a path is a .pt file, or a folder with one, that has these keys."""
    found = content(path)
    return found is not None and keys <= found.keys()


def linear_weights(state: dict[str, Any], names: dict[str, str], path: Path) -> Arrays:
    """Return the tensors of two of torch's Linear under SAELens' names and as it lays them out.

    Args:
        state: Tensors by the names of the file.
        names: SAELens' name of each.
        path: The file.

    Raises:
        DataError: If one is missing.
    """
    named = take(state, names, path)
    tensors = {name: float32(tensor) for name, tensor in named.items()}
    return transposed(tensors, "W_enc", "W_dec")


@functools.lru_cache(maxsize=1)
def _read(file: Path, _state: tuple[int, ...]) -> dict[str, Any]:
    return read_pickle(file, REMEDY)
