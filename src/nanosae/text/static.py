"""A static embedder: each text is the mean of its tokens' vectors.

It needs no language model, no network and no torch: the vectors of 32,000 tokens (256 dimensions,
16 MB) are part of the package wordllama (Miller 2024), whose files are read without importing it.
It is less accurate than a language model but embeds tens of thousands of texts per second.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from nanosae.errors import ExtraError

NAME = "wordllama"
WEIGHTS = Path("weights", "l2_supercat_256.safetensors")
TOKENIZER = Path("tokenizers", "l2_supercat_tokenizer_config.json")
BLOCK = 4096  # texts tokenised at once


def is_installed() -> bool:
    """Return whether the package with the weights is installed."""
    return find_spec(NAME) is not None


def require() -> None:
    """Raise an ExtraError unless the package with the weights is installed."""
    if not is_installed():
        raise ExtraError(
            "the static embedder needs its weights.",
            remedy="pip install wordllama",
        )


def encode_static(texts: Sequence[str]) -> np.ndarray:
    """Encode texts as the normalised means of their tokens' vectors.

    Args:
        texts: The texts; a text without known tokens becomes a row of zeros.

    Returns:
        The rows, (n, 256) float32.

    Raises:
        ExtraError: If the package wordllama is not installed.

    Example:
        >>> encode_static(["a small tree", ""]).shape
        (2, 256)
    """
    tokenizer, vectors = _load()
    rows = np.zeros((len(texts), vectors.shape[1]), np.float32)
    for start in range(0, len(texts), BLOCK):
        block = slice(start, start + BLOCK)
        rows[block] = _encode_block(list(texts[block]), tokenizer, vectors)
    return rows


def _encode_block(texts: list[str], tokenizer: Any, vectors: np.ndarray) -> np.ndarray:
    encodings = tokenizer.encode_batch(texts, add_special_tokens=False)
    rows = np.zeros((len(texts), vectors.shape[1]), np.float32)
    for row, encoding in zip(rows, encodings, strict=True):
        if encoding.ids:
            row[:] = vectors[encoding.ids].mean(axis=0)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.maximum(lengths, 1e-12)


@lru_cache(maxsize=1)
def _load() -> tuple[Any, np.ndarray]:
    """Return the tokenizer and the vectors of its tokens."""
    require()
    package = find_spec(NAME)
    assert package is not None
    assert package.origin is not None
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    folder = Path(package.origin).parent
    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    (vectors,) = load_file(folder / WEIGHTS).values()
    return tokenizer, vectors.astype(np.float32)
