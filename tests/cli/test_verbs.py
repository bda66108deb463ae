"""What verbs print and write."""

import functools
import json
import re
import shlex
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import nanosae
from finished import finished_run
from nanosae.cli import main
from nanosae.codes import Codes, write_codes
from nanosae.runs import annotations
from nanosae.runs.results import (
    contrast_name,
    contrast_title,
    load_contrasts,
    save_result,
)

DIGITS_AS_LETTERS = str.maketrans("0123456789", "abcdefghij")


@pytest.mark.slow
def test_train_then_info_then_resume_then_force(data, flags, tmp_path, capsys):
    run = str(tmp_path / "run")
    assert main(["train", data, "-o", run, *flags]) == 0
    assert "held out  FVU" in capsys.readouterr().out
    assert main(["info", run, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["config"]["hidden_size"] == 16
    assert facts["metrics"]["step"] == 6
    assert {"fvu", "l0", "dead"} <= facts["metrics"].keys()
    assert main(["train", data, "-o", run, *flags]) == 2
    assert "--resume" in capsys.readouterr().err
    assert main(["train", data, "-o", run, *flags, "--resume"]) == 0
    assert "is finished" in capsys.readouterr().out
    assert main(["train", data, "-o", run, *flags, "--force"]) == 0


@pytest.mark.slow
def test_suggested_commands_are_what_a_shell_needs(data, flags, tmp_path, capsys):
    folder = tmp_path / "März & April"
    folder.mkdir()
    run, rows, page = folder / "my run", folder / "it's.npy", folder / "a b.html"
    np.save(rows, np.load(data))
    lines = [
        ["recommend", rows],
        ["train", rows, "-o", run, *flags],
        ["encode", run, rows],
        ["describe", run],
        ["families", run],
        ["topics", run, "-n", "2"],
        ["search", run, "--row", "1"],
        ["tag", run, "odd", "--rows", "1"],
        ["report", run, "-o", page],
        ["convert", run, "-o", folder / "a copy"],
        ["cache", rows, "-o", folder / "a cache"],
        ["encode", run, rows],  # an error: it has been done
        ["describe", run, "--name", "other"],
        ["label", folder / "a copy"],
    ]
    suggested = []
    for line in lines:
        main([str(word) for word in line])
        output, errors = capsys.readouterr()
        said = output + errors
        suggested += re.findall(r"(?:next|  or|then|them|again): (nanosae .*)", said)
    assert len(suggested) >= len(lines)
    for command in suggested:
        places = [word for word in shlex.split(command) if "März" in word]
        assert len(places) == command.count("März"), command
        for place in places:
            parent = Path(place.removesuffix(".")).parent
            assert parent == folder, command


def test_info_of_a_saved_sae_tells_its_sizes(data, flags, tmp_path, capsys):
    run = str(tmp_path / "run")
    assert main(["train", data, "-o", run, *flags]) == 0
    capsys.readouterr()
    assert main(["info", f"{run}/model"]) == 0
    assert "SAEModel(batchtopk, 6 → 16" in capsys.readouterr().out
    assert main(["info", f"{run}/model", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["config"]["hidden_size"], facts["metrics"]) == (16, {})
    assert main(["info", str(tmp_path)]) == 2
    assert "no saved model in" in capsys.readouterr().err


def test_resume_without_a_run_starts_from_the_beginning(data, flags, tmp_path):
    assert main(["train", data, "-o", str(tmp_path / "new"), *flags, "--resume"]) == 0
    (tmp_path / "empty" / "checkpoints").mkdir(parents=True)
    assert main(["train", data, "-o", str(tmp_path / "empty"), *flags, "--resume"]) == 0


def test_a_text_column_of_another_name_must_not_meet_one_called_text(
    data, flags, tmp_path, capsys
):
    run, texts = str(tmp_path / "run"), str(tmp_path / "texts.parquet")
    assert main(["train", data, "-o", run, *flags]) == 0
    both = {"text": ["a title"] * 200, "body": ["a body"] * 200}
    pd.DataFrame(both).to_parquet(texts)
    assert main(["encode", run, data, "--texts", texts, "--text", "body"]) == 2
    assert "'body' cannot be renamed to 'text'" in capsys.readouterr().err
    pd.DataFrame({"body": both["body"]}).to_parquet(texts)
    assert main(["encode", run, data, "--texts", texts, "--text", "body"]) == 0
    assert Codes.open(run).texts([0]).tolist() == ["a body"]


@pytest.mark.slow
def test_codes_of_a_model_trained_anew_are_said_to_be(data, flags, tmp_path, capsys):
    run, texts = str(tmp_path / "run"), str(tmp_path / "texts.parquet")
    names = pd.util.hash_array(np.arange(200)).astype(str)
    letters = [name.translate(DIGITS_AS_LETTERS) for name in names]
    pd.DataFrame({"text": letters}).to_parquet(texts)  # all different
    encode = ["encode", run, data, "--texts", texts]
    assert main(["train", data, "-o", run, *flags]) == 0
    assert main(encode) == 0
    assert main(["label", run]) == 0
    assert "since been replaced" not in capsys.readouterr().err
    assert main(["train", data, "-o", run, *flags, "--force", "--seed", "1"]) == 0
    assert main(["label", run]) == 0
    assert "has since been replaced" in capsys.readouterr().err
    assert main([*encode, "--force"]) == 0
    assert main(["label", run]) == 0
    assert "since been replaced" not in capsys.readouterr().err


@pytest.mark.slow
def test_suggestions_and_exports_are_those_of_the_corpus(tmp_path, capsys):
    run = finished_run(tmp_path / "run")
    codes = Codes.open(run)
    texts, rows = codes.texts(range(300)), codes.take(np.arange(300))
    write_codes(
        run / "codes" / "other", rows, texts=texts, metadata={"x": [0, 1] * 150}
    )
    verbs = ["label", "families", "topics", "contrast --by x", "search row", "report"]
    for verb in ["describe", *verbs]:
        first, *others = shlex.split(verb)
        assert main([first, str(run), *others, "--name", "other"]) == 0
        out = capsys.readouterr().out
        suggested = re.findall(r"^(?:next|  or): (nanosae .*)$", out, re.M)
        assert suggested
        assert all(line.endswith("--name other") for line in suggested)
    output = str(tmp_path / "table.csv")
    for name, is_stale in (("default", True), ("other", False)):
        assert main(["export", str(run), "-o", output, "--name", name]) == 0
        noted = capsys.readouterr().err
        assert ("the corpus 'other'" in noted) == is_stale


@pytest.mark.slow
def test_comparisons_hold_the_named_columns_equal(tmp_path, capsys):
    run = str(finished_run(tmp_path / "run"))
    for path in (tmp_path / "run" / "contrasts").iterdir():
        path.unlink()
    questions = (
        "contrast --by group",
        "explain --target group",
        "over-time --time year",
    )
    for question in questions:
        verb, *asked = question.split()
        for covariates in ([], ["--covariates", "topics", "length"], ["--covariates"]):
            assert main([verb, run, *asked, *covariates]) == 0
    held_equal = {}
    for found in load_contrasts(run):
        held_equal[contrast_title(found)] = found.value["about"]["covariates"]
    for title in (
        "Differences by group",
        "Associated with group",
        "Changes over time, by year",
    ):
        assert held_equal.pop(title) == ["length"]
        assert held_equal.pop(f"{title}, at equal topics, length") == [
            "topics",
            "length",
        ]
        assert held_equal.pop(f"{title}, nothing held equal") == []
    assert not held_equal
    capsys.readouterr()
    assert main(["contrast", run, "--by", "group", "--covariates", "grup"]) == 2
    assert "no column 'grup'" in capsys.readouterr().err


@pytest.mark.slow
def test_a_comparison_that_is_repeated_replaces_that_of_the_run(tmp_path, capsys):
    run = str(finished_run(tmp_path / "run"))
    codes = Codes.open(run)
    of_run = {"verb": "contrast", "by": "group", "corpus": codes.name}
    save_result(codes, contrast_name(of_run), {"old": True}, of_run)
    before = [found.name for found in load_contrasts(run)]
    assert main(["contrast", run, "--by", "group"]) == 0
    after = load_contrasts(run)
    assert [found.name for found in after] == before
    assert not any(found.value.get("old") for found in after)


def test_the_demo_says_what_becomes_of_its_run_folder(tmp_path, monkeypatch, capsys):
    def run_demo(output, say):
        return SimpleNamespace(run=output or tmp_path / "deleted")

    monkeypatch.setattr("nanosae.demo.run_demo", run_demo)
    assert main(["demo"]) == 0
    assert "temporary and is deleted" in capsys.readouterr().out
    kept = tmp_path / "kept"
    assert main(["demo", "-o", str(kept)]) == 0
    shown = capsys.readouterr().out
    assert "temporary" not in shown
    assert f"{kept / 'report.html'} holds" in shown


@pytest.mark.slow
def test_tables_on_a_terminal_are_narrow_and_hold_words(tmp_path, capsys, monkeypatch):
    some = functools.partial(nanosae.families, min_children=3)
    monkeypatch.setattr(nanosae, "families", some)
    run = str(finished_run(tmp_path / "run"))
    annotations.rename(run, 0, "a name")

    def shown(*command):
        assert main([*command, "--quiet"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert max(map(len, lines)) <= 80
        return lines

    head, first, *_ = shown("describe", run)
    assert head.split()[:3] == ["feature", "label", "density"]
    assert first.split()[:3] == ["0", "a", "name"]
    _, second, *_ = shown("families", run)
    family = json.loads((Path(run) / "families.json").read_text())["families"][0]
    assert second.split()[0] == "0"
    assert family["label"] in second
    head, *lines = shown("topics", run, "-n", "5")
    assert head.split() == ["Topic", "Count", "Words"]
    sizes = [int(line.split()[1]) for line in lines]
    assert sizes == sorted(sizes, reverse=True)
