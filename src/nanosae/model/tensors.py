"""Read tensors from files: safetensors, numpy archives, and pickles without code."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import numpy as np

from nanosae.checked import damaged, naming
from nanosae.errors import DataError, reason_of

# types of safetensors files in numpy, which has no BF16
FLOATS = {
    "F16": np.float16,
    "F32": np.float32,
    "F64": np.float64,
}

Arrays = dict[str, np.ndarray]


def read_safetensors(file: Path, remedy: str) -> Arrays:
    """Return the tensors of a safetensors file in float32.

    Raises:
        DamagedFileError: If it is not a safetensors file.
        DataError: If a tensor is not of a floating-point type.
    """
    from safetensors import deserialize

    with naming(file, remedy):
        entries = deserialize(file.read_bytes())
        return {name: _as_float32(file, name, entry) for name, entry in entries}


def read_archive(file: Path, remedy: str) -> Arrays:
    """Return the arrays of an .npz file in float32."""
    with naming(file, remedy), np.load(file, allow_pickle=False) as archive:
        return {name: archive[name].astype(np.float32) for name in archive.files}


def read_pickle(file: Path, remedy: str) -> dict[str, Any]:
    """Return a dictionary written by `torch.save`, without executing anything in the file.

    Tensors are memory-mapped, except those in the format before PyTorch 1.6.

    Raises:
        DamagedFileError: If it cannot be read.
        DataError: If it holds anything but tensors, numbers, strings, lists and dictionaries.
    """
    from pickle import UnpicklingError

    import torch

    try:
        content = torch.load(
            file, map_location="cpu", weights_only=True, mmap=is_zipfile(file)
        )
    except UnpicklingError as error:
        raise DataError(
            f"{file} needs code to be executed, or was not written by torch.save; only tensors "
            "and plain values are read.",
            file=file,
            remedy="Save the state_dict with the library that made it.",
        ) from error
    except Exception as error:  # damaged bytes fail in many ways
        raise damaged(file, reason_of(error), remedy) from error
    if not isinstance(content, dict):
        raise DataError(
            f"{file} holds a {type(content).__name__}; needed: a state_dict.",
            file=file,
            remedy="If it is a whole model, read it with torch.load.",
        )
    return content


def float32(tensor: Any) -> np.ndarray:
    """Return a torch tensor of any floating-point type as a float32 array."""
    return tensor.detach().float().cpu().numpy()


def _as_float32(file: Path, name: str, entry: dict[str, Any]) -> np.ndarray:
    """Return a tensor of a safetensors file; a bfloat16 is the upper half of a float32."""
    kind = entry["dtype"]
    if kind == "BF16":
        upper_half = np.frombuffer(entry["data"], "<u2").astype(np.uint32)
        values = (upper_half << 16).view(np.float32)
    elif kind in FLOATS:
        values = np.frombuffer(entry["data"], FLOATS[kind]).astype(
            np.float32, copy=False
        )
    else:
        raise DataError(
            f"{file}: {name} has numbers of type {kind}; needed: BF16 or one of {[*FLOATS]}.",
            file=file,
        )
    return values.reshape(entry["shape"])
