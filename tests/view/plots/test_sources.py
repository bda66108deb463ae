"""What figures say when something is missing or being written."""

import itertools
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

import nanosae
from nanosae import plot
from nanosae.analysis.comparisons.contrast import contrast
from nanosae.model.weights import Weights
from nanosae.view.plots.sources import weight_matrices


def test_errors_say_what_is_missing(run, codes, tmp_path):
    for draw in (
        plot.training,
        plot.weights,
        plot.density,
        plot.family_tree,
        plot.probing,
    ):
        with pytest.raises(FileNotFoundError, match=re.escape(str(tmp_path))):
            draw(tmp_path)
    with pytest.raises(FileNotFoundError, match="contrasts has none"):
        plot.contrast(run)
    with pytest.raises(ValueError, match="was not evaluated for 'nothing'"):
        plot.frontier(run, "nothing")
    with pytest.raises(ValueError, match="there is no family 999"):
        plot.family_tree(run, 999)
    with pytest.raises(ValueError, match="feature"):
        plot.activations(run, 96)
    with pytest.raises(ValueError, match="no column 'when'"):
        plot.over_time(run, "when")
    with pytest.raises(ValueError, match="have no time"):
        plot.over_time(contrast(codes, "noun.plant", by="kind"))
    for bad in (np.full((30, 4), np.nan), np.zeros((0, 4)), np.zeros(9)):
        with pytest.raises(ValueError, match="a map needs rows of finite numbers"):
            plot.texts(bad)


def test_what_cannot_be_drawn_is_named(run, codes, trend):
    topics = nanosae.topics(codes, 3)
    families = nanosae.families(codes)
    for draw, bad in itertools.product(
        (plot.contrast, plot.over_time), (topics, families, {"a": 1}, 5, None)
    ):
        with pytest.raises(
            TypeError, match="A result of contrast, explain or over_time"
        ):
            draw(bad)
    directions = np.eye(4, dtype=np.float32)
    for draw in (plot.dictionary, lambda bad: plot.splitting_flow(bad, bad)):
        with pytest.raises(
            TypeError, match="A model, Weights or a run folder is needed"
        ):
            draw(directions)
    nothing = trend.to_dict() | {"findings": [], "shares": []}
    with pytest.raises(ValueError, match="nothing changes over time"):
        plot.over_time(nothing)


def test_what_is_being_written_is_left_out(run, tmp_path):
    live = tmp_path / "live"
    shutil.copytree(run, live)
    (live / "training.json").unlink()  # it is written at the end
    lines = (live / "metrics.jsonl").read_text().splitlines()[:3]
    (live / "metrics.jsonl").write_text("\n".join(lines) + '\n{"step": 4')
    assert len(plot.metrics(live)) == 3
    with pytest.raises(ValueError, match="--resume"):
        plot.frontier(live)
    n = len(plot.snapshots(live))
    whole = sorted((live / "snapshots").iterdir())[0].read_bytes()
    (live / "snapshots" / "999999.npz").write_bytes(whole[:-40])
    assert len(plot.snapshots(live)) == n


@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.bfloat16])
def test_weights_of_any_type_are_float32(kind):
    encoder = torch.arange(6, dtype=kind).view(2, 3).requires_grad_()
    model = SimpleNamespace(W_enc=encoder, W_dec=encoder.T)
    W_enc, W_dec = weight_matrices(model)
    assert W_enc.dtype == np.float32
    assert W_enc.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert W_dec.tolist() == [[0, 3], [1, 4], [2, 5]]


@pytest.mark.slow
def test_every_figure_of_a_run_is_one_of_its_analysis(run, codes):
    analysis = nanosae.open(run)
    drawn = [
        "activations",
        "cooccurrence",
        "density",
        "dictionary",
        "family_tree",
        "frontier",
        "l0",
        "probing",
        "texts",
        "training",
        "weights",
        "plot_dictionary",
        "plot_umap",
    ]
    for name in drawn:
        draw = getattr(plot, name)
        assert draw(analysis).to_json() == draw(run).to_json(), name
    assert plot.metrics(analysis) == plot.metrics(run)
    assert plot.snapshots(analysis).keys() == plot.snapshots(run).keys()
    by_column = plot.over_time(analysis, "year").to_dict()
    values = pd.Series(codes.column("year"), name="year")
    assert plot.over_time(analysis, values).to_dict() == by_column


def test_two_analyses_are_matched_by_their_models(run):
    analysis = nanosae.open(run)
    weights = Weights.load(run)
    expected = nanosae.match(weights, weights)
    for given in (analysis, run, str(run)):
        pd.testing.assert_frame_equal(nanosae.match(given, weights), expected)
    several = nanosae.stability(analysis, [analysis])
    assert nanosae.stability(run, analysis).tolist() == several.tolist()
    assert nanosae.splitting(run, analysis)["n_children"].tolist() == (
        nanosae.splitting(weights, weights)["n_children"].tolist()
    )


def test_snapshots_are_in_the_order_of_steps_without_copies(run, tmp_path):
    live = tmp_path / "run"
    shutil.copytree(run, live)
    folder = live / "snapshots"
    first = min(folder.glob("*.npz"))
    for name in ("1000000", "999999", "000010 copy"):
        shutil.copy(first, folder / f"{name}.npz")
    steps = list(plot.snapshots(live))
    assert steps == sorted(steps)
    assert steps[-2:] == [999_999, 1_000_000]
