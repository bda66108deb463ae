"""From trained parameters to a model on raw rows: thresholds, refit, folding, final measures."""

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

ARCHITECTURES = {  # as SAELens names them
    "relu": "standard",
    "topk": "topk",
    "gated": "gated",
    "batchtopk": "jumprelu",
    "jumprelu": "jumprelu",
}
DESCRIBED_SETTINGS = (
    "activation",
    "k",
    "l1_coefficient",
    "matryoshka",
    "nested",
    "embedder",
    "prompt",
    "query_prompt",
    "seed",
)
MIN_CALIBRATION_ROWS = 16  # held-out rows; with fewer, training rows are used
CALIBRATION_SAMPLE = 4096
CALIBRATION_BLOCK = 512  # rows whose entries are listed together
MIN_RATIO = 0.2  # of an entry to its threshold, to be listed
SAMPLE_ROWS = 2**16  # training rows for the refit, and for measuring the model
SAMPLE_BYTES = 2**28  # memory for these
# largest relative excess of the L0 without a note: of held-out over training rows, and over k
L0_MARGIN = 0.1
K_MARGIN = 0.5


def export(
    config: ResolvedConfig, data: Dataset, tensors: dict[str, Tensor]
) -> SAEModel:
    """Convert parameters on centred and scaled rows to a model on raw rows.

    Args:
        config: What was trained.
        data: What it was trained on; every other held-out row calibrates the thresholds.
        tensors: Parameters of all latents, by name.
    """
    tensors = dict(tensors)
    if ARCHITECTURES[config.activation] == "jumprelu":
        tensors["threshold"] = _calibrated_threshold(config, data, tensors)
        tensors.pop("log_threshold", None)
    tensors["W_enc"] = tensors["W_enc"].T
    if _needs_refit(config):
        tensors |= _refit(config, data, tensors)
    if data.has_targets:
        folded = fold(
            tensors, data.mean, data.scale, data.target_mean, data.target_scale
        )
    else:
        folded = fold(tensors, data.mean, data.scale)
    return SAEModel(_model_config(config, data), folded)


def measure_model(data: Dataset, model: SAEModel, seed: int) -> dict[str, Any]:
    """Measure the model on raw training rows and on the held-out rows that calibrated nothing."""
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


def notes_on(measured: dict[str, Any], config: ResolvedConfig) -> list[str]:
    """Return a note if the training failed, did not settle or overfitted, else none.

    Example:
        >>> from nanosae import TrainConfig
        >>> config = TrainConfig(k=32).resolved(n_rows=1000, width=64)
        >>> measured = {"train_fvu": 0.2, "l0": 30.4, "train_l0": 18.5}
        >>> notes_on(measured, config)[0].partition(":")[0]
        '30.4 features are active on a held-out row, 18.5 on a training row'
        >>> notes_on(measured | {"train_l0": 30.1}, config)
        []
    """
    l0, train_l0 = measured["l0"], measured["train_l0"]
    if measured["train_fvu"] >= 1:
        cause = "lr" if config.l1_coefficient is None else "lr or l1_coefficient"
        return [
            f"The FVU of training rows is {measured['train_fvu']:.3g}: the SAE is no better than "
            f"their mean. A smaller {cause} helps (lr={config.lr:.3g})."
        ]
    if config.k is not None and train_l0 > (1 + K_MARGIN) * config.k:
        return [
            f"{train_l0:.1f} features are active on a training row, not k={config.k}: the sparsity "
            "has not settled. More steps or a smaller lr help."
        ]
    if l0 - train_l0 <= L0_MARGIN * l0:
        return []
    return [
        f"{l0:.1f} features are active on a held-out row, {train_l0:.1f} on a training row: the "
        "SAE overfits its training rows. More rows, fewer steps or more noise help."
    ]


