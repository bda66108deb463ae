"""From trained parameters to a model on raw rows: thresholds, folding, the last measures."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from nanosae import __version__
from nanosae.kernels import backend
from nanosae.model.sae import SAEModel
from nanosae.train import metrics

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


def fold(
    tensors: dict[str, Tensor],
    mean: np.ndarray,
    scale: float,
    target_mean: np.ndarray | None = None,
    target_scale: float = 1.0,
) -> dict[str, Tensor]:
    """Return the tensors for raw rows of an SAE trained on (x − mean) · scale.

    Activations come out in the units of raw rows (of targets) and decoder rows with length one
    (zero rows stay zero); reconstructions are the same.

    Args:
        tensors: Names and shapes as in files. Pre-activations are x · W_enc + b_enc here, without
            b_dec.
        mean: (input_size,).
        scale: Of the rows.
        target_mean: Of a transcoder's targets, (output_size,).
        target_scale: Of a transcoder's targets.
    """
    t = {name: tensor.detach().cpu() for name, tensor in tensors.items()}
    t |= {name: tensor.double() for name, tensor in t.items() if tensor.dim() == 1}
    norm, mu = t["W_dec"].norm(dim=1, dtype=torch.float64), torch.from_numpy(mean).double()
    unit = torch.where(norm > 0, norm, torch.ones_like(norm))  # what activations are multiplied by
    if target_mean is None:
        out_mean, out_scale = mu, scale
        shifted = t["b_dec"]  # because files subtract b_dec from the rows first
    else:
        out_mean, out_scale = torch.from_numpy(target_mean).double(), target_scale
        shifted = -scale * mu
    gain = scale / out_scale
    blocks = t["W_enc"].split(4096, dim=1)  # so that no large matrix is held in double precision
    shift = torch.cat([shifted @ block.double() for block in blocks])
    out = {"W_enc": t["W_enc"] * (unit * gain).float(), "W_dec": t["W_dec"] / unit.float()[:, None]}
    out["b_dec"] = out_mean + t["b_dec"] / out_scale
    for name, added in (("b_enc", shift), ("b_gate", shift), ("threshold", 0.0)):
        if name in t:
            out[name] = (t[name] + added) * unit / out_scale
    if "r_mag" in t:
        out["r_mag"] = t["r_mag"]
        out["b_mag"] = (t["b_mag"] + shift * t["r_mag"].exp()) * unit / out_scale
    if "W_skip" in t:
        out["W_skip"] = t["W_skip"] * gain
        out["b_dec"] -= out["W_skip"].double() @ mu
    return {name: tensor.float() for name, tensor in out.items()}


def measure(data: Dataset, model: SAEModel, seed: int) -> dict[str, Any]:
    """Measure the model on raw rows: held-out ones that calibrated nothing, and training rows."""
    heldout = data.heldout[len(data.heldout) > 1 :: 2]  # the others: sorted as the data may be
    sample = data.sample(min(2**16, data.n_train), seed=seed)
    measured = []
    for rows in (heldout, sample):
        x = rows[:, : data.width] / np.float32(data.scale) + data.mean
        y = rows[:, data.width :] / np.float32(data.target_scale) + data.target_mean
        measured.append(metrics.measure(model, x, y if y.size else x))
    counts = measured[0].counts + measured[1].counts
    return {
        **measured[0].summary(),
        "dead": float((counts == 0).double().mean()),
        "dead_rows_checked": len(heldout) + len(sample),
        "train_fvu": measured[1].fvu,
    }
