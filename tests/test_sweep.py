"""Sweeps: what several SAEs get from one pass over the data is what each gets alone."""

import numpy as np
import pandas as pd
import pytest
import torch

from nanosae import SAEModel, SAETrainer, TrainConfig
from nanosae.cli import main
from nanosae.errors import ConfigError
from nanosae.sweep import _passes, grid, sweep
from nanosae.train.loop import Training

BASE = TrainConfig(
    hidden_size=32, k=4, steps=12, batch_size=32, checkpoint_every=3, noise=0.1
)


def rows(n=400, width=8, seed=0):
    return np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32)


def same(one, two):
    return all(torch.equal(one.tensors()[n], two.tensors()[n]) for n in one.tensors())


def test_a_grid_has_every_combination():
    made = grid(BASE, k=[2, 4], seed=[0, 1, 2])
    assert [(c.k, c.seed) for c in made] == [
        (2, 0),
        (2, 1),
        (2, 2),
        (4, 0),
        (4, 1),
        (4, 2),
    ]
    assert {c.steps for c in made} == {12}


@pytest.mark.slow
def test_each_gets_the_bits_that_it_gets_alone(tmp_path):
    configs = [
        *grid(BASE, k=[2, 4], seed=[0, 1]),
        *grid(BASE, activation=["relu"], hidden_size=[24]),
    ]
    table = sweep(configs, rows(), tmp_path, progress=False)
    assert len(table) == 5
    for config, name in zip(configs, table["run"], strict=True):
        alone = SAETrainer(config)
        assert same(alone.train(rows(), progress=False), SAEModel.load(tmp_path / name))
        assert table.set_index("run").loc[name, "fvu"] == alone.metrics_["fvu"]
    assert pd.read_csv(tmp_path / "sweep.csv")["k"].tolist() == table["k"].tolist()
    other = SAETrainer(grid(BASE, seed=[7])[0]).train(rows(), progress=False)
    # the check can fail
    assert not same(other, SAEModel.load(tmp_path / table["run"][0]))


def test_other_batch_sizes_take_passes_of_their_own(tmp_path):
    configs = grid(BASE, batch_size=[16, 32])
    table = sweep(configs, rows(), tmp_path, progress=False)
    alone = SAETrainer(configs[0]).train(rows(), progress=False)
    assert same(alone, SAEModel.load(tmp_path / table["run"][0]))


def test_only_configs_on_the_same_devices_share_a_pass():
    configs = [
        *grid(BASE, parallel=["rows", "latents"]),
        *grid(BASE, device=["cpu"], seed=[0, 1]),
    ]
    assert _passes(configs) == [[0], [1], [2, 3]]


def test_rows_are_read_once(monkeypatch, tmp_path):
    from nanosae.data import open as opening

    opened = []
    real = opening.open_rows
    monkeypatch.setattr(
        opening, "open_rows", lambda *a, **k: opened.append(1) or real(*a, **k)
    )
    sweep(grid(BASE, k=[2, 3, 4]), rows(), tmp_path, progress=False)
    assert len(opened) == 1


class Stop(Exception):
    pass


@pytest.mark.slow
def test_a_sweep_resumes_as_a_whole_wherever_each_of_its_runs_stood(
    tmp_path, monkeypatch
):
    configs = grid(BASE, k=[2, 4], seed=[0, 1])
    sweep(configs, rows(), tmp_path / "whole", progress=False)
    advance = Training.advance

    def stops(self, batch, stopping):
        if self.config.k == 4 and self.state.counters.step == 6:
            raise Stop  # the first two runs are a step ahead
        advance(self, batch, stopping)

    monkeypatch.setattr(Training, "advance", stops)
    with pytest.raises(Stop):
        sweep(configs, rows(), tmp_path / "cut", progress=False)
    monkeypatch.undo()
    table = sweep(configs, rows(), tmp_path / "cut", resume=True, progress=False)
    for name in table["run"]:
        whole, cut = (
            SAEModel.load(tmp_path / folder / name) for folder in ("whole", "cut")
        )
        assert same(whole, cut)
    again = sweep(configs, rows(), tmp_path / "cut", resume=True, progress=False)
    assert again["fvu"].tolist() == table["fvu"].tolist()


def test_equal_configs_and_none_are_errors(tmp_path):
    with pytest.raises(ValueError, match="at least one"):
        sweep([], rows(), tmp_path)
    with pytest.raises(ValueError, match="two of the 2 configs are equal"):
        sweep([BASE, BASE], rows(), tmp_path)
    sweep([BASE], rows(), tmp_path, progress=False)
    with pytest.raises(FileExistsError, match="--resume"):
        sweep([BASE], rows(), tmp_path)


def test_lists_on_the_command_line_make_a_sweep(tmp_path, capsys):
    np.save(tmp_path / "rows.npy", rows())
    command = [
        "train",
        str(tmp_path / "rows.npy"),
        "-o",
        str(tmp_path / "out"),
        "--steps",
        "3",
    ]
    command += ["--hidden-size", "16", "--batch-size=32", "--k", "2,3", "--seed=0,1"]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "k=2-seed=1" in printed
    assert main(["info", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.splitlines() == printed.splitlines()[:5]
    found = sorted(p.name for p in (tmp_path / "out").iterdir() if p.is_dir())
    assert found == ["k=2-seed=0", "k=2-seed=1", "k=3-seed=0", "k=3-seed=1"]
    (tmp_path / "out" / "sweep.csv").write_text("run")
    assert main(["info", str(tmp_path / "out")]) == 2
    assert "sweep.csv" in capsys.readouterr().err
    assert main([*command[:6], "--k", "2,x"]) == 2
    assert "--k: 'x' is not a whole number" in capsys.readouterr().err


def test_a_single_value_or_config_needs_no_list(tmp_path):
    assert [config.activation for config in grid(BASE, activation="topk")] == ["topk"]
    assert [config.k for config in grid(BASE, k=3)] == [3]
    made = (config for config in grid(BASE, k=[2, 3]))
    assert sweep(made, rows(), tmp_path / "two", progress=False)["k"].tolist() == [2, 3]
    assert sweep(BASE, rows(), tmp_path / "one", progress=False)["run"].tolist() == [
        "run"
    ]
    with pytest.raises(ConfigError, match=r"\{'k': 3\} is not a TrainConfig"):
        sweep([{"k": 3}], rows(), tmp_path / "none")


def test_runs_are_named_without_characters_that_make_folders(tmp_path):
    configs = grid(BASE, embedder=["owner/name", "c:d"])
    table = sweep(configs, rows(), tmp_path, progress=False)
    assert table["run"].tolist() == ["embedder=owner_name", "embedder=c_d"]
    assert table["embedder"].tolist() == ["owner/name", "c:d"]
    for name in table["run"]:
        assert (tmp_path / name / "model").is_dir()


def test_an_iterator_is_not_read_twice(tmp_path):
    configs = grid(BASE, data_seed=[0, 1])
    with pytest.raises(ConfigError, match="need 2 passes over the data"):
        sweep(configs, iter([rows()]), tmp_path, progress=False)
    assert not any(tmp_path.iterdir())
