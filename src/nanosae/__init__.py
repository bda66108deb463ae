"""nanoSAE: train sparse autoencoders on embeddings, fast, and analyse a corpus by their features.

Names are loaded on first use: importing the package is cheap, and analysing saved codes does not
import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nanosae.advice import recommend
    from nanosae.analysis.cards import card
    from nanosae.analysis.comparisons.contrast import contrast
    from nanosae.analysis.comparisons.explain import explain
    from nanosae.analysis.comparisons.over_time import over_time
    from nanosae.analysis.describe import describe
    from nanosae.analysis.evaluation.evaluate import evaluate
    from nanosae.analysis.groups.families import families
    from nanosae.analysis.groups.topics import topics
    from nanosae.analysis.llm.chat import Chat
    from nanosae.analysis.llm.labels import llm_label
    from nanosae.analysis.matching import match, splitting, stability
    from nanosae.analysis.names.labels import label
    from nanosae.analysis.search.search import search
    from nanosae.codes import Codes, write_codes
    from nanosae.config import TrainConfig
    from nanosae.model.sae import SAEModel
    from nanosae.pipeline.result import Analysis, open
    from nanosae.pipeline.run import run
    from nanosae.sweep import grid
    from nanosae.text.recovered import loss_recovered
    from nanosae.text.splice import attribution, splice
    from nanosae.train.trainer import SAETrainer
    from nanosae.view import plots as plot
    from nanosae.view.explorer.server import explore
    from nanosae.view.live import watch
    from nanosae.view.plots import plot_dictionary, plot_umap
    from nanosae.view.report.render import report

_HOMES = {
    "advice": ["recommend"],
    "analysis.cards": ["card"],
    "analysis.comparisons.contrast": ["contrast"],
    "analysis.describe": ["describe"],
    "analysis.evaluation.evaluate": ["evaluate"],
    "analysis.comparisons.explain": ["explain"],
    "analysis.groups.families": ["families"],
    "analysis.names.labels": ["label"],
    "analysis.llm.chat": ["Chat"],
    "analysis.llm.labels": ["llm_label"],
    "analysis.matching": ["match", "splitting", "stability"],
    "analysis.comparisons.over_time": ["over_time"],
    "analysis.search.search": ["search"],
    "analysis.groups.topics": ["topics"],
    "codes": ["Codes", "write_codes"],
    "config": ["TrainConfig"],
    "model.sae": ["SAEModel"],
    "pipeline.result": ["Analysis", "open"],
    "pipeline.run": ["run"],
    "sweep": ["grid"],
    "text.recovered": ["loss_recovered"],
    "text.splice": ["attribution", "splice"],
    "train.trainer": ["SAETrainer"],
    "view.explorer.server": ["explore"],
    "view.live": ["watch"],
    "view.plots": ["plot", "plot_dictionary", "plot_umap"],
    "view.report.render": ["report"],
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}
__all__ = sorted(_HOME)  # pyright: ignore[reportUnsupportedDunderAll] (the imports above name them)


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("nanosae")
    if name not in _HOME:
        raise AttributeError(f"module 'nanosae' has no attribute {name!r}")
    home = import_module(f"nanosae.{_HOME[name]}")
    return home if name == "plot" else getattr(home, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
