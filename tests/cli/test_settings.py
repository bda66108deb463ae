"""Flags, lists and a file of settings: one parse, and what each makes of TrainConfig."""

import dataclasses
import json
from pathlib import Path
from typing import Literal, get_args, get_origin, get_type_hints

import pydantic  # noqa: F401 (where it is loaded, cyclopts would check values with it)
import pytest

from nanosae.cli import app, main
from nanosae.cli.settings import combinations
from nanosae.config import TrainConfig
from nanosae.errors import ConfigError, MissingError


def given(words, verb="train"):
    """The settings that a line gives, as `train` gets them."""
    required = ["DATA", "-o", "RUN"] if verb == "train" else ["DATA"]
    line = [verb, *required, *words.split()]
    _, bound = app.parse(line)
    return bound.arguments.get("settings", {}), bound.arguments.get("config")


def configs(words):
    return combinations(*given(words))


def test_without_flags_everything_is_left_to_the_config():
    assert given("") == ({}, None)
    assert configs("") == [TrainConfig()]


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        ("--k 16", "k", 16),
        ("--k=16", "k", 16),
        ("--lr 1e-3", "lr", 0.001),
        ("--l1-coefficient 0.1", "l1_coefficient", 0.1),
        ("--activation topk", "activation", "topk"),
        ("--skip", "skip", True),
        ("--no-skip", "skip", False),
        ("--no-tensorboard", "tensorboard", False),
        ("--embedder a,b", "embedder", "a,b"),
        ("--embedder=a,b", "embedder", "a,b"),
        ("--wandb a,b", "wandb", "a,b"),
        ("--device cuda:1", "device", "cuda:1"),
        ("--columns a b", "columns", ("a", "b")),
        ("--columns a,b", "columns", ("a", "b")),
        ("--columns=a,b", "columns", ("a", "b")),
        ("--columns a b,c", "columns", ("a", "b", "c")),
        ("--matryoshka 8 16", "matryoshka", (8, 16)),
        ("--matryoshka 8,16", "matryoshka", (8, 16)),
    ],
)
def test_a_flag_sets_its_field_and_nothing_else(words, field, value):
    (config,) = configs(words)
    assert config == dataclasses.replace(TrainConfig(), **{field: value})
    assert type(getattr(config, field)) is type(value)


def test_lists_of_numbers_and_choices_make_every_combination():
    made = configs("--k 16,32,64 --seed=0,1 --activation topk,batchtopk --embedder a,b")
    assert len(made) == 12
    found = {(c.k, c.seed, c.activation) for c in made}
    assert found == {
        (k, s, a) for k in (16, 32, 64) for s in (0, 1) for a in ("topk", "batchtopk")
    }
    assert {c.embedder for c in made} == {"a,b"}


@pytest.mark.slow
def test_every_number_and_choice_takes_a_list_and_nothing_else_does():
    lists = set()
    for name, hint in get_type_hints(TrainConfig).items():
        members = [kind for kind in get_args(hint) or [hint] if kind is not type(None)]
        choices = [get_args(kind) for kind in members if get_origin(kind) is Literal]
        if get_origin(hint) is Literal:
            choices = [get_args(hint)]
        value = choices[0][0] if choices else "2"
        if bool in members:
            continue
        settings, _ = given(f"--{name.replace('_', '-')} {value},{value}")
        if isinstance(settings[name], list):
            lists.add(name)
            assert settings[name] == [settings[name][0]] * 2
    assert lists >= {
        "k",
        "lr",
        "activation",
        "seed",
        "hidden_size",
        "precision",
        "warmup",
    }
    assert not lists & {"embedder", "wandb", "columns", "matryoshka", "device"}


@pytest.mark.parametrize("spelling", ["--config {}", "--config={}"])
def test_a_file_fills_what_no_flag_sets(tmp_path, spelling):
    path = tmp_path / "settings.json"
    settings = {
        "hidden_size": 24,
        "k": 2,
        "matryoshka": [8, 24],
        "embedder": "a,b",
        "steps": None,
    }
    path.write_text(json.dumps(settings))
    made = configs(f"{spelling.format(path)} --k 5,6 --seed 1")
    assert [(c.k, c.seed, c.hidden_size) for c in made] == [(5, 1, 24), (6, 1, 24)]
    assert {(c.matryoshka, c.embedder, c.steps) for c in made} == {
        ((8, 24), "a,b", None)
    }


def test_a_flag_wins_even_with_the_default_value(tmp_path):
    path = tmp_path / "settings.json"
    path.write_text(
        json.dumps({"seed": 7, "tensorboard": True, "k": 60, "hidden_size": 64})
    )
    (config,) = configs(f"--config {path} --seed 0 --no-tensorboard --k 9")
    assert (config.seed, config.tensorboard, config.k) == (0, False, 9)


def test_a_run_s_config_is_a_file_of_settings(tmp_path):
    asked = TrainConfig(k=5, hidden_size=24)
    in_effect = asked.resolved(1000, 8)
    content = {"requested": asked.to_dict(), "config": in_effect.to_dict()}
    path = tmp_path / "config.json"
    path.write_text(json.dumps(content))
    assert configs(f"--config {path}") == [asked]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"hiden_size": 3}', "unknown field 'hiden_size'"),
        ("[1]", "does not hold settings"),
        ("{", "does not hold settings"),
        ('{"k": 0}', "k=0 must be"),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong(tmp_path, content, words):
    path = tmp_path / "settings.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=words) as error:
        configs(f"--config {path}")
    assert isinstance(error.value, ConfigError)
    assert error.value.file == path
    assert str(path) in str(error.value)


def test_a_missing_file_is_named():
    with pytest.raises(MissingError, match=r"nowhere\.json does not exist"):
        configs("--config nowhere.json")


def test_recommend_takes_one_value(tmp_path, capfd):
    assert given("--k 3", "recommend") == ({"k": 3}, None)
    assert main(["recommend", "DATA", "--k", "3,4"]) == 2
    assert "--k: '3,4' is not a whole number" in capfd.readouterr().err


def test_live_shows_one_training(data, tmp_path, capfd):
    assert (
        main(["train", data, "-o", str(tmp_path / "run"), "--k", "2,3", "--live"]) == 2
    )
    assert "--live shows a single training" in capfd.readouterr().err
    assert not Path(tmp_path / "run").exists()
