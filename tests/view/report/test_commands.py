"""The commands that made a run, and those that add what it lacks."""

import json
import shlex
import shutil

import pytest

from finished import line, training_files
from nanosae.cli.app import parse
from nanosae.codes import Codes, write_codes
from nanosae.config import TrainConfig
from nanosae.view.report.render import render, report
from reported import Page


@pytest.mark.slow
def test_the_commands_that_made_it(page, run):
    commands = [c.replace(str(run), "RUN") for c in page.blocks["facts"]["commands"]]
    assert commands[0] == (
        "nanosae train 'rows of it.npy' -o RUN --input-size 32 --hidden-size 48 --k 3 "
        "--activation topk --embedder 'an embedder'"
    )
    assert commands[2:] == [
        "nanosae describe RUN",
        "nanosae label RUN",
        "nanosae families RUN",
        "nanosae topics RUN -n 5",
        "nanosae contrast RUN --by group --a A --b B",
        "nanosae evaluate RUN --classes topics",
        "nanosae report RUN",
    ]


def test_what_run_made_is_made_again_by_run(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "run")
    (copy / "stages.json").write_text("{}")
    commands = Page(report(copy).read_text("utf-8")).blocks["facts"]["commands"]
    assert [command.replace(str(copy), "RUN") for command in commands] == [
        "nanosae run DATA -o RUN --embedder 'an embedder' --n-topics 5",
        "nanosae contrast RUN --by group --a A --b B",
        "nanosae evaluate RUN --classes topics",
    ]
    are_understood(commands)


def test_the_commands_of_another_corpus_name_it(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "run")
    codes = Codes.open(copy)
    write_codes(copy / "codes" / "other", codes.take(range(60)))
    for stages in (False, True):
        if stages:
            (copy / "stages.json").write_text("{}")
        facts = Page(render(copy, "other")).blocks["facts"]
        commands = [*facts["commands"], *(command for _, command in facts["missing"])]
        of_corpus = [c for c in commands if c.split()[1] not in ("train", "run")]
        assert {c.split()[1] for c in of_corpus} >= {"encode", "describe"}
        assert all(command.endswith("--name other") for command in of_corpus)
        are_understood(commands)


def test_those_commands_are_understood(page):
    are_understood(page.blocks["facts"]["commands"])


def are_understood(commands):
    for command in commands:
        words = shlex.split(command)[1:]
        verb, _ = parse(words)
        assert verb.__name__.replace("_", "-") == words[0]


def test_a_run_that_has_just_begun(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    facts = {
        "requested": TrainConfig(k=3).to_dict(),
        "config": TrainConfig(k=3).to_dict(),
    }
    (run / "config.json").write_text(json.dumps(facts))
    page = Page(report(run).read_text("utf-8"))
    assert page.blocks["features"]["feature"] == []
    whats = [what for what, _ in page.blocks["facts"]["missing"]]
    assert whats[:2] == ["the trained model", "the features of a corpus"]


def test_a_killed_run(tmp_path):
    run = tmp_path / "run"
    training_files(run, TrainConfig(k=3))
    (run / "metrics.jsonl").write_text(line(10) + line(20)[:40])
    page = Page(report(run).read_text("utf-8"))
    assert [found["step"] for found in page.blocks["training"]["lines"]] == [10]
    whats, commands = zip(*page.blocks["facts"]["missing"], strict=True)
    assert "--resume" in commands[whats.index("the trained model")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("gone", "what", "verb"),
    [
        ("families.json", "families", "families"),
        ("topics.parquet", "topics", "topics"),
        ("contrasts", "contrasts", "contrast"),
        ("evaluation.json", "a comparison with baselines", "evaluate"),
        ("features.parquet", "feature cards", "describe"),
        ("codes", "the features of a corpus", "encode"),
        ("model", "the trained model", "train"),
        ("metrics.jsonl", None, None),
        ("snapshots", None, None),
        ("config.json", None, None),
    ],
)
def test_each_part_may_be_missing(run, tmp_path, gone, what, verb):
    copy = shutil.copytree(run, tmp_path / "run")
    path = copy / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    missing = dict(Page(report(copy).read_text("utf-8")).blocks["facts"]["missing"])
    if what:
        assert missing[what].startswith(f"nanosae {verb} ")
