"""Locks: one holder, who is named; released however the holder ends."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import types

import pytest

from nanosae import lock
from nanosae.errors import BusyError, WriteError
from nanosae.lock import Lock

HOLD = """
import sys, time
from nanosae.lock import Lock
held = Lock(sys.argv[1])
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path / ".lock")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_another_process_is_refused_and_told_by_whom_and_since_when(tmp_path, holder):
    with pytest.raises(
        BusyError, match=rf"process {holder.pid} on \S+ \(.*\), since 2\d\d\d-"
    ):
        Lock(tmp_path / ".lock")
    facts = json.loads((tmp_path / ".lock").read_text())
    assert facts["pid"] == holder.pid


def test_a_killed_holder_releases_it(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with Lock(tmp_path / ".lock"):
        assert json.loads((tmp_path / ".lock").read_text())["pid"] == os.getpid()
    assert not (tmp_path / ".lock").exists()


def test_short_writers_wait_for_each_other(tmp_path):
    path, seen = tmp_path / "n", []
    path.write_text("0")

    def add():
        for _ in range(20):
            with Lock(tmp_path / ".lock", wait=10):
                n = int(path.read_text())
                time.sleep(0.001)
                path.write_text(str(n + 1))
                seen.append(n)

    threads = [threading.Thread(target=add) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() == "60"
    assert sorted(seen) == list(range(60))


def test_a_wait_ends(tmp_path, holder):
    began = time.monotonic()
    with pytest.raises(BusyError), Lock(tmp_path / ".lock", wait=0.2):
        pass
    assert 0.2 <= time.monotonic() - began < 5


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(WriteError, match="gone cannot be written"):
        Lock(tmp_path / "gone" / ".lock")


def test_without_file_locks_the_process_that_is_named_counts(
    tmp_path, monkeypatch, holder
):
    monkeypatch.setattr(lock, "_lock", lambda stream, path: lock._lock_by_process(path))
    with pytest.raises(BusyError, match=str(holder.pid)):
        Lock(tmp_path / ".lock")
    holder.kill()
    holder.wait()
    Lock(tmp_path / ".lock").release()
    assert not (tmp_path / ".lock").exists()


class WindowsLocks(types.ModuleType):
    """What `msvcrt` offers: byte ranges of files, locked by whoever opened them."""

    LK_NBLCK = 2

    def __init__(self):
        super().__init__("msvcrt")
        self.held = set()

    def locking(self, descriptor, mode, n_bytes):
        assert (mode, n_bytes) == (self.LK_NBLCK, 1)
        file = os.fstat(descriptor)
        place = os.lseek(descriptor, 0, os.SEEK_CUR)
        assert place > 1_000_000, "others must be able to read who holds it"
        key = (file.st_ino, place)
        if key in self.held:
            raise PermissionError(13, "Permission denied")
        self.held.add(key)


@pytest.fixture
def windows(monkeypatch):
    locks = WindowsLocks()
    monkeypatch.setitem(sys.modules, "fcntl", None)  # its import fails
    monkeypatch.setitem(sys.modules, "msvcrt", locks)
    return locks


def test_windows_locks_a_byte_far_behind_the_content(tmp_path, windows):
    held = Lock(tmp_path / ".lock")
    assert len(windows.held) == 1
    assert json.loads((tmp_path / ".lock").read_text())["pid"] == os.getpid()
    with pytest.raises(BusyError, match=f"process {os.getpid()} on"):
        Lock(tmp_path / ".lock")
    held.release()
    assert not (tmp_path / ".lock").exists()
