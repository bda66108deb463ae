"""Files of torch.save: found by their names, recognised by their keys, memory-mapped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nanosae.model.formats.common import REMEDY, take, transposed
from nanosae.model.tensors import Arrays, float32, read_pickle

TENSORS = "ae.pt"
ENDINGS = (".pt", ".pth")


def file_in(path: Path) -> Path | None:
    """Return the .pt file of a path: itself, or in a folder `ae.pt` or the only one."""
    if path.is_file():
        return path if path.suffix in ENDINGS else None
    if (path / TENSORS).is_file():
        return path / TENSORS
    files = [*path.glob("*.pt"), *path.glob("*.pth")]
    return files[0] if len(files) == 1 else None


def content(path: Path) -> dict[str, Any] | None:
    """Return the content of the .pt file of a path, or None if there is none.

    Its tensors are memory-mapped: `as_arrays` copies those that are kept.

    Raises:
        DamagedFileError: If it cannot be read.
        DataError: If it holds anything but tensors and plain values.
    """
    file = file_in(path)
    if file is None:
        return None
    return read_pickle(file, REMEDY)


def holds(path: Path, keys: set[str]) -> bool:
    """Return whether the .pt file of a path has these keys."""
    found = content(path)
    return found is not None and keys <= found.keys()


def linear_weights(state: dict[str, Any], names: dict[str, str], path: Path) -> Arrays:
    """Convert the weights of two torch Linear layers to SAELens' names and layout.

    Args:
        state: Tensors by their names in the file.
        names: SAELens' name for each of them.
        path: The file.

    Raises:
        DataError: If a tensor is missing.
    """
    named = take(state, names, path)
    return transposed(as_arrays(named), "W_enc", "W_dec")


def as_arrays(tensors: dict[str, Any]) -> Arrays:
    """Return float32 copies of tensors, which stay valid if the file changes."""
    return {name: np.array(float32(tensor)) for name, tensor in tensors.items()}
