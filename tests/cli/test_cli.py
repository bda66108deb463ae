"""The command line: exit codes, messages without tracebacks, files, help."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nanosae.cli import main
from nanosae.codes import Codes
from nanosae.config import TrainConfig

FLAGS = [
    "--hidden-size",
    "16",
    "--k",
    "3",
    "--steps",
    "6",
    "--batch-size",
    "32",
    "--log-every",
    "2",
]


@pytest.fixture
def data(tmp_path):
    x = np.random.default_rng(0).normal(size=(200, 6)).astype(np.float32)
    np.save(tmp_path / "rows.npy", x)
    return str(tmp_path / "rows.npy")


def test_train_then_info_then_resume_then_force(data, tmp_path, capsys):
    run = str(tmp_path / "run")
    assert main(["train", data, "-o", run, *FLAGS]) == 0
    assert "held out  FVU" in capsys.readouterr().out
    assert main(["info", run, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["config"]["hidden_size"] == 16
    assert facts["metrics"]["step"] == 6
    assert {"fvu", "l0", "dead"} <= facts["metrics"].keys()
    assert main(["train", data, "-o", run, *FLAGS]) == 2
    assert "--resume" in capsys.readouterr().err
    assert main(["train", data, "-o", run, *FLAGS, "--resume"]) == 0
    assert "is finished" in capsys.readouterr().out
    assert main(["train", data, "-o", run, *FLAGS, "--force"]) == 0


def test_resume_without_a_run_starts_from_the_beginning(data, tmp_path):
    assert main(["train", data, "-o", str(tmp_path / "new"), *FLAGS, "--resume"]) == 0
    (tmp_path / "empty" / "checkpoints").mkdir(parents=True)
    assert main(["train", data, "-o", str(tmp_path / "empty"), *FLAGS, "--resume"]) == 0


def test_settings_come_from_a_file_and_flags_win(data, tmp_path, capsys):
    path = tmp_path / "settings.json"
    path.write_text(json.dumps({"hidden_size": 24, "k": 2, "steps": 3, "matryoshka": [8, 24]}))
    run = str(tmp_path / "run")
    assert main(["train", data, "-o", run, "--config", str(path), "--k", "5"]) == 0
    capsys.readouterr()
    main(["info", run, "--json"])
    config = json.loads(capsys.readouterr().out)["config"]
    assert (config["hidden_size"], config["k"], config["steps"]) == (24, 5, 3)
    assert config["matryoshka"] == [8, 24]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "missing.npy", "-o", "run"], "missing.npy"),
        (["train", "DATA", "-o", "run", "--k", "0"], "k=0 must be a positive integer"),
        (
            ["train", "DATA", "-o", "run", "--k", "3", "--l1-coefficient", "0.1"],
            "error: l1_coefficient=0.1 and k=3 both set the sparsity",
        ),
        (["train", "DATA", "-o", "run", "--input-size", "9"], "9"),
        (["train", "DATA", "-o", "run", "--config", "nowhere.json"], "nowhere.json"),
        (["train", "DATA", "-o", "run", "--activation", "elu"], "elu"),
        (["train", "DATA"], "output"),
        (["info", "nowhere"], "nowhere"),
        (["fly"], "fly"),
    ],
)
def test_a_mistake_is_an_error_line_and_exit_code_2(arguments, words, data, capfd, monkeypatch):
    monkeypatch.chdir(Path(data).parent)
    assert main([data if a == "DATA" else a for a in arguments]) == 2
    err = capfd.readouterr().err
    assert words in err
    assert "Traceback" not in err


def test_a_text_column_of_another_name_must_not_meet_one_called_text(data, tmp_path, capsys):
    run, texts = str(tmp_path / "run"), str(tmp_path / "texts.parquet")
    assert main(["train", data, "-o", run, *FLAGS]) == 0
    both = {"text": ["a title"] * 200, "body": ["a body"] * 200}
    pd.DataFrame(both).to_parquet(texts)
    assert main(["encode", run, data, "--texts", texts, "--text-column", "body"]) == 2
    assert "'body' will be called 'text', but another column is" in capsys.readouterr().err
    pd.DataFrame({"body": both["body"]}).to_parquet(texts)
    assert main(["encode", run, data, "--texts", texts, "--text-column", "body"]) == 0
    assert Codes.open(run).texts([0]).tolist() == ["a body"]


def test_every_setting_is_a_flag_with_help(capsys):
    assert main(["train", "--help"]) == 0
    shown = capsys.readouterr().out
    for field in dataclasses.fields(TrainConfig):
        assert "--" + field.name.replace("_", "-") in shown


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom nanosae.cli import main\nmain(['train', '--help'])\n"
        "heavy = {'torch', 'numpy', 'pandas', 'sklearn', 'pyarrow'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_demo_shows_ten_features(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "nanosae", "demo", "-o", str(tmp_path / "run")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("feature ") >= 10
    assert (tmp_path / "run" / "model" / "cfg.json").exists()
