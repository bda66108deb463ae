"""Advice: what it takes to train on some data is measured by a trial."""

import json

import numpy as np

from nanosae import TrainConfig, recommend
from nanosae.cli import main


def rows(n, width):
    return np.random.default_rng(0).normal(size=(n, width)).astype(np.float32)


def test_advice_names_sizes_time_and_memory(tmp_path, capsys):
    np.save(tmp_path / "rows.npy", rows(3000, 16))
    found = recommend(tmp_path / "rows.npy", TrainConfig(steps=20))
    assert found.config.hidden_size
    assert found.steps == 20
    assert found.seconds > 0
    assert found.memory > 1e8
    assert "steps)" in str(found)
    assert "GiB" in str(found)
    assert main(["recommend", str(tmp_path / "rows.npy"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n_rows"] == 3000
