"""Llama Scope (OpenMOSS): `hyperparams.json` and `checkpoints/final.safetensors`.

Training scales inputs and outputs to a mean norm of √input_size, by s = √input_size ÷ mean norm. On
raw rows, that library computes

    pre = x · W_enc + b_enc ÷ s_in      acts = pre where pre > jump_relu_threshold
    x̂ = acts · W_dec · s_in ÷ s_out + b_dec ÷ s_out

so that activations are in the units of the rows. With `sparsity_include_decoder_norm`, decoder rows
are then scaled to unit norm and pre-activations by the norms, before they meet the threshold.
SAELens' activations of the same SAE are s_in times as large.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from nanosae.checked import naming, read_json
from nanosae.errors import MissingError
from nanosae.model.architectures import is_transcoder
from nanosae.model.formats.common import (
    REMEDY,
    Settings,
    ordered_by_norm,
    required,
    settings,
    take,
    transposed,
    unsupported,
    with_centring,
)
from nanosae.model.tensors import Arrays, read_safetensors

SETTINGS = "hyperparams.json"
TENSORS = "checkpoints/final.safetensors"
NAMES = {
    "encoder.weight": "W_enc",
    "encoder.bias": "b_enc",
    "decoder.weight": "W_dec",
    "decoder.bias": "b_dec",
}


def recognises(path: Path) -> bool:
    """Return whether a path is a folder of this format."""
    return (path / SETTINGS).is_file()


def load(path: Path) -> tuple[Settings, Arrays]:
    """Return settings and tensors.

    Raises:
        DataError: If rows are scaled one by one, or the encoder is not linear.
    """
    theirs = read_json(path / SETTINGS, REMEDY)
    if not (path / TENSORS).is_file():
        raise MissingError(f"{path / TENSORS} does not exist.", file=path / TENSORS)
    _check(path, theirs)
    found = read_safetensors(path / TENSORS, REMEDY)
    tensors = transposed(take(found, NAMES, path), "W_enc", "W_dec")
    with naming(path / SETTINGS, REMEDY):
        scale_in, scale_out = _scales(theirs)
    tensors["b_enc"] = tensors["b_enc"] / scale_in
    tensors["W_dec"] = tensors["W_dec"] * (scale_in / scale_out)
    tensors["b_dec"] = tensors["b_dec"] / scale_out
    hook = theirs.get("hook_point_in")
    kind = "standard"
    if theirs["act_fn"].lower() == "jumprelu":
        kind = "jumprelu"
        lowest = np.float32(required(theirs, "jump_relu_threshold", path / SETTINGS))
        tensors["threshold"] = np.full(len(tensors["b_enc"]), lowest)
    if theirs.get("hook_point_out", hook) != hook:
        kind = "transcoder" if kind == "standard" else "jumprelu_transcoder"
    if theirs.get("sparsity_include_decoder_norm", True):
        tensors = ordered_by_norm(tensors)
    subtracts = bool(theirs.get("apply_decoder_bias_to_pre_encoder"))
    cfg = settings(tensors, kind, subtract_bias=subtracts, metadata={"hook_name": hook})
    if is_transcoder(kind):
        tensors = with_centring(cfg, tensors, subtract=False)
        cfg["apply_b_dec_to_input"] = False
    return cfg, tensors


def _check(path: Path, theirs: dict[str, Any]) -> None:
    activation = str(theirs.setdefault("act_fn", "jumprelu"))
    scaling = theirs.get("norm_activation", "dataset-wise")
    if activation.lower() not in ("jumprelu", "relu"):
        raise unsupported(path, f"act_fn={activation!r}", "only jumprelu and relu are")
    if scaling not in ("dataset-wise", "inference"):
        raise unsupported(
            path, f"norm_activation={scaling!r}", "rows are scaled one by one"
        )
    if theirs.get("use_glu_encoder"):
        raise unsupported(path, "use_glu_encoder=true", "the encoder is not linear")


def _scales(theirs: dict[str, Any]) -> tuple[np.float32, np.float32]:
    """Return the factors that scaled inputs and outputs in training."""
    if theirs.get("norm_activation", "dataset-wise") == "inference":
        return np.float32(1), np.float32(1)
    norms = theirs["dataset_average_activation_norm"]
    root = math.sqrt(theirs["d_model"])
    return np.float32(root / norms["in"]), np.float32(root / norms["out"])
