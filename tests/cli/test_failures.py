"""Every way to fail: one line on stderr, its exit code, and no traceback unless asked for."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from nanosae import errors
from nanosae.cli import main
from nanosae.cli.failures import report
from nanosae.runs import folder


def line_of(capfd):
    err = capfd.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    return err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "missing.npy", "-o", "run"], "missing.npy"),
        (["train", "DATA", "-o", "run", "--k", "0"], "k=0 must be a positive"),
        (
            ["train", "DATA", "-o", "run", "--k", "3", "--l1-coefficient", "0.1"],
            "error: l1_coefficient=0.1 and k=3 both set the sparsity",
        ),
        (["train", "DATA", "-o", "run", "--input-size", "9"], "9"),
        (["train", "DATA", "-o", "run", "--config", "nowhere.json"], "nowhere.json"),
        (["info", "nowhere"], "nowhere"),
    ],
)
def test_a_mistake_is_an_error_line_and_exit_code_2(
    arguments, words, data, capfd, monkeypatch
):
    monkeypatch.chdir(Path(data).parent)
    assert main([data if a == "DATA" else a for a in arguments]) == 2
    assert words in line_of(capfd)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            "train DATA -o run --activation elu",
            '"elu" for --activation. Choose from: "relu"',
        ),
        ("train DATA -o run --k 2.5", "--k: '2.5' is not a whole number."),
        ("train DATA -o run --k 2,x", "--k: 'x' is not a whole number."),
        ("train DATA -o run --k", "--k needs a value."),
        ("train DATA -o run --lr fast", "--lr: 'fast' is not a number."),
        ("train DATA -o run --seed 1 --seed 2", "--seed specified multiple times"),
        (
            "train DATA -o run --hiden-size 8",
            "--hiden-size. Did you mean --hidden-size?",
        ),
        (
            "train DATA more -o run",
            "unexpected value 'more'. See `nanosae train --help`.",
        ),
        ("train DATA", "--output is missing. See `nanosae train --help`."),
        ("train -o run", "DATA is missing."),
        ("label run --price 1", "--price needs 2 values."),
        ("topics run -n 2.5", "-n: '2.5' is not a whole number."),
        (
            "export run -o x.csv --features 1,b",
            "--features: 'b' is not a whole number.",
        ),
        ("fly", 'Unknown command "fly"'),
        ("trian", 'Did you mean "train"?'),
        ("info --debug=3 run", "--debug"),
        ("steer run 3 --edit.12 0", "--edit is missing."),
        ("label run --dry-run", "--dry-run has no effect without --llm."),
        ("label run --max-calls 9", "--max-calls has no effect without --llm."),
        ("label run --llm --embedder wordllama", "--embedder has no effect with --llm"),
        ("evaluate run --layer layers.1", "--layer has no effect without --model."),
        (
            "evaluate run --model gpt2 --classes a",
            "--classes has no effect with --model",
        ),
        ("export run -o a.csv --collection x", "--collection has no effect without"),
        ("export run -o a.sql --to pgvector --formulas", "--formulas has no effect"),
        ("run a.csv -o run --price 1", "--price has no effect without --dry-run."),
        ("run a.csv -o run --dry-run --price -1", "--price -1.0: give a price of"),
    ],
)
def test_a_wrong_line_is_explained_in_plain_words(line, words, capfd):
    assert main(line.split()) == 2
    assert words in line_of(capfd)


def failing(monkeypatch, tmp_path, error):
    """Make `info` fail; return the words that call it."""

    def fail(*_):
        raise error

    (tmp_path / "config.json").write_text('{"requested": {}}')
    monkeypatch.setattr(folder, "read_config", fail)
    return ["info", str(tmp_path)]


KINDS = [errors.NanoSAEError, *errors.NanoSAEError.__subclasses__()]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_with_a_remedy_is_a_mistake(kind, tmp_path, capfd, monkeypatch):
    error = kind("what\nwas wrong.", remedy="Do this.")
    assert main(failing(monkeypatch, tmp_path, error)) == 2
    assert line_of(capfd) == "error: what was wrong. Do this.\n"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            PermissionError(errno.EACCES, "Permission denied", "a/b"),
            "a/b: Permission denied.",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device", "x"),
            "x: No space left on device.",
        ),
        (FileNotFoundError(errno.ENOENT, "No such file", "x"), "x: No such file."),
        (
            OSError(errno.EXDEV, "Cross-device link", "x", None, "y"),
            "x: y: Cross-device link.",
        ),
        (OSError("said otherwise"), "said otherwise"),
    ],
)
def test_what_the_system_refuses_is_told_with_the_file(
    error, line, tmp_path, capfd, monkeypatch
):
    assert main(failing(monkeypatch, tmp_path, error)) == 2
    assert line_of(capfd) == f"error: {line}\n"


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("8 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: 8 GiB"),
    ],
)
def test_too_little_memory_is_no_defect(error, tmp_path, capfd, monkeypatch):
    assert main(failing(monkeypatch, tmp_path, error)) == 2
    assert "not enough memory" in line_of(capfd)


OURS = [
    KeyError("k"),
    ValueError("w"),
    TypeError("x"),
    ImportError("y"),
    RuntimeError("z"),
]


@pytest.mark.parametrize("error", OURS)
def test_anything_else_says_that_it_is_a_defect(error, tmp_path, capfd, monkeypatch):
    assert main(failing(monkeypatch, tmp_path, error)) == 1
    line = line_of(capfd)
    assert "this is a defect of nanoSAE" in line
    assert type(error).__name__ in line
    assert "--debug" in line


@pytest.mark.parametrize("place", [0, 1, 2])
def test_debug_anywhere_shows_the_traceback(place, tmp_path, capfd, monkeypatch):
    words = failing(monkeypatch, tmp_path, KeyError("k"))
    words.insert(place, "--debug")
    assert main(words) == 1
    err = capfd.readouterr().err
    assert "Traceback" in err
    assert "in fail" in err
    assert err.splitlines()[-1].startswith("error: this is a defect")


@pytest.mark.slow
def test_a_warning_is_one_line_without_code_and_said_once(tmp_path):
    program = """
