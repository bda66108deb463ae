"""Embedders by name, and the best installed one by default.

Two embedders come with their weights in a package and need no network: `all-MiniLM-L6-v2` (`pip
install "nanosae[embed]"`) and `wordllama` (part of the core installation; static, less accurate and
about a hundred times faster). `model2vec:NAME` is a static model of that library. With a
`base_url`, a name is a model of that server; any other name is a sentence-transformers model.
Objects with an `encode` method, and functions, are used directly.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from nanosae.addresses import split_credentials
from nanosae.errors import ConfigError, DataError, DataTypeError, MissingError
from nanosae.extras import extra, require_extra
from nanosae.text import static
from nanosae.text.embed import MODEL, count_cut, embed, has_packaged_model, installed
from nanosae.text.endpoint import Endpoint
from nanosae.text.hub import require_model

MODEL2VEC = "model2vec:"
Encode = Callable[[Sequence[str]], np.ndarray]
HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


@dataclass(frozen=True)
class Embedder:
    """A program that turns texts into vectors.

    Attributes:
        name: Name, which is saved with the SAE so that queries use the same embedder.
        encode: Function from texts to rows, (n, width) float32.
        note: Short description for users.
        seconds: Approximate time per text on a small machine.
        identity: Identifies its rows: name, server and prompt.
        prompt: Prefix of each text, which `encode` adds.
        query_prompt: Prefix of each query.
        count_cut: Function that counts truncated texts and returns the limit in tokens.
        may_change: Whether another one may have the same identity: it was given as an object, a
            function or a folder.
    """

    name: str
    encode: Encode
    note: str
    seconds: float
    identity: str
    count_cut: Callable[[Sequence[str]], tuple[int, int]] | None = None
    prompt: str = ""
    query_prompt: str = ""
    may_change: bool = False


def find_embedder(
    embedder: Any = None,
    *,
    base_url: str | None = None,
    prompt: str = "",
    query_prompt: str | None = None,
) -> Embedder:
    """Return an embedder.

    Args:
        embedder: A name or a folder, an object with a method `encode` or a function, both from
            texts to vectors, or None for the best embedder installed with its weights. A folder can
            contain code that is run; use only folders that you trust.
        base_url: Address of a server with the embeddings protocol.
        prompt: Prefix of each text, such as "passage: ".
        query_prompt: Prefix of each query, such as "query: "; that of the texts by default.

    Raises:
        DataTypeError: If it is neither a name, nor a function, nor has a method `encode`.
        ExtraError: If the library of the model is not installed.
        ConfigError: If a server is given without the name of a model.

    Example:
        >>> find_embedder("wordllama").encode(["a small tree"]).shape
        (1, 256)
    """
    found = _find(embedder, base_url)
    if query_prompt is None:
        query_prompt = prompt
    found = replace(found, prompt=prompt, query_prompt=query_prompt)
    if not prompt:
        return found

    def encode(texts: Sequence[str]) -> np.ndarray:
        return found.encode([prompt + text for text in texts])

    def count_with_prompt(texts: Sequence[str]) -> tuple[int, int]:
        assert found.count_cut is not None
        return found.count_cut([prompt + text for text in texts])

    return replace(
        found,
        encode=encode,
        identity=f"{found.identity} {prompt!r}",
        count_cut=None if found.count_cut is None else count_with_prompt,
    )


def received_embedder(name: str) -> Embedder:
    """Return the embedder named in a received file; paths are never loaded.

    Args:
        name: Name from the model's settings.

    Raises:
        MissingError: If the name is a path, or the embedder is not on this machine.
    """
    if name == static.NAME:
        return find_embedder(name)
    if not HUB_NAME.fullmatch(name) or Path(name).exists():
        raise MissingError(
            f"The run names {name!r} as its embedder, which is not the name of a model.",
            remedy=f"If you trust it, give it as embedder={name!r} (--embedder {name}).",
        )
    encode = partial(embed, embedder=name, offline=True)
    return Embedder(name, encode, "sentence-transformers", seconds=1e-2, identity=name)


def _find(wanted: Any, base_url: str | None) -> Embedder:
    if base_url is not None:
        return _of_server(wanted, base_url)
    if wanted is None:
        wanted = MODEL if has_packaged_model() else static.NAME
    if not isinstance(wanted, str | Path):
        return _of_object(wanted)
    name = str(wanted)
    if name == static.NAME:
        return _of_static_vectors()
    if name.startswith(MODEL2VEC):
        return _of_model2vec(name)
    return _of_sentence_transformers(name)


def _of_object(wanted: Any) -> Embedder:
    """Return the embedder that an object or a function is."""
    encode = getattr(wanted, "encode", wanted)
    if not callable(encode):
        raise DataTypeError(
            "An embedder must be a name, a function or an object with a method `encode`, not "
            f"{wanted!r}."
        )
    name = getattr(wanted, "__qualname__", type(wanted).__name__)
    return Embedder(
        name,
        _encode_with(encode),
        "given as an object",
        seconds=1e-3,
        identity=name,
        may_change=True,
    )


def _of_static_vectors() -> Embedder:
    static.require()
    return Embedder(
        static.NAME,
        static.encode_static,
        "static word vectors, offline",
        seconds=5e-5,
        identity=static.NAME,
    )


def _of_sentence_transformers(name: str) -> Embedder:
    require_extra("embed", "sentence_transformers", f"the embedder {name}")
    return Embedder(
        name,
        partial(embed, embedder=name),
        "sentence-transformers",
        seconds=1e-2,
        identity=name,
        count_cut=partial(count_cut, embedder=name),
        may_change=Path(name).is_dir(),
    )


def _of_server(model: Any, base_url: str) -> Embedder:
    base_url, credentials = split_credentials(base_url)
    if not isinstance(model, str):
        raise ConfigError(
            f"{base_url} is given without the name of a model.",
            remedy='Add embedder="NAME" (--embedder NAME).',
        )
    server = Endpoint(base_url, model, credentials=credentials)
    identity = f"{model} {base_url}"
    return Embedder(
        model, server.encode, f"by {base_url}", seconds=1e-2, identity=identity
    )


def _of_model2vec(wanted: str) -> Embedder:
    require_extra("model2vec", "model2vec", f"the embedder {wanted}")
    name = wanted.removeprefix(MODEL2VEC)

    def encode(texts: Sequence[str]) -> np.ndarray:
        return _encode_with(_model2vec(name).encode)(texts)

    return Embedder(
        wanted,
        encode,
        "static word vectors",
        seconds=1e-4,
        identity=wanted,
        may_change=Path(name).is_dir(),
    )


@lru_cache(maxsize=1)
def _model2vec(name: str) -> Any:
    library = extra("model2vec", "model2vec", f"the embedder {name}")
    require_model(name, works=installed())
    return library.StaticModel.from_pretrained(name)


def _encode_with(function: Callable[[list[str]], Any]) -> Encode:
    def encode(texts: Sequence[str]) -> np.ndarray:
        rows = np.asarray(function(list(texts)), np.float32)
        if rows.ndim != 2 or len(rows) != len(texts):
            raise DataError(
                f"The embedder returned an array of the shape {rows.shape} for {len(texts)} texts; "
                "needed is one vector for each, (n, width)."
            )
        return rows

    return encode
