"""What `--json` prints is what docs/json.md says."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from nanosae import demo
from nanosae.cli import main

TABLE = Path(__file__).parents[2] / "docs" / "json.md"


def documented():
    """Keys by command, as the table lists them."""
    found = {}
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) != 3 or not cells[0].startswith("`"):
            continue
        for command in re.findall(r"`([^`]+)`(?: \([^)]*\))?", cells[0]):
            found.setdefault(command, set(re.findall(r"`([^`]+)`", cells[2])))
    return found


@pytest.fixture
def run(data, flags, tmp_path):
    folder = str(tmp_path / "run")
    assert main(["train", data, "-o", folder, *flags]) == 0
    texts = tmp_path / "texts.txt"
    words = np.array(["red", "green", "blue", "dog", "cat", "tree", "river", "stone"])
    rng = np.random.default_rng(0)
    texts.write_text("".join(" ".join(rng.choice(words, 4)) + "\n" for _ in range(200)))
    assert main(["encode", folder, data, "--texts", str(texts)]) == 0
    return folder


@pytest.fixture
def with_columns(data, flags, tmp_path):
    """Return a run whose corpus has a side, a number and a date for each row."""
    folder = str(tmp_path / "columns-run")
    assert main(["train", data, "-o", folder, *flags]) == 0
    rng = np.random.default_rng(0)
    lines = ["text,side,number,day"]
    for number, word in enumerate(rng.choice(["red", "green", "dog", "tree"], 200)):
        day = f"2024-{1 + number % 12:02d}-01"
        lines.append(f"a {word} text,{number % 2},{number / 7:.2f},{day}")
    table = tmp_path / "columns.csv"
    table.write_text("\n".join(lines))
    assert main(["encode", folder, data, "--texts", str(table)]) == 0
    return folder


def keys(capsys, *words):
    """Keys of the object, or of every object of the list, that is printed alone."""
    capsys.readouterr()
    code = main([*words, "--json"])
    shown = capsys.readouterr()
    assert code == 0, shown.err
    value = json.loads(shown.out)
    return set(value[0] if isinstance(value, list) else value)


@pytest.mark.slow
def test_every_command_prints_the_keys_that_are_documented(run, data, tmp_path, capsys):
    out, known = str(tmp_path / "out"), documented()
    flags = ["--hidden-size", "16", "--k", "3", "--steps", "6", "--batch-size", "32"]
    calls = {
        "train": ["train", data, "-o", f"{out}/t", *flags],
        "info": ["info", run],
        "cache": ["cache", data, "-o", f"{out}/cache"],
        "encode": ["encode", run, data, "--name", "other"],
        "convert": ["convert", run, "-o", f"{out}/c"],
        "match": ["match", run, run],
        "splitting": ["splitting", run, run],
        "stability": ["stability", run, run],
        "steer": ["steer", run, "3", "--edit", "0=1", "--name", "default"],
        "search": ["search", run, "--row", "3", "--name", "default"],
        "tag": ["tag", run, "odd", "--rows", "1,3", "--name", "default"],
        "export --to": [
            *["export", run, "-o", f"{out}.jsonl", "--to", "jsonl"],
            *["--name", "default"],
        ],
        "report": ["report", run, "--name", "default"],
    }
    for command, words in calls.items():
        assert keys(capsys, *words) == known[command], command
    more = {
        "describe": ["describe", run, "--name", "default"],
        "label": ["label", run, "--name", "default"],
        "topics": ["topics", run, "-n", "2", "--name", "default"],
    }
    for command, words in more.items():
        found = keys(capsys, *words)
        needed = {key for key in known[command] if not key.startswith(("llm", "--"))}
        assert needed <= found, command
    # the feature table is there now
    words = ["export", run, "-o", f"{out}.csv"]
    assert keys(capsys, *words) == known["export"]


@pytest.mark.slow
def test_objects_of_results_have_the_keys_that_are_documented(
    with_columns, data, tmp_path, capsys
):
    run, known = with_columns, documented()
    calls = {
        "contrast": ["contrast", run, "--by", "side"],
        "explain": ["explain", run, "--target", "number"],
        "over-time": ["over-time", run, "--time", "day"],
        "families": ["families", run],
        "evaluate": ["evaluate", run, "--classes", "side"],
        "describe --feature": ["describe", run, "--feature", "0"],
    }
    for command, words in calls.items():
        assert keys(capsys, *words) == known[command], command
    flags = ["--hidden-size", "16", "--steps", "6", "--batch-size", "32"]
    words = ["train", data, "-o", str(tmp_path / "sweep"), "--k", "2,3", *flags]
    found = keys(capsys, *words)
    assert {"run", "k", "fvu", "l0", "dead"} <= found


@pytest.mark.slow
def test_a_whole_run_is_one_object(tmp_path, capsys):
    rng = np.random.default_rng(0)
    kinds = rng.choice(["sea", "farm"], 240)
    words = {"sea": "boat wave sail harbour tide", "farm": "cow field barn wheat mud"}
    lines = ["text,place"]
    for number, kind in enumerate(kinds):
        chosen = " ".join(rng.choice(words[kind].split(), 3))
        lines.append(f"a text on the {chosen} no {number},{kind}")
    table = tmp_path / "texts.csv"
    table.write_text("\n".join(lines))
    rows = rng.normal(size=(240, 8)) + 4 * (kinds == "sea")[:, None]
    np.save(tmp_path / "rows.npy", rows.astype(np.float32))
    settings = {"hidden_size": 32, "k": 4, "steps": 20, "batch_size": 64}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    words = ["run", str(table), "-o", str(tmp_path / "run"), "-n", "3"]
    words += ["--vectors", str(tmp_path / "rows.npy")]
    words += ["--config", str(tmp_path / "config.json")]
    assert keys(capsys, *words, "--dry-run") == documented()["run --dry-run"]
    assert main([*words, "--json"]) == 0
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert set(found) == documented()["run"]
    assert found["rows"] == 240
    assert found["topics"][0]["Name"]
    assert all(finding["sentence"] for finding in found["findings"])
    assert "text" in shown.err  # what was said meanwhile

    assert main(words) == 0
    loud = capsys.readouterr().out
    assert main([*words, "--quiet"]) == 0
    quiet = capsys.readouterr()
    before, _, results = loud.partition(quiet.out)
    assert "Texts about" in quiet.out
    assert results.startswith("next: ")
    assert before.splitlines()[-1].startswith("report ")  # the last stage
    assert quiet.err == ""


@pytest.mark.slow
def test_a_recommendation_is_one_object(data, capsys):
    words = ["recommend", data, "--hidden-size", "16", "--k", "3"]
    assert keys(capsys, *words) == documented()["recommend"]


@pytest.mark.slow
def test_the_demo_is_one_object(capsys, monkeypatch):
    columns = demo.load()
    monkeypatch.setattr(demo, "load", lambda: [column[:600] for column in columns])
    smaller = {"hidden_size": 64, "k": 4, "steps": 50}
    monkeypatch.setattr(demo, "CONFIG", demo.CONFIG | smaller)
    assert keys(capsys, "demo") == documented()["demo"]


def test_notes_do_not_mix_with_json(data, flags, tmp_path, capsys):
    words = ["train", data, "-o", str(tmp_path / "run"), *flags]
    assert main(words) == 0
    capsys.readouterr()
    assert main([*words, "--resume", "--json"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["config"]["k"] == 3
    assert "note: " in shown.err


@pytest.mark.parametrize("words", [["watch", "run"], ["completion", "bash"]])
def test_a_command_without_a_result_refuses_json(words, capsys):
    assert main([*words, "--json"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert f"nanosae {words[0]} has no result to print as JSON" in shown.err


def test_the_table_is_read():
    assert documented()["encode"] == {
        "output",
        "rows",
        "features_per_row",
        "has_texts",
    }
    assert np.size(list(documented())) > 20
