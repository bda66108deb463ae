"""Files and folders that appear whole or not at all."""

import errno
import json
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from nanosae import atomic
from nanosae.atomic import (
    move_folder,
    sweep_drafts,
    write_file,
    write_folder,
    write_json,
)
from nanosae.errors import WriteError


def full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_leaves_the_old_file_and_no_draft(tmp_path, monkeypatch):
    path = tmp_path / "f"
    write_file(path, lambda stream: stream.write(b"old"))
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        WriteError, match=r"f could not be written: No space left.*Free some"
    ) as e:
        write_file(path, lambda stream: stream.write(b"new"))
    assert e.value.errno == errno.ENOSPC
    assert e.value.file == path
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_a_full_disk_leaves_the_old_folder(tmp_path, monkeypatch):
    write_folder(tmp_path / "d", lambda draft: (draft / "a").write_text("old"))
    with pytest.raises(WriteError, match="d could not be written"):
        write_folder(tmp_path / "d", full)
    assert (tmp_path / "d" / "a").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["d"]


def test_a_folder_is_not_a_place_for_a_file(tmp_path):
    with pytest.raises(WriteError, match=r"directory\. Give the name of a file"):
        write_file(tmp_path, lambda stream: stream.write(b"x"))
    assert list(tmp_path.iterdir()) == []


def test_errors_of_the_writer_itself_stay_what_they_are(tmp_path):
    with pytest.raises(KeyError):
        write_file(tmp_path / "f", lambda stream: {}["missing"])
    assert [*tmp_path.iterdir()] == []


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(WriteError, match=r"gone.*Create the folder .*gone and repeat"):
        write_file(tmp_path / "gone" / "f", lambda stream: None)


@pytest.mark.skipif(os.name != "posix", reason="modes are those of POSIX")
def test_files_get_the_usual_mode_whoever_made_them(tmp_path):
    def fill(draft):
        (draft / "private").touch(mode=0o600)

    before = os.umask(0o027)
    try:
        write_file(tmp_path / "f", lambda stream: None)
        write_folder(tmp_path / "d", fill)
    finally:
        os.umask(before)
    for path in (tmp_path / "f", tmp_path / "d" / "private"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_drafts_of_the_dead_are_swept_and_those_of_the_living_stay(tmp_path):
    code = (
        "from nanosae.atomic import _draft_name; from pathlib import Path; import sys\n"
    )
    code += "_draft_name(Path(sys.argv[1])).write_text('half')"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "f")], check=True)
    mine = atomic._draft_name(tmp_path / "f")
    mine.write_text("half")
    assert len([*tmp_path.iterdir()]) == 2
    sweep_drafts(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [mine.name]


@pytest.mark.parametrize("name", ["model", "a[1]"])
def test_the_next_writer_restores_and_sweeps_what_the_dead_left(tmp_path, name):
    host, dead = socket.gethostname(), 2**22 + 1
    (tmp_path / f".{name}.replaced.draft-{host}-{dead}-0").mkdir()
    (tmp_path / f".{name}.draft-{host}-{dead}-1").mkdir()

    def fails(_draft):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(WriteError):
        write_folder(tmp_path / name, fails)
    assert [file.name for file in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("was_replaced", [False, True])
def test_a_folder_whose_replacement_was_killed_comes_back(tmp_path, was_replaced):
    host, dead = socket.gethostname(), 2**22 + 1
    renamed = tmp_path / f".model.replaced.draft-{host}-{dead}-0"
    renamed.mkdir()
    (renamed / "weights").write_text("old")
    if was_replaced:
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / "weights").write_text("new")
    sweep_drafts(tmp_path)
    content = (tmp_path / "model" / "weights").read_text()
    assert content == ("new" if was_replaced else "old")
    assert [file.name for file in tmp_path.iterdir()] == ["model"]


def test_a_kill_between_two_names_of_a_folder_loses_nothing(tmp_path):
    target = tmp_path / "model"
    write_folder(target, lambda draft: (draft / "weights").write_text("old"))
    script = """
import os, sys
from pathlib import Path
from nanosae.atomic import write_folder
rename = Path.rename
def rename_once(path, to):
    rename(path, to)
    os._exit(77)
Path.rename = rename_once
write_folder(sys.argv[1], lambda draft: (draft / "weights").write_text("new"))
"""
    killed = subprocess.run([sys.executable, "-c", script, str(target)], check=False)
    assert killed.returncode == 77
    assert not target.exists()
    sweep_drafts(tmp_path)
    assert (target / "weights").read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["model"]


def test_json_has_no_nan(tmp_path):
    write_json(tmp_path / "a.json", {"ž": 1})
    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == {"ž": 1}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", float("nan"))


def test_a_moved_folder_replaces_another(tmp_path):
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").write_text(name)
    move_folder(tmp_path / "new", tmp_path / "old")
    assert (tmp_path / "old" / "f").read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["old"]


def test_hidden_files_of_others_are_no_drafts(tmp_path):
    for name in (".f.draft-final", ".f.draft-a-b-c"):
        (tmp_path / name).touch()
    sweep_drafts(tmp_path)
    write_file(tmp_path / "f", lambda stream: stream.write(b"new"))
    assert len([*tmp_path.iterdir()]) == 3


def test_folders_are_written_by_the_rules_of_windows(tmp_path, monkeypatch):
    """There, a folder cannot be opened, and a file is synchronised only if open to write."""
    real_open, real_fsync = os.open, os.fsync
    writable = set()

    def opens(path, flags, *more, **options):
        if Path(path).is_dir():
            raise PermissionError(errno.EACCES, "Permission denied")
        descriptor = real_open(path, flags, *more, **options)
        if flags & (os.O_RDWR | os.O_WRONLY):
            writable.add(descriptor)
        return descriptor

    def synchronises(descriptor):
        if descriptor not in writable:
            raise OSError(errno.EBADF, "Bad file descriptor")
        real_fsync(descriptor)

    def fill(draft):
        (draft / "inner").mkdir()
        (draft / "inner" / "a").write_text("new")

    monkeypatch.setattr(os, "open", opens)
    monkeypatch.setattr(os, "fsync", synchronises)
    with pytest.raises(WriteError):  # the check can fail
        write_folder(tmp_path / "d", fill)
    monkeypatch.setattr(atomic, "POSIX", False)
    write_folder(tmp_path / "d", fill)
    assert (tmp_path / "d" / "inner" / "a").read_text() == "new"
