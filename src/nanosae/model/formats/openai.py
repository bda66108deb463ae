"""OpenAI's sparse_autoencoder (Gao et al. 2024): one .pt file with a flat state dict.

    acts = act((x − pre_bias) · encoder.weightᵀ + latent_bias)
    x̂ = acts · decoder.weightᵀ + pre_bias

With "TopK", each row is first standardised, (x − mean) ÷ (standard deviation + 1e-5), and its
reconstruction is converted back, x̂ · standard deviation + mean: SAELens' `layer_norm`.
"""

from __future__ import annotations

from pathlib import Path

from nanosae.model.formats import pickles
from nanosae.model.formats.common import Settings, required, settings, unsupported
from nanosae.model.tensors import Arrays

NAMES = {
    "encoder.weight": "W_enc",
    "latent_bias": "b_enc",
    "decoder.weight": "W_dec",
    "pre_bias": "b_dec",
}


def recognises(path: Path) -> bool:
    """Return whether a path is a file of this format, or a folder with one."""
    return pickles.holds(path, {"pre_bias", "latent_bias"})


def load(path: Path) -> tuple[Settings, Arrays]:
    """Return settings and tensors.

    Raises:
        DataError: If its activation is neither ReLU nor TopK, or TopK is not followed by ReLU.
    """
    content = pickles.content(path)
    assert content is not None
    tensors = pickles.linear_weights(content, NAMES, path)
    activation = content.get("activation", "ReLU")
    if activation == "ReLU":
        return settings(tensors, "standard", subtract_bias=True), tensors
    if activation != "TopK":
        raise unsupported(path, f"activation {activation!r}", "only ReLU and TopK are")
    options = content.get("activation_state_dict", {})
    after = options.get("postact_fn", "ReLU")
    if after != "ReLU":
        raise unsupported(
            path, f"postact_fn {after!r}", "activations would be negative"
        )
    cfg = settings(tensors, "topk", subtract_bias=True, k=required(options, "k", path))
    return cfg | {"normalize_activations": "layer_norm"}, tensors
