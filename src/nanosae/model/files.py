"""The two files of a saved SAE, in SAELens' format: the tensors, and `cfg.json` with the settings.

`cfg.json` holds checksums of both under `metadata`; files of other programs have none.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from types import ModuleType

import numpy as np

from nanosae.atomic import make_folder, write_bytes
from nanosae.checked import BLANK, check_file, naming, read_json, seal
from nanosae.errors import DamagedFileError, DataError, ExistsError, MissingError
from nanosae.model import formats
from nanosae.model.architectures import LATENT_TENSORS, rule, tensor_shapes
from nanosae.model.formats import (
    common,
    gemma_scope,
    llama_scope,
    sae_lens,
    sparsify,
)
from nanosae.model.formats.common import Settings
from nanosae.model.tensors import Arrays, read_safetensors

SETTINGS = "cfg.json"
TENSORS = "sae_weights.safetensors"
REMEDY = "`nanosae train … --resume` rebuilds the model from the last checkpoint; or copy it again."
SCALINGS = ("none", "layer_norm")  # of each row, before encoding
RECOGNISED = (  # files of a run and of all formats but those of pickles
    f"model/{SETTINGS}",
    TENSORS,
    sparsify.TENSORS,
    gemma_scope.ARCHIVE,
    gemma_scope.TENSORS,
    llama_scope.SETTINGS,
)


def model_folder(path: str | Path) -> Path:
    """Return the folder of a saved model: `model` in a run folder, the folder, or that of the file.

    Raises:
        MissingError: If there is none.
    """
    path = _folder_of(path)
    folder = path / "model"
    if not folder.exists():
        folder = path
    settings = folder / SETTINGS
    if not settings.exists():
        reason = f"{SETTINGS} is missing" if folder.exists() else "it does not exist"
        raise MissingError(f"no saved model in {path}: {reason}.", file=settings)
    return folder


def _folder_of(path: str | Path) -> Path:
    """Return the folder of a file of settings or tensors; any other path is returned as it is."""
    path = Path(path)
    is_inside = path.name in (SETTINGS, TENSORS, sparsify.TENSORS)
    return path.parent if is_inside else path


def has_model(path: str | Path) -> bool:
    """Return whether a run or other folder holds a saved model, of any known format."""
    path = Path(path)
    ours = [folder / SETTINGS for folder in (path / "model", path)]
    if any(file.is_file() for file in ours):
        return True
    try:
        return formats.format_of(path) is not None
    except (DataError, DamagedFileError):  # a .pt file without a model
        return False


def read_model(path: str | Path) -> tuple[Settings, Arrays]:
    """Return the settings and the float32 tensors of a saved model.

    Args:
        path: A model folder, a run folder that holds one, or files of another library.

    Raises:
        MissingError: If there is no saved model.
        DamagedFileError: If a file was changed or damaged, or the two do not fit together.
        DataError: If the architecture, the scaling or the type of a tensor is not supported.
    """
    path = _folder_of(path)
    other = _other_format(path)
    if other is not None:
        with naming(path, common.REMEDY):
            cfg, tensors = other.load(path)
            _check_k(cfg)
        return cfg, _in_shape(path, cfg, tensors, common.REMEDY)
    folder = model_folder(path)
    cfg, checksums = _read_settings(folder)
    cfg = sae_lens.translate_settings(cfg, folder / SETTINGS)
    _check_settings(folder, cfg)
    file = folder / TENSORS
    if not file.exists():
        raise MissingError(f"{file} does not exist.", file=file, remedy=REMEDY)
    if "file" in checksums:
        check_file(file, checksums["file"], "cfg.json", REMEDY)
    tensors = read_safetensors(file, REMEDY)
    with naming(file, REMEDY):
        cfg, tensors = sae_lens.translate(cfg, tensors, folder)
    return cfg, _in_shape(file, cfg, tensors, REMEDY)


def refuse_other_saes(folder: str | Path, own: str) -> None:
    """Refuse a folder with another SAE, which might be read instead of the one to be written.

    Args:
        folder: The folder, which need not exist.
        own: Name of the file of tensors to be written, which may exist.

    Raises:
        ExistsError: If there is a file by which another format, or a run, is recognised.
    """
    for name in RECOGNISED:
        if name != own and Path(folder, name).exists():
            raise ExistsError(
                f"{folder} holds another SAE ({name}).",
                file=folder,
                remedy="Choose another folder.",
            )


def write_model(folder: str | Path, cfg: Settings, tensors: Arrays) -> None:
    """Write both files, each atomically.

    Args:
        folder: Created if it does not exist.
        cfg: Content of `cfg.json`.
        tensors: The tensors, by their names in files.
    """
    from safetensors.numpy import save

    folder = Path(folder)
    make_folder(folder)
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
    write_bytes(folder / TENSORS, data)
    write_bytes(folder / SETTINGS, seal(text.encode()))


def checksum(W_dec: np.ndarray) -> str:
    """Return a checksum of the decoder, which identifies the model."""
    decoder = np.ascontiguousarray(W_dec, np.float32)
    return f"{zlib.crc32(decoder.data):08x}"


def saved_checksum(path: str | Path) -> str:
    """Return the `checksum` of a saved model, without reading its weights if `cfg.json` has it.

    Args:
        path: A model folder, or a run folder that holds one.

    Raises:
        MissingError: If there is no saved model.
        DamagedFileError: If a file was changed or damaged.
    """
    if _other_format(_folder_of(path)) is None:
        _, checksums = _read_settings(model_folder(path))
        if "model" in checksums:
            return checksums["model"]
    _, tensors = read_model(path)
    return checksum(tensors["W_dec"])


def _read_settings(folder: Path) -> tuple[Settings, dict[str, str]]:
    """Return the settings in cfg.json, and the checksums recorded there."""
    cfg = read_json(folder / SETTINGS, REMEDY)
    metadata = cfg.get("metadata")
    if not isinstance(metadata, dict):
        cfg.pop("metadata", None)
        return cfg, {}
    checksums = metadata.pop("checksums", {})
    if not metadata:
        del cfg["metadata"]
    return cfg, checksums


def _other_format(path: Path) -> ModuleType | None:
    """Return the module of another library's format, or None if a model of ours is there."""
    for folder in (path / "model", path):
        if (folder / SETTINGS).is_file() and (folder / TENSORS).is_file():
            return None
    return formats.format_of(path)


