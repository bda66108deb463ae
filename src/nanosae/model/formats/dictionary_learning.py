"""dictionary_learning: `ae.pt`, a state dict, beside `config.json`, which names its class.

With W_enc = encoder.weightᵀ where the encoder is a Linear, and b the bias of the decoder:

    AutoEncoder               relu((x − b) W_enc + b_enc); loading normalises decoder rows
    AutoEncoderNew            relu(x W_enc + b_enc)
    GatedAutoEncoder          relu(p exp(r_mag) + mag_bias) where p + gate_bias > 0,
                              with p = (x − b) W_enc
    AutoEncoderTopK           the k largest of relu((x − b) W_enc + b_enc)
    BatchTopKSAE              relu((x − b) W_enc + b_enc) above one threshold
    MatryoshkaBatchTopKSAE    likewise
    JumpReluAutoEncoder       x W_enc + b_enc above a threshold for each latent

An interrupted training leaves the state dict under "ae" in `ae.pt`. Its biases are in units of
rows ÷ norm_factor and are multiplied by norm_factor here, as the library does when training ends.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from nanosae.atomic import make_folder, write_bytes, write_text
from nanosae.checked import read_json
from nanosae.errors import DataError
from nanosae.model.architectures import is_transcoder, rule, standardises_rows
from nanosae.model.formats import pickles
from nanosae.model.formats.common import (
    REMEDY,
    Settings,
    settings,
    take,
    transposed,
    unsupported,
    with_centring,
    with_unit_decoder,
)
from nanosae.model.tensors import Arrays, float32

SETTINGS = "config.json"
LINEAR = {"encoder.weight": "W_enc", "decoder.weight": "W_dec"}
GATED = LINEAR | {
    "decoder_bias": "b_dec",
    "r_mag": "r_mag",
    "gate_bias": "b_gate",
    "mag_bias": "b_mag",
}
BIASED = LINEAR | {"encoder.bias": "b_enc", "b_dec": "b_dec"}
PLAIN = {name: name for name in ("W_enc", "b_enc", "W_dec", "b_dec")}
THRESHOLD = {"threshold": "threshold"}
NAMES = {
    "AutoEncoder": LINEAR | {"encoder.bias": "b_enc", "bias": "b_dec"},
    "AutoEncoderNew": LINEAR | {"encoder.bias": "b_enc", "decoder.bias": "b_dec"},
    "GatedAutoEncoder": GATED,
    "AutoEncoderTopK": BIASED,
    "BatchTopKSAE": BIASED,
    "MatryoshkaBatchTopKSAE": PLAIN,
    "JumpReluAutoEncoder": PLAIN,
}
ARCHITECTURES = {
    "AutoEncoder": "standard",
    "AutoEncoderNew": "standard",
    "GatedAutoEncoder": "gated",
    "AutoEncoderTopK": "topk",
    "BatchTopKSAE": "jumprelu",
    "MatryoshkaBatchTopKSAE": "jumprelu",
    "JumpReluAutoEncoder": "jumprelu",
}
WITHOUT_CENTRING = ("AutoEncoderNew", "JumpReluAutoEncoder")


def recognises(path: Path) -> bool:
    """Return whether a path is a folder or a file of this format."""
    content = pickles.content(path)
    if content is None:
        return False
    state, _ = _state(content)
    has_encoder = "encoder.weight" in state or "W_enc" in state
    has_bias = {"bias", "decoder.bias", "decoder_bias", "b_dec"} & state.keys()
    return has_encoder and bool(has_bias)


def load(path: Path) -> tuple[Settings, Arrays]:
    """Return settings and tensors.

    Raises:
        DataError: If the class is unknown or cannot be determined.
    """
    content = pickles.content(path)
    assert content is not None
    state, norm_factor = _state(content)
    trainer = _trainer(path)
    kind = _dict_class(path, state, trainer)
    named = take(state, NAMES[kind], path)
    tensors = pickles.as_arrays(named)
    if "encoder.weight" in state:
        tensors = transposed(tensors, "W_enc", "W_dec")
    if ARCHITECTURES[kind] == "jumprelu":
        threshold = take(state, THRESHOLD, path)["threshold"]
        tensors["threshold"] = _thresholds(threshold, len(tensors["b_enc"]))
    for name in ("b_dec", "b_enc", "b_gate", "b_mag", "threshold"):
        if name in tensors and norm_factor != 1:
            tensors[name] = tensors[name] * np.float32(norm_factor)
    if kind == "AutoEncoder":
        tensors = with_unit_decoder(tensors)
    k = _k(state, trainer)
    if kind == "AutoEncoderTopK" and k is None:
        raise DataError(f"{path} does not say k.", file=path, remedy=REMEDY)
    cfg = settings(
        tensors,
        ARCHITECTURES[kind],
        subtract_bias=kind not in WITHOUT_CENTRING,
        k=k if kind == "AutoEncoderTopK" else None,
        metadata=_metadata(kind, trainer, k),
    )
    return cfg, tensors


def save(cfg: Settings, tensors: Arrays, folder: Path) -> None:
    """Write a model in this format.

    Raises:
        DataError: If no class of that library computes the same.
    """
    kind = _class_for(cfg, tensors, folder)
    state = _state_dict(kind, cfg, tensors)
    metadata = cfg.get("metadata", {})
    trainer = {
        "dict_class": kind,
        "activation_dim": cfg["d_in"],
        "dict_size": cfg["d_sae"],
        "k": cfg.get("k") or metadata.get("k"),
        "lm_name": metadata.get("model_name", ""),
        "layer": metadata.get("hook_layer"),
        "submodule_name": metadata.get("hook_name"),
    }
    make_folder(folder)
    write_bytes(folder / "ae.pt", _pickled(state))
    write_text(folder / SETTINGS, json.dumps({"trainer": trainer}, indent=1))


def _state(content: dict[str, Any]) -> tuple[dict[str, Any], float]:
    """Return the state dict, and the factor for its biases."""
    state = content.get("ae")
    if not isinstance(state, dict):
        return content, 1.0
    return state, float(content.get("norm_factor") or 1.0)


def _trainer(path: Path) -> dict[str, Any]:
    folder = path if path.is_dir() else path.parent
    if not (folder / SETTINGS).is_file():
        return {}
    trainer = read_json(folder / SETTINGS, REMEDY).get("trainer")
    return trainer if isinstance(trainer, dict) else {}


def _dict_class(path: Path, state: dict[str, Any], trainer: dict[str, Any]) -> str:
    """Return the name of the class, from config.json or the names of the tensors."""
    if "dict_class" in trainer:
        kind = trainer["dict_class"]
        if kind not in NAMES:
            raise unsupported(path, f"dict_class {kind!r}", f"only {[*NAMES]} are")
        return kind
    if "W_enc" in state:
        is_shared = take(state, THRESHOLD, path)["threshold"].ndim == 0
        return "MatryoshkaBatchTopKSAE" if is_shared else "JumpReluAutoEncoder"
    for kind in ("AutoEncoder", "AutoEncoderNew", "GatedAutoEncoder"):
        if NAMES[kind].keys() <= state.keys():
            return kind
    raise DataError(
        f"{path} may be an AutoEncoderTopK or a BatchTopKSAE, which compute differently.",
        file=path,
        remedy=f"Put its {SETTINGS}, with trainer.dict_class, beside it.",
    )


def _thresholds(threshold: Any, hidden_size: int) -> np.ndarray:
    """Return a threshold for each latent; −1 in the file means that none was set."""
    array = float32(threshold)
    return np.maximum(np.broadcast_to(array, hidden_size), 0).astype(np.float32)


def _k(state: dict[str, Any], trainer: dict[str, Any]) -> int | None:
    k = state["k"].item() if "k" in state else trainer.get("k")
    return None if k is None else int(k)


def _metadata(kind: str, trainer: dict[str, Any], k: int | None) -> dict[str, Any]:
    facts: dict[str, Any] = {"dictionary_learning": trainer or {"dict_class": kind}}
    if k is not None:
        facts["k"] = k
    if trainer.get("lm_name"):
        facts |= {"model_name": trainer["lm_name"], "hook_layer": trainer.get("layer")}
        facts["hook_name"] = trainer.get("submodule_name")
    return facts


def _class_for(cfg: Settings, tensors: Arrays, folder: Path) -> str:
    architecture = cfg["architecture"]
    if is_transcoder(architecture):
        raise unsupported(
            folder, f"writing {architecture}", "the library has no transcoders"
        )
    if standardises_rows(cfg):
        raise unsupported(
            folder, "writing layer_norm", "the library takes rows as they are"
        )
    kind = rule(architecture)
    if kind != "standard":
        return {
            "topk": "AutoEncoderTopK",
            "gated": "GatedAutoEncoder",
            "jumprelu": "JumpReluAutoEncoder",
        }[kind]
    norms = np.linalg.norm(tensors["W_dec"], axis=1)
    has_unit_rows = np.allclose(norms, 1, rtol=1e-5)  # the loader divides by the norms
    return "AutoEncoder" if has_unit_rows else "AutoEncoderNew"


def _state_dict(kind: str, cfg: Settings, tensors: Arrays) -> Arrays:
    """Return the state dict of a class, as arrays."""
    subtracts = kind not in WITHOUT_CENTRING
    tensors = dict(with_centring(cfg, tensors, subtracts))
    if "encoder.weight" in NAMES[kind]:
        tensors = transposed(tensors, "W_enc", "W_dec")
    state = {theirs: tensors[ours] for theirs, ours in NAMES[kind].items()}
    if kind == "JumpReluAutoEncoder":
        state["threshold"] = np.maximum(tensors["threshold"], 0)
    if kind == "AutoEncoderTopK":
        state["k"] = np.array(min(cfg["k"], cfg["d_sae"]), np.int32)
        state["threshold"] = np.array(-1, np.float32)
    return state


def _pickled(state: Arrays) -> bytes:
    import torch

    stream = io.BytesIO()
    torch.save({name: torch.tensor(array) for name, array in state.items()}, stream)
    return stream.getvalue()
