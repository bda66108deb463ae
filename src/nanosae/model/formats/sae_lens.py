"""SAELens: `cfg.json` and `sae_weights.safetensors`, the layout that is also ours.

Translated are the flat settings of versions before 6, training checkpoints (BatchTopK's shared
threshold, log_threshold, a scale of the rows in `activation_scaler.json`) and
rescale_acts_by_decoder_norm, which orders latents by activation × ‖W_dec‖: folded into the encoder,
it leaves decoder rows of length one. Activations are then × ‖W_dec‖, as in SAELens, which divides
by it when it decodes. `reshape_activations: hook_z` only flattens heads; rows are flat here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nanosae.checked import read_json
from nanosae.model.formats.common import (
    REMEDY,
    Settings,
    refuse,
    with_scaled_rows,
    with_unit_decoder,
)
from nanosae.model.tensors import Arrays

SCALER = "activation_scaler.json"
SHARED_THRESHOLD = ("batchtopk", "matryoshka_batchtopk")
RENAMED = {
    "hook_point": "hook_name",
    "hook_point_head_index": "hook_head_index",
    "activation_fn_str": "activation_fn",
}
FIELDS = (
    "architecture",
    "d_in",
    "d_sae",
    "dtype",
    "device",
    "apply_b_dec_to_input",
    "normalize_activations",
    "reshape_activations",
    "k",
)


def translate_settings(cfg: Settings, file: Path) -> Settings:
    """Return the settings in the words of version 6.

    Args:
        cfg: Of cfg.json.
        file: Where it lies.

    Raises:
        DataError: If what it describes cannot be computed here.
    """
    if "metadata" not in cfg and {"hook_name", "hook_point"} & cfg.keys():
        cfg = _unflattened(cfg, file)
    if cfg.get("finetuning_scaling_factor"):
        raise refuse(
            file, "finetuning_scaling_factor", "activations would have two scales"
        )
    if "normalize_activations" in cfg and cfg["normalize_activations"] is None:
        return cfg | {"normalize_activations": "none"}
    return cfg


def translate(cfg: Settings, tensors: Arrays, folder: Path) -> tuple[Settings, Arrays]:
    """Return settings and tensors of an SAE of raw rows, without further recipe."""
    cfg, tensors = dict(cfg), dict(tensors)
    if cfg["architecture"] in SHARED_THRESHOLD:
        cfg["architecture"] = "jumprelu"
        lowest = tensors.pop("topk_threshold")
        tensors["threshold"] = np.full(cfg["d_sae"], lowest.item(), np.float32)
    if "log_threshold" in tensors:
        tensors["threshold"] = np.exp(tensors.pop("log_threshold"))
    if cfg.get("normalize_activations") == "expected_average_only_in":
        scale = _scale(folder)
        tensors = with_scaled_rows(tensors, scale)
        if cfg.get("rescale_acts_by_decoder_norm") and "threshold" in tensors:
            tensors["threshold"] = tensors["threshold"] / np.float32(scale)
        cfg["normalize_activations"] = "none"
    if cfg.get("rescale_acts_by_decoder_norm"):
        tensors = _ordered_by_norm(tensors)
        cfg["rescale_acts_by_decoder_norm"] = False
    if "dtype" in cfg:
        cfg["dtype"] = "float32"
    return cfg, tensors


def _unflattened(cfg: Settings, file: Path) -> Settings:
    """Return the settings of a version before 6, in which all stood at the top."""
    flat = {RENAMED.get(name, name): value for name, value in cfg.items()}
    flat.setdefault("architecture", "standard")
    activation = flat.pop("activation_fn", "relu")
    options = flat.pop("activation_fn_kwargs", None)
    if activation == "topk":
        k = None if options is None else options.get("k")
        flat |= {"architecture": "topk", "k": k}
    elif activation != "relu":
        raise refuse(file, f"activation_fn {activation!r}", "only relu and topk are")
    scaling = flat.get("normalize_activations")
    if isinstance(scaling, bool):
        scaled = "expected_average_only_in"
        flat["normalize_activations"] = scaled if scaling else "none"
    kept = {name: flat[name] for name in FIELDS if name in flat}
    if flat.get("finetuning_scaling_factor"):
        kept["finetuning_scaling_factor"] = True
    kept["metadata"] = {
        name: value for name, value in flat.items() if name not in FIELDS
    }
    kept["metadata"].setdefault("prepend_bos", True)
    return kept


def _scale(folder: Path) -> float:
    """Return what training multiplied the rows by."""
    file = folder / SCALER
    scale = None
    if file.is_file():
        scale = read_json(file, REMEDY).get("scaling_factor")
    if scale is None:
        raise refuse(
            folder,
            "normalize_activations 'expected_average_only_in'",
            f"the scale of the rows would have to be in {SCALER}",
        )
    return float(scale)


def _ordered_by_norm(tensors: Arrays) -> Arrays:
    """Fold the decoder's norms in; thresholds are in units of activation × norm already."""
    folded = with_unit_decoder(tensors)
    if "threshold" in tensors:
        folded["threshold"] = tensors["threshold"]
    return folded
