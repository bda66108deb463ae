"""Activations on disk, in shards that training and encoding read; an interrupted call goes on."""

from __future__ import annotations

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

from nanosae.atomic import write_array, write_file, write_text
from nanosae.errors import ConfigError, DataError
from nanosae.progress import tracked
from nanosae.text.activations import Block, Pooling, activations
from nanosae.text.chats import as_text
from nanosae.text.language_models import load_model
from nanosae.text.provenance import DEFAULT_MAX_NORM, SIDE_BY_SIDE, TokenRules
from nanosae.text.windows import TEXTS

SHARD_BLOCKS = 4  # blocks in a shard
PROVENANCE = "provenance.json"  # where `sources` looks for it
DEFAULTS = asdict(TokenRules()) | {"batch_tokens": 4096, "concat": False}


def cache_activations(
    model: Any,
    layers: str | Sequence[str],
    texts: Sequence[Any],
    folder: str | Path,
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
    """Write activations to shards that `train` and `encode_corpus` read; called again, go on.

    The rows lie in `folder/LAYER/00000.npy` …, with `provenance.json`, which training copies into
    the SAE's metadata; what stands beside them, once for all layers, in
    `folder/tokens/00000.parquet` …. The latter is written last: a shard counts once it is there.

    Args:
        model: As in `activations`.
        layers: One name or several.
        texts: The same texts, or chats, at each call.
        folder: Where to write.
        tokenizer: Of a loaded model.
        dtype: float16 or float32.
        pooling: As in `activations`, like all that follow.
        special_tokens: Whether to keep tokens that were added to the text.
        bos: Whether to begin with the begin-of-text token.
        max_norm: Leave out tokens whose norm is above so many times the median.
        max_length: Tokens in a window.
        batch_tokens: Tokens in a forward pass.
        pack: Whether to fill windows with successive texts.
        concat: Whether to join the layers' rows into one, in `folder/LAYER+LAYER/`.

    Returns:
        The number of rows in the folder.

    Raises:
        ConfigError: If the folder holds shards of other settings or texts; it is a ValueError.
        DataError: If a value is too large for float16; it is a ValueError.
    """
    folder = Path(folder)
    names = [layers] if isinstance(layers, str) else list(layers)
    if any(not isinstance(text, str) for text in texts):
        model, tokenizer = load_model(model, tokenizer)
        texts = [as_text(text, tokenizer) for text in texts]
    rules = TokenRules(pooling, special_tokens, bos, max_norm, max_length, pack)
    options: Any = asdict(rules) | {"batch_tokens": batch_tokens, "concat": concat}
    settings = {"model": str(getattr(model, "name_or_path", model)), "layers": names}
    settings |= {"dtype": dtype} | options
    done = sorted((folder / "tokens").glob("*.parquet"))
    first_text = _first_text_to_do(done[-1], settings, texts) if done else 0
    if first_text < len(texts):
        to_do = tracked(texts[first_text:], "activations", len(texts) - first_text)
        blocks = activations(model, names, to_do, tokenizer=tokenizer, **options)
        if concat:
            names = [SIDE_BY_SIDE.join(names)]
        for name in names:
            _write_provenance(folder / name / PROVENANCE, blocks.provenance[name])
        while shard := list(islice(blocks, SHARD_BLOCKS)):
            number = f"{len(done):05d}"
            for name in names:
                _write_rows(folder / name / f"{number}.npy", shard, name, dtype)
            done.append(folder / "tokens" / f"{number}.parquet")
            _write_tokens(done[-1], shard, first_text, settings)
    return sum(parquet.read_metadata(path).num_rows for path in done)


def _first_text_to_do(last_shard: Path, settings: dict, texts: Sequence[str]) -> int:
    """Return the number of the text after those of the last shard.

    Raises:
        ConfigError: If it was made of other texts or with other settings.
    """
    table = parquet.read_table(last_shard, columns=["text_index", "text"])
    notes = table.schema.metadata or {}
    recorded = json.loads(notes.get(b"nanosae", b"{}"))
    last = table["text_index"][-1].as_py()
    text = table["text"][-1].as_py()
    is_same_text = last < len(texts) and texts[last] == text
    if DEFAULTS | recorded != settings or not is_same_text:
        there, asked = json.dumps(recorded), json.dumps(settings)
        raise ConfigError(
            f"{last_shard.parents[1]} holds activations of {there}, its text {last} being "
            f"{text[:40]!r}; asked for were {asked}:",
            file=last_shard,
            remedy="give the same texts and settings, or another folder.",
        )
    # texts are read in batches, and a shard ends with one
    n_batches = -(-(last + 1) // TEXTS)
    return n_batches * TEXTS


def _write_provenance(path: Path, known: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(known, indent=1))


def _write_rows(path: Path, shard: list[Block], layer: str, dtype: str) -> None:
    with np.errstate(over="ignore"):
        parts = [_rows_of(block, layer) for block in shard]
        rows = np.concatenate(parts).astype(dtype)
    if not np.isfinite(rows).all():
        raise DataError(
            f"{layer} has values that {dtype} cannot hold:",
            remedy="choose dtype='float32'.",
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_array(path, rows)


def _rows_of(block: Block, layer: str) -> np.ndarray:
    """Return the rows of a layer, or of all that were joined."""
    return block.rows[layer] if isinstance(block.rows, dict) else block.rows


def _write_tokens(
    path: Path, shard: list[Block], first_text: int, settings: dict
) -> None:
    table = pa.concat_tables(block.table for block in shard).unify_dictionaries()
    text_index = pa.array(table["text_index"].to_numpy() + first_text)
    table = table.set_column(0, "text_index", text_index)
    table = table.replace_schema_metadata({"nanosae": json.dumps(settings)})
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, partial(parquet.write_table, table, compression="zstd"))
