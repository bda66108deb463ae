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

import difflib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from pyarrow import parquet
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from nanosae.extras import extra

Pooling = Literal["mean", "first", "last"]
TEXTS = 64  # texts tokenised together
PASSES = 8  # forward passes whose windows are sorted by length together: a block
SHARD_BLOCKS = 4  # blocks in a shard of the cache
WINDOWS = ["truncation", "return_overflowing_tokens", "return_offsets_mapping"]
WINDOWS += ["return_special_tokens_mask"]


class Block(NamedTuple):
    """Rows of some successive texts.

    Attributes:
        rows: (n, width) float32; if a list of layers was asked for, a dict of these by layer.
        table: Of each row the number of its text in `text_index`, its whole `text` and, of a token,
            its character offsets `start` and `end`: what `encode_corpus` takes as `beside`.
    """

    rows: Any
    table: pa.Table


class _Window(NamedTuple):
    text: int
    ids: Tensor
    offsets: np.ndarray
    kept: Tensor


def activations(
    model: Any,
    layers: str | Sequence[str],
    texts: Iterable[str],
    *,
    tokenizer: Any = None,
    pooling: Pooling | None = None,
    special_tokens: bool = False,
    bos: bool = True,
    max_norm: float = 10.0,
    max_length: int | None = None,
    batch_tokens: int = 4096,
) -> Iterator[Block]:
    """Run texts through a model and yield the outputs of some of its layers.

    Args:
        model: Name or folder of a Hugging Face model, path of a .gguf file (needs `gguf` and
            `accelerate`), or a loaded model, which is put in evaluation mode.
        layers: Name of a module, as in `model.named_modules()`, or names: one pass serves all. Of a
            module that runs several times in a pass, the first output is taken.
        texts: The texts; an iterator is read as needed.
        tokenizer: The fast tokenizer of a loaded model.
        pooling: None for a row per token; else one per text, from its kept tokens: their mean, the
            first or the last. A text without any gives no row.
        special_tokens: Whether to keep tokens that were added to the text.
        bos: Whether to begin with the begin-of-text token if the tokenizer has one but does not add
            it itself.
        max_norm: Leave out tokens whose norm, at any of the layers, is above so many times the
            median of their block; infinity keeps all.
        max_length: Tokens in a window; None takes as many as tokenizer and model allow.
        batch_tokens: Tokens in a forward pass, padding included, unless one window has more; a
            block has about eight passes.

    Returns:
        An iterator of blocks.

    Raises:
        ImportError: Without transformers.
        OSError: If there is no such model.
        ValueError: If there is no such layer (those most like it are named), its output is not one
            vector per token, a text is no string, or the tokenizer gives no offsets.

    Example:
        >>> blocks = activations("model.gguf", "layers.15", ["A text."])  # doctest: +SKIP
        >>> rows = np.concatenate([block.rows for block in blocks])  # doctest: +SKIP
    """
    model, tokenizer = _load(model, tokenizer)
    names = [layers] if isinstance(layers, str) else list(layers)
    modules = {name: _module(model, name) for name in names}
    limits = tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", None)
    limit = min(limit for limit in (max_length, *limits, 2**20) if limit)
    begin = tokenizer.bos_token_id
    head = [begin] * (bos and begin is not None and begin not in tokenizer("a")["input_ids"][:1])
    pad = tokenizer.pad_token_id or 0

    def stream() -> Iterator[Block]:
        before, size = 0, PASSES * batch_tokens
        for chunk, windows in _chunks(tokenizer, texts, head, limit, special_tokens, size):
            rows = _rows(model, modules, windows, batch_tokens, pad)
            text = np.repeat([w.text for w in windows], [int(w.kept.sum()) for w in windows])
            start, end = np.concatenate([w.offsets[w.kept] for w in windows]).T
            norms = [np.linalg.norm(x, axis=1) for x in rows.values()]
            kept = np.all([norm <= max_norm * np.median(norm) for norm in norms], axis=0)
            rows, text = {name: x[kept] for name, x in rows.items()}, text[kept]
            beside = {"start": start[kept], "end": end[kept]}
            if pooling is not None:
                text, at, sizes = np.unique(text, return_index=True, return_counts=True)
                rows, beside = {n: _pool(x, at, sizes, pooling) for n, x in rows.items()}, {}
            whole = pa.array(chunk).dictionary_encode().take(pa.array(text))  # each held once
            table = pa.table({"text_index": text + before, "text": whole, **beside})
            before += len(chunk)
            yield Block(rows[layers] if isinstance(layers, str) else rows, table)

    return stream()


