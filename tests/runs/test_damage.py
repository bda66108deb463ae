"""Damage: every file of a run × what may happen to it × everything that reads it.

A reader returns what it returned before the damage, or raises an error that names the file, or says
that a result is stale. A process reads the damaged folder, so that a crash would be noticed.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from complete_run import READERS, damages, files_of, make_run

pytestmark = pytest.mark.slow

WORKER = """
import json, sys
from pathlib import Path
from complete_run import READERS, read
run = Path(sys.argv[1])
for line in sys.stdin:
    reader = json.loads(line)
    print(json.dumps(read(reader, run), default=str), flush=True)
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("damage")
    make_run(folder / "run", seed=0)
    make_run(folder / "other", seed=1)
    return folder / "run", folder / "other"


class Reader:
    """A process that reads a run folder."""

    def __init__(self, run):
        self.run = run
        self.start()

    def start(self):
        command = [sys.executable, "-c", WORKER, str(self.run)]
        path = [str(Path(__file__).parents[1])]
        env = os.environ | {
            "PYTHONPATH": ":".join([*path, os.environ.get("PYTHONPATH", "")])
        }
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, text=True, env=env
        )

    def __call__(self, reader):
        self.process.stdin.write(json.dumps(reader) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            code = self.process.wait()
            self.start()
            return ["crash", code], []
        return json.loads(line)

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture(scope="module")
def reader(runs):
    found = Reader(runs[0])
    yield found
    found.close()


def verdict(found, warned, before, name):
    """ "" if a read of a damaged folder was right, or what was wrong."""
    if found[0] == "crash":
        return f"crash {found[1]}"
    if found[0] == "error":
        if "NanoSAEError" not in found[1]:
            return f"{found[1][0]}: {found[2]}"
        if "StaleError" in found[1]:
            return ""
        return (
            "" if Path(name).name in found[2] else f"does not name the file: {found[2]}"
        )
    if found == before or found[1] == "stale":
        return ""
    said = found[1].get("error", "") if isinstance(found[1], dict) else ""
    if Path(name).name in said and "defect" not in said:
        return ""
    return "" if any(Path(name).name in text for text in warned) else "silently differs"


def test_no_damage_goes_unnoticed(runs, reader):
    run, other = runs
    before = {name: reader(name)[0] for name in READERS}
    assert {name: found[0] for name, found in before.items()} == dict.fromkeys(
        READERS, "value"
    )
    wrong, reads, noticed = [], 0, 0
    for name in files_of(run):
        path = run / name
        content = path.read_bytes()
        for damage, damaged in damages(path, other / name):
            path.write_bytes(damaged)
            for what in READERS:
                found, warned = reader(what)
                reads += 1
                noticed += found != before[what]
                problem = verdict(found, warned, before[what], name)
                if problem:
                    wrong.append(f"{name} {damage}, {what}: {problem}"[:300])
            path.write_bytes(content)
    print(f"{reads} reads, {noticed} noticed, {len(wrong)} wrong")  # noqa: T201
    assert reads >= 900
    assert noticed > 300
    assert not wrong, "\n".join([f"{len(wrong)} of {reads}:", *wrong[:60]])
    assert {name: reader(name)[0] for name in READERS} == before


@pytest.mark.parametrize("reader_", ["weights", "some codes", "features"])
def test_the_verdict_can_fail(runs, reader, reader_):
    before = reader(reader_)[0]
    assert verdict(["value", "other numbers"], [], before, "x") == "silently differs"
    assert verdict(["error", ["KeyError", "Exception"], "x"], [], before, "x")
    assert verdict(
        ["error", ["DataError", "NanoSAEError"], "what?"], [], before, "a/file"
    )
    assert verdict(["crash", -11], [], before, "x")
