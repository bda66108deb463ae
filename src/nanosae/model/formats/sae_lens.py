"""SAELens: `cfg.json` and `sae_weights.safetensors`, which is also nanoSAE's own format.

Translated are: the flat settings of versions before 6; training checkpoints (BatchTopK's shared
threshold, log_threshold, the scale of rows in `activation_scaler.json`); and
rescale_acts_by_decoder_norm, which orders latents by activation × ‖W_dec‖ and is folded into the
encoder, so that decoder rows have unit norm. Activations are then multiplied by ‖W_dec‖, as in
SAELens, which divides by it when decoding. `reshape_activations: hook_z` only flattens heads, and
rows are flat here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nanosae.checked import read_json
from nanosae.model.architectures import in_sae_lens, is_transcoder
from nanosae.model.formats.common import (
    REMEDY,
    Settings,
    ordered_by_norm,
    unsupported,
    with_scaled_rows,
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
    """Convert settings to the format of version 6.

    Args:
        cfg: Content of cfg.json.
        file: Its path.

    Raises:
        DataError: If they describe an SAE that cannot be computed.
    """
    if "metadata" not in cfg and {"hook_name", "hook_point"} & cfg.keys():
        cfg = _unflattened(cfg, file)
    if cfg.get("finetuning_scaling_factor"):
        raise unsupported(
            file, "finetuning_scaling_factor", "activations would have two scales"
        )
    if "normalize_activations" in cfg and cfg["normalize_activations"] is None:
        return cfg | {"normalize_activations": "none"}
    return cfg


def translate(cfg: Settings, tensors: Arrays, folder: Path) -> tuple[Settings, Arrays]:
    """Convert settings and tensors to those of an SAE on raw rows."""
    cfg, tensors = dict(cfg), dict(tensors)
    if cfg["architecture"] in SHARED_THRESHOLD:
        cfg["architecture"] = "jumprelu"
        shared = tensors.pop("topk_threshold")
        tensors["threshold"] = np.full(cfg["d_sae"], shared.item(), np.float32)
    if "log_threshold" in tensors:
        tensors["threshold"] = np.exp(tensors.pop("log_threshold"))
    if cfg.get("normalize_activations") == "expected_average_only_in":
        scale = _scale(folder)
        tensors = with_scaled_rows(tensors, scale)
        if cfg.get("rescale_acts_by_decoder_norm") and "threshold" in tensors:
            tensors["threshold"] = tensors["threshold"] / np.float32(scale)
        cfg["normalize_activations"] = "none"
    architecture = cfg["architecture"]
    if is_transcoder(architecture) and in_sae_lens(architecture):
        # SAELens ignores it: b_dec is a vector of the targets
        cfg["apply_b_dec_to_input"] = False
    if cfg.get("rescale_acts_by_decoder_norm"):
        tensors = ordered_by_norm(tensors)
        cfg["rescale_acts_by_decoder_norm"] = False
    if "dtype" in cfg:
        cfg["dtype"] = "float32"
    return cfg, tensors


def _unflattened(cfg: Settings, file: Path) -> Settings:
    """Convert the settings of a version before 6, which has no `metadata`."""
    flat = {RENAMED.get(name, name): value for name, value in cfg.items()}
    flat.setdefault("architecture", "standard")
    activation = flat.pop("activation_fn", "relu")
    options = flat.pop("activation_fn_kwargs", None)
    if activation == "topk":
        k = None if options is None else options.get("k")
        flat |= {"architecture": "topk", "k": k}
    elif activation != "relu":
        raise unsupported(
            file, f"activation_fn {activation!r}", "only relu and topk are"
        )
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
    """Return the factor that scaled the rows in training."""
    file = folder / SCALER
    scale = None
    if file.is_file():
        scale = read_json(file, REMEDY).get("scaling_factor")
    if scale is None:
        raise unsupported(
            folder,
            "normalize_activations 'expected_average_only_in'",
            f"{SCALER} with the scale of the rows is missing",
        )
    return float(scale)