def _raw_rows(data: Dataset, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs and targets of normalised rows in their original units."""
    inputs = rows[:, : data.width] / np.float32(data.scale) + data.mean
    if not data.has_targets:
        return inputs, inputs
    targets = rows[:, data.width :] / np.float32(data.target_scale) + data.target_mean
    return inputs, targets


def _calibrated_threshold(
    config: ResolvedConfig, data: Dataset, tensors: dict[str, Tensor]
) -> Tensor:
    """Return the thresholds; if k is given, scaled so that k entries per row exceed them."""
    log_threshold = torch.zeros_like(tensors["b_enc"])
    if config.activation == "jumprelu":
        log_threshold = tensors["log_threshold"]
    threshold = log_threshold.exp()
    if config.k is None:
        return threshold
    rows = data.heldout[::2]
    if len(rows) < MIN_CALIBRATION_ROWS:
        rows = data.sample(CALIBRATION_SAMPLE, seed=config.seed)
    inputs = torch.from_numpy(rows[:, : data.width])
    encoder, bias = tensors["W_enc"], tensors["b_enc"]
    n_kept = config.k * len(rows)
    # not all positive entries: in a large dictionary, they are half of all
    if config.activation == "batchtopk":
        kernels = backend(torch.device("cpu"))
        ratios = kernels.select_batchtopk(inputs, encoder, bias, n_kept + 1).values
    else:
        ratios = _largest_ratios(inputs, encoder, bias, threshold, n_kept + 1)
    return threshold * _value_exceeded_by(ratios, n_kept)


def _largest_ratios(
    inputs: Tensor, encoder: Tensor, bias: Tensor, threshold: Tensor, n: int
) -> Tensor:
    """Return the n largest ratios of an entry to its latent's threshold, descending."""
    kernels = backend(torch.device("cpu"))
    largest = torch.zeros(0)
    least = MIN_RATIO
    for rows in inputs.split(CALIBRATION_BLOCK):
        pairs = kernels.select_above(rows, encoder, bias, threshold * least)
        ratios = torch.cat([largest, pairs.values / threshold[pairs.cols.long()]])
        largest = ratios.topk(min(n, len(ratios))).values
        if len(largest) == n:
            least = max(least, largest[-1].item())
    return largest


def _needs_refit(config: ResolvedConfig) -> bool:
    """Return whether training also minimised something other than the whole reconstruction."""
    return config.activation == "relu" or config.nested


def _refit(
    config: ResolvedConfig, data: Dataset, tensors: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Refit decoder and bias on training rows, if held-out rows agree that it helps."""
    described = _model_config(config, data) | {"apply_b_dec_to_input": False}
    model = SAEModel(described, tensors)
    trained = Refit(tensors["W_dec"].numpy(), tensors["b_dec"].numpy())
    sample = _training_sample(data, config.seed)
    training = _activations_and_targets(model, data.width, sample)
    heldout = _activations_and_targets(model, data.width, data.heldout[::2])
    refit = refit_decoder(trained, *training, *heldout)
    return {
        "W_dec": torch.from_numpy(refit.decoder),
        "b_dec": torch.from_numpy(refit.bias),
    }


def _training_sample(data: Dataset, seed: int) -> np.ndarray:
    """Return a sample of normalised training rows, of limited memory."""
    width = data.width + len(data.target_mean)
    most = min(SAMPLE_ROWS, rows_in_bytes(SAMPLE_BYTES, width))
    return data.sample(min(most, data.n_train), seed)


def _activations_and_targets(
    model: SAEModel, width: int, rows: np.ndarray
) -> tuple[Any, np.ndarray]:
    """Return the activations of normalised rows, and what the decoder should make of them."""
    x, target = inputs_and_targets(torch.from_numpy(rows), width)
    with torch.no_grad():
        target = target - model.skip(x)
    return model.sparse_features(x.numpy()), target.numpy()


def _value_exceeded_by(values: Tensor, n_kept: int) -> float:
    """Return a number that exactly the `n_kept` largest values exceed; 1 if there are too few."""
    if len(values) < 2:
        return 1.0
    descending = values.sort(descending=True).values
    n_kept = min(n_kept, len(values) - 1)
    last_kept, first_left_out = descending[n_kept - 1 : n_kept + 1].tolist()
    return (last_kept + first_left_out) / 2


def _model_config(config: ResolvedConfig, data: Dataset) -> dict[str, Any]:
    """Return the content of SAELens' cfg.json, with a description of the training in `metadata`."""
    architecture = ARCHITECTURES[config.activation]
    metadata = {name: getattr(config, name) for name in DESCRIBED_SETTINGS}
    metadata |= data.provenance
    metadata |= {
        "hidden_size": config.hidden_size,
        "input_size": config.input_size,
        "columns": data.columns,
        "nanosae_version": __version__,
        "sae_lens_version": "6.0.0",  # the first version with this format
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
