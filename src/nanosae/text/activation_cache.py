"""Activations in shards on disk, for training and encoding; an interrupted call can be resumed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from nanosae.atomic import make_folder, write_array, write_file, write_text
from nanosae.checked import naming
from nanosae.errors import ConfigError, DataError, require_choice, require_whole
from nanosae.fields import as_list
from nanosae.lock import Lock
from nanosae.progress import tracked
from nanosae.text.activations import (
    Block,
    Blocks,
    Pooling,
    activations,
    layer_names,
)
from nanosae.text.chats import as_text
from nanosae.text.language_models import load_model
from nanosae.text.provenance import DEFAULT_MAX_NORM, TokenRules
from nanosae.text.windows import TEXTS, as_texts, check_strings

SHARD_BLOCKS = 4  # blocks per shard
PROVENANCE = "provenance.json"  # the name that `sources` looks for
LOCK = ".lock"


def cache_activations(
    model: Any,
    layers: str | Sequence[str],
    texts: Sequence[Any],
    output: str | Path,
    *,
    tokenizer: Any = None,
    dtype: str = "float16",
    pooling: Pooling | None = None,
    special_tokens: bool = False,
    bos: bool = True,
    max_norm: float = DEFAULT_MAX_NORM,
    max_length: int | None = None,
    batch_tokens: int = 4096,
    pack: bool = False,
    concat: bool = False,
) -> int:
    """Write activations to shards for `train` and `encode_corpus`; repeat the call to resume.

    The rows are in `folder/LAYER/00000.npy` …, with a `provenance.json` that training copies into
    the SAE's metadata. Their texts and offsets, shared by all layers, are in
    `folder/tokens/00000.parquet` …, which is written last: a shard is complete once it exists.

    Args:
        model: As in `activations`.
        layers: One name or several; with `concat`, their rows are in `folder/LAYER+LAYER/`.
        texts: Texts or chats, the same in each call, in the same order.
        output: Output folder.
        tokenizer: Tokenizer of a loaded model.
        dtype: float16 or float32.
        pooling: As in `activations`, like all that follow.
        special_tokens: Whether to keep special tokens.
        bos: Whether to prepend the begin-of-text token.
        max_norm: Skip tokens whose norm exceeds this multiple of the median.
        max_length: Tokens per window.
        batch_tokens: Tokens per forward pass.
        pack: Whether to fill each window with successive texts.
        concat: Whether to concatenate the rows of several layers.

    Returns:
        The number of rows in the folder.

    Raises:
        BusyError: If another process is writing in the folder.
        ConfigError: If the folder holds shards of other settings or texts, or as in `activations`;
            it is a ValueError.
        DataError: If a text is not a string, no token has a row, or a value is too large for
            float16; it is a ValueError.
    """
    folder = Path(output)
    require_choice("dtype", dtype, ["float16", "float32"])
    require_whole(1, batch_tokens=batch_tokens)
    names = layer_names(layers)
    texts = as_list(as_texts(texts))
    if any(not isinstance(text, str) for text in texts):
        model, tokenizer = load_model(model, tokenizer)
        texts = [as_text(text, tokenizer) for text in texts]
        check_strings(texts)
    rules = TokenRules(pooling, special_tokens, bos, max_norm, max_length, pack)
    options: Any = asdict(rules) | {"batch_tokens": batch_tokens, "concat": concat}
    settings = _settings(model, names, dtype, options)
    make_folder(folder)
    with Lock(folder / LOCK):
        shards = sorted((folder / "tokens").glob("*.parquet"))
        known_texts = _KnownTexts(texts)
        first_text = _next_text(shards[-1], settings, known_texts) if shards else 0
        if first_text < len(texts):
            n_left = len(texts) - first_text
            remaining = tracked(texts[first_text:], "activations", n_left)
            blocks = activations(
                model, names, remaining, tokenizer=tokenizer, **options
            )
            shards += _write_shards(
                folder, blocks, settings, known_texts, first_text, len(shards)
            )
    if not shards:
        raise DataError(
            "No token of these texts has a row.",
            remedy="Give texts with tokens that are not special, or a larger max_norm.",
        )
    return sum(parquet.read_metadata(path).num_rows for path in shards)


def _settings(
    model: Any, layers: list[str], dtype: str, options: dict[str, Any]
) -> dict[str, Any]:
    """Return what decides the content of shards, as JSON types."""
    name = str(getattr(model, "name_or_path", model))
    settings = {"model": name, "layers": layers, "dtype": dtype} | options
    return json.loads(json.dumps(settings, default=float))  # no NumPy numbers


class _KnownTexts:
    """The digest of the first n texts, for n that grows."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = texts
        self._hash = hashlib.blake2b(digest_size=16)
        self._n_hashed = 0

    def __len__(self) -> int:
        return len(self._texts)

    def digest(self, n: int) -> str:
        for text in self._texts[self._n_hashed : n]:
            letters = text.encode("utf-8", "surrogatepass")
            self._hash.update(len(letters).to_bytes(8, "little"))
            self._hash.update(letters)
        self._n_hashed = n
        return self._hash.hexdigest()


