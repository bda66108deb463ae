"""From trained parameters to a model on raw rows: thresholds, folding, the last measures."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from nanosae import __version__
from nanosae.kernels import backend
from nanosae.model.folding import fold
from nanosae.model.measures import measure as measure_rows
from nanosae.model.sae import SAEModel

if TYPE_CHECKING:
    from nanosae.config import ResolvedConfig
    from nanosae.data.dataset import Dataset

ARCHITECTURE = {"relu": "standard", "topk": "topk", "gated": "gated"}  # others: jumprelu
CALIBRATION_ROWS = 16  # held-out rows without which thresholds are set on training rows
CPU = torch.device("cpu")


def export(config: ResolvedConfig, data: Dataset, tensors: dict[str, Tensor]) -> SAEModel:
    """Return parameters on centred and scaled rows as a model on raw rows.

    Args:
        config: Resolved.
        data: What was trained on; every other held-out row calibrates thresholds.
        tensors: `Training.weights()`.
    """
    architecture = ARCHITECTURE.get(config.activation or "", "jumprelu")
    if architecture == "jumprelu":
        zeros = torch.zeros_like(tensors["b_enc"])
        threshold = tensors.pop("log_threshold", zeros).exp()
        factor = _threshold_factor(config, data, tensors, threshold) if config.k else 1.0
        tensors["threshold"] = threshold * factor
    tensors["W_enc"] = tensors["W_enc"].T
    kept = "activation k l1_coefficient matryoshka encoder seed hidden_size input_size"
    metadata = {name: getattr(config, name) for name in kept.split()}
    metadata |= {"columns": data.columns, "nanosae_version": __version__}
    cfg = {
        "architecture": architecture,
        "d_in": data.width,
        "d_sae": config.hidden_size,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": metadata | {"sae_lens_version": "6.0.0"},  # the first of this format
    }
    if architecture == "topk":
        cfg |= {"k": config.k, "rescale_acts_by_decoder_norm": False}
    scales: tuple[Any, ...] = (data.mean, data.scale)
    if n_out := len(data.target_mean):
        kind = "" if architecture == "standard" else f"{architecture}_"
        cfg["architecture"] = f"{kind}{'skip_' * config.skip}transcoder"
        cfg |= {"d_out": n_out, "apply_b_dec_to_input": False}
        scales += (data.target_mean, data.target_scale)
    return SAEModel(json.loads(json.dumps(cfg)), fold(tensors, *scales))


def _threshold_factor(
    config: ResolvedConfig, data: Dataset, tensors: dict[str, Tensor], threshold: Tensor
) -> float:
    """Return the factor on the thresholds above which there are k entries a row."""
    half = data.heldout[::2]
    if len(half) < CALIBRATION_ROWS:
        half = data.sample(4096, seed=config.seed)
    cut = threshold * 0.2 if config.activation == "jumprelu" else torch.zeros_like(threshold)
    args = torch.from_numpy(half[:, : data.width]), tensors["W_enc"], tensors["b_enc"], cut
    pairs = backend(CPU).select_above(*args)
    ratios = (pairs.values / threshold[pairs.cols.long()]).sort(descending=True).values
    if len(ratios) < 2:
        return 1.0
    above, below = ratios[min((config.k or 1) * len(half), len(ratios) - 1) - 1 :][:2].tolist()
    return (above + below) / 2


def measure(data: Dataset, model: SAEModel, seed: int) -> dict[str, Any]:
    """Measure the model on raw rows: held-out ones that calibrated nothing, and training rows."""
    heldout = data.heldout[len(data.heldout) > 1 :: 2]  # the others: sorted as the data may be
    sample = data.sample(min(2**16, data.n_train), seed=seed)
    measured = []
    for rows in (heldout, sample):
        x = rows[:, : data.width] / np.float32(data.scale) + data.mean
        y = rows[:, data.width :] / np.float32(data.target_scale) + data.target_mean
        measured.append(measure_rows(model, x, y if y.size else x))
    counts = measured[0].active_rows + measured[1].active_rows
    return {
        **measured[0].summary(),
        "dead": float((counts == 0).double().mean()),
        "dead_rows_checked": len(heldout) + len(sample),
        "train_fvu": measured[1].fvu,
    }
