"""What people edit: read back by another process, safe from two writers, a kill and damage."""

import sqlite3
import subprocess
import sys
from contextlib import closing

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from nanosae.codes import write_codes
from nanosae.errors import ConfigError, DamagedFileError, DataError
from nanosae.runs import annotations as edits
from nanosae.runs.tables import known_labels, save_features

WRITE = """
import sys
from nanosae.runs import annotations as edits
run, start = sys.argv[1], int(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
for j in range(start, start + 60):
    edits.bookmark(run, j)
    edits.rename(run, j % 7, f"{start} {j}")
    edits.tag(run, "default", "seen", [j, j + 1])
"""


def writer(run, start):
    command = [sys.executable, "-c", WRITE, str(run), str(start)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def go(*processes):
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()


def test_names_bookmarks_and_tags_round_trip(tmp_path):
    assert edits.names(tmp_path) == {}
    assert edits.bookmarks(tmp_path) == []
    assert edits.tags(tmp_path, "a") == {}
    assert not (tmp_path / "user.sqlite").exists()  # reading makes nothing
    edits.rename(tmp_path, 3, "'; DROP TABLE names; -- <b>")
    edits.rename(tmp_path, 2, "first")
    edits.rename(tmp_path, 2, "second")
    edits.rename(tmp_path, 1, "gone")
    edits.rename(tmp_path, 1, "")
    assert edits.names(tmp_path) == {2: "second", 3: "'; DROP TABLE names; -- <b>"}
    for j in (5, 4, 5):
        edits.bookmark(tmp_path, j)
    edits.bookmark(tmp_path, 4, on=False)
    assert edits.bookmarks(tmp_path) == [5]
    edits.tag(tmp_path, "a", "x", np.array([7, 1, 7]))
    edits.tag(tmp_path, "b", "x", [2])
    edits.tag(tmp_path, "a", "y", [1, 2])
    edits.tag(tmp_path, "a", "y", [2], on=False)
    assert edits.tags(tmp_path, "a") == {"x": 2, "y": 1}
    assert edits.tagged(tmp_path, "a", "x").tolist() == [1, 7]
    assert edits.tagged(tmp_path, "a", "none").tolist() == []
    assert edits.tags_of(tmp_path, "a", 1) == ["x", "y"]


def test_numbers_may_be_those_of_numpy(tmp_path):
    features = np.array([3, 5])
    for feature in features:
        edits.rename(tmp_path, feature, f"name {feature}")
        edits.bookmark(tmp_path, feature)
    edits.rename(tmp_path, features[0], "another")
    edits.bookmark(tmp_path, features[1], on=False)
    edits.tag(tmp_path, "a", "x", pd.Series([1.0, 2.0]))
    assert edits.names(tmp_path) == {3: "another", 5: "name 5"}
    assert edits.bookmarks(tmp_path) == [3]
    assert edits.tagged(tmp_path, "a", "x").tolist() == [1, 2]


def test_names_of_people_win_over_labels(tmp_path):
    codes = write_codes(tmp_path / "codes" / "default", sp.csr_array(np.eye(3)))
    edits.rename(tmp_path, 2, "mine")
    assert known_labels(codes) == {2: "mine"}
    labels = pd.DataFrame({"feature": [0, 1, 2], "label": ["a", None, "c"]})
    save_features(tmp_path, labels)
    assert known_labels(codes) == {0: "a", 2: "mine"}


@pytest.mark.slow
def test_two_writers_lose_nothing(tmp_path):
    with writer(tmp_path, 0) as one, writer(tmp_path, 1000) as other:
        go(one, other)
        assert [one.wait(60), other.wait(60)] == [0, 0]
    assert edits.bookmarks(tmp_path) == [*range(60), *range(1000, 1060)]
    assert edits.tags(tmp_path, "default") == {"seen": 122}
    assert len(edits.names(tmp_path)) == 7


@pytest.mark.slow
def test_a_killed_writer_leaves_a_valid_file(tmp_path):
    with writer(tmp_path, 0) as process:
        go(process)
        while len(edits.bookmarks(tmp_path)) < 5:
            assert process.poll() is None
        process.kill()
    known = edits.bookmarks(tmp_path)
    edits.bookmark(tmp_path, 5000)
    assert edits.bookmarks(tmp_path) == [*known, 5000]
    with closing(sqlite3.connect(tmp_path / "user.sqlite")) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "user.sqlite").write_bytes(
        b"no database, but long enough to be read " * 40
    )
    for call in (lambda: edits.names(tmp_path), lambda: edits.bookmark(tmp_path, 1)):
        with pytest.raises(ValueError, match=r"user\.sqlite is damaged .*Move it away"):
            call()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE checksum SET total = 'many'",
        "UPDATE checksum SET total = total + 1",
        "DELETE FROM checksum",
        "DROP TABLE names",
    ],
)
def test_a_checksum_that_is_none_is_damage(tmp_path, change):
    edits.rename(tmp_path, 3, "sea")
    with closing(sqlite3.connect(tmp_path / "user.sqlite")) as db:
        db.execute(change)
        db.commit()
    with pytest.raises(DamagedFileError, match=r"user\.sqlite is damaged"):
        edits.names(tmp_path)


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (lambda run: edits.rename(run, {}, "sea"), DataError),
        (lambda run: edits.rename(run, 3, "sea\ud800"), ConfigError),
        (lambda run: edits.bookmark(run, 2.5), DataError),
        (lambda run: edits.tag(run, "a", "x", [None]), DataError),
        (lambda run: edits.tag(run, "a", "x", [1, -1]), DataError),
        (lambda run: edits.tag(run, "a", "x", 3), TypeError),
    ],
    ids=["feature", "name", "bookmark", "row", "rows", "no rows"],
)
def test_only_a_damaged_file_is_called_damaged(tmp_path, call, kind):
    edits.rename(tmp_path, 3, "sea")
    before = (tmp_path / "user.sqlite").read_bytes()
    with pytest.raises(kind):
        call(tmp_path)
    assert (tmp_path / "user.sqlite").read_bytes() == before
    assert edits.names(tmp_path) == {3: "sea"}


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(OSError, match=r"nowhere cannot be written.*writable"):
        edits.bookmark(tmp_path / "nowhere", 1)
