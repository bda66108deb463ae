"""Hugging Face language models: load them with their tokenizer, and run them up to a layer."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from nanosae.errors import (
    ConfigError,
    DataError,
    DataTypeError,
    ExtraError,
    MissingError,
    first_line_of,
    reason_of,
)
from nanosae.extras import extra
from nanosae.text.hub import without_bars

LONGEST_REASON = 300  # characters; some errors of transformers list all its models


def load_model(model: Any, tokenizer: Any) -> tuple[Any, Any]:
    """Return a model in evaluation mode and its tokenizer, which must support offsets.

    Args:
        model: Name or folder of a model, path of a .gguf file, or a loaded model.
        tokenizer: The tokenizer; None loads that of the model.

    Raises:
        MissingError: If the model does not exist.
        DataError: If its files cannot be read.
        ExtraError: If transformers, or a package that it needs for this model, is not installed.
        ConfigError: If no tokenizer with offsets is available.
    """
    if isinstance(model, str | Path):
        model, tokenizer = _load(model, tokenizer)
    require_loaded(model)
    if not getattr(tokenizer, "is_fast", False):
        raise ConfigError(
            "A fast tokenizer, which supports offsets, is required.",
            remedy="Give tokenizer=….",
        )
    return model.eval(), tokenizer


def load_causal_model(model: Any, tokenizer: Any) -> tuple[Any, Any]:
    """Return a model that predicts tokens, in evaluation mode, and its tokenizer.

    Arguments and errors are those of `load_model`, but the tokenizer need not support offsets.
    """
    if isinstance(model, str | Path):
        model, tokenizer = _load(model, tokenizer, "AutoModelForCausalLM")
    require_loaded(model)
    if not callable(tokenizer):
        raise ConfigError(
            "A loaded model needs its tokenizer.", remedy="Give tokenizer=…."
        )
    return model.eval(), tokenizer


def require_loaded(model: Any) -> None:
    """Raise a DataTypeError if a model is no module of PyTorch."""
    if not isinstance(model, torch.nn.Module):
        raise DataTypeError(
            f"model is {model!r:.60}; needed: a loaded Hugging Face model.",
            remedy="Load it with AutoModelForCausalLM.from_pretrained.",
        )


def _load(name: str | Path, tokenizer: Any, kind: str = "AutoModel") -> tuple[Any, Any]:
    library = extra("activations", "transformers", f"the model {name}")
    where, file = name, {}
    if str(name).endswith(".gguf"):
        where, file = Path(name).parent, {"gguf_file": Path(name).name}
    has_gpu = torch.cuda.is_available()
    dtype = "auto" if has_gpu else torch.float32
    try:
        if tokenizer is None:
            tokenizer = library.AutoTokenizer.from_pretrained(where, **file)
        with without_bars():
            model, found = getattr(library, kind).from_pretrained(
                where, dtype=dtype, output_loading_info=True, **file
            )
    except OSError as error:
        raise MissingError(
            f"cannot load {name}: {first_line_of(error)}",
            remedy="Give a folder, a .gguf file or a name on the hub.",
        ) from error
    except ImportError as error:
        raise ExtraError(f"{name} cannot be loaded: {reason_of(error)}") from error
    except (KeyError, ValueError, RuntimeError, SafetensorError) as error:
        reason = shorten(reason_of(error), LONGEST_REASON, placeholder=" …")
        raise DataError(f"{name} cannot be loaded: {reason}") from error
    _check_that_weights_are_complete(name, found["missing_keys"])
    model.name_or_path = str(name)  # for a .gguf file, transformers records its folder
    return model.to("cuda" if has_gpu else "cpu"), tokenizer


def _check_that_weights_are_complete(
    name: str | Path, missing: Collection[str]
) -> None:
    """Refuse a model with missing weights, which transformers draws at random.

    Masked language models are often saved without the pooler, which no layer depends on.
    """
    needed = sorted(weight for weight in missing if "pooler." not in weight)
    if not needed:
        return
    others = f" and {len(needed) - 1} others" if len(needed) > 1 else ""
    raise DataError(
        f"{name} lacks the weights {needed[0]}{others}, which would be random numbers.",
        remedy="Give the whole model, saved with its head (AutoModelForCausalLM) to predict "
        "tokens.",
    )


def find_layers(model: Any, names: Sequence[str]) -> dict[str, Any]:
    """Return modules of a model by their names.

    Raises:
        ConfigError: If a module does not exist or has no output, as a list of layers; the message
            suggests similar names.
    """
    known = {}
    for name, module in model.named_modules():
        has_output = type(module).forward is not torch.nn.Module.forward
        if name and has_output:
            known[name] = module
    for name in names:
        if name not in known:
            similar = difflib.get_close_matches(name, known, n=6, cutoff=0.3)
            suggested = ", ".join(similar or list(known)[:6])
            kind = type(model).__name__
            raise ConfigError(
                f"{kind} has no layer {name!r} among its {len(known)}; similar: {suggested}."
            )
    return {name: known[name] for name in names}


def run_layers(
    model: Any, layers: dict[str, Any], ids: Tensor, attention_mask: Tensor
) -> dict[str, Tensor]:
    """Return the first outputs of some layers, ending the pass after the last of them.

    Args:
        model: The model.
        layers: Modules of the model, by name.
        ids: Token ids, (texts, tokens).
        attention_mask: 1 for tokens, 0 for padding, (texts, tokens).

    Returns:
        The outputs by name, (texts, tokens, width).

    Raises:
        DataError: If a layer does not output one vector per token.
    """
    outputs: dict[str, Tensor] = {}
    with (
        _keeping_outputs(layers, outputs),
        torch.inference_mode(),
        suppress(_AllLayersRan),
    ):
        model(
            input_ids=ids.to(model.device),
            attention_mask=attention_mask.to(model.device),
        )
    for name in layers:
        shape = tuple(getattr(outputs.get(name), "shape", ()))
        if len(shape) != 3 or shape[:2] != ids.shape:
            found = shape or "nothing"
            needed = (*ids.shape, "width")
            raise DataError(
                f"Layer {name} outputs {found}, not one vector per token, {needed}.",
                remedy="Choose another layer.",
            )
    return {name: outputs[name] for name in layers}


def logits_of(model: Any, ids: Tensor) -> Tensor:
    """Return a model's predictions for the tokens of one text, (tokens, vocabulary).

    Raises:
        ConfigError: If the model does not predict tokens.
    """
    batch = ids[None].to(model.device)
    output = model(input_ids=batch)
    if getattr(output, "logits", None) is None:
        raise ConfigError(
            f"{type(model).__name__} does not predict tokens.",
            remedy="Load the model with AutoModelForCausalLM.",
        )
    return output.logits[0]


def first_output(output: Any) -> Tensor:
    """Return the first output of a module, which may have several."""
    return output if torch.is_tensor(output) else output[0]


def with_first_output(output: Any, first: Tensor) -> Any:
    """Return the outputs of a module with the first one replaced."""
    if torch.is_tensor(output):
        return first
    if isinstance(output, Mapping):  # a `ModelOutput` of transformers
        name = next(iter(output))
        return type(output)(**{**output, name: first})
    return (first, *output[1:])


class _AllLayersRan(Exception):
    """Every requested layer has run."""


@contextmanager
def _keeping_outputs(
    layers: dict[str, Any], outputs: dict[str, Tensor]
) -> Iterator[None]:
    """Store the first outputs of layers in `outputs`, and end the pass after the last layer."""

    def keep(_module: Any, _inputs: Any, output: Any, name: str) -> None:
        outputs.setdefault(name, first_output(output))
        if len(outputs) == len(layers):
            raise _AllLayersRan

    with ExitStack() as hooks:
        for name, layer in layers.items():
            hook = layer.register_forward_hook(partial(keep, name=name))
            hooks.enter_context(hook)
        yield