def _next_text(last_shard: Path, settings: dict, texts: _KnownTexts) -> int:
    """Return the number of the first text after the last shard.

    Raises:
        ConfigError: If the shards were made from other texts or with other settings.
        DamagedFileError: If the last shard cannot be read.
    """
    remedy = f"Delete {last_shard} and repeat the call."
    with naming(last_shard, remedy):
        table = parquet.read_table(last_shard, columns=["text_index"])
        metadata = table.schema.metadata or {}
        recorded = json.loads(metadata.get(b"nanosae", b"{}"))
        end = _end_of_batch(table)
    if recorded != settings:
        raise ConfigError(
            f"{last_shard.parents[1]} holds activations made with {json.dumps(recorded)}; this "
            f"call uses {json.dumps(settings)}.",
            file=last_shard,
            remedy="Use the same texts and settings, or another folder.",
        )
    if metadata.get(b"texts", b"").decode() != texts.digest(end):
        raise ConfigError(
            f"{last_shard.parents[1]} holds activations of other texts than the first "
            f"{min(end, len(texts)):,} of this call.",
            file=last_shard,
            remedy="Use the same texts and settings, or another folder.",
        )
    return end


def _write_shards(
    folder: Path,
    blocks: Blocks,
    settings: dict,
    known_texts: _KnownTexts,
    first_text: int,
    n_shards: int,
) -> list[Path]:
    """Write the rows and tokens of blocks to further shards; return the files of their tokens.

    Args:
        folder: The output folder.
        blocks: Rows of the texts from `first_text` on.
        settings: The settings to record in each shard.
        known_texts: All texts.
        first_text: Number of the first text of the blocks.
        n_shards: Number of the shards that there are already.
    """
    for name, provenance in blocks.provenance.items():
        make_folder(folder / name)
        write_text(folder / name / PROVENANCE, json.dumps(provenance, indent=1))
    with_rows = (block for block in blocks if len(block.table))
    written: list[Path] = []
    while shard := list(islice(with_rows, SHARD_BLOCKS)):
        number = f"{n_shards + len(written):05d}"
        for name in blocks.provenance:
            path = folder / name / f"{number}.npy"
            _write_rows(path, shard, name, settings["dtype"])
        table = _tokens_of(shard, first_text)
        digest = known_texts.digest(_end_of_batch(table))
        metadata = {"nanosae": json.dumps(settings), "texts": digest}
        written.append(folder / "tokens" / f"{number}.parquet")
        _write_tokens(written[-1], table.replace_schema_metadata(metadata))
    return written


def _end_of_batch(tokens: pa.Table) -> int:
    """Return the number of the first text after the last of a shard.

    Texts are read in batches, and a shard ends with a complete batch.
    """
    last = tokens["text_index"][-1].as_py()
    n_batches = last // TEXTS + 1
    return n_batches * TEXTS


def _write_rows(path: Path, shard: list[Block], layer: str, dtype: str) -> None:
    with np.errstate(over="ignore"):
        blocks = [_rows_of(block, layer) for block in shard]
        rows = np.concatenate(blocks).astype(dtype)
    if not np.isfinite(rows).all():
        raise DataError(
            f"{layer} has values that are too large for {dtype}.",
            remedy="Use dtype='float32'.",
        )
    write_array(path, rows)


def _rows_of(block: Block, layer: str) -> np.ndarray:
    """Return the rows of a layer, or of the concatenated layers."""
    return block.rows[layer] if isinstance(block.rows, dict) else block.rows


def _tokens_of(shard: list[Block], first_text: int) -> pa.Table:
    table = pa.concat_tables(block.table for block in shard).unify_dictionaries()
    text_index = pa.array(table["text_index"].to_numpy() + first_text)
    return table.set_column(0, "text_index", text_index)


def _write_tokens(path: Path, table: pa.Table) -> None:
    make_folder(path.parent)
    write_file(path, partial(parquet.write_table, table, compression="zstd"))
