"""Figures of every stage, from training to topics: `from nanosae import plot`.

`metrics` and `snapshots` read what a training has recorded. All other functions take a run folder
or the objects themselves and return a plotly figure, which notebooks display. `figure.write_html`
saves it as a page, `figure.write_image` (with kaleido) as PNG or SVG, and `plot.dark(figure)`
returns it in the dark theme. Texts and labels are escaped.
"""

from nanosae.view.plots.base import dark
from nanosae.view.plots.curves import training
from nanosae.view.plots.findings import contrast, over_time
from nanosae.view.plots.histograms import activations, density, l0, weights
from nanosae.view.plots.quality import frontier, probing
from nanosae.view.plots.scatter import dictionary, plot_dictionary, plot_umap, texts
from nanosae.view.plots.sources import metrics, snapshots
from nanosae.view.plots.structure import cooccurrence, family_tree, splitting_flow

__all__ = [
    "activations",
    "contrast",
    "cooccurrence",
    "dark",
    "density",
    "dictionary",
    "family_tree",
    "frontier",
    "l0",
    "metrics",
    "over_time",
    "plot_dictionary",
    "plot_umap",
    "probing",
    "snapshots",
    "splitting_flow",
    "texts",
    "training",
    "weights",
]
