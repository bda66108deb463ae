"""A trained SAE: `sae.SAEModel` in torch, `weights.Weights` in numpy, `files` on disk."""

from typing import Any


def __getattr__(name: str) -> Any:
    """Resolve `nanosae.model.rebuild`, the name that saved files refer to."""
    if name == "rebuild":
        from nanosae.model.sae import rebuild

        return rebuild
    raise AttributeError(f"module 'nanosae.model' has no attribute {name!r}")
