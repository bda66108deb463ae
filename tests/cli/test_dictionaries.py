"""Verbs on several SAEs, steering and tags: the numbers of their Python functions."""

import json
import re

import numpy as np
import pytest

import nanosae
from nanosae.cli import main
from nanosae.model.weights import Weights
from nanosae.runs import annotations


@pytest.fixture
def runs(data, flags, tmp_path, capsys):
    paths = []
    for seed in ("0", "1"):
        run = str(tmp_path / f"run{seed}")
        assert main(["train", data, "-o", run, *flags, "--seed", seed]) == 0
        paths.append(run)
    assert main(["encode", paths[0], data]) == 0
    capsys.readouterr()
    return paths


def shown(capsys, *words):
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.slow
def test_match_splitting_and_stability(runs, capsys):
    a, b = (Weights.load(run) for run in runs)
    lines = shown(capsys, "match", *runs)
    assert [line["match"] for line in lines] == nanosae.match(a, b)["match"].tolist()
    means = [
        np.mean([line[name] for line in lines])
        for name in ("similarity", "partner_similarity")
    ]
    assert main(["match", *runs]) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert [float(number) for number in re.findall(r"\d\.\d+", first)] == [
        pytest.approx(mean, abs=5e-4) for mean in means
    ]
    assert f"; {sum(line['mutual'] for line in lines)} of {len(lines)} " in first
    lines = shown(capsys, "splitting", *runs, "--threshold", "0.3")
    wanted = nanosae.splitting(a, b, 0.3)["n_children"].tolist()
    assert [line["n_children"] for line in lines] == wanted
    lines = shown(capsys, "stability", *runs)
    scores = nanosae.stability(a, [b])
    for line in lines:
        assert line["stability"] == pytest.approx(scores[line["feature"]])
    table = nanosae.open(runs[0]).features
    np.testing.assert_allclose(table["stability"], scores, rtol=1e-6)
    assert main(["stability", *runs]) == 0
    assert f"mean stability: {np.mean(scores):.3f}" in capsys.readouterr().out
    assert main(["stability", runs[0]]) == 2
    assert "other" in capsys.readouterr().err


def test_steer_finds_what_search_finds_with_the_edit(runs, capsys):
    codes = nanosae.Codes.open(runs[0])
    active = (row for row in range(codes.n_rows) if len(codes.row(row)[0]))
    row = next(active)
    feature = int(codes.row(row)[0][0])
    lines = shown(
        capsys, "steer", runs[0], str(row), "--edit", f"{feature}=0", "-n", "4"
    )
    found = nanosae.search(codes, row=row, edit={feature: 0.0}, n=4)
    assert [line["row"] for line in lines] == [hit.row for hit in found.hits]
    assert main(["steer", runs[0], str(row), "--edit", f"{feature}=0"]) == 0
    assert capsys.readouterr().out.startswith(str(found)[:20])
    assert main(["steer", runs[0], "3", "--edit", "x"]) == 2
    assert "FEATURE=ACTIVATION" in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
def test_tags_are_put_on_rows_and_taken_off(runs, capsys):
    run = runs[0]
    assert shown(capsys, "tag", run, "odd", "--rows", "1,3,5") == [
        {"row": 1},
        {"row": 3},
        {"row": 5},
    ]
    assert shown(capsys, "tag", run, "odd", "--rows", "3", "--remove")[-1] == {"row": 5}
    assert [line["row"] for line in shown(capsys, "tag", run, "odd")] == [1, 5]
    codes = nanosae.Codes.open(run)
    assert annotations.tagged(run, "default", "odd", codes.data).tolist() == [1, 5]
    assert main(["tag", run, "odd", "--rows", "10000"]) == 2
    assert "10000" in capsys.readouterr().err
    assert main(["tag", run, "even"]) == 0
    assert capsys.readouterr().out.startswith("no rows\n")
    assert main(["tag", run, "odd", "--remove"]) == 2
    assert "--remove has no effect without --rows" in capsys.readouterr().err
    assert main(["tag", run, " ", "--rows", "1"]) == 2
    assert "must not be blank" in capsys.readouterr().err
    assert main(["tag", run, "caf\udce9", "--rows", "1"]) == 2
    assert "not UTF-8" in capsys.readouterr().err


@pytest.mark.slow
def test_quiet_prints_results_only(runs, data, capsys):
    assert main(["describe", runs[0]]) == 0
    loud = capsys.readouterr()
    assert "next:" in loud.out
    assert "no texts" in loud.err
    assert main(["describe", runs[0], "--quiet"]) == 0
    quiet = capsys.readouterr()
    assert "next:" not in quiet.out
    assert quiet.err == ""
    assert quiet.out.split("next:")[0] == loud.out.split("next:")[0]
