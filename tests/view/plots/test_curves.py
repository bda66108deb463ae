"""Curves of a training against its logged lines."""

import json

from nanosae import plot


def test_training_curves_are_the_logged_lines(run):
    lines = [
        json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()
    ]
    lines = [line for line in lines if "loss" in line]
    figure = plot.training(run)
    by_panel = {(t.name, t.yaxis): t for t in figure.data}
    assert list(by_panel["training", "y"].y) == [line["loss"] for line in lines]
    assert list(by_panel["training", "y4"].y) == [100 * line["dead"] for line in lines]
    assert list(by_panel["training", "y5"].x) == [line["step"] for line in lines]
    held = {
        line["step"]: line["heldout_fvu"] for line in lines if "heldout_fvu" in line
    }
    curve = by_panel["held-out", "y2"]
    assert dict(zip(curve.x, curve.y, strict=True)) == held


def test_a_penalty_shows_its_coefficient_and_parts():
    line = {"step": 1, "loss": 3.0, "parts": {"mse": 1.0, "sparsity": 2.0}, "fvu": 0.5}
    line |= {"l0": 4.0, "dead": 0.0, "lr": 0.1, "coefficient": 0.25}
    figure = plot.training([line, line | {"step": 2, "coefficient": 0.5}])
    assert [t.y for t in figure.data if t.name == "sparsity"] == [(2.0, 2.0)]
    assert next(t.y for t in figure.data if t.yaxis == "y6") == (0.25, 0.5)
