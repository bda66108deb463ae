"""A trained SAE: `sae.SAEModel` in torch, `weights.Weights` in numpy, `files` on disk."""

from typing import Any


def __getattr__(name: str) -> Any:
    """Give torch.load what files name, `nanosae.model.rebuild`, wherever it is defined."""
    if name == "rebuild":
        from nanosae.model.sae import rebuild

        return rebuild
    raise AttributeError(f"module 'nanosae.model' has no attribute {name!r}")
