"""Splice an SAE into a language model: replace a layer's output, edit features, attribute logits.

Vectors that training skipped are left unchanged: the begin-of-text token, whose vector is unlike
all others, padding, and tokens with unusual norms (see `activations`). Otherwise the SAE would be
evaluated on vectors that it never saw.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nanosae.errors import ConfigError, DataError, require_number, require_whole
from nanosae.fields import as_list
from nanosae.text.language_models import (
    first_output,
    logits_of,
    require_loaded,
    with_first_output,
)
from nanosae.text.provenance import (
    find_layer,
    layer_to_splice,
    norm_limit,
    require_autoencoder,
)


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
    """Pass a layer's output through an SAE within a `with` block, also during generation.

    Args:
        model: A Hugging Face model.
        layer: Name of the module whose (first) output the SAE was trained on; `layers.3` also finds
            `model.layers.3`. None uses the name in the SAE's metadata.
        sae: The SAE, an `SAEModel` that is not a transcoder.
        add: Amounts to add to the activations of features at every token (steering).
        ablate: Features whose activations are set to zero.
        replace: Whether the output becomes the reconstruction; otherwise the part that the SAE does
            not explain is kept. By default, it is replaced unless features are edited.
        leave_out: Ids of tokens whose vectors are left unchanged. None means the special tokens in
            the model's configuration (begin and end of text, padding), unless the SAE's metadata
            has `exclude_special_tokens: false`.
        max_norm: Norm above which vectors are left unchanged, as a multiple of the median of their
            pass. None means the limit of the training, or 10 if unknown.

    Yields:
        The model.

    Raises:
        ConfigError: If the layer or a feature does not exist, or an argument is invalid.
        DataError: During a pass, if the SAE has another width than the layer's output.

    Warns:
        UserWarning: If the SAE's metadata name another model or layer.

    Example:
        >>> with splice(model, "layers.3", sae, add={17: 8.0}):  # doctest: +SKIP
        ...     model.generate(**tokenizer("The", return_tensors="pt"))
    """
    edits = _Edits({} if add is None else add, as_list(ablate))
    require_loaded(model)
    require_autoencoder(sae)
    edits.check(sae)
    if replace is None:
        replace = edits.are_none
    if leave_out is None:
        leave_out = special_tokens(model, sae)
    module = find_layer(model, layer_to_splice(model, layer, sae))
    limit = norm_limit(sae, max_norm)
    passes = Passes(as_list(leave_out))
    sae_on = _copies_on_devices(sae)

    def change(_module: Any, _inputs: Any, output: Any) -> Any:
        x = first_output(output)
        edited = edits.applied(sae_on(x.device), x.float(), replace=replace)
        is_edited = passes.trained_on(x, limit)[..., None]
        return with_first_output(output, torch.where(is_edited, edited.to(x.dtype), x))

    with (
        model.register_forward_pre_hook(passes.record, with_kwargs=True),
        module.register_forward_hook(change),
    ):
        yield model


def attribution(
    model: Any, layer: str | None, sae: Any, ids: Tensor, token: int, position: int = -1
) -> Tensor:
    """Return the first-order contribution of each feature at each token to a logit.

    The contribution is activation × gradient: a_j · (W_dec_j · ∂logit/∂x) for the output x of the
    layer, holding the part that the SAE does not explain fixed. At tokens that `splice` leaves
    unchanged, such as begin-of-text, all contributions are zero.

    Args:
        model: A Hugging Face causal language model.
        layer: Name of a module, as in `splice`.
        sae: The SAE, an `SAEModel` that is not a transcoder.
        ids: Token ids of one text, (tokens,).
        token: Id of the token whose logit is attributed.
        position: Position of the token after which it is predicted.

    Returns:
        Contributions, (tokens, hidden_size).

    Raises:
        ConfigError: If the layer, the token or the position does not exist, or the SAE is a
            transcoder.
        DataError: If `ids` are not those of one text.
    """
    require_loaded(model)
    require_autoencoder(sae)
    ids = torch.as_tensor(ids)
    if ids.ndim != 1 or len(ids) == 0:
        raise DataError(
            f"ids have the shape {tuple(ids.shape)}; needed: those of one text, (tokens,).",
            remedy="Give ids[0] for the first text of a batch.",
        )
    module = find_layer(model, layer_to_splice(model, layer, sae))
    passes = Passes(special_tokens(model, sae))
    seen: list[Tensor] = []

    def keep(_module: Any, _inputs: Any, output: Any) -> Any:
        x = first_output(output).detach().requires_grad_()
        seen.append(x)
        return with_first_output(output, x)

    with (
        model.register_forward_pre_hook(passes.record, with_kwargs=True),
        module.register_forward_hook(keep),
        torch.enable_grad(),
    ):
        logits = logits_of(model, ids)
        _check_prediction(logits, token, position)
        (gradient,) = torch.autograd.grad(logits[position, token], seen[0])
    is_replaced = passes.trained_on(seen[0], norm_limit(sae, None))[0]
    x = seen[0][0].detach().float()
    sae = _copies_on_devices(sae)(x.device)
    with torch.no_grad():
        acts = sae.encode(x)
        ones, zeros = torch.ones_like(x), torch.zeros_like(x)
        scales = sae.in_units_of(x, ones) - sae.in_units_of(x, zeros)
        direction = (gradient[0].float() * scales).to(sae.W_dec.dtype)
        contributions = acts * (direction @ sae.W_dec.T)
    contributions[~is_replaced] = 0
    return contributions


def _check_prediction(logits: Tensor, token: int, position: int) -> None:
    """Raise a ConfigError if logits, (tokens, vocabulary), have no such entry."""
    n_tokens, n_known = logits.shape
    if not -n_tokens <= position < n_tokens:
        raise ConfigError(
            f"position={position} is outside the text, which has {n_tokens} tokens."
        )
    if not 0 <= token < n_known:
        raise ConfigError(f"There is no token {token}; this model has {n_known:,}.")


def _copies_on_devices(sae: Any) -> Callable[[torch.device], Any]:
    """Return a function that returns an SAE, or a copy of it, on the device of a layer."""

    @functools.cache
    def sae_on(device: torch.device) -> Any:
        return sae if sae.device == device else copy.deepcopy(sae).to(device)

    return sae_on


def special_tokens(model: Any, sae: Any) -> set[int]:
    """Return the ids of the tokens that training skipped."""
    excluded = sae.config.get("exclude_special_tokens")
    if isinstance(excluded, list):
        return {int(token) for token in excluded}
    if excluded is False:
        return set()
    found: set[int] = set()
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        value = getattr(model.config, name, None)
        tokens = value if isinstance(value, list) else [value]
        found |= {int(token) for token in tokens if token is not None}
    return found


class Passes:
    """Observes the tokens of each forward pass to find those like the SAE's training tokens.

    Args:
        leave_out: Ids of tokens that training skipped.
    """

    def __init__(self, leave_out: Collection[int]) -> None:
        self._leave_out = torch.tensor(
            sorted(leave_out), dtype=torch.long, device="cpu"
        )
        self._ids: Tensor | None = None

    def record(self, _model: Any, args: Any, kwargs: Any) -> None:
        """Record the tokens; a hook that runs before the model."""
        ids = kwargs.get("input_ids", args[0] if args else None)
        self._ids = ids if torch.is_tensor(ids) else None

    def trained_on(self, x: Tensor, max_norm: float) -> Tensor:
        """Return which vectors x (texts, tokens, width) resemble those of the training."""
        kept = torch.ones(x.shape[:-1], dtype=torch.bool, device=x.device)
        if self._ids is not None and self._ids.shape == kept.shape:
            special = self._leave_out.to(self._ids.device)
            kept = ~torch.isin(self._ids, special).to(x.device)
        norms = x.detach().float().norm(dim=-1)
        if not kept.any():
            return kept
        return kept & (norms <= max_norm * norms[kept].nanmedian())


@dataclass(frozen=True)
class _Edits:
    """Changes to the activations at every token.

    Attributes:
        add: Amounts to add to the activations of features.
        ablate: Features whose activations are set to zero.
    """

    add: Mapping[int, float]
    ablate: list[int]

    @property
    def are_none(self) -> bool:
        """Whether nothing is changed."""
        return not self.add and not self.ablate

    def check(self, sae: Any) -> None:
        """Raise a ConfigError if the edits do not apply to an SAE."""
        if not isinstance(self.add, Mapping):
            raise ConfigError(
                f"add={self.add!r} must map features to amounts, as in {{17: 8.0}}."
            )
        for amount in self.add.values():
            require_number(amount=amount)
        size = sae.cfg["d_sae"]
        for feature in [*self.add, *self.ablate]:
            require_whole(0, feature=feature)
            if feature >= size:
                raise ConfigError(
                    f"There is no feature {feature}; this SAE has {size:,}."
                )

    def applied(self, sae: Any, x: Tensor, *, replace: bool) -> Tensor:
        """Return vectors with edited features; keep the unexplained part unless `replace`."""
        acts = sae.encode(x)
        edited = acts.clone()
        edited[..., self.ablate] = 0
        for feature, amount in self.add.items():
            edited[..., feature] += amount
        recon = sae.in_units_of(x, sae.decode(edited))
        if replace:
            return recon + sae.skip(x)
        return x + recon - sae.in_units_of(x, sae.decode(acts))
