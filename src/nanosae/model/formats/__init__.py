"""The files of other libraries: one module for each layout.

Each layout that is read has `recognises(path)` and `load(path)`, which returns settings in SAELens'
words and float32 tensors, such that `SAEModel` encodes and decodes as that library does. What
cannot be equal is refused by name. SAELens' own layout is also ours: `sae_lens` translates it.
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
    """Return the module that reads the files at a path; None if they are none of these."""
    for layout in LAYOUTS:
        if layout.recognises(path):
            return layout
    return None
