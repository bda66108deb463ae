"""What an SAE keeps of a language model's predictions: loss recovered and divergence."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nanosae.errors import DataError
from nanosae.text.language_models import load_causal_model
from nanosae.text.provenance import find_layer, layer_to_splice, norm_limit
from nanosae.text.splice import Passes, special_tokens, splice


class Recovered(NamedTuple):
    """Means over the predicted tokens; losses in nats.

    Attributes:
        loss: Cross-entropy of the model as it is.
        loss_spliced: With the layer's output replaced by its reconstruction.
        loss_zeroed: With it replaced by zeros, at the same tokens.
        loss_recovered: (loss_zeroed − loss_spliced) ÷ (loss_zeroed − loss).
        kl: Kullback–Leibler divergence of the spliced model's predictions from the model's.
        tokens: Number of predicted tokens.
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
    """Measure what replacing a layer by an SAE costs a language model.

    Each text is cut at `max_length` tokens and begins with the begin-of-text token where the
    tokenizer has one, unless the SAE's metadata say `prepend_bos: false`. Vectors that training
    left out are replaced neither by reconstructions nor by zeros; see `splice`.

    Args:
        model: Name, folder or .gguf file of a causal language model, or a loaded one.
        layer: Name of the module that the SAE was trained on; None takes it from the metadata.
        sae: The SAE, `SAEModel`.
        texts: Texts that it was not trained on.
        tokenizer: Of a loaded model.
        max_length: Tokens of a text that are taken.
        max_norm: As of `splice`.

    Raises:
        DataError: If no text has two tokens.
    """
    model, tokenizer = load_causal_model(model, tokenizer)
    layer = layer_to_splice(model, layer, sae)
    limit = norm_limit(sae, max_norm)
    with_bos = sae.config.get("prepend_bos", True)
    sums = torch.zeros(4, dtype=torch.float64)
    n_tokens = 0
    for text in texts:
        ids = _tokens(tokenizer, text, max_length, with_bos)
        if len(ids) < 2:
            continue
        plain = _log_probabilities(model, ids, nullcontext())
        with_sae = splice(model, layer, sae, max_norm=limit)
        spliced = _log_probabilities(model, ids, with_sae)
        zeroed = _log_probabilities(model, ids, _zeroed(model, layer, sae, limit))
        divergence = (plain.exp() * (plain - spliced)).sum()
        losses = [_loss(found, ids) for found in (plain, spliced, zeroed)]
        sums += torch.stack([*losses, divergence])
        n_tokens += len(ids) - 1
    if n_tokens == 0:
        raise DataError("no text has two tokens: there is nothing to predict.")
    loss, loss_spliced, loss_zeroed, kl = (sums / n_tokens).tolist()
    share = (loss_zeroed - loss_spliced) / (loss_zeroed - loss)
    return Recovered(loss, loss_spliced, loss_zeroed, share, kl, n_tokens)


def _tokens(tokenizer: Any, text: str, max_length: int, with_bos: bool) -> Tensor:
    """Return a text's token numbers, with the begin-of-text token in front, (tokens,)."""
    ids = tokenizer(text, truncation=True, max_length=max_length)["input_ids"]
    first = tokenizer.bos_token_id
    if with_bos and first is not None and ids[:1] != [first]:
        ids = [first, *ids][:max_length]
    return torch.tensor(ids, dtype=torch.long)


@torch.no_grad()
def _log_probabilities(
    model: Any, ids: Tensor, changed: AbstractContextManager
) -> Tensor:
    """Return the logarithms of the predictions of all tokens but the first, float64."""
    with changed:
        logits = model(input_ids=ids[None].to(model.device)).logits[0, :-1]
    return logits.double().cpu().log_softmax(dim=-1)


def _loss(log_probabilities: Tensor, ids: Tensor) -> Tensor:
    return -log_probabilities.gather(1, ids[1:, None]).sum()


class _zeroed(AbstractContextManager):
    """Replaces a layer's output by zeros at the tokens that an SAE would replace."""

    def __init__(self, model: Any, layer: str, sae: Any, max_norm: float) -> None:
        self._model = model
        self._module = find_layer(model, layer)
        self._passes = Passes(special_tokens(model, sae))
        self._max_norm = max_norm

    def __enter__(self) -> None:
        see = self._model.register_forward_pre_hook(self._passes.see, with_kwargs=True)
        self._hooks = [see, self._module.register_forward_hook(self._zero)]

    def __exit__(self, *error: Any) -> None:
        for hook in self._hooks:
            hook.remove()

    def _zero(self, _module: Any, _inputs: Any, output: Any) -> Any:
        x = output if torch.is_tensor(output) else output[0]
        kept = self._passes.trained_on(x, self._max_norm)
        changed = x.masked_fill(kept[..., None], 0)
        return changed if torch.is_tensor(output) else (changed, *output[1:])
