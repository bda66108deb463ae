"""sparsify (EleutherAI): a folder with `sae.safetensors` and `cfg.json`.

    acts = topk(relu((x − b_dec) · encoder.weightᵀ + encoder.bias))      x̂ = acts · W_dec + b_dec

A transcoder does not subtract b_dec from its input; a skip connection adds x · W_skipᵀ to x̂.
"""

from __future__ import annotations

import json
from pathlib import Path

from nanosae.atomic import make_folder, write_bytes, write_text
from nanosae.checked import read_json
from nanosae.model.architectures import (
    is_transcoder,
    rule,
    standardises_rows,
    subtracts_bias,
)
from nanosae.model.formats.common import (
    REMEDY,
    Settings,
    required,
    settings,
    take,
    transposed,
    unsupported,
    with_centring,
)
from nanosae.model.tensors import Arrays, read_safetensors

TENSORS = "sae.safetensors"
SETTINGS = "cfg.json"
NAMES = {
    "encoder.weight": "W_enc",
    "encoder.bias": "b_enc",
    "W_dec": "W_dec",
    "b_dec": "b_dec",
}


def recognises(path: Path) -> bool:
    """Return whether a path is a folder of this format."""
    return (path / TENSORS).is_file()


def load(path: Path) -> tuple[Settings, Arrays]:
    """Return settings and tensors.

    Raises:
        DataError: If its activation is not top-k, or is signed.
    """
    theirs = read_json(path / SETTINGS, REMEDY)
    activation = theirs.get("activation", "topk")
    if activation != "topk":
        raise unsupported(path, f"activation={activation!r}", "only 'topk' is")
    if theirs.get("signed"):
        raise unsupported(path, "signed=true", "activations would be negative")
    found = read_safetensors(path / TENSORS, REMEDY)
    tensors = transposed(take(found, NAMES, path), "W_enc")
    transcode = bool(theirs.get("transcode"))
    kind = "topk"
    if "W_skip" in found:
        kind = "topk_skip_transcoder"
        tensors["W_skip"] = found["W_skip"]
    elif transcode:
        kind = "topk_transcoder"
    k = required(theirs, "k", path / SETTINGS)
    facts = {"sparsify": theirs}
    cfg = settings(tensors, kind, subtract_bias=not transcode, k=k, metadata=facts)
    return cfg, tensors


def save(cfg: Settings, tensors: Arrays, folder: Path) -> None:
    """Write a model in this format.

    Raises:
        DataError: If sparsify does not support such an SAE.
    """
    from safetensors.numpy import save as as_bytes

    architecture = cfg["architecture"]
    subtracts = subtracts_bias(cfg)
    if rule(architecture) != "topk":
        raise unsupported(folder, f"writing {architecture}", "sparsify has only topk")
    if standardises_rows(cfg):
        raise unsupported(
            folder, "writing layer_norm", "sparsify takes rows as they are"
        )
    if not is_transcoder(architecture):
        tensors = with_centring(cfg, tensors, subtract=True)
        subtracts = True
    if tensors["W_dec"].shape[1] != cfg["d_in"]:
        raise unsupported(
            folder, "d_out ≠ d_in", "sparsify's outputs are as wide as inputs"
        )
    data = {theirs: tensors[ours] for theirs, ours in NAMES.items() if ours != "W_enc"}
    data["encoder.weight"] = transposed(tensors, "W_enc")["W_enc"]
    if "W_skip" in tensors:
        data["W_skip"] = tensors["W_skip"]
    facts = {
        "activation": "topk",
        "expansion_factor": max(1, cfg["d_sae"] // cfg["d_in"]),
        "normalize_decoder": True,
        "num_latents": cfg["d_sae"],
        "k": min(cfg["k"], cfg["d_sae"]),
        "multi_topk": False,
        "skip_connection": "W_skip" in tensors,
        "transcode": not subtracts,
        "d_in": cfg["d_in"],
    }
    make_folder(folder)
    write_bytes(folder / TENSORS, as_bytes(data))
    write_text(folder / SETTINGS, json.dumps(facts, indent=1))
