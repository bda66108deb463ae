"""The architectures that files name, as SAELens does, and the tensors of each."""

from __future__ import annotations

from typing import Any

# added to the standard deviation by which rows are divided; reconstructions are multiplied by the
# standard deviation alone, as in SAELens and OpenAI's sparse_autoencoder
ROW_EPSILON = 1e-5

# tensors of length hidden_size, by selection rule
LATENT_TENSORS = {
    "standard": ("b_enc",),
    "topk": ("b_enc",),
    "jumprelu": ("b_enc", "threshold"),
    "gated": ("b_gate", "r_mag", "b_mag"),
}


def rule(architecture: str) -> str:
    """Return the selection rule of an architecture: standard, topk, jumprelu or gated.

    Example:
        >>> rule("jumprelu_skip_transcoder"), rule("transcoder"), rule("topk")
        ('jumprelu', 'standard', 'topk')
    """
    kind = architecture.removesuffix("transcoder").removesuffix("skip_").strip("_")
    return kind or "standard"


def is_transcoder(architecture: str) -> bool:
    """Return whether an architecture predicts targets instead of its inputs."""
    return architecture.endswith("transcoder")


def in_sae_lens(architecture: str) -> bool:
    """Return whether SAELens has an architecture: all but transcoders that keep the top k.

    Example:
        >>> in_sae_lens("topk"), in_sae_lens("topk_skip_transcoder")
        (True, False)
    """
    return not is_transcoder(architecture) or rule(architecture) != "topk"


def standardises_rows(cfg: dict[str, Any]) -> bool:
    """Return whether each row is scaled to mean 0 and standard deviation 1 before encoding."""
    return cfg.get("normalize_activations", "none") == "layer_norm"


def subtracts_bias(cfg: dict[str, Any]) -> bool:
    """Return whether b_dec is subtracted from the rows before encoding."""
    return cfg.get("apply_b_dec_to_input", True)


def tensor_shapes(cfg: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor of an SAE with this `cfg.json`.

    Example:
        >>> tensor_shapes({"architecture": "topk", "d_in": 2, "d_sae": 8})["W_dec"]
        (8, 2)
    """
    input_size, hidden_size = cfg["d_in"], cfg["d_sae"]
    output_size = cfg.get("d_out", input_size)
    shapes: dict[str, tuple[int, ...]] = {
        "W_enc": (input_size, hidden_size),
        "W_dec": (hidden_size, output_size),
        "b_dec": (output_size,),
    }
    for name in LATENT_TENSORS[rule(cfg["architecture"])]:
        shapes[name] = (hidden_size,)
    if "skip" in cfg["architecture"]:
        shapes["W_skip"] = (output_size, input_size)
    return shapes
