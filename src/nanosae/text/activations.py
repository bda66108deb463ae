"""Activations of language models as rows: of every token, or pooled to one row per text.

Texts longer than the model takes are cut in windows, so that each token is seen once. Windows of
like length share a forward pass, padded on the right and masked; the pass ends after the last layer
asked for. Rows come in the order of the texts, and beside each token's row stand its whole text and
its character offsets.

Some vectors say nothing of their token: causal models turn spare attention to the first token,
whose vector grows a hundredfold (Sun et al., "Massive Activations in Large Language Models", 2024)
and would be all that an SAE learns. So each window begins with the begin-of-text token where the
tokenizer has one, special tokens are left out, and so are tokens with more than `max_norm` times
the median norm.

Not covered: images and sound, decoders of encoder-decoder models, tokenizers without offsets.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from nanosae.text.chats import as_text
from nanosae.text.language_models import find_layers, load_model, run_layers
from nanosae.text.provenance import (
    DEFAULT_MAX_NORM,
    SIDE_BY_SIDE,
    TokenRules,
    provenance,
)
from nanosae.text.windows import Cutter, Window

Pooling = Literal["mean", "first", "last"]
PASSES = 8  # forward passes whose windows are sorted by length together: a block


class Block(NamedTuple):
    """Rows of some successive texts.

    Attributes:
        rows: (n, width) float32; if a list of layers was asked for, a dict of these by layer.
        table: Of each row the number of its text in `text_index`, its whole `text` and, of a token,
            its character offsets `start` and `end`: the metadata that `encode_corpus` takes.
    """

    rows: Any
    table: pa.Table


class Blocks(Iterator[Block]):
    """Blocks of rows, and what they are.

    Args:
        blocks: The blocks.
        provenance: By layer, metadata of an SAE that is trained on it, as `cfg.json` names them.
    """

    def __init__(
        self, blocks: Iterator[Block], provenance: dict[str, dict[str, Any]]
    ) -> None:
        self.provenance = provenance
        self._blocks = blocks

    def __next__(self) -> Block:
        return next(self._blocks)


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
        layers: Name of a module, as in `model.named_modules()`, or names: one pass serves all. Of a
            module that runs several times in a pass, the first output is taken.
        texts: The texts; an iterator is read as needed. A list of chat messages, {"role",
            "content"}, is written by the tokenizer's chat template.
        tokenizer: The fast tokenizer of a loaded model.
        pooling: None for a row per token; else one per text, from its kept tokens: their mean, the
            first or the last. A text without any gives no row.
        special_tokens: Whether to keep special tokens, added to the text or by a chat template.
        bos: Whether to begin with the begin-of-text token if the tokenizer has one but does not add
            it itself.
        max_norm: Leave out tokens whose norm, at any of the layers, is above so many times the
            median of their block; infinity keeps all.
        max_length: Tokens in a window; None takes as many as tokenizer and model allow.
        batch_tokens: Tokens in a forward pass, padding included, unless one window has more; a
            block has about eight passes.
        pack: Fill each window with successive texts, which see those before them, as in the
            training of most language models; a text begins with the begin-of-text token, or the
            end-of-text token where there is none.
        concat: Join the rows of several layers into one of their whole width, as crosscoders
            take them. Layers of longer vectors then weigh more.

    Returns:
        An iterator of blocks, which also says by layer what its rows are (`provenance`).

    Raises:
        ExtraError: Without transformers; it is an ImportError.
        MissingError: If there is no such model; it is an OSError.
        ConfigError: If there is no such layer (those most like it are named), or the tokenizer
            gives no offsets; it is a ValueError.
        DataError: If a layer's output is not one vector per token, or a text is not a string; it is
            a ValueError.

    Example:
        >>> blocks = activations("model.gguf", "layers.15", ["A text."])  # doctest: +SKIP
        >>> rows = np.concatenate([block.rows for block in blocks])  # doctest: +SKIP
    """
    rules = TokenRules(pooling, special_tokens, bos, max_norm, max_length, pack)
    model, tokenizer = load_model(model, tokenizer)
    names = [layers] if isinstance(layers, str) else list(layers)
    modules = find_layers(model, names)
    model_length = getattr(model.config, "max_position_embeddings", None)
    cutter = Cutter(tokenizer, rules, model_length)
    written = (as_text(text, tokenizer) for text in texts)
    pad = tokenizer.pad_token_id or 0

    def blocks() -> Iterator[Block]:
        n_texts = 0
        for block_texts, windows in cutter.blocks(written, PASSES * batch_tokens):
            rows = _run_windows(model, modules, windows, batch_tokens, pad)
            places = _places_of(windows)
            kept = _usual_norms(rows, max_norm)
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

    described = [SIDE_BY_SIDE.join(names)] if concat else names
    known = {name: provenance(model, name, rules) for name in described}
    return Blocks(blocks(), known)


def _run_windows(
    model: Any,
    modules: dict[str, Any],
    windows: list[Window],
    batch_tokens: int,
    pad: int,
) -> dict[str, np.ndarray]:
    """Return the kept rows of windows, in their order, by layer."""
    sizes = [int(window.kept.sum()) for window in windows]
    places_of_window = np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1])
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
            found = output[kept.to(output.device)].float().cpu().numpy()
            if name not in rows:
                rows[name] = np.empty((sum(sizes), found.shape[1]), np.float32)
            rows[name][places] = found
    return rows


def _padded(tensors: list[Tensor], value: int = 0) -> Tensor:
    """Return tensors of several lengths as rows, filled up on the right."""
    return pad_sequence(tensors, batch_first=True, padding_value=value)


def _places_of(windows: list[Window]) -> dict[str, np.ndarray]:
    """Return for each kept token the number of its text, and where it starts and ends there."""
    texts = np.concatenate([window.texts[window.kept.numpy()] for window in windows])
    offsets = [window.offsets[window.kept.numpy()] for window in windows]
    starts, ends = np.concatenate(offsets).T
    return {"text": texts, "start": starts, "end": ends}


def _usual_norms(rows: dict[str, np.ndarray], max_norm: float) -> np.ndarray:
    """Return which rows are at no layer longer than `max_norm` times the median."""
    kept = []
    for layer_rows in rows.values():
        norms = np.linalg.norm(layer_rows, axis=1)
        kept.append(norms <= max_norm * np.median(norms))
    return np.all(kept, axis=0)


def _pool(
    rows: dict[str, np.ndarray], text_of_row: np.ndarray, pooling: Pooling
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return one row per text that has any, by layer, and the numbers of these texts."""
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
    """Return the metadata of rows; each text is held once."""
    numbers = places["text"]
    offsets = {name: values for name, values in places.items() if name != "text"}
    whole = pa.array(texts).dictionary_encode().take(pa.array(numbers))
    return pa.table({"text_index": numbers + n_before, "text": whole, **offsets})