import sys, warnings
from nanosae.cli import main
from nanosae.runs import folder
def warns(path):
    for stacklevel in (1, 2, 1):
        warnings.warn("The SAE was trained on another layer.", stacklevel=stacklevel)
    warnings.warn("old", FutureWarning)
folder.verify_training = warns
main(["info", sys.argv[1]])
"""
    command = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = done.stderr.splitlines()
    assert lines.count("warning: The SAE was trained on another layer.") == 1
    assert "UserWarning" not in done.stderr
    assert "FutureWarning: old" in done.stderr  # of libraries: as ever


def test_words_behind_two_hyphens_are_no_flags(capfd):
    assert main(["search", "nowhere", "--", "--k"]) == 2
    assert "nowhere does not exist" in line_of(capfd)


def test_an_exit_of_a_library_keeps_its_code(tmp_path, monkeypatch):
    assert main(failing(monkeypatch, tmp_path, SystemExit(3))) == 3
    assert main(failing(monkeypatch, tmp_path, SystemExit("words"))) == 2


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["run", "DATA", "-o", ""], "-o"),
        (["run", "", "-o", "run"], "run"),
        (["train", "DATA", "--output="], "--output"),
        (["search", "run", ""], "run"),
        (["run", "DATA", "-o", "run", "--prompt", "", "--embedder", ""], "--embedder"),
    ],
)
def test_an_empty_value_is_a_mistake(words, named, data, capfd, monkeypatch, tmp_path):
    """As a path, it would be the current folder, in which the run would then be written."""
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    assert main([data if word == "DATA" else word for word in words]) == 2
    assert f"the value after {named!r} is empty" in line_of(capfd)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["--version"]])
@pytest.mark.parametrize("buffered", ["", "1"])
def test_a_reader_that_leaves_ends_the_command_quietly(words, buffered):
    code = "import sys, time\ntime.sleep(0.2)\nfrom nanosae.__main__ import main\nsys.exit(main())"
    command = [sys.executable, "-c", code, *words]
    environment = {"PYTHONUNBUFFERED": buffered, "PYTHONPATH": ":".join(sys.path)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode in (1, 141)


def test_a_broken_pipe_is_quiet(tmp_path, monkeypatch, capsys):
    """The output is a file of the test: what it is led to cannot be truncated, as pytest does."""
    path = tmp_path / "output"
    with path.open("w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        assert report(BrokenPipeError()) == 141
        output.write("the rest")
    assert path.read_text() == ""
    assert capsys.readouterr().err == ""
