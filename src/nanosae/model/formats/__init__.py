"""The files of other libraries: one module for each format.

Each module has `recognises(path)` and `load(path)`, which returns SAELens settings and float32
tensors such that `SAEModel` encodes and decodes exactly as that library does. SAEs for which this
is impossible are refused. SAELens' own format is also nanoSAE's: `sae_lens` translates variants.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from nanosae.model.formats import (
    dictionary_learning,
    gemma_scope,
    hypothesaes,
    llama_scope,
    openai,
    sparsify,
)

FORMATS = (
    sparsify,
    gemma_scope,
    llama_scope,
    dictionary_learning,
    hypothesaes,
    openai,
)


def format_of(path: Path) -> ModuleType | None:
    """Return the module that reads the files at a path, or None if no format matches."""
    for module in FORMATS:
        if module.recognises(path):
            return module
    return None