def _check_settings(folder: Path, cfg: Settings) -> None:
    """Refuse unsupported settings; invalid ones count as damage."""
    file = folder / SETTINGS
    with naming(file, REMEDY):
        architecture = cfg["architecture"]
        is_shared = architecture in sae_lens.SHARED_THRESHOLD
        is_known = is_shared or rule(architecture) in LATENT_TENSORS
    scaling = cfg.get("normalize_activations", "none")
    if not is_known or scaling not in (*SCALINGS, "expected_average_only_in"):
        known = [*LATENT_TENSORS, *sae_lens.SHARED_THRESHOLD]
        raise DataError(
            f"{folder} has the architecture {architecture!r} and the scaling {scaling!r}; "
            f"supported are the architectures {known} and the scalings {[*SCALINGS]}.",
            file=file,
        )
    with naming(file, REMEDY):
        if not is_shared:
            _check_k(cfg)
            tensor_shapes(cfg)


def _check_k(cfg: Settings) -> None:
    """Raise a ValueError if the number of entries per row of a top-k SAE is invalid."""
    if rule(cfg["architecture"]) != "topk":
        return
    k = cfg.get("k")
    if not isinstance(k, int) or isinstance(k, bool) or k < 1:
        raise ValueError(f"k is {k!r}")


def _in_shape(file: Path, cfg: Settings, tensors: Arrays, remedy: str) -> Arrays:
    """Return the tensors that the settings require, after checking their shapes and values.

    Latents may be inactive by an infinite threshold or a bias of −∞.
    """
    with naming(file, remedy):
        shapes = tensor_shapes(cfg)
    for name, needed in shapes.items():
        found = tensors[name].shape if name in tensors else "missing"
        if found != needed:
            raise DamagedFileError(
                f"{file}: {name} is {found} on disk, {SETTINGS} needs {needed}.",
                file=file,
                remedy=remedy,
            )
        values = tensors[name]
        if name.startswith("W_") or name == "b_dec":
            is_valid = np.isfinite(values)
        elif name == "threshold":
            is_valid = ~np.isnan(values)
        else:
            is_valid = values < np.inf
        if not is_valid.all():
            raise DamagedFileError(
                f"{file}: {name} has values that are NaN or infinite.",
                file=file,
                remedy=remedy,
            )
    return {name: np.ascontiguousarray(tensors[name]) for name in shapes}
