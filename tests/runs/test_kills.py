"""Kills: a verb dies at one of its file-system events; repeated as typed, it ends as if never
interrupted.

By default each verb dies at up to a dozen events, spread over all of them; with NANOSAE_EVERY_KILL
set it dies at every one, which takes long.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="the processes are forked"),
]
KILLED = 77
KILLS_PER_VERB = 12
TIMES = {"seconds", "rows_per_second", "checksum"}
# what must be there before a verb can run
NEEDS = {
    "train": (),
    "force": ("train", "encode", "label"),
    "encode": ("train",),
    "append": ("train", "encode"),
    "replace": ("train", "encode"),
    "describe": ("train", "encode"),
    "label": ("train", "encode"),
    "contrast": ("train", "encode", "label"),
    "report": ("train", "encode", "describe"),
    "embed": (),
    "run": (),
}


class Server:
    def __init__(self):
        here = Path(__file__).parents[1]
        path = [str(here), os.environ.get("PYTHONPATH", "")]
        env = os.environ | {"PYTHONPATH": ":".join(path)}
        pipe = subprocess.PIPE
        command = [sys.executable, str(here / "kill_server.py")]
        self.process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, text=True, env=env
        )

    def __call__(self, verb, folder, at=0):
        self.process.stdin.write(json.dumps([verb, str(folder), at]) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@pytest.fixture(scope="module")
def server():
    found = Server()
    yield found
    found.process.stdin.close()
    found.process.wait()
    found.process.stdout.close()


@pytest.fixture(scope="module")
def states(server, tmp_path_factory):
    """Folders after the verbs that another one needs."""
    folder = tmp_path_factory.mktemp("states")
    made = {}

    def state(verbs):
        if verbs not in made:
            path = folder / ("-".join(verbs) or "empty")
            if verbs:
                shutil.copytree(state(verbs[:-1]), path)
                assert server(verbs[-1], path)[0] == 0
            else:
                path.mkdir()
                (path / "texts.txt").write_text("a text\nanother text\nno more\n")
            made[verbs] = path
        return made[verbs]

    return state


def without_times(value):
    if isinstance(value, dict):
        return {k: without_times(v) for k, v in value.items() if k not in TIMES}
    return [without_times(item) for item in value] if isinstance(value, list) else value


def content(path):
    """What a file holds, without the times in it."""
    if path.name == "metrics.jsonl":
        return [
            without_times(json.loads(line)) for line in path.read_text().splitlines()
        ]
    if path.name == "training.json":
        facts = json.loads(path.read_text())
        facts["checksums"].pop("metrics.jsonl", None)  # of a file with times
        return without_times(facts)
    if path.name == "stages.json":
        return path.read_text()  # it names the folder, as pages do
    if path.suffix == ".json":
        return without_times(json.loads(path.read_text()))
    if path.suffix == ".html":
        text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "", path.read_text())
        # the last is the length of a file with times
        return re.sub(r'"(seconds|rows_per_second|quiet|offset)":[^,}]*', "", text)
    if path.suffix == ".npz":
        with zipfile.ZipFile(path) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    return path.read_bytes()


def folder_content(folder):
    files = {
        p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()
    }
    # nobody holds them
    files = {name: p for name, p in files.items() if p.suffix != ".lock"}
    found = {name: content(path) for name, path in files.items()}
    return {name.replace(str(folder), "RUN"): value for name, value in found.items()}


def difference(whole, cut):
    """ "" if two folders are equal but for their paths, or what differs."""
    one, other = folder_content(whole), folder_content(cut)
    if one.keys() != other.keys():
        return f"files: {sorted(one.keys() ^ other.keys())}"
    for name, value in one.items():
        same = value == other[name]
        if not same and isinstance(value, str):
            same = value.replace(whole.name, "X") == other[name].replace(cut.name, "X")
        if not same:
            return f"{name} differs"
    return ""


def chosen_events(n_events):
    """Number the events at which a verb dies, the first and the last among them."""
    if os.environ.get("NANOSAE_EVERY_KILL"):
        return range(1, n_events + 1)
    return np.unique(
        np.linspace(1, n_events, min(n_events, KILLS_PER_VERB)).round().astype(int)
    ).tolist()


@pytest.mark.parametrize("verb", NEEDS)
def test_a_verb_that_was_killed_anywhere_and_repeated_ends_the_same(
    verb, server, states, tmp_path
):
    base = states(NEEDS[verb])
    whole = tmp_path / "folder-one"
    shutil.copytree(base, whole)
    code, events = server(verb, whole)
    assert code == 0
    assert events > 1
    wrong = []
    for at in chosen_events(events):
        cut = tmp_path / "folder-two"
        shutil.copytree(base, cut)
        code, _ = server(verb, cut, at)
        assert code == KILLED, at
        # an error if all was done: there is a run, a corpus …
        code, _ = server(verb, cut)
        problem = difference(whole, cut)
        if problem:
            wrong.append(f"event {at}: {problem}, it ends with {code}")
        shutil.rmtree(cut)
    assert not wrong, "\n".join([f"{len(wrong)} of {events} events:", *wrong])


def test_the_comparison_can_fail(states, tmp_path):
    base = states(("train", "encode"))
    cut = tmp_path / "cut"
    shutil.copytree(base, cut)
    assert difference(base, cut) == ""
    path = cut / "codes" / "default" / "00000" / "row_values.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    assert "row_values.npy differs" in difference(base, cut)
    path.unlink()
    assert "files:" in difference(base, cut)
    assert np.load(base / "codes" / "default" / "00000" / "row_ptr.npy")[0] == 0
