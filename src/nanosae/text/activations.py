"""Activations of language models as rows, one per token or pooled to one per text.

Texts longer than the model's context are cut into windows, so that each token is processed once.
Windows of similar length share a forward pass, padded on the right and masked; the pass ends after
the last requested layer. Rows are in the order of the texts, and each token's row comes with its
whole text and its character offsets.

Some vectors carry no information about their token: causal models direct spare attention to the
first token, whose vector grows a hundredfold (Sun et al., "Massive Activations in Large Language
Models", 2024) and would dominate the training of an SAE. Each window therefore begins with the
begin-of-text token if the tokenizer has one, and special tokens are skipped, as are tokens whose
norm exceeds `max_norm` times the median.

Not supported: images and audio, decoders of encoder-decoder models, tokenizers without offsets.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from nanosae.errors import ConfigError, require_choice, require_whole
from nanosae.fields import as_list
from nanosae.text.chats import as_text
from nanosae.text.language_models import find_layers, load_model, run_layers
from nanosae.text.provenance import (
    DEFAULT_MAX_NORM,
    SIDE_BY_SIDE,
    TokenRules,
    provenance,
)
from nanosae.text.windows import Cutter, Window, as_texts

Pooling = Literal["mean", "first", "last"]
PASSES = 8  # forward passes per block, within which windows are sorted by length


class Block(NamedTuple):
    """Rows of successive texts.

    Attributes:
        rows: (n, width) float32; if `layers` was a list, a dict of such arrays by layer.
        table: For each row, `text_index`, the whole `text` and, for tokens, the character offsets
            `start` and `end`: the metadata for `encode_corpus`.
    """

    rows: Any
    table: pa.Table


@dataclass
class Blocks(Iterator[Block]):
    """An iterator of blocks with their provenance.

    Args:
        blocks: The blocks.
        provenance: For each layer, the metadata of an SAE trained on it, as in `cfg.json`.
    """

    blocks: Iterator[Block]
    provenance: dict[str, dict[str, Any]]

    def __next__(self) -> Block:
        return next(self.blocks)


def activations(
    model: Any,
    layers: str | Sequence[str],
    texts: Iterable[str],
    *,
    tokenizer: Any = None,
    pooling: Pooling | None = None,
    special_tokens: bool = False,
    bos: bool = True,
    max_norm: float = DEFAULT_MAX_NORM,
    max_length: int | None = None,
    batch_tokens: int = 4096,
    pack: bool = False,
    concat: bool = False,
) -> Blocks:
    """Run texts through a model and yield the outputs of some of its layers.

    Args:
        model: Name or folder of a Hugging Face model, path of a .gguf file (needs `gguf` and
            `accelerate`), or a loaded model, which is put in evaluation mode.
        layers: Name of a module, as in `model.named_modules()`, or a list of names, which share the
            forward passes. If a module runs several times per pass, its first output is used.
        texts: The texts, or a single one; an iterator is read lazily. A list of chat messages,
            {"role", "content"}, is formatted with the tokenizer's chat template.
        tokenizer: The fast tokenizer of a loaded model.
        pooling: None for one row per token, or how to pool the kept tokens into one row per text:
            "mean", "first" or "last". A text without kept tokens has no row.
        special_tokens: Whether to keep special tokens, including those of a chat template.
        bos: Whether to prepend the begin-of-text token if the tokenizer has one but does not add it
            itself.
        max_norm: Skip tokens whose norm, at any of the layers, exceeds this multiple of the median
            of their block; infinity keeps all that are finite.
        max_length: Tokens per window; None is the maximum of tokenizer and model.
        batch_tokens: Tokens per forward pass, including padding, unless a single window has more; a
            block has about eight passes.
        pack: Whether to fill each window with successive texts that attend to the earlier ones, as
            in the training of most language models. Texts are separated by the begin-of-text token
            or, if there is none, the end-of-text token.
        concat: Whether to concatenate the rows of several layers, for crosscoders. Layers with
            longer vectors then weigh more.

    Returns:
        An iterator of blocks, with the `provenance` of each layer's rows.

    Raises:
        ExtraError: If transformers is not installed; it is an ImportError.
        MissingError: If the model does not exist; it is an OSError.
        ConfigError: If a layer does not exist (the message suggests similar names), a number is out
            of range, or the tokenizer has no offsets; it is a ValueError.
        DataError: If a layer does not output one vector per token, or a text is not a string; it is
            a ValueError.

    Example:
        >>> blocks = activations("model.gguf", "layers.15", ["A text."])  # doctest: +SKIP
        >>> rows = np.concatenate([block.rows for block in blocks])  # doctest: +SKIP
    """
    if pooling is not None:
        require_choice("pooling", pooling, get_args(Pooling))
    require_whole(1, batch_tokens=batch_tokens)
    texts = as_texts(texts)
    rules = TokenRules(pooling, special_tokens, bos, max_norm, max_length, pack)
    model, tokenizer = load_model(model, tokenizer)
    names = layer_names(layers)
    modules = find_layers(model, names)
    model_length = getattr(model.config, "max_position_embeddings", None)
    cutter = Cutter(tokenizer, rules, model_length)
    formatted = (as_text(text, tokenizer) for text in texts)
    pad = tokenizer.pad_token_id or 0

    def blocks() -> Iterator[Block]:
        n_texts = 0
        for block_texts, windows in cutter.blocks(formatted, PASSES * batch_tokens):
            rows = _run_windows(model, modules, windows, batch_tokens, pad)
            places = _places_of(windows)
            kept = _has_usual_norm(rows, max_norm)
            rows = {name: layer_rows[kept] for name, layer_rows in rows.items()}
            places = {name: values[kept] for name, values in places.items()}
            if pooling is not None:
                rows, places = _pool(rows, places["text"], pooling)
            table = _table_of(places, block_texts, n_texts)
            n_texts += len(block_texts)
            if concat:
                yield Block(np.concatenate([*rows.values()], axis=1), table)
            else:
                yield Block(rows[layers] if isinstance(layers, str) else rows, table)

    row_names = [SIDE_BY_SIDE.join(names)] if concat else names
    described = {name: provenance(model, name, rules) for name in row_names}
    return Blocks(blocks(), described)


def layer_names(layers: str | Sequence[str]) -> list[str]:
    """Return the names of one or several layers, each once.

    Raises:
        ConfigError: If there is none, or one is not a string.
    """
    names = as_list(layers)
    if not names or not all(isinstance(name, str) for name in names):
        raise ConfigError(
            f"layers={layers!r} must be the name of a module or a list of names.",
            remedy="See model.named_modules().",
        )
    return list(dict.fromkeys(names))


def _run_windows(
    model: Any,
    modules: dict[str, Any],
    windows: list[Window],
    batch_tokens: int,
    pad: int,
) -> dict[str, np.ndarray]:
    """Return the kept rows of each layer, in the order of the windows."""
    sizes = [int(window.kept.sum()) for window in windows]
    n_rows = sum(sizes)
    ends = np.cumsum(sizes)
    places_of_window = np.split(np.arange(n_rows), ends[:-1])
    rows: dict[str, np.ndarray] = {}
    lengths = [len(window.ids) for window in windows]
    longest_first = sorted(range(len(windows)), key=lambda i: -lengths[i])
    while longest_first:
        longest = lengths[longest_first[0]]
        n_fit = max(1, batch_tokens // longest)
        batch, longest_first = longest_first[:n_fit], longest_first[n_fit:]
        chosen = [windows[i] for i in batch]
        ids = _padded([window.ids for window in chosen], pad)
        mask = _padded([torch.ones_like(window.ids) for window in chosen])
        kept = _padded([window.kept for window in chosen])
        places = np.concatenate([places_of_window[i] for i in batch])
        for name, output in run_layers(model, modules, ids, mask).items():
            kept_rows = output[kept.to(output.device)].float().cpu().numpy()
            if name not in rows:
                width = kept_rows.shape[1]
                rows[name] = np.empty((n_rows, width), np.float32)
            rows[name][places] = kept_rows
    return rows


def _padded(tensors: list[Tensor], value: int = 0) -> Tensor:
    """Return tensors of different lengths as rows, padded on the right."""
    return pad_sequence(tensors, batch_first=True, padding_value=value)


def _places_of(windows: list[Window]) -> dict[str, np.ndarray]:
    """Return the text number, start and end of each kept token."""
    texts = np.concatenate([window.texts[window.kept.numpy()] for window in windows])
    offsets = [window.offsets[window.kept.numpy()] for window in windows]
    starts, ends = np.concatenate(offsets).T
    return {"text": texts, "start": starts, "end": ends}


def _has_usual_norm(rows: dict[str, np.ndarray], max_norm: float) -> np.ndarray:
    """Return which rows are within `max_norm` times the median norm at every layer, and finite."""
    kept = []
    for name, layer_rows in rows.items():
        norms = np.linalg.norm(layer_rows, axis=1)
        is_finite = np.isfinite(norms)
        if not is_finite.all():
            warnings.warn(
                f"Tokens whose activations at {name} are NaN or infinite are skipped. The model "
                "may overflow in half precision: load it in float32 or bfloat16.",
                stacklevel=2,
            )
        is_usual = is_finite
        if is_finite.any() and np.isfinite(max_norm):
            is_usual = is_finite & (norms <= max_norm * np.median(norms[is_finite]))
        kept.append(is_usual)
    return np.all(kept, axis=0)


def _pool(
    rows: dict[str, np.ndarray], text_of_row: np.ndarray, pooling: Pooling
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return one row per text with kept tokens, by layer, and the numbers of these texts."""
    texts, starts, sizes = np.unique(text_of_row, return_index=True, return_counts=True)
    pooled = {}
    for name, layer_rows in rows.items():
        if pooling == "mean":
            sums = np.add.reduceat(layer_rows, starts)
            pooled[name] = sums / sizes[:, None].astype(np.float32)
        elif pooling == "first":
            pooled[name] = layer_rows[starts]
        else:
            pooled[name] = layer_rows[starts + sizes - 1]
    return pooled, {"text": texts}


def _table_of(
    places: dict[str, np.ndarray], texts: list[str], n_before: int
) -> pa.Table:
    """Return the metadata of rows, with each text stored once."""
    numbers = places["text"]
    offsets = {name: values for name, values in places.items() if name != "text"}
    text_of_row = pa.array(texts).dictionary_encode().take(pa.array(numbers))
    return pa.table({"text_index": numbers + n_before, "text": text_of_row, **offsets})
