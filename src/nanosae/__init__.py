"""nanoSAE: train sparse autoencoders on embeddings, fast, and read a corpus through their features.

Names are loaded on first use: importing the package costs nothing, and what analyses saved codes
never imports torch.
"""

from importlib import import_module
from importlib.metadata import version as _version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nanosae.codes import Codes
    from nanosae.config import TrainConfig
    from nanosae.model import SAEModel
    from nanosae.trainer import SAETrainer

_HOMES = {
    "Codes": "nanosae.codes",
    "SAEModel": "nanosae.model",
    "SAETrainer": "nanosae.trainer",
    "TrainConfig": "nanosae.config",
}
__all__ = ["Codes", "SAEModel", "SAETrainer", "TrainConfig"]


def __getattr__(name: str) -> object:
    if name == "__version__":
        return _version("nanosae")
    if name not in _HOMES:
        raise AttributeError(f"module 'nanosae' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
