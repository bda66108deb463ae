"""Check whether a model is available: in a folder, in the local cache, or on a reachable hub."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partialmethod
from pathlib import Path
from urllib.parse import urlsplit

from nanosae.errors import MissingError
from nanosae.extras import extra

HUB = "https://huggingface.co"
SECONDS = 3.0  # timeout for the hub
PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")


def require_model(name: str, works: str) -> bool:
    """Return whether a model is on this machine; if not, make sure that the hub can be reached.

    Args:
        name: A folder, or a name on the hub.
        works: Names of the installed embedders, for the error message.

    Raises:
        MissingError: If the model is not on this machine and the hub does not answer in time.
    """
    if Path(name).is_dir() or _is_cached(name):
        return True
    if os.environ.get("HF_HUB_OFFLINE") == "1" or not _hub_answers():
        raise MissingError(
            f"cannot load {name}: it is not on this machine, and the hub cannot be reached.",
            remedy=f"These embedders are installed and work offline: {works}.",
        )
    return False


def _is_cached(name: str) -> bool:
    hub = extra("embed", "huggingface_hub", f"the embedder {name}")
    names = [name] if "/" in name else [f"sentence-transformers/{name}", name]
    try:
        found = [hub.try_to_load_from_cache(full, "config.json") for full in names]
    except hub.errors.HFValidationError:
        return False  # not a valid name on the hub
    return any(isinstance(path, str) for path in found)


def _hub_answers() -> bool:
    if any(os.environ.get(name) for name in PROXIES):
        return True  # only the proxy can tell
    address = urlsplit(os.environ.get("HF_ENDPOINT", HUB))
    port = address.port or (80 if address.scheme == "http" else 443)
    try:
        with socket.create_connection((address.hostname or "", port), SECONDS):
            return True
    except OSError:
        return False


@contextmanager
def without_bars() -> Iterator[None]:
    """Hide the progress bars of other libraries while they load local weights."""
    from tqdm import tqdm

    original = tqdm.__init__
    tqdm.__init__ = partialmethod(original, disable=True)  # pyright: ignore
    try:
        yield
    finally:
        tqdm.__init__ = original
