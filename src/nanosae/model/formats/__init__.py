"""The files of other libraries: one module for each layout.

Each module has `recognises(path)` and `load(path)`, which returns SAELens settings and float32
tensors such that `SAEModel` encodes and decodes exactly as that library does. SAEs for which this
is impossible are refused. SAELens' own layout is also nanoSAE's: `sae_lens` translates variants.
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

LAYOUTS = (
    sparsify,
    gemma_scope,
    llama_scope,
    dictionary_learning,
    hypothesaes,
    openai,
)


def layout_of(path: Path) -> ModuleType | None:
    """Return the module that reads the files at a path, or None if no layout matches."""
    for layout in LAYOUTS:
        if layout.recognises(path):
            return layout
    return None
