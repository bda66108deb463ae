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
    from nanosae.view import plots as plot
    from nanosae.view.live import watch
    from nanosae.view.plots import plot_dictionary, plot_umap
    from nanosae.view.report import report

_HOMES = {
    "Codes": "nanosae.codes",
    "SAEModel": "nanosae.model",
    "SAETrainer": "nanosae.trainer",
    "TrainConfig": "nanosae.config",
    "plot": "nanosae.view.plots",
    "plot_dictionary": "nanosae.view.plots",
    "plot_umap": "nanosae.view.plots",
    "report": "nanosae.view.report",
    "watch": "nanosae.view.live",
}
__all__ = ["Codes", "SAEModel", "SAETrainer", "TrainConfig"]
__all__ += ["plot", "plot_dictionary", "plot_umap", "report", "watch"]


def __getattr__(name: str) -> object:
    if name == "__version__":
        return _version("nanosae")
    if name not in _HOMES:
        raise AttributeError(f"module 'nanosae' has no attribute {name!r}")
    home = import_module(_HOMES[name])
    return home if name == "plot" else getattr(home, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
