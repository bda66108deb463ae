"""Maps in one line."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch

import nanosae
from nanosae import plot
from nanosae.runs.tables import load_features
from nanosae.view.plots import scatter


def test_one_line_calls(run, codes, pca):
    frame = pd.DataFrame(codes.vectors(np.arange(200))).assign(text="a")
    figure = nanosae.plot_umap(frame)
    assert sum(len(t.x) for t in figure.data) == 200
    dense = codes.vectors(np.arange(60))
    drawn = nanosae.plot_umap(dense).to_dict()
    for same in (sp.csr_array(dense), torch.from_numpy(dense).requires_grad_()):
        assert nanosae.plot_umap(same).to_dict() == drawn
    figure = nanosae.plot_dictionary(nanosae.SAEModel.load(run))
    assert sum(len(t.x) for t in figure.data) == 96
    assert sum(len(t.x) for t in nanosae.plot_umap(run).data) == codes.n_rows
    hover = [text for t in plot.dictionary(run).data for text in t.hovertext]
    table = load_features(run).set_index("feature")["label"]
    assert any(f"feature 5<br>{table[5]}" in text for text in hover)


@pytest.mark.slow
def test_labels_have_as_much_space_as_was_assumed(browser, run, tmp_path, pca):
    path = tmp_path / "map.html"
    plot.texts(run).update_layout(width=960).write_html(path, include_plotlyjs=True)
    browser.open(path)
    browser.wait("document.querySelector('.main-svg')")
    pixels = browser.js(
        "const {_fullLayout, _fullData: [points]} = document.querySelector('.js-plotly-plot');"
        "return ['x', 'y'].map(name => { const axis = _fullLayout[`${name}axis`];"
        "  const pixels = Array.from(points[name], value => axis.d2p(value));"
        "  return Math.max(...pixels) - Math.min(...pixels); })"
    )
    assert pixels == pytest.approx([scatter.WIDTH, scatter.HEIGHT], rel=0.03)
