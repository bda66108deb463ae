"""Fine-tuning: the settings and initial parameters of a training that starts from a saved SAE.

A saved SAE takes raw rows x, training takes (x − mean) · scale: `model.folding` is undone here.
"""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nanosae.config import DEFAULT_K, ResolvedConfig, TrainConfig
from nanosae.data.dataset import Dataset
from nanosae.errors import ConfigError
from nanosae.model.architectures import is_transcoder, rule
from nanosae.model.formats.common import (
    norms_or_one,
    with_centring,
    with_unit_decoder,
)
from nanosae.model.sae import SAEModel
from nanosae.model.tensors import float32

Init = SAEModel | str | Path | None
ACTIVATIONS = {"standard": "relu", "topk": "topk", "gated": "gated"}
NORM_TOLERANCE = 0.01  # largest relative spread of decoder norms that counts as none
MIN_THRESHOLD = 1e-6  # because thresholds are trained as logarithms


def starting_point(
    init: Init, config: TrainConfig | None
) -> tuple[TrainConfig, SAEModel | None]:
    """Complete the settings of a training from the SAE that it starts from; return both.

    Args:
        init: The SAE, what `SAEModel.load` takes, or None.
        config: Settings; sizes, activation and sparsity left at None are taken from the SAE.

    Raises:
        ConfigError: If the SAE cannot be trained further, or the settings contradict it.
    """
    config = TrainConfig() if config is None else config
    if not isinstance(config, TrainConfig):
        raise ConfigError(
            f"config must be a TrainConfig, not {type(config).__name__}.",
            remedy="SAETrainer(config).train(data) trains; settings may be given as keywords: "
            "SAETrainer(k=16).",
        )
    if init is None:
        return config, None
    sae = init if isinstance(init, SAEModel) else SAEModel.load(init)
    _check_kind(sae)
    known = _settings_of(sae)
    if config.k is not None or config.l1_coefficient is not None:
        known |= {"k": config.k, "l1_coefficient": config.l1_coefficient}
    for name in ("input_size", "hidden_size", "activation"):
        given = getattr(config, name)
        if given not in (None, known[name]):
            raise ConfigError(
                f"{name}={given!r}, but the SAE to start from has {known[name]!r}.",
                remedy=f"Leave {name} out.",
            )
    if config.nested is not None or config.matryoshka is not None:
        known |= {"nested": config.nested, "matryoshka": config.matryoshka}
    if known["k"] is None and known["l1_coefficient"] is None:
        warnings.warn(
            f"The SAE does not say how many features are active on a row: it is trained to "
            f"k={DEFAULT_K}. Give k or l1_coefficient for another sparsity.",
            stacklevel=2,
        )
    return dataclasses.replace(config, **known), sae


def fine_tuned_parameters(
    sae: SAEModel, config: ResolvedConfig, data: Dataset
) -> dict[str, Tensor]:
    """Convert an SAE on raw rows to parameters on normalised rows.

    Args:
        sae: The SAE.
        config: Settings of the training.
        data: The data, whose mean and scale normalise rows.

    Returns:
        Parameters by name, as in `TrainableSAE.params`, with the latents of all ranks.

    Raises:
        ConfigError: If the data has targets: a transcoder cannot start from an autoencoder.
    """
    if data.has_targets:
        raise ConfigError(
            "a transcoder cannot start from an autoencoder.",
            remedy="Leave out the targets.",
        )
    arrays = {name: float32(tensor) for name, tensor in sae.tensors().items()}
    if config.activation == "topk":
        _warn_if_norms_differ(arrays["W_dec"])
    arrays = with_unit_decoder(with_centring(sae.cfg, arrays, subtract=True))
    encoder = arrays["W_enc"].astype(np.float64)
    shift = (data.mean - arrays["b_dec"].astype(np.float64)) @ encoder
    trained = {
        "W_enc": arrays["W_enc"].T,
        "W_dec": arrays["W_dec"],
        "b_dec": (arrays["b_dec"] - data.mean) * data.scale,
    }
    for name in ("b_enc", "b_gate"):
        if name in arrays:
            trained[name] = (arrays[name] + shift) * data.scale
    if "b_mag" in arrays:
        gain = np.exp(arrays["r_mag"].astype(np.float64))
        trained["r_mag"] = arrays["r_mag"]
        trained["b_mag"] = (arrays["b_mag"] + shift * gain) * data.scale
    if config.activation == "jumprelu":
        threshold = (arrays["threshold"] * data.scale).clip(MIN_THRESHOLD)
        trained["log_threshold"] = np.log(threshold)
    params = {}
    for name, array in trained.items():
        params[name] = torch.from_numpy(np.ascontiguousarray(array, np.float32))
    return params


def _warn_if_norms_differ(decoder: np.ndarray) -> None:
    """Warn if the top k activations change when the norms of decoder rows are folded into them."""
    norms = norms_or_one(decoder)
    if np.ptp(norms) > NORM_TOLERANCE * norms.mean():
        warnings.warn(
            f"The norms of the SAE's decoder rows range from {norms.min():.2g} to "
            f"{norms.max():.2g}. Training rescales them to 1 and the activations with them, so "
            "that the top k of a row may be other features than before.",
            stacklevel=2,
        )


def _check_kind(sae: SAEModel) -> None:
    if is_transcoder(sae.cfg["architecture"]):
        raise ConfigError(
            "a transcoder cannot be trained further.",
            remedy="Start from an autoencoder, or train a new transcoder.",
        )
    if sae.cfg.get("normalize_activations", "none") != "none":
        raise ConfigError(
            "the SAE standardises each row (layer_norm), which training does not support.",
            remedy="Standardise the rows yourself and train a new SAE.",
        )


def _settings_of(sae: SAEModel) -> dict[str, Any]:
    """Return the fields of TrainConfig that an SAE decides."""
    described = sae.cfg.get("metadata", {})
    activation = ACTIVATIONS.get(rule(sae.cfg["architecture"]))
    if activation is None:
        is_batchtopk = described.get("activation") == "batchtopk"
        activation = "batchtopk" if is_batchtopk else "jumprelu"
    matryoshka = described.get("matryoshka")
    k = sae.cfg["k"] if activation == "topk" else described.get("k")
    return {
        "input_size": sae.cfg["d_in"],
        "hidden_size": sae.cfg["d_sae"],
        "activation": activation,
        "k": k,
        "l1_coefficient": described.get("l1_coefficient"),
        "nested": bool(described.get("nested")),
        "matryoshka": None if matryoshka is None else tuple(matryoshka),
    }
