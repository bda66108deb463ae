"""Completion in the shells themselves, as a person types."""

import os
import pty
import select
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from nanosae.cli import main

END = "end-of-answers"
WAITS = 20  # seconds, at most, for an answer of a shell
ZSHRC = """
PS1='ready> '
fpath=({folder} $fpath)
autoload -Uz compinit && compinit -u -D
"""
ASKED = {
    "nanosae tra": "train",
    "nanosae train --hid": "--hidden-size",
    "nanosae train rows.p": "rows.parquet",
    "nanosae train rows.parquet --activation jum": "jumprelu",
    "nanosae convert their-s": "their-sae",
    "nanosae run --dry": "--dry-run",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("completion")
    (folder / "rows.parquet").touch()
    (folder / "their-sae").touch()
    return folder


@pytest.fixture
def script(folder, request, capsys):
    assert main(["completion", request.param]) == 0
    path = folder / f"script.{request.param}"
    path.write_text(capsys.readouterr().out)
    return path


def needs(shell):
    if shutil.which(shell) is None:
        pytest.skip(f"needs {shell}")


@pytest.mark.parametrize("script", ["bash"], indirect=True)
def test_bash(script, folder):
    needs("bash")
    asking = [f"source {script}", "complete -p nanosae >&2"]
    for line in ASKED:
        asking.append(f"COMP_WORDS=({line}); COMP_CWORD={len(line.split()) - 1}")
        asking.append(f'_nanosae; printf "%s\\n" "${{COMPREPLY[@]}}"; echo {END}')
    done = subprocess.run(
        ["bash", "-c", "; ".join(asking)], cwd=folder, capture_output=True, text=True
    )
    check_answers(done)


@pytest.mark.parametrize("script", ["fish"], indirect=True)
def test_fish(script, folder):
    needs("fish")
    asking = [f"source {script}"]
    asking += [f"complete -C '{line}'; echo {END}" for line in ASKED]
    done = subprocess.run(
        ["fish", "--private", "-c", "; ".join(asking)],
        cwd=folder,
        env={**os.environ, "HOME": str(folder)},
        capture_output=True,
        text=True,
    )
    check_answers(done)


def check_answers(done):
    """Find what is wanted among the answers to each line, which a line of its own ends."""
    *answers, rest = done.stdout.split(f"{END}\n")
    assert rest == "", done
    for (line, wanted), shown in zip(ASKED.items(), answers, strict=True):
        found = [answer.split("\t")[0] for answer in shown.splitlines()]
        assert wanted in found, (line, done)


@pytest.mark.slow
@pytest.mark.parametrize("is_sourced", [False, True])
@pytest.mark.parametrize("script", ["zsh"], indirect=True)
def test_zsh(script, is_sourced, folder):
    """The script is a file of $fpath, as packages install it, or sourced by .zshrc."""
    needs("zsh")
    settings = ZSHRC.format(folder=folder)
    (folder / "_nanosae").unlink(missing_ok=True)
    if is_sourced:
        settings += f"source {script}\n"
    else:
        shutil.copy(script, folder / "_nanosae")
    (folder / ".zshrc").write_text(settings)
    for line, want in ASKED.items():
        answer = typed(["zsh", "-i"], line, folder)
        assert f"{line.rpartition(' ')[0]} {want}" in answer, (line, answer)


@pytest.mark.slow
def test_what_zsh_does_not_complete_would_be_found(folder):
    needs("zsh")
    (folder / "_nanosae").unlink(missing_ok=True)
    (folder / ".zshrc").write_text(ZSHRC.format(folder=folder))
    assert "nanosae train" not in typed(["zsh", "-i"], "nanosae tra", folder, 3)


def typed(shell: list[str], line: str, folder: Path, waits: float = WAITS) -> str:
    """Return what a terminal shows after a line and a tab, once it shows no more."""
    environment = {"ZDOTDIR": str(folder), "TERM": "dumb", "PATH": os.environ["PATH"]}
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(folder)
        os.execvpe(shell[0], shell, environment)
    try:
        read_until(terminal, "ready> ", WAITS)
        os.write(terminal, line.encode())
        read_until(terminal, line, WAITS)
        os.write(terminal, b"\t")
        # zsh writes the rest of the word
        return line + read_until(terminal, " ", waits)
    finally:
        os.close(terminal)
        os.waitpid(process, 0)


def read_until(terminal: int, wanted: str, waits: float) -> str:
    """Return what comes until some words have come, or nothing has for so many seconds."""
    shown, end = "", time.monotonic() + waits
    while wanted not in shown and time.monotonic() < end:
        ready, _, _ = select.select([terminal], [], [], 0.2)
        if ready:
            shown += os.read(terminal, 4096).decode(errors="replace")
    return shown
