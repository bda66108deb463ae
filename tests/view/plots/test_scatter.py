"""Maps in one line."""

import numpy as np
import pandas as pd

import nanosae
from nanosae import plot
from nanosae.runs.tables import load_features


def test_one_line_calls(run, codes, pca):
    frame = pd.DataFrame(codes.vectors(np.arange(200))).assign(text="a")
    figure = nanosae.plot_umap(frame)
    assert sum(len(t.x) for t in figure.data) == 200
    figure = nanosae.plot_dictionary(nanosae.SAEModel.load(run))
    assert sum(len(t.x) for t in figure.data) == 96
    assert sum(len(t.x) for t in nanosae.plot_umap(run).data) == codes.n_rows
    hover = [text for t in plot.dictionary(run).data for text in t.hovertext]
    table = load_features(run).set_index("feature")["label"]
    assert any(f"feature 5<br>{table[5]}" in text for text in hover)
