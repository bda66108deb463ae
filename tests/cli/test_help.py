"""Help and version: every setting, in English, at once."""

import dataclasses
import subprocess
import sys

import pytest

from nanosae.cli import app, main
from nanosae.config import TrainConfig

HEAVY = "{'torch', 'numpy', 'pandas', 'sklearn', 'pyarrow', 'scipy', 'numba', 'plotly'}"
VERBS = [verb.__name__.replace("_", "-") for verb in app.VERBS]


def test_every_setting_is_a_flag_with_its_help_choices_and_default(capsys):
    assert main(["train", "--help"]) == 0
    shown = capsys.readouterr().out
    words = " ".join(shown.replace("│", " ").split())
    for field in dataclasses.fields(TrainConfig):
        assert "--" + field.name.replace("_", "-") + " " in words
    assert "Number of features to learn" in words
    assert "[choices: relu, topk, batchtopk, jumprelu, gated]" in words
    assert "[default: 0.05]" in words
    assert "--skip --no-skip" in words


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_in_english(verb, capsys):
    assert main([verb, "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"Usage: nanosae {verb}" in shown
    sentence = " ".join(
        app.app[verb].default_command.__doc__.partition("\n")[0].split()
    )
    shown_words = " ".join(shown.replace("│", " ").split())
    assert sentence.replace("`", "") in shown_words
    for placeholder in ("ARGS", "STR|PATH", "DICT["):  # of the library, not ours
        assert placeholder not in shown


def test_every_parameter_has_a_help_text():
    for verb in app.VERBS:
        command = app.app[verb.__name__.replace("_", "-")]
        for argument in command.assemble_argument_collection(parse_docstring=True):
            if argument.show and argument.parse:
                assert argument.parameter.help, (verb.__name__, argument.name)


def test_the_program_lists_its_verbs_and_says_its_version(capsys):
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    for verb in VERBS:
        assert f"│ {verb} " in shown
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("0.")
    assert main([]) == 0
    assert "Usage: nanosae" in capsys.readouterr().out


@pytest.mark.parametrize(
    "line", [["--help"], ["train", "--help"], ["--version"], ["info", "x"]]
)
def test_nothing_heavy_is_imported_before_a_command_runs(line):
    code = (
        f"import sys\nfrom nanosae.cli import main\nmain({line})\n"
        f"heavy = {HEAVY} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_check_for_heavy_imports_can_fail():
    code = f"import sys, numpy\nsys.exit(str({HEAVY} & set(sys.modules)) or 0)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True).returncode
        == 1
    )


def test_a_terminal_without_unicode_is_no_trouble():
    command = [sys.executable, "-m", "nanosae", "train", "--help"]
    environment = {"PYTHONIOENCODING": "ascii", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "--hidden-size" in done.stdout
