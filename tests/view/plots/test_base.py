"""Every figure: axes, themes, texts as texts."""

import json
import re
import shutil

import numpy as np
import plotly.graph_objects as go
import pytest

import nanosae
from drawn import HOSTILE, every_figure, strings
from nanosae import plot
from nanosae.analysis.comparisons.contrast import contrast
from nanosae.analysis.groups.families import families
from nanosae.codes import Codes
from nanosae.model.weights import Weights
from nanosae.runs.results import save_result
from nanosae.runs.tables import load_features, save_features
from nanosae.view import style


@pytest.mark.slow
def test_every_figure_has_axis_titles_and_both_themes(run, codes, trend, pca):
    for figure in every_figure(run, codes, trend):
        drawn = figure.to_dict()["layout"]
        axes = [axis for name, axis in drawn.items() if re.match("[xy]axis", name)]
        titled = [
            a
            for a in axes
            if a.get("title", {}).get("text") or a.get("visible") is False
        ]
        assert len(titled) >= len(axes) / 2
        assert drawn["title"]["text"]
        assert all(
            trace.x is None or len(trace.x) for trace in figure.data if "x" in trace
        )
        night = plot.dark(figure)
        assert night.layout.template.layout.paper_bgcolor == style.DARK["background"]
        assert figure.layout.template.layout.paper_bgcolor == style.LIGHT["background"]
        assert isinstance(night, go.Figure)


@pytest.mark.slow
def test_texts_and_labels_are_escaped(run, tmp_path, pca):
    evil = tmp_path / "evil"
    shutil.copytree(run, evil)
    old = Codes.open(run)
    table = load_features(run)
    save_features(evil, table[["feature"]].assign(label=HOSTILE))
    codes = Codes.open(evil)
    found = families(old, load_features(evil))
    save_result(codes, "families.json", found.to_dict(), found.parameters)
    found = contrast(
        codes, "noun.plant", by="kind", labels=dict.fromkeys(range(96), HOSTILE)
    )
    codes.texts = lambda rows=None: np.full(codes.n_rows, HOSTILE, dtype=object)
    figures = [
        plot.activations(evil, 3),
        plot.cooccurrence(evil),
        plot.family_tree(evil),
    ]
    figures += [plot.dictionary(evil), plot.texts(codes), plot.contrast(found)]
    figures += [plot.frontier({HOSTILE: evil}), plot.probing({HOSTILE: evil})]

    def raw(figure):
        return [s for s in strings(figure.to_dict()) if re.search("<(img|b>)", s)]

    assert [raw(figure) for figure in figures] == [[]] * len(figures)
    assert any("&lt;img" in s for s in strings(figures[3].to_dict()))
    assert raw(go.Figure().add_annotation(text=HOSTILE))


def test_names_of_runs_groups_and_columns_are_escaped(run, codes, trend, tmp_path):
    evil = tmp_path / "<b>run"
    shutil.copytree(run, evil, ignore=shutil.ignore_patterns("codes"))
    groups = contrast(codes, "noun.plant", by="kind").to_dict()
    groups["about"]["column"] = HOSTILE
    for finding in groups["findings"]:
        finding["target"] = HOSTILE
    several = json.loads(json.dumps(groups, default=str))
    several["findings"][0]["target"] = "another"
    shares = trend.to_dict()
    shares["about"]["column"] = HOSTILE
    for finding in shares["findings"]:
        finding["label"] = HOSTILE
    rng = np.random.default_rng(0)
    parent = rng.normal(size=(1, 8))
    children = parent + 0.05 * rng.normal(size=(3, 8))
    small, large = (
        Weights(W_enc=w.T, W_dec=w, b_dec=np.zeros(8), cfg={})
        for w in (parent, children)
    )
    names = dict.fromkeys(range(3), HOSTILE)
    figures = [
        plot.training(evil),
        plot.contrast(groups),
        plot.contrast(several),
        plot.over_time(shares),
        plot.splitting_flow(small, large, labels=(names, names)),
    ]
    for figure in figures:
        texts = list(strings(figure.to_dict()))
        assert [text for text in texts if re.search("<(img|b>)", text)] == []
        assert any(re.search("&lt;(img|b)", text) for text in texts)


def test_objects_show_themselves(run, codes):
    shown = nanosae.SAEModel.load(run)._repr_html_()
    assert "<th>hidden_size</th><td>96</td>" in shown
    assert "<th>rows</th><td>1,500</td>" in codes._repr_html_()


@pytest.mark.slow
def test_a_browser_shows_hostile_labels_as_text(browser, run, tmp_path):
    found = contrast(
        Codes.open(run),
        "noun.plant",
        by="kind",
        labels=dict.fromkeys(range(96), HOSTILE),
    )
    path = tmp_path / "figure.html"
    plot.contrast(found).write_html(path, include_plotlyjs=True)
    browser.open(path)
    shown = browser.js(
        "return [...document.querySelectorAll('.ytick')].map(n => n.textContent)"
    )
    assert shown[0].startswith('<img src=x onerror="alert(1)"> <b>b</b> %{x')
    assert browser.js("return document.images.length") == 0
