"""The code blocks of a page: find them, run them in order, capture their output.

A page's Python blocks share one namespace, like the cells of a notebook; its bash blocks run with
`bash -eu` in the same folder, where `pip install .` does nothing. A comment on the line before a
block marks special blocks:

    <!-- not run: REASON -->    the block is shown but not run
    <!-- output -->             the output of the previous block, written by `make_outputs.py`
    <!-- output: head 8 -->     its first 8 lines and an ellipsis
    <!-- output: tail 8 -->     an ellipsis and its last 8 lines
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BLOCK = re.compile(
    r"(?:^<!-- (?P<comment>[^\n]*?) -->\n)?^```(?P<language>\w+)[^\n]*\n(?P<code>.*?)^```$",
    re.M | re.S,
)
NOT_RUN = ("not run", "tests", "ray")  # prefixes of the comments on such blocks
SERVING = ("explore", "watch")  # verbs that run until they are interrupted
STRICT = {"PYTHONWARNINGS": "error::UserWarning:nanosae"}  # environment of the blocks
SIGTERM = 128 + 15  # exit code of a terminated command
PASSING = re.compile(r"\(\d+ s\)|/tmp/[\w-]+")  # differs between runs
VARYING = re.compile(
    r"“[^”]*”|\d[\d,.]*\d|\d|/tmp/[\w-]+"
)  # differs between processors
STAND_IN = '#!/bin/sh\nexec "{python}" "{script}" "$@"\n'
INSTALLED = '#!/bin/sh\n[ "$*" = "install ." ]\n'  # what runs the pages is installed


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes:
        language: The word after the fence.
        code: The contents.
        comment: The comment on the line before, or "".
        line: Line number of the fence in the page, from 1.
        span: Start and end of the code in the page's text.
    """

    language: str
    code: str
    comment: str
    line: int
    span: tuple[int, int]

    @property
    def is_run(self) -> bool:
        """Whether the block is executed."""
        is_code = self.language in ("python", "bash")
        return is_code and not self.comment.startswith(NOT_RUN)

    @property
    def is_output(self) -> bool:
        """Whether the block shows the output of the previous one."""
        return self.comment.startswith("output")


class BlockError(AssertionError):
    """A block failed; the message has its page and line, and the cause."""


def blocks(text: str) -> list[Block]:
    """Return the fenced blocks of a page in order."""
    found = []
    for match in BLOCK.finditer(text):
        start, _ = match.span("code")
        found.append(
            Block(
                match["language"],
                match["code"],
                match["comment"] or "",
                text.count("\n", 0, start),
                match.span("code"),
            )
        )
    return found


class Session:
    """Runs the blocks of one page in a folder.

    Args:
        page: Name of the page, for messages.
        folder: Working directory of the blocks.
        separate: Whether each Python block runs in its own process, in which all warnings are
            errors, instead of in one namespace.

    Attributes:
        programs: Folder of the programs that the blocks find first.
    """

    def __init__(self, page: str, folder: Path, *, separate: bool = False) -> None:
        self.page = page
        self.folder = folder
        self.separate = separate
        self._namespace: dict[str, Any] = {"__name__": "__main__"}
        self.programs = folder / ".programs"
        self.programs.mkdir()
        nanosae = STAND_IN.format(python=sys.executable, script=__file__)
        for name, script in (("nanosae", nanosae), ("pip", INSTALLED)):
            program = self.programs / name
            program.write_text(script)
            program.chmod(0o755)

    def run(self, block: Block) -> str:
        """Run a block and return its output.

        Raises:
            BlockError: If it fails.
        """
        try:
            if block.language == "bash":
                return self._run_bash(block.code)
            return self._run_python(block)
        except Exception as error:
            message = f"{self.page}, line {block.line}: {type(error).__name__}: {error}"
            raise BlockError(message) from error

    def _run_bash(self, code: str) -> str:
        return self._run_process(["bash", "-eu", "-c", code])

    def _run_process(self, command: list[str]) -> str:
        python_folder = str(Path(sys.executable).parent)
        path = [str(self.programs), python_folder, os.environ["PATH"]]
        environment = {**os.environ, **STRICT, "PATH": os.pathsep.join(path)}
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise RuntimeError(f"exit code {done.returncode}: {done.stderr[-1500:]}")
        return done.stdout

    def _run_python(self, block: Block) -> str:
        if self.separate:
            return self._run_process([sys.executable, "-W", "error", "-c", block.code])
        printed = io.StringIO()
        code = compile(block.code, f"{self.page}:{block.line}", "exec")
        with contextlib.chdir(self.folder), contextlib.redirect_stdout(printed):
            exec(code, self._namespace)
        return printed.getvalue()


def shown(printed: str, comment: str) -> str:
    """Return the part of an output that a page shows, according to its comment."""
    lines = [line.rstrip() for line in printed.strip("\n").splitlines()]
    _, _, wanted = comment.partition(":")
    if wanted:
        end, number = wanted.split()
        count = int(number)
        if len(lines) > count:
            lines = [*lines[:count], "…"] if end == "head" else ["…", *lines[-count:]]
    return "\n".join(lines) + "\n"


def keep_passing(old: str, new: str) -> str:
    """Return the new output with the seconds and temporary folders of the old one.

    Example:
        >>> keep_passing("train 8 (5 s)", "train 9 (7 s)")
        'train 9 (5 s)'
    """
    known = iter(PASSING.findall(old))
    return PASSING.sub(lambda found: next(known, found[0]), new)


def form(output: str) -> list[str]:
    """Return the machine-independent part of what `nanosae run` prints.

    Numbers, labels and findings are removed.

    Example:
        >>> form("train   1,024 features (6 s)")
        ['train # features (# s)']
        >>> form("  • Texts about “sea” make up 9 % of fish.")
        ['•']
    """
    lines = []
    for line in output.splitlines():
        words = VARYING.sub("#", line).split()
        if words[:2] == ["biggest", "topics:"]:
            words = words[:2]
        lines.append("•" if words[:1] == ["•"] else " ".join(words))
    return lines


def _stand_in(words: list[str]) -> int:
    """Run a nanosae command; stop one that serves as soon as it prints its address."""
    command = [sys.executable, "-m", "nanosae", *words]
    if words[:1] not in [[verb] for verb in SERVING]:
        return subprocess.run(command).returncode
    if words[0] == "explore":
        command += ["--no-browser"]
    command += ["--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        address = server.stdout.readline()
        print(address, end="")
        server.terminate()
    is_served = "http://127.0.0.1" in address
    return 0 if is_served and server.returncode == SIGTERM else 1


if __name__ == "__main__":
    sys.exit(_stand_in(sys.argv[1:]))
