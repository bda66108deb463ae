"""From trained parameters to a model on raw rows: thresholds, refit, folding, the last measures."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nanosae import __version__
from nanosae.config import ResolvedConfig
from nanosae.data.dataset import Dataset
from nanosae.data.order import rows_in_bytes
from nanosae.kernels import backend
from nanosae.model.folding import fold
from nanosae.model.measures import measure
from nanosae.model.sae import SAEModel
from nanosae.trainable.initial import inputs_and_targets
from nanosae.trainable.refit import Refit, refit_decoder

ARCHITECTURES = {  # in SAELens' words
    "relu": "standard",
    "topk": "topk",
    "gated": "gated",
    "batchtopk": "jumprelu",
    "jumprelu": "jumprelu",
}
DESCRIPTION = (
    "activation",
    "k",
    "l1_coefficient",
    "matryoshka",
    "nested",
    "encoder",
    "query_prompt",
    "seed",
)
MIN_CALIBRATION_ROWS = 16  # held-out rows; with fewer, training rows set the threshold
CALIBRATION_SAMPLE = 4096
SAMPLE_ROWS = 2**16  # training rows that the decoder is refit on, and that measure it
SAMPLE_BYTES = 2**28  # of memory that these may take
L0_MARGIN = 0.1  # relative difference of held-out and training rows that is noted


def export(
    config: ResolvedConfig, data: Dataset, tensors: dict[str, Tensor]
) -> SAEModel:
    """Return parameters on centred and scaled rows as a model on raw rows.

    Args:
        config: What was trained.
        data: What was trained on; every other held-out row calibrates thresholds.
        tensors: Parameters of all latents, by name.
    """
    tensors = dict(tensors)
    if ARCHITECTURES[config.activation] == "jumprelu":
        tensors["threshold"] = _calibrated_threshold(config, data, tensors)
        tensors.pop("log_threshold", None)
    tensors["W_enc"] = tensors["W_enc"].T
    if _minimised_more(config):
        tensors |= _refit(config, data, tensors)
    if data.has_targets:
        folded = fold(
            tensors, data.mean, data.scale, data.target_mean, data.target_scale
        )
    else:
        folded = fold(tensors, data.mean, data.scale)
    return SAEModel(_model_config(config, data), folded)


def measure_model(data: Dataset, model: SAEModel, seed: int) -> dict[str, Any]:
    """Measure the model on raw rows: held-out ones that calibrated nothing, and training rows."""
    first = 1 if len(data.heldout) > 1 else 0
    heldout = data.heldout[first::2]  # every other row, because the data may be sorted
    sample = _training_sample(data, seed)
    on_heldout = measure(model, *_raw_rows(data, heldout))
    on_training = measure(model, *_raw_rows(data, sample))
    active_rows = on_heldout.active_rows + on_training.active_rows
    return {
        **on_heldout.summary(),
        "dead": float((active_rows == 0).double().mean()),
        "dead_rows_checked": len(heldout) + len(sample),
        "train_fvu": on_training.fvu,
        "train_l0": on_training.l0,
    }


def notes_on(measured: dict[str, Any]) -> list[str]:
    """Return whether rows that trained the model are much sparser than others, or less sparse.

    Example:
        >>> notes_on({"l0": 30.4, "train_l0": 18.5})[0].partition(":")[0]
        '30.4 features are active on a held-out row, 18.5 on a training row'
        >>> notes_on({"l0": 32.0, "train_l0": 31.0})
        []
    """
    l0, train_l0 = measured["l0"], measured["train_l0"]
    if abs(l0 - train_l0) <= L0_MARGIN * max(l0, train_l0):
        return []
    return [
        f"{l0:.1f} features are active on a held-out row, {train_l0:.1f} on a training row: the "
        "SAE fits its training rows closely. More rows, fewer steps or more noise help."
    ]


def _raw_rows(data: Dataset, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs and targets of normalised rows in their own units."""
    inputs, targets = rows[:, : data.width], rows[:, data.width :]
    inputs = inputs / np.float32(data.scale) + data.mean
    if not data.has_targets:
        return inputs, inputs
    targets = targets / np.float32(data.target_scale) + data.target_mean
    return inputs, targets


