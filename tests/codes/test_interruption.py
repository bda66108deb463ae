"""Writers that fail, are killed, or meet another one."""

import errno
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import scipy.sparse as sp

from nanosae.codes import Codes, CodesWriter, write_codes
from nanosae.codes import writer as codes_module
from written_codes import M, N, rebuilt


def test_a_writer_that_raises_leaves_its_finished_shards(tmp_path, dense):
    def interrupted():
        with CodesWriter(tmp_path / "c", n_features=M) as writer:
            writer.append(sp.csr_array(dense[:100]))
            writer.append(sp.csr_array(dense[:, :3]))

    with pytest.raises(ValueError, match="the rows have 3 features"):
        interrupted()
    with pytest.raises(FileNotFoundError, match="is incomplete"):
        Codes(tmp_path / "c")
    with CodesWriter(tmp_path / "c", n_features=M, append=True) as writer:
        assert writer.n_rows == 64
        writer.append(sp.csr_array(dense[writer.n_rows :]))
    np.testing.assert_array_equal(rebuilt(Codes(tmp_path / "c")), dense)
    with pytest.raises(ValueError, match="is closed"):
        writer.append(sp.csr_array(dense))


@pytest.mark.parametrize("at", [1, 4, 7, 8])
def test_a_full_disk_leaves_the_old_corpus(tmp_path, dense, monkeypatch, at):
    write_codes(tmp_path / "c", sp.csr_array(dense[:60]), texts=["a"] * 60)
    writer = CodesWriter(tmp_path / "c", n_features=M, append=True)
    writer.append(sp.csr_array(dense[60:90]), table=["b"] * 30)
    calls = []

    def full(handle):
        calls.append(handle)
        if len(calls) == 2 * at - 1:  # the folder is synchronised after each file
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        OSError, match="No space left on device; its first 60 rows are safe"
    ) as e:
        writer.flush()
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    assert e.value.errno == errno.ENOSPC
    with pytest.raises(ValueError, match="is closed"):
        writer.append(sp.csr_array(dense[60:90]), table=["b"] * 30)
    np.testing.assert_array_equal(rebuilt(Codes(tmp_path / "c")), dense[:60])
    with CodesWriter(tmp_path / "c", n_features=M, append=True) as writer:
        writer.append(sp.csr_array(dense[60:90]), table=["b"] * 30)
    codes = Codes(tmp_path / "c")
    codes.verify()
    np.testing.assert_array_equal(rebuilt(codes), dense[:90])
    assert sorted(p.name for p in codes.path.iterdir()) == [
        "00000",
        "00001",
        "manifest.json",
    ]


WRITE_FOREVER = """
import sys, numpy as np, scipy.sparse as sp
import nanosae.codes.writer as c
c.SHARD_ROWS = 500
with c.CodesWriter(sys.argv[1], n_features=50, append=True) as w:
    while True:
        i = np.arange(w.n_rows, w.n_rows + 500)
        w.append((i % 7 + 1.0, i % 50, np.arange(501)), [str(j) for j in i])
"""


def drafted(path):
    """How many rows an unfinished corpus holds."""
    try:
        return json.loads((path / "manifest.json").read_text())["draft"]["n_rows"]
    except FileNotFoundError:
        return 0


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is a POSIX signal")
def test_a_killed_writer_is_continued_after_its_last_shard(tmp_path):
    path = tmp_path / "c"
    seen = 0
    for wait in (0.05, 0.11, 0.17):
        process = subprocess.Popen([sys.executable, "-c", WRITE_FOREVER, str(path)])
        while drafted(path) == seen:
            assert process.poll() is None
            time.sleep(0.01)
        time.sleep(wait)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert drafted(path) > seen
        seen = drafted(path)
    with CodesWriter(path, n_features=50, append=True) as writer:
        assert writer.n_rows == seen
    codes = Codes(path)
    codes.verify()
    i = np.arange(seen)
    assert codes.texts().tolist() == [str(j) for j in i]
    everything = codes.rows(0, seen)
    np.testing.assert_array_equal(everything.indices, i % 50)
    np.testing.assert_array_equal(everything.data, i % 7 + 1)
    assert len([*path.iterdir()]) == 1 + len(codes.manifest["shards"])


def test_a_limit_on_file_size_is_an_oserror(tmp_path):
    resource = pytest.importorskip("resource")
    code = f"""
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, {resource.RLIM_INFINITY}))
import numpy as np, scipy.sparse as sp
from nanosae.codes import CodesWriter
try:
    with CodesWriter({str(tmp_path)!r}, n_features=10) as w:
        w.append(sp.csr_array(np.ones((10, 10))))
        w.flush()
        w.append(sp.csr_array(np.ones((9000, 10))))
except OSError as e:
    print(e)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "cannot write shard 00001" in done.stdout
    assert "its first 10 rows are safe" in done.stdout
    assert drafted(tmp_path) == 10


def test_a_second_writer_is_refused_and_told_of_the_first(tmp_path, dense, monkeypatch):
    monkeypatch.setattr(codes_module, "WAIT", 0.1)
    write_codes(tmp_path / "c", sp.csr_array(dense))
    with CodesWriter(tmp_path / "c", n_features=M, append=True) as one:
        one.append(sp.csr_array(dense[:7]))
        with pytest.raises(BlockingIOError, match=f"process {os.getpid()} on"):
            CodesWriter(tmp_path / "c", n_features=M, append=True)
        assert Codes(tmp_path / "c").n_rows == N  # readers do not wait
    assert Codes(tmp_path / "c").n_rows == N + 7
    assert [path.name for path in tmp_path.iterdir()] == ["c"]  # the lock is gone
