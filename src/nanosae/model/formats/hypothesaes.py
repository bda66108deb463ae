"""HypotheSAEs: one .pt file with `config` and `state_dict`.

pre = (x − input_bias) · encoder.weightᵀ + neuron_bias      acts = relu(topk(pre)), or with
use_batch_topk relu(pre) above `threshold`                  x̂ = acts · decoder.weightᵀ + bias
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nanosae.model.formats import pickles
from nanosae.model.formats.common import Settings, required, settings
from nanosae.model.tensors import Arrays

NAMES = {
    "encoder.weight": "W_enc",
    "neuron_bias": "b_enc",
    "decoder.weight": "W_dec",
    "input_bias": "b_dec",
}


def recognises(path: Path) -> bool:
    """Return whether a path is a file of this format, or a folder with one."""
    return pickles.holds(path, {"config", "state_dict"})


def load(path: Path) -> tuple[Settings, Arrays]:
    """Return settings and tensors."""
    content = pickles.content(path)
    assert content is not None
    theirs, state = content["config"], content["state_dict"]
    tensors = pickles.linear_weights(state, NAMES, path)
    facts = {"hypothesaes": theirs, "matryoshka": theirs.get("prefix_lengths")}
    k = required(theirs, "k_active_neurons", path)
    if not theirs.get("use_batch_topk"):
        cfg = settings(tensors, "topk", subtract_bias=True, k=k, metadata=facts)
        return cfg, tensors
    lowest = np.float32(required(state, "threshold", path).item())
    tensors["threshold"] = np.full(len(tensors["b_enc"]), lowest)
    cfg = settings(tensors, "jumprelu", subtract_bias=True, metadata=facts | {"k": k})
    return cfg, tensors