def _calibrated_threshold(
    config: ResolvedConfig, data: Dataset, tensors: dict[str, Tensor]
) -> Tensor:
    """Return the thresholds, scaled so that k entries per row exceed them where k is given."""
    log_threshold = torch.zeros_like(tensors["b_enc"])
    if config.activation == "jumprelu":
        log_threshold = tensors["log_threshold"]
    threshold = log_threshold.exp()
    if config.k is None:
        return threshold
    rows = data.heldout[::2]
    if len(rows) < MIN_CALIBRATION_ROWS:
        rows = data.sample(CALIBRATION_SAMPLE, seed=config.seed)
    lowest = threshold * 0.2
    if config.activation == "batchtopk":
        lowest = torch.zeros_like(threshold)
    inputs = torch.from_numpy(rows[:, : data.width])
    kernels = backend(torch.device("cpu"))
    pairs = kernels.select_above(inputs, tensors["W_enc"], tensors["b_enc"], lowest)
    ratios = pairs.values / threshold[pairs.cols.long()]
    return threshold * _factor_for(ratios, config.k * len(rows))


def _minimised_more(config: ResolvedConfig) -> bool:
    """Return whether the decoder was trained for more than the whole reconstruction."""
    return config.activation == "relu" or config.nested


def _refit(
    config: ResolvedConfig, data: Dataset, tensors: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Return decoder and bias refit on training rows, and checked on held-out rows."""
    described = _model_config(config, data) | {"apply_b_dec_to_input": False}
    model = SAEModel(described, tensors)
    trained = Refit(tensors["W_dec"].numpy(), tensors["b_dec"].numpy())
    sample = _training_sample(data, config.seed)
    fitted = _activations_and_targets(model, data.width, sample)
    checked = _activations_and_targets(model, data.width, data.heldout[::2])
    refit = refit_decoder(trained, *fitted, *checked)
    return {
        "W_dec": torch.from_numpy(refit.decoder),
        "b_dec": torch.from_numpy(refit.bias),
    }


def _training_sample(data: Dataset, seed: int) -> np.ndarray:
    """Return normalised training rows, as many as memory is set aside for."""
    width = data.width + len(data.target_mean)
    most = min(SAMPLE_ROWS, rows_in_bytes(SAMPLE_BYTES, width))
    return data.sample(min(most, data.n_train), seed)


def _activations_and_targets(
    model: SAEModel, width: int, rows: np.ndarray
) -> tuple[Any, np.ndarray]:
    """Return the activations of normalised rows, and what they are to reconstruct."""
    x, target = inputs_and_targets(torch.from_numpy(rows), width)
    with torch.no_grad():
        target = target - model.skip(x)
    return model.sparse_features(x.numpy()), target.numpy()


def _factor_for(ratios: Tensor, n_kept: int) -> float:
    """Return what the `n_kept` largest of some ratios exceed."""
    if len(ratios) < 2:
        return 1.0
    descending = ratios.sort(descending=True).values
    n_kept = min(n_kept, len(ratios) - 1)
    last_kept, first_left_out = descending[n_kept - 1 : n_kept + 1].tolist()
    return (last_kept + first_left_out) / 2


def _model_config(config: ResolvedConfig, data: Dataset) -> dict[str, Any]:
    """Return SAELens' cfg.json, with what describes the training under `metadata`."""
    architecture = ARCHITECTURES[config.activation]
    metadata = {name: getattr(config, name) for name in DESCRIPTION}
    metadata |= data.provenance
    metadata |= {
        "hidden_size": config.hidden_size,
        "input_size": config.input_size,
        "columns": data.columns,
        "nanosae_version": __version__,
        "sae_lens_version": "6.0.0",  # the first of this format
    }
    fields = {
        "architecture": architecture,
        "d_in": data.width,
        "d_sae": config.hidden_size,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": metadata,
    }
    if architecture == "topk":
        fields |= {"k": config.k, "rescale_acts_by_decoder_norm": False}
    if data.has_targets:
        kind = "" if architecture == "standard" else f"{architecture}_"
        skip = "skip_" if config.skip else ""
        fields["architecture"] = f"{kind}{skip}transcoder"
        fields |= {"d_out": len(data.target_mean), "apply_b_dec_to_input": False}
    return json.loads(json.dumps(fields))