def cache_activations(
    model: Any,
    layers: str | Sequence[str],
    texts: Sequence[str],
    folder: str | Path,
    *,
    tokenizer: Any = None,
    dtype: str = "float16",
    **options: Any,
) -> int:
    """Write activations to shards that `train` and `encode_corpus` read; called again, go on.

    The rows lie in `folder/LAYER/00000.npy` …; what stands beside them, once for all layers, in
    `folder/tokens/00000.parquet` …. The latter is written last: a shard counts once it is there.

    Args:
        model: As in `activations`.
        layers: One name or several.
        texts: The same texts at each call.
        folder: Where to write.
        tokenizer: Of a loaded model.
        dtype: float16 or float32.
        **options: As in `activations`.

    Returns:
        The number of rows in the folder.

    Raises:
        ValueError: If the folder holds shards of other settings or texts, or a value is too large
            for float16.
    """
    folder, names = Path(folder), [layers] if isinstance(layers, str) else list(layers)
    facts = {"model": str(getattr(model, "name_or_path", model)), "layers": names, "dtype": dtype}
    note, done = json.dumps(facts | options), sorted((folder / "tokens").glob("*.parquet"))
    start = 0
    if done:
        last = parquet.read_table(done[-1], columns=["text_index", "text"])
        known = (last.schema.metadata or {}).get(b"nanosae", b"").decode()
        at, text = (column[-1].as_py() for column in last.columns)
        if known != note or list(texts[at : at + 1]) != [text]:
            raise ValueError(
                f"{folder} holds activations of {known}, its text {at} being {text[:40]!r}; asked "
                f"for were {note}: give the same texts and settings, or another folder."
            )
        start = -(-(at + 1) // TEXTS) * TEXTS
    blocks: Iterator[Block] = iter(())
    if start < len(texts):
        blocks = activations(model, names, texts[start:], tokenizer=tokenizer, **options)
    while shard := list(islice(blocks, SHARD_BLOCKS)):
        number = f"{len(done):05d}"
        for name in names:
            with np.errstate(over="ignore"):
                array = np.concatenate([block.rows[name] for block in shard]).astype(dtype)
            if not np.isfinite(array).all():
                raise ValueError(f"{name} has values that {dtype} cannot hold: dtype='float32'.")
            _put(folder / name / f"{number}.npy", partial(np.save, arr=array))
        table = pa.concat_tables(block.table for block in shard).unify_dictionaries()
        place = pa.array(table["text_index"].to_numpy() + start)
        table = table.set_column(0, "text_index", place).replace_schema_metadata({"nanosae": note})
        done.append(folder / "tokens" / f"{number}.parquet")
        _put(done[-1], partial(parquet.write_table, table, compression="zstd"))
    return sum(parquet.read_metadata(path).num_rows for path in done)


def _load(model: Any, tokenizer: Any) -> tuple[Any, Any]:
    """Return a model in evaluation mode and its tokenizer."""
    if isinstance(model, (str, Path)):
        hf = extra("activations", "transformers", f"the model {model}")
        gguf = {"gguf_file": Path(model).name} if str(model).endswith(".gguf") else {}
        where = Path(model).parent if gguf else model
        device, dtype = ("cuda", "auto") if torch.cuda.is_available() else ("cpu", torch.float32)
        try:
            tokenizer = tokenizer or hf.AutoTokenizer.from_pretrained(where, **gguf)
            model = hf.AutoModel.from_pretrained(where, dtype=dtype, **gguf).to(device)
        except OSError as error:
            raise OSError(f"cannot load {model}: {str(error).splitlines()[0]}") from error
    if tokenizer is None or not tokenizer.is_fast:
        raise ValueError("Needed is a fast tokenizer, one that knows offsets: give tokenizer=….")
    return model.eval(), tokenizer


def _module(model: Any, name: str) -> Any:
    modules = {known: module for known, module in model.named_modules() if known}
    if name not in modules:
        like = difflib.get_close_matches(name, modules, 6, 0.3)
        raise ValueError(
            f"{type(model).__name__} has no layer {name!r} among its {len(modules)}; near are "
            f"{', '.join(like) or ', '.join(list(modules)[:6])}."
        )
    return modules[name]


def _chunks(
    tokenizer: Any, texts: Iterable[str], head: list[int], limit: int, special: bool, size: int
) -> Iterator[tuple[list[str], list[_Window]]]:
    """Gather successive texts and their windows until these hold `size` tokens."""
    chunk, windows, texts = [], [], iter(texts)
    while some := list(islice(texts, TEXTS)):
        if bad := [text for text in some if not isinstance(text, str)]:
            raise ValueError(f"a text is {bad[0]!r}: every text must be a string; drop the others.")
        coded = tokenizer(some, max_length=limit - len(head), **dict.fromkeys(WINDOWS, True))
        for i, text in enumerate(coded["overflow_to_sample_mapping"]):
            ids = torch.tensor(head + coded["input_ids"][i])
            offsets = np.array([(0, 0)] * len(head) + coded["offset_mapping"][i], np.int32)
            kept = torch.tensor([1] * len(head) + coded["special_tokens_mask"][i]) == 0
            if special or kept.any():
                windows.append(_Window(len(chunk) + text, ids, offsets, kept | special))
        chunk += some
        if windows and sum(len(w.ids) for w in windows) >= size:
            # a tokenizer that truncates on the left gives a text's last window first
            yield chunk, sorted(windows, key=lambda w: (w.text, w.offsets.max()))
            chunk, windows = [], []
    if windows:
        yield chunk, sorted(windows, key=lambda w: (w.text, w.offsets.max()))


def _rows(
    model: Any, modules: dict[str, Any], windows: list[_Window], batch_tokens: int, pad: int
) -> dict[str, np.ndarray]:
    """Return the kept rows of windows, in their order, by layer."""
    sizes = [int(w.kept.sum()) for w in windows]
    ends, rows = np.cumsum(sizes), {}
    order = sorted(range(len(windows)), key=lambda i: -len(windows[i].ids))
    while order:
        fit = max(1, batch_tokens // len(windows[order[0]].ids))
        batch, order = order[:fit], order[fit:]
        some = [windows[i] for i in batch]
        ids = pad_sequence([w.ids for w in some], True, pad)
        seen = pad_sequence([torch.ones_like(w.ids) for w in some], True)
        kept = pad_sequence([w.kept for w in some], True)
        places = np.concatenate([np.arange(ends[i] - sizes[i], ends[i]) for i in batch])
        for name, output in _run(model, modules, ids, seen).items():
            found = output[kept.to(output.device)].float().cpu().numpy()
            rows.setdefault(name, np.empty((ends[-1], found.shape[1]), np.float32))[places] = found
    return rows


def _run(model: Any, modules: dict[str, Any], ids: Tensor, seen: Tensor) -> dict[str, Tensor]:
    """Return the outputs of some modules, (texts, tokens, width); stop after the last."""
    found = {}

    def keep(_: Any, __: Any, output: Any, name: str) -> None:
        found.setdefault(name, output if torch.is_tensor(output) else output[0])
        if len(found) == len(modules):
            raise _Enough

    hooks = [m.register_forward_hook(partial(keep, name=name)) for name, m in modules.items()]
    try:
        with torch.inference_mode(), suppress(_Enough):
            model(input_ids=ids.to(model.device), attention_mask=seen.to(model.device))
    finally:
        for hook in hooks:
            hook.remove()
    for name in modules:
        shape = tuple(getattr(found.get(name), "shape", ()))
        if len(shape) != 3 or shape[:2] != ids.shape:
            what = f"{shape or 'nothing'} for {tuple(ids.shape)} texts and tokens"
            raise ValueError(f"layer {name} gives {what}, not a vector for each: choose another.")
    return {name: found[name] for name in modules}


class _Enough(Exception):
    """Every layer asked for has run."""


def _pool(rows: np.ndarray, at: np.ndarray, sizes: np.ndarray, pooling: Pooling) -> np.ndarray:
    """Return a row per text; its tokens begin at `at` and are `sizes` many."""
    if pooling == "mean":
        return np.add.reduceat(rows, at) / sizes[:, None].astype(np.float32)
    return rows[at if pooling == "first" else at + sizes - 1]


def _put(path: Path, write: Callable[[Any], Any]) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}")
    with draft.open("wb") as f:
        write(f)
        f.flush()
        os.fsync(f.fileno())
    draft.replace(path)
