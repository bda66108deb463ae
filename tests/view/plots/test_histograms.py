"""Histograms against independent counts."""

import numpy as np
import pandas as pd
import pytest

from drawn import dense
from nanosae import plot
from nanosae.model.weights import Weights


def test_bars_of_the_final_weights_count_every_weight(run):
    model = Weights.load(run)
    figure = plot.weights(model)
    bar = next(t for t in figure.data if t.name == "Decoder weights")
    values = np.sort(model.W_dec.ravel())
    edges = bar.x0 - bar.dx / 2 + bar.dx * np.arange(65)
    edges[[0, -1]] = -np.inf, np.inf
    counted = np.diff(np.searchsorted(values, edges))
    np.testing.assert_allclose(np.array(bar.y) / 100 * values.size, counted, atol=2.5)
    cosine = next(t for t in figure.data if t.name == "Encoder against decoder")
    share = dict(zip(cosine.x0 + cosine.dx * np.arange(64), cosine.y, strict=True))
    pairs = zip(model.W_enc.T, model.W_dec, strict=True)
    own = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in pairs]
    mean = sum(x * y for x, y in share.items()) / 100
    assert abs(mean - np.mean(own)) < cosine.dx
    assert abs(mean - np.mean(np.abs(own)) * 0.9) > cosine.dx  # a twin that must differ


def test_the_slider_holds_every_snapshot(run):
    figure = plot.weights(run)
    steps = figure.layout.sliders[0].steps
    shots = sorted((run / "snapshots").glob("*.npz"))
    assert [int(s.label.replace(",", "")) for s in steps] == [
        int(p.stem) for p in shots
    ]
    first = np.load(shots[0])["encoder_norm"]
    place = [t.name for t in figure.data].index("Encoder norms")
    np.testing.assert_allclose(
        steps[0].args[0]["y"][place], 100 * first / first.sum(), rtol=1e-3
    )
    assert {t.name for t in figure.data} >= {"Encoder weights", "Decoder rows, pairs"}


def test_densities_activations_and_l0_are_counted_right(codes):
    x = dense(codes)
    bar = plot.density(codes).data[0]
    alive = [np.log10((column > 0).mean()) for column in x.T if column.any()]
    inside = [
        sum(abs(v - c) <= w / 2 for v in alive)
        for c, w in zip(bar.x, bar.width, strict=True)
    ]
    assert list(bar.y) == inside
    assert sum(bar.y) == len(alive)
    j = int(codes.counts.argmax())
    bar = plot.activations(codes, j).data[0]
    assert sum(bar.y) == (x[:, j] > 0).sum()
    assert bar.y[-1] == (x[:, j] > x[:, j].max() * 63 / 64).sum()
    assert sum(plot.activations(codes).data[0].y) == (x > 0).sum()
    bar = plot.l0(codes).data[0]
    by_count = pd.Series((x > 0).sum(1)).value_counts()
    assert {
        round(v): n for v, n in zip(bar.x, bar.y, strict=True) if n
    } == by_count.to_dict()
    assert (
        f"mean {(x > 0).sum(1).mean():.1f}" in plot.l0(codes).layout.title.subtitle.text
    )


@pytest.mark.slow
def test_moving_the_slider_shows_another_snapshot(browser, run, tmp_path):
    figure = plot.weights(run)
    figure.write_html(tmp_path / "figure.html", include_plotlyjs=True)
    browser.open(tmp_path / "figure.html")
    move = "const g = document.querySelector('.js-plotly-plot'), s = g.layout.sliders[0].steps[0];"
    shown = browser.js(
        f"{move} return Plotly[s.method](g, ...s.args).then(() => g.data.map(t => t.y))"
    )
    expected = figure.layout.sliders[0].steps[0].args[0]["y"]
    np.testing.assert_allclose(shown, expected)
    assert not np.allclose(shown, [t.y for t in figure.data])
