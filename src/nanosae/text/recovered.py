"""How well an SAE preserves a language model's predictions: loss recovered and KL divergence."""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nanosae.errors import DataError, require_whole
from nanosae.progress import tracked
from nanosae.text.language_models import (
    first_output,
    load_causal_model,
    logits_of,
    with_first_output,
)
from nanosae.text.provenance import (
    find_layer,
    layer_to_splice,
    norm_limit,
    require_autoencoder,
)
from nanosae.text.splice import special_tokens, splice
from nanosae.text.windows import as_texts, check_strings


class Recovered(NamedTuple):
    """Means over all predictions except those from special tokens, in nats.

    Attributes:
        loss: Cross-entropy of the model.
        loss_spliced: Cross-entropy with the layer's output replaced by its reconstruction.
        loss_zeroed: Cross-entropy with the layer's output replaced by zeros at every token.
        loss_recovered: (loss_zeroed − loss_spliced) ÷ (loss_zeroed − loss); NaN if zeros cost
            nothing.
        kl: Kullback–Leibler divergence of the spliced model's predictions from the model's.
        tokens: Number of predictions.
    """

    loss: float
    loss_spliced: float
    loss_zeroed: float
    loss_recovered: float
    kl: float
    tokens: int


def loss_recovered(
    model: Any,
    layer: str | None,
    sae: Any,
    texts: Iterable[str],
    *,
    tokenizer: Any = None,
    max_length: int = 128,
    max_norm: float | None = None,
) -> Recovered:
    """Measure the cost of replacing a layer of a language model with an SAE.

    As in SAELens' evaluation, every token is zeroed, and predictions from special tokens are not
    counted. Vectors that training skipped are left unchanged when the SAE is spliced in; see
    `splice`. Each text is truncated to `max_length` tokens and begins with the begin-of-text token
    if the tokenizer has one, unless the SAE's metadata has `prepend_bos: false`.

    Args:
        model: Name, folder or .gguf file of a causal language model, or a loaded one.
        layer: Name of the module that the SAE was trained on; None takes it from the metadata.
        sae: The SAE, an `SAEModel`.
        texts: Texts that the SAE was not trained on, or a single one.
        tokenizer: Tokenizer of a loaded model.
        max_length: Maximum number of tokens per text, at least 2.
        max_norm: As in `splice`.

    Raises:
        ConfigError: If `max_length` is no whole number above 1, or the model does not predict
            tokens.
        DataError: If a text is not a string, or none has at least two tokens.
    """
    require_whole(2, max_length=max_length)
    require_autoencoder(sae)
    texts = as_texts(texts)
    model, tokenizer = load_causal_model(model, tokenizer)
    layer = layer_to_splice(model, layer, sae)
    limit = norm_limit(sae, max_norm)
    with_bos = sae.config.get("prepend_bos", True)
    special_ids = sorted(special_tokens(model, sae))
    special = torch.tensor(special_ids, dtype=torch.long, device="cpu")
    sums = torch.zeros(4, dtype=torch.float64, device="cpu")
    n_tokens = 0
    for text in tracked(texts, "evaluate"):
        check_strings([text])
        ids = _tokens(tokenizer, text, max_length, with_bos)
        counted = ~torch.isin(ids[:-1], special)
        if not counted.any():
            continue
        with_sae = splice(model, layer, sae, max_norm=limit)
        plain = _log_probabilities(model, ids, nullcontext())
        spliced = _log_probabilities(model, ids, with_sae)
        zeroed = _log_probabilities(model, ids, _zeroed(model, layer))
        divergence = (plain.exp() * (plain - spliced)).sum(dim=1)
        losses = [_losses(found, ids) for found in (plain, spliced, zeroed)]
        sums += torch.stack([*losses, divergence])[:, counted].sum(dim=1)
        n_tokens += int(counted.sum())
    if n_tokens == 0:
        raise DataError("No text has two tokens, so there is nothing to predict.")
    loss, loss_spliced, loss_zeroed, kl = (sums / n_tokens).tolist()
    cost_of_zeros = loss_zeroed - loss
    share = (loss_zeroed - loss_spliced) / cost_of_zeros if cost_of_zeros else math.nan
    return Recovered(loss, loss_spliced, loss_zeroed, share, kl, n_tokens)


def _tokens(tokenizer: Any, text: str, max_length: int, with_bos: bool) -> Tensor:
    """Return a text's token ids, beginning with the begin-of-text token, (tokens,)."""
    ids = tokenizer(text, truncation=True, max_length=max_length)["input_ids"]
    first = tokenizer.bos_token_id
    if with_bos and first is not None and ids[:1] != [first]:
        ids = [first, *ids][:max_length]
    return torch.tensor(ids, dtype=torch.long, device="cpu")


@torch.no_grad()
def _log_probabilities(
    model: Any, ids: Tensor, changed: AbstractContextManager
) -> Tensor:
    """Return the log-probabilities of all tokens after the first, float64."""
    with changed:
        logits = logits_of(model, ids)
    return logits[:-1].double().cpu().log_softmax(dim=-1)


def _losses(log_probabilities: Tensor, ids: Tensor) -> Tensor:
    next_tokens = ids[1:, None]
    return -log_probabilities.gather(1, next_tokens)[:, 0]


def _zeroed(model: Any, layer: str) -> AbstractContextManager:
    """Replace a layer's output with zeros within a `with` block."""

    def zero(_module: Any, _inputs: Any, output: Any) -> Any:
        return with_first_output(output, torch.zeros_like(first_output(output)))

    return find_layer(model, layer).register_forward_hook(zero)
