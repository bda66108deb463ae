"""The two files of a saved SAE, which are SAELens': tensors, and `cfg.json` with its settings.

Checksums of both stand in `cfg.json` under `metadata`; files of other programs have none.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from nanosae.atomic import write_file
from nanosae.checked import BLANK, check_file, naming, read_json, seal
from nanosae.errors import DamagedFileError, DataError, MissingError
from nanosae.model.architectures import LATENT_TENSORS, rule, tensor_shapes

SETTINGS = "cfg.json"
TENSORS = "sae_weights.safetensors"
REMEDY = "`nanosae train … --resume` remakes the model from the last checkpoint; or copy it anew."
# of safetensors; BF16 has none
FLOATS = {
    "F16": np.float16,
    "F32": np.float32,
    "F64": np.float64,
}

Settings = dict[str, Any]
Arrays = dict[str, np.ndarray]


def model_folder(path: str | Path) -> Path:
    """Return the folder of a saved model: a run folder's `model`, or the folder itself.

    Raises:
        MissingError: If there is none.
    """
    folder = Path(path) / "model"
    if not folder.exists():
        folder = Path(path)
    settings = folder / SETTINGS
    if not settings.exists():
        raise MissingError(
            f"no saved model in {path}: {SETTINGS} is missing.", file=settings
        )
    return folder


def read_model(path: str | Path) -> tuple[Settings, Arrays]:
    """Return the settings and the tensors, float32, of a saved model.

    Args:
        path: A model folder, or a run folder that holds one.

    Raises:
        MissingError: If there is no saved model.
        DamagedFileError: If a file is not what was written, or does not fit the other one.
        DataError: If the architecture, the scaling or the type of a tensor is not supported.
    """
    folder = model_folder(path)
    cfg, checksums = _read_settings(folder)
    shapes = _expected_shapes(folder, cfg)
    file = folder / TENSORS
    if not file.exists():
        raise MissingError(f"{file} does not exist.", file=file, remedy=REMEDY)
    if "file" in checksums:
        check_file(file, checksums["file"], "cfg.json", REMEDY)
    tensors = _read_tensors(file)
    for name, needed in shapes.items():
        found = tensors[name].shape if name in tensors else None
        if found != needed:
            raise DamagedFileError(
                f"{file}: {name} is {found} on disk, {SETTINGS} needs {needed}.",
                file=file,
                remedy=REMEDY,
            )
    return cfg, {name: tensors[name] for name in shapes}


def write_model(folder: str | Path, cfg: Settings, tensors: Arrays) -> None:
    """Write both files, each in one step.

    Args:
        folder: Is made if it does not exist.
        cfg: What `cfg.json` says.
        tensors: By their names in files.
    """
    from safetensors.numpy import save

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    data = save(
        {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    )
    checksums = {
        "model": checksum(tensors["W_dec"]),
        "file": f"{zlib.crc32(data):08x}",
        "cfg": BLANK,
    }
    metadata = cfg.get("metadata", {}) | {"checksums": checksums}
    text = json.dumps(cfg | {"metadata": metadata}, indent=1)
    write_file(folder / TENSORS, lambda stream: stream.write(data))
    write_file(folder / SETTINGS, lambda stream: stream.write(seal(text.encode())))


def checksum(W_dec: np.ndarray) -> str:
    """Return what tells this model from others: a checksum of its decoder."""
    decoder = np.ascontiguousarray(W_dec, np.float32)
    return f"{zlib.crc32(decoder.data):08x}"


def saved_checksum(path: str | Path) -> str:
    """Return the `checksum` of a saved model, without reading its weights where it is noted.

    Args:
        path: A model folder, or a run folder that holds one.

    Raises:
        MissingError: If there is no saved model.
        DamagedFileError: If its files are not what was written.
    """
    _, checksums = _read_settings(model_folder(path))
    if "model" in checksums:
        return checksums["model"]
    _, tensors = read_model(path)
    return checksum(tensors["W_dec"])


def _read_settings(folder: Path) -> tuple[Settings, dict[str, str]]:
    """Return what cfg.json says, and the checksums that were noted in it."""
    cfg = read_json(folder / SETTINGS, REMEDY)
    metadata = cfg.get("metadata")
    if not isinstance(metadata, dict):
        return cfg, {}
    checksums = metadata.pop("checksums", {})
    if not metadata:
        del cfg["metadata"]
    return cfg, checksums


def _expected_shapes(folder: Path, cfg: Settings) -> dict[str, tuple[int, ...]]:
    file = folder / SETTINGS
    with naming(file, REMEDY):
        architecture = cfg["architecture"]
        is_known = rule(architecture) in LATENT_TENSORS
    scaling = cfg.get("normalize_activations", "none")
    if not is_known or scaling != "none":
        raise DataError(
            f"{folder} is {architecture!r}, scaling {scaling!r}; needed: one of "
            f"{[*LATENT_TENSORS]}, scaling 'none'.",
            file=file,
        )
    with naming(file, REMEDY):
        if rule(architecture) == "topk" and int(cfg["k"]) < 1:
            raise ValueError(f"k is {cfg['k']}")
        return tensor_shapes(cfg)


def _read_tensors(file: Path) -> Arrays:
    from safetensors import deserialize

    with naming(file, REMEDY):
        entries = deserialize(file.read_bytes())
        return {name: _as_float32(file, name, entry) for name, entry in entries}


def _as_float32(file: Path, name: str, entry: dict[str, Any]) -> np.ndarray:
    """Return a tensor of a safetensors file; numpy has no bfloat16, which is half a float32."""
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
