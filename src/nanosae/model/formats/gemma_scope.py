"""Gemma Scope (DeepMind): a folder with `params.npz`, in Gemma Scope 2 `params.safetensors`.

    pre = x · W_enc + b_enc      acts = pre where pre > threshold      x̂ = acts · W_dec + b_dec

b_dec is not subtracted from the rows. Transcoders have the same form and are recognised by the word
"transcoder" in their path. SAEs of the embedding layer take its vectors before Gemma scales them by
√input_size.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nanosae.model.formats.common import REMEDY, Settings, settings, take, unsupported
from nanosae.model.tensors import Arrays, read_archive, read_safetensors

ARCHIVE = "params.npz"
TENSORS = "params.safetensors"
NAMES = {name: name for name in ("W_enc", "b_enc", "W_dec", "b_dec", "threshold")}


def recognises(path: Path) -> bool:
    """Return whether a path is a folder of this format, or its file."""
    return _file(path) is not None


def load(path: Path) -> tuple[Settings, Arrays]:
    """Return settings and tensors.

    Raises:
        DataError: If its rows are scaled, or its decoder writes to several layers.
    """
    file = _file(path)
    assert file is not None
    read = read_archive if file.suffix == ".npz" else read_safetensors
    found = {}
    for name, array in read(file, REMEDY).items():
        found[name.replace("w_", "W_", 1)] = array
    scaling = found.get("scaling_factor")
    if scaling is not None and not np.allclose(scaling, 1):
        raise unsupported(
            file, "a scaling_factor", "activations would have another scale"
        )
    tensors = take(found, NAMES, file)
    if tensors["W_dec"].ndim != 2:
        raise unsupported(
            file, "a cross-layer transcoder", "it decodes to several layers"
        )
    kind = "jumprelu"
    if "transcoder" in str(path.absolute()):
        kind = "jumprelu_transcoder"
    if "affine_skip_connection" in found:
        kind = "jumprelu_skip_transcoder"
        skip = found["affine_skip_connection"]
        tensors["W_skip"] = np.ascontiguousarray(skip.T)
    cfg = settings(tensors, kind, subtract_bias=False, metadata={"prepend_bos": True})
    return cfg, tensors


def _file(path: Path) -> Path | None:
    candidates = [path, path / ARCHIVE, path / TENSORS]
    for file in candidates:
        if file.name in (ARCHIVE, TENSORS) and file.is_file():
            return file
    return None
