"""Put an SAE into a language model: replace a layer's output, edit features, attribute logits.

What training left out stays as it is: the begin-of-text token, whose vector is unlike all others,
padding, and tokens of unusual length (see `activations`). Otherwise the SAE would be judged by what
it never saw.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor

from nanosae.errors import ConfigError
from nanosae.text.provenance import find_layer, layer_to_splice, norm_limit


@contextmanager
def splice(
    model: Any,
    layer: str | None,
    sae: Any,
    *,
    add: Mapping[int, float] | None = None,
    ablate: Collection[int] = (),
    replace: bool | None = None,
    leave_out: Collection[int] | None = None,
    max_norm: float | None = None,
) -> Iterator[Any]:
    """Let a layer's output pass through an SAE within a `with` block, generation included.

    Args:
        model: A Hugging Face model.
        layer: Name of a module whose (first) output the SAE was trained on; `layers.3` is found in
            `model.layers.3`, too. None takes the one that the SAE's metadata give.
        sae: The SAE, `SAEModel`; no transcoder.
        add: By feature, what is added to its activation at every token: steering.
        ablate: Features whose activations are set to zero.
        replace: Whether the output becomes the reconstruction; otherwise what the SAE does not
            explain stays. By default it is replaced unless features are edited.
        leave_out: Numbers of the tokens whose vectors stay as they are; None takes the special
            tokens of the model's configuration (begin and end of text, padding), unless the SAE's
            metadata says `exclude_special_tokens: false`.
        max_norm: Tokens with more than so many times the median norm of their pass stay, too; None
            takes the limit of the training, 10 where it is not known.

    Yields:
        The model.

    Raises:
        ConfigError: If there is no such layer or feature, or the SAE has another width.

    Warns:
        UserWarning: If the SAE's metadata name another model or layer.

    Example:
        >>> with splice(model, "layers.3", sae, add={17: 8.0}):  # doctest: +SKIP
        ...     model.generate(**tokenizer("The", return_tensors="pt"))
    """
    edits = dict(add or {})
    _check_features(sae, {*edits, *ablate})
    module = find_layer(model, layer_to_splice(model, layer, sae))
    limit = norm_limit(sae, max_norm)
    replaces = not (edits or ablate) if replace is None else replace
    passes = Passes(special_tokens(model, sae) if leave_out is None else leave_out)

    def change(_module: Any, _inputs: Any, output: Any) -> Any:
        x = output if torch.is_tensor(output) else output[0]
        changed = _through(sae, x.float(), edits, list(ablate), replaces)
        kept = passes.trained_on(x, limit)
        mixed = torch.where(kept[..., None], changed.to(x.dtype), x)
        return mixed if torch.is_tensor(output) else (mixed, *output[1:])

    with ExitStack() as hooks:
        hooks.callback(
            model.register_forward_pre_hook(passes.see, with_kwargs=True).remove
        )
        hooks.callback(module.register_forward_hook(change).remove)
        yield model


def attribution(
    model: Any, layer: str | None, sae: Any, ids: Tensor, token: int, position: int = -1
) -> Tensor:
    """Return what each feature at each token contributes to a logit, to first order.

    The contribution is activation × gradient: a_j · (W_dec_j · ∂logit/∂x), for the output x of the
    layer, with what the SAE does not explain held fixed.

    Args:
        model: A Hugging Face causal language model.
        layer: Name of a module, as of `splice`.
        sae: The SAE, `SAEModel`; no transcoder.
        ids: Token numbers of one text, (tokens,).
        token: Number of the token whose logit is meant.
        position: Of the token after which it is predicted.

    Returns:
        (tokens, hidden_size).
    """
    module = find_layer(model, layer_to_splice(model, layer, sae))
    seen: list[Tensor] = []

    def keep(_module: Any, _inputs: Any, output: Any) -> Any:
        first = output if torch.is_tensor(output) else output[0]
        x = first.detach().requires_grad_()
        seen.append(x)
        return x if torch.is_tensor(output) else (x, *output[1:])

    hook = module.register_forward_hook(keep)
    try:
        with torch.enable_grad():
            logits = model(input_ids=ids[None].to(model.device)).logits
            (gradient,) = torch.autograd.grad(logits[0, position, token], seen[0])
    finally:
        hook.remove()
    x = seen[0][0].detach().float()
    with torch.no_grad():
        acts = sae.encode(x)
        scales = sae.in_units_of(x, torch.ones_like(x)) - sae.in_units_of(
            x, torch.zeros_like(x)
        )
        along_decoder = (gradient[0].float() * scales) @ sae.W_dec.T
    return acts * along_decoder


def special_tokens(model: Any, sae: Any) -> set[int]:
    """Return the numbers of the tokens that training left out."""
    excluded = sae.config.get("exclude_special_tokens")
    if isinstance(excluded, list):
        return {int(number) for number in excluded}
    if excluded is False:
        return set()
    found: set[int] = set()
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        value = getattr(model.config, name, None)
        several = value if isinstance(value, list) else [value]
        found |= {int(number) for number in several if number is not None}
    return found


class Passes:
    """Sees the tokens of each forward pass, and says which of them an SAE was trained on.

    Args:
        leave_out: Numbers of tokens that it was not trained on.
    """

    def __init__(self, leave_out: Collection[int]) -> None:
        self._leave_out = sorted(leave_out)
        self._ids: Tensor | None = None

    def see(self, _model: Any, args: Any, kwargs: Any) -> None:
        """Note the tokens; a hook that runs before the model."""
        ids = kwargs.get("input_ids", args[0] if args else None)
        self._ids = ids if torch.is_tensor(ids) else None

    def trained_on(self, x: Tensor, max_norm: float) -> Tensor:
        """Mark the vectors x (texts, tokens, width) that resemble those of the training."""
        kept = torch.ones(x.shape[:-1], dtype=torch.bool, device=x.device)
        if self._ids is not None and self._ids.shape == kept.shape:
            special = torch.tensor(self._leave_out, device=self._ids.device)
            kept = ~torch.isin(self._ids, special).to(x.device)
        norms = x.detach().float().norm(dim=-1)
        if not kept.any():
            return kept
        return kept & (norms <= max_norm * norms[kept].median())


def _through(
    sae: Any, x: Tensor, add: dict[int, float], ablate: list[int], replace: bool
) -> Tensor:
    """Return vectors whose features are edited, with or without what the SAE leaves out."""
    acts = sae.encode(x)
    edited = acts.clone()
    edited[..., ablate] = 0
    for feature, amount in add.items():
        edited[..., feature] += amount
    recon = sae.in_units_of(x, sae.decode(edited))
    if replace:
        return recon + sae.skip(x)
    return x + recon - sae.in_units_of(x, sae.decode(acts))


def _check_features(sae: Any, features: set[int]) -> None:
    size = sae.cfg["d_sae"]
    outside = sorted(number for number in features if not 0 <= number < size)
    if outside:
        raise ConfigError(f"there is no feature {outside[0]}; this SAE has {size:,}.")
    if sae.cfg["architecture"].endswith("transcoder"):
        raise ConfigError(
            "A transcoder's outputs are other vectors than its inputs.",
            remedy="Splice needs an autoencoder.",
        )
