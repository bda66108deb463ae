"""What the formats share: SAELens settings, folding, and refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nanosae.errors import DataError
from nanosae.model.architectures import subtracts_bias
from nanosae.model.tensors import Arrays

Settings = dict[str, Any]
REMEDY = "Copy it again, or save it again with the library that made it."


def settings(
    tensors: Arrays,
    architecture: str,
    *,
    subtract_bias: bool,
    k: int | None = None,
    metadata: dict[str, Any] | None = None,
) -> Settings:
    """Return SAELens' cfg.json for tensors on raw rows.

    Args:
        tensors: Tensors by SAELens' names.
        architecture: The architecture, as SAELens names it.
        subtract_bias: Whether b_dec is subtracted from the rows before encoding.
        k: Entries kept per row, for topk.
        metadata: What is known about the training.
    """
    input_size, hidden_size = tensors["W_enc"].shape
    described = {} if metadata is None else metadata
    cfg: Settings = {
        "architecture": architecture,
        "d_in": input_size,
        "d_sae": hidden_size,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": subtract_bias,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": described | {"sae_lens_version": "6.0.0"},
    }
    if k is not None:
        cfg |= {"k": int(k), "rescale_acts_by_decoder_norm": False}
        cfg["metadata"]["k"] = int(k)
    if architecture.endswith("transcoder"):
        cfg["d_out"] = tensors["W_dec"].shape[1]
    return cfg


def norms_or_one(rows: np.ndarray) -> np.ndarray:
    """Return the norm of each row, or 1 for zero rows."""
    norms = np.linalg.norm(rows.astype(np.float64), axis=1)
    return np.where(norms > 0, norms, 1.0).astype(np.float32)


def with_unit_decoder(tensors: Arrays) -> Arrays:
    """Return an SAE with unit-norm decoder rows and the same reconstructions.

    Activations, thresholds and encoder biases are multiplied by the norms.
    """
    norm = norms_or_one(tensors["W_dec"])
    folded = dict(tensors)
    folded["W_enc"] = tensors["W_enc"] * norm
    folded["W_dec"] = tensors["W_dec"] / norm[:, None]
    for name in ("b_enc", "b_gate", "b_mag", "threshold"):
        if name in tensors:
            folded[name] = tensors[name] * norm
    return folded


def ordered_by_norm(tensors: Arrays) -> Arrays:
    """Return `with_unit_decoder` of an SAE whose thresholds are of activations × norms already."""
    folded = with_unit_decoder(tensors)
    if "threshold" in tensors:
        folded["threshold"] = tensors["threshold"]
    return folded


def with_scaled_rows(tensors: Arrays, scale: float) -> Arrays:
    """Convert an SAE trained on rows × scale to one on raw rows."""
    folded = dict(tensors)
    folded["W_enc"] = tensors["W_enc"] * np.float32(scale)
    folded["W_dec"] = tensors["W_dec"] / np.float32(scale)
    folded["b_dec"] = tensors["b_dec"] / np.float32(scale)
    return folded


def with_centring(cfg: Settings, tensors: Arrays, subtract: bool) -> Arrays:
    """Return an equivalent SAE that subtracts b_dec from the rows, or one that does not.

    Args:
        cfg: Settings of the given tensors.
        tensors: Tensors by SAELens' names.
        subtract: Whether the result should subtract b_dec.
    """
    if subtract == subtracts_bias(cfg):
        return tensors
    shift = tensors["b_dec"].astype(np.float64) @ tensors["W_enc"]
    if not subtract:
        shift = -shift
    shifted = dict(tensors)
    for name in ("b_enc", "b_gate"):
        if name in tensors:
            shifted[name] = (tensors[name] + shift).astype(np.float32)
    if "b_mag" in tensors:
        magnitude_shift = shift * np.exp(tensors["r_mag"].astype(np.float64))
        shifted["b_mag"] = (tensors["b_mag"] + magnitude_shift).astype(np.float32)
    return shifted


def unsupported(path: Path, what: str, why: str) -> DataError:
    """Return the error for an SAE that cannot be computed exactly."""
    return DataError(f"{path}: {what} is not supported: {why}.", file=path)


def required(theirs: dict[str, Any], name: str, file: Path) -> Any:
    """Return a setting of another library.

    Raises:
        DataError: If it is missing.
    """
    if name not in theirs:
        raise DataError(f"{file} does not say {name}.", file=file, remedy=REMEDY)
    return theirs[name]


def take(tensors: dict[str, Any], names: dict[str, str], path: Path) -> dict[str, Any]:
    """Rename tensors to SAELens' names.

    Args:
        tensors: Tensors by their names in the file.
        names: SAELens' name for each of those to take.
        path: The file.

    Raises:
        DataError: If a tensor is missing.
    """
    missing = names.keys() - tensors.keys()
    if missing:
        raise DataError(
            f"{path} lacks the tensors {sorted(missing)}; it has {sorted(tensors)}.",
            file=path,
            remedy=REMEDY,
        )
    return {ours: tensors[theirs] for theirs, ours in names.items()}


def transposed(tensors: Arrays, *names: str) -> Arrays:
    """Return the tensors, the named ones transposed: torch's Linear holds (out, in)."""
    return tensors | {name: np.ascontiguousarray(tensors[name].T) for name in names}
