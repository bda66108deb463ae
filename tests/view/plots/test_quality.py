"""Measures of several runs against their files."""

import json
import shutil

import pandas as pd

from nanosae import plot


def test_frontiers_are_the_last_lines(run, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(run, other)
    (other / "training.json").unlink()  # it knows the checksum of the metrics
    lines = (run / "metrics.jsonl").read_text().splitlines()
    last = json.loads(lines[-1])
    changed = json.dumps(last | {"l0": 1.0, "fvu": 0.9})
    (other / "metrics.jsonl").write_text("\n".join([*lines[:-1], changed]) + "\n")
    shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("codes"))
    (line,) = plot.frontier(tmp_path).data  # one kind of SAE: one line, by L0
    assert line.x == (1.0, last["l0"])
    assert line.y == (0.9, last["fvu"])
    table = pd.DataFrame(json.loads((run / "evaluation.json").read_text())["table"])
    probes = table[table["measure"].str.startswith("probe_f1@")].set_index(
        ["representation", "measure"]
    )
    drawn = {t.name: dict(zip(t.x, t.y, strict=True)) for t in plot.probing(run).data}
    assert drawn["small"][2.0] == probes.loc[("codes", "probe_f1@2"), "value"]
    assert drawn["pca (baseline)"][5.0] == probes.loc[("pca", "probe_f1@5"), "value"]
    best = plot.frontier(run, "probe_f1@5")
    assert best.data[0].y[0] == probes.loc[("codes", "probe_f1@5"), "value"]
    assert {a.text for a in best.layout.annotations} == {
        "dense",
        "pca",
        "k-means",
        "random",
    }
