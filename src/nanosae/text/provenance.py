"""Provenance of a language model's activations, with the fields of SAELens' `cfg.json`.

An SAE is only valid for vectors like those that it was trained on. The model, the layer and the
rules that selected tokens are therefore kept with the rows (`provenance.json` beside their shards)
and copied into the SAE's metadata, where `splice` and `loss_recovered` read them.
"""

from __future__ import annotations

import math
import re
import warnings
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

from nanosae.errors import ConfigError, DataTypeError, require_whole
from nanosae.text.language_models import find_layers

DEFAULT_MAX_NORM = 10.0
SIDE_BY_SIDE = "+"  # joins the names of layers whose rows are concatenated
# TransformerLens' name of a layer's output
RESIDUAL = re.compile(r"blocks\.(\d+)\.hook_(?:resid_post|out)")


@dataclass(frozen=True)
class TokenRules:
    """The rules by which tokens become rows.

    Attributes:
        pooling: None for one row per token, or how tokens are pooled into one row per text.
        special_tokens: Whether special tokens have rows.
        bos: Whether windows begin with the begin-of-text token.
        max_norm: Norm above which tokens have no row, as a multiple of the median.
        max_length: Tokens per window; None is the model's maximum.
        pack: Whether windows are filled with successive texts.

    Raises:
        ConfigError: If a number is out of range.
    """

    pooling: str | None = None
    special_tokens: bool = False
    bos: bool = True
    max_norm: float = DEFAULT_MAX_NORM
    max_length: int | None = None
    pack: bool = False

    def __post_init__(self) -> None:
        if self.max_length is not None:
            require_whole(1, max_length=self.max_length)
        _check_norm(self.max_norm)


def _check_norm(max_norm: float) -> None:
    """Raise a ConfigError if a limit of the norms is not a positive number."""
    if not isinstance(max_norm, Real) or not max_norm > 0:
        raise ConfigError(f"max_norm={max_norm!r} must be a positive number.")


def provenance(model: Any, layer: str, rules: TokenRules) -> dict[str, Any]:
    """Return the metadata of an SAE trained on the rows of a layer.

    `hook_name` is the module's name in the model with its head, which SAELens expects with
    `model_class_name: AutoModelForCausalLM`; `max_norm` and `pooling` are nanoSAE's own fields.

    Args:
        model: The loaded model.
        layer: Name of the module, or names of concatenated modules joined by "+".
        rules: The rules by which tokens became rows.
    """
    context_size = rules.max_length
    if context_size is None:
        context_size = getattr(model.config, "max_position_embeddings", None)
    parts = [_name_with_head(model, part) for part in layer.split(SIDE_BY_SIDE)]
    return {
        "model_name": model_name(model),
        "model_class_name": "AutoModelForCausalLM",
        "hook_name": SIDE_BY_SIDE.join(parts),
        "prepend_bos": rules.bos,
        "exclude_special_tokens": not rules.special_tokens,
        "context_size": context_size,
        "disable_concat_sequences": not rules.pack,
        "max_norm": rules.max_norm if math.isfinite(rules.max_norm) else None,
        "pooling": rules.pooling,
    }


def model_name(model: Any) -> str:
    """Return the name of a loaded model; for a path, its last component."""
    name = str(getattr(model, "name_or_path", ""))
    return Path(name).name if Path(name).exists() else name


def require_autoencoder(sae: Any) -> None:
    """Raise an error if something is not an `SAEModel`, or a transcoder."""
    if not hasattr(sae, "in_units_of"):
        raise DataTypeError(
            f"sae is {sae!r:.60}; needed: an SAEModel.",
            remedy="Load it with SAEModel.load.",
        )
    if sae.cfg["architecture"].endswith("transcoder"):
        raise ConfigError(
            "A transcoder cannot be spliced: its outputs are not its inputs.",
            remedy="Use an autoencoder.",
        )


def layer_to_splice(model: Any, layer: str | None, sae: Any) -> str:
    """Return the name of the layer to splice an SAE into; warn if it was trained on another.

    Args:
        model: The model to splice the SAE into.
        layer: The requested name; None uses the one in the SAE's metadata.
        sae: The SAE.

    Raises:
        ConfigError: If no name is known, or the SAE was trained on pooled or concatenated rows.
    """
    known = sae.config
    if known.get("pooling") is not None:
        raise ConfigError(
            f"The SAE was trained on one row per text (pooling={known['pooling']!r}).",
            remedy="Splicing needs an SAE trained on one row per token.",
        )
    trained_on = known.get("hook_name")
    if SIDE_BY_SIDE in str(trained_on):
        raise ConfigError(
            f"The SAE was trained on concatenated layers ({trained_on}).",
            remedy="Splicing needs an SAE trained on a single layer.",
        )
    if layer is None and trained_on is None:
        raise ConfigError(
            "The SAE does not record the layer that it was trained on.",
            remedy="Give layer=….",
        )
    chosen = full_name(model, trained_on if layer is None else layer)
    if layer is not None and trained_on is not None:
        _warn_if_other("layer", full_name(model, trained_on), chosen)
    trained_model = known.get("model_name")
    if trained_model and model_name(model):
        _warn_if_other("model", _short(trained_model), _short(model_name(model)))
    return chosen


def norm_limit(sae: Any, max_norm: float | None) -> float:
    """Return the norm above which tokens are left unchanged, in medians; default as in training.

    Raises:
        ConfigError: If it is not a positive number.
    """
    if max_norm is not None:
        _check_norm(max_norm)
        return max_norm
    known = sae.config.get("max_norm", DEFAULT_MAX_NORM)
    return math.inf if known is None else known


def full_name(model: Any, name: str) -> str:
    """Return a module's name in this model, given its name in any convention.

    `layers.3`, `model.layers.3` and TransformerLens' `blocks.3.hook_resid_post` are equivalent.
    """
    known = {found for found, _ in model.named_modules()}
    prefix = getattr(model, "base_model_prefix", "")
    names = [name, f"{prefix}.{name}", name.removeprefix(f"{prefix}.")]
    residual = RESIDUAL.fullmatch(name)
    if residual is not None:
        for stack in ("layers", "h"):
            layer = f"{stack}.{residual[1]}"
            names += [layer, f"{prefix}.{layer}"]
    return next((candidate for candidate in names if candidate in known), name)


def find_layer(model: Any, name: str) -> Any:
    """Return a module by its name in a model or in its base model.

    Raises:
        ConfigError: If it does not exist; the message suggests similar names.
    """
    chosen = full_name(model, name)
    return find_layers(model, [chosen])[chosen]


def _name_with_head(model: Any, layer: str) -> str:
    """Return a module's name in the model with its head."""
    prefix = getattr(model, "base_model_prefix", "")
    is_base = bool(prefix) and not hasattr(model, prefix)
    return f"{prefix}.{layer}" if is_base else layer


def _short(name: str) -> str:
    """Return a model's name in lower case and without its owner, for comparison."""
    return name.rstrip("/").rpartition("/")[2].lower()


def _warn_if_other(what: str, trained_on: str, given: str) -> None:
    if trained_on != given:
        warnings.warn(
            f"The SAE was trained on the {what} {trained_on}; this is {given}.",
            stacklevel=4,
        )
