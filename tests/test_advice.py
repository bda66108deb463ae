"""Advice: what it takes to train on some data is measured by a trial."""

import json

import numpy as np
import pytest

from nanosae import TrainConfig
from nanosae.advice import Advice
from nanosae.cli import main


@pytest.mark.slow
def test_a_trial_measures_time_and_memory(tmp_path, capsys):
    rows = np.random.default_rng(0).normal(size=(3000, 16)).astype(np.float32)
    data = tmp_path / "rows.npy"
    np.save(data, rows)
    assert main(["recommend", str(data), "--steps", "20", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["n_rows"] == 3000
    assert found["steps"] == 20
    assert found["config"]["hidden_size"]
    assert found["seconds"] > 0
    assert found["memory"] > 1e8


def test_advice_is_shown_in_minutes_and_gibibytes():
    config = TrainConfig(hidden_size=64, k=4, steps=20).resolved(3000, 16)
    advice = Advice(3000, config, steps=20, seconds=90, memory=3 * 2**30)
    shown = str(advice)
    assert (
        "3,000 rows of 16: nested batchtopk, hidden_size=64, k=4, batches of" in shown
    )
    assert "1.5 minutes (20 steps)" in shown
    assert "3.0 GiB" in shown
