"""What figures say when something is missing or being written."""

import re
import shutil

import numpy as np
import pytest

from nanosae import plot
from nanosae.analysis.comparisons.contrast import contrast


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
