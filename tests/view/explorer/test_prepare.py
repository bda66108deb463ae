"""Maps and text indexes are made once, in processes of their own, and survive kills."""

import json
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.request import Request, urlopen

import numpy as np
import pytest
from starlette.testclient import TestClient

from explored import get, make_run
from nanosae.analysis.text_index import has_index, text_index
from nanosae.codes import Codes
from nanosae.runs import annotations
from nanosae.view.explorer import server
from nanosae.view.explorer.corpus import OpenCorpus
from nanosae.view.explorer.overview import overview
from nanosae.view.explorer.points import map_points
from nanosae.view.explorer.prepare import Jobs, load_map, prepare
from nanosae.view.explorer.selections import select_rows


def test_map_and_index_are_made_when_missing_or_damaged(tmp_path, planted):
    run = make_run(tmp_path / "r", planted)
    codes = Codes.open(run)
    good = load_map(codes)
    (codes.path / "map.npz").write_bytes((codes.path / "map.npz").read_bytes()[:2000])
    assert load_map(codes) is None
    corpus = OpenCorpus(run)
    assert overview(corpus, Jobs())["map"] is None
    assert not overview(corpus, Jobs())["index"]
    with pytest.raises(ValueError, match="not ready"):
        map_points(corpus, "rows")
    with pytest.raises(ValueError, match="not ready"):
        select_rows(corpus, {"lasso": [[0, 0], [1, 0], [1, 1]]})
    for what in ("map", "index"):
        prepare(codes.path, what)
    assert overview(corpus, Jobs())["map"] == "PCA"
    assert overview(corpus, Jobs())["index"]
    assert np.array_equal(load_map(codes)["rows"], good["rows"])
    assert not list(codes.path.glob(".*draft*"))


def test_the_server_prepares_what_is_missing(tmp_path, planted, monkeypatch):
    run = make_run(tmp_path / "r", planted)
    started = []
    real = subprocess.Popen

    def popen(command, **options):
        started.append(command[-1])
        return real(
            [sys.executable, "-c", "import sys; sys.exit('no room')"], **options
        )

    monkeypatch.setattr(subprocess, "Popen", popen)
    (run / "codes" / "default" / "map.npz").unlink()
    with TestClient(
        server.make_app(OpenCorpus(run)), base_url="http://localhost"
    ) as client:
        assert started == ["map", "index"]
        while "working" in get(client, "/api/state")["jobs"].values():
            pass
        assert get(client, "/api/state")["jobs"] == {"map": "failed", "index": "failed"}
        assert get(client, "/api/texts")["total"] == 900  # usable meanwhile


def serve(run):
    """Start `nanosae explore`; return the process and its address."""
    command = [
        sys.executable,
        "-m",
        "nanosae",
        "explore",
        str(run),
        "--port",
        "0",
        "--no-browser",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    return process, process.stdout.readline().split()[0]


def change(url, path, body):
    data, kind = json.dumps(body).encode(), {"Content-Type": "application/json"}
    with urlopen(Request(f"{url}api/{path}", data, kind), timeout=60) as answer:
        return json.loads(answer.read())


def working(url):
    with urlopen(f"{url}api/state", timeout=60) as answer:
        return json.loads(answer.read())["jobs"]


@pytest.mark.slow
def test_two_corpuss_on_one_run_lose_no_bookmark(tmp_path, planted):
    run = make_run(tmp_path / "r", planted)
    text_index(Codes.open(run))
    (one, here), (other, there) = serve(run), serve(run)
    with one, other, ThreadPoolExecutor(2) as pool:
        for url, first in ((here, 0), (there, 1)):
            mine = range(first, 48, 2)
            pool.submit(
                lambda url=url, mine=mine: [
                    (
                        change(url, "bookmark", {"feature": j, "on": True}),
                        change(url, "rename", {"feature": j, "name": f"{j} of {url}"}),
                    )
                    for j in mine
                ]
            )
        pool.shutdown()
        for process in (one, other):
            process.terminate()
        assert [one.wait(30), other.wait(30)] == [128 + signal.SIGTERM] * 2
    assert annotations.bookmarks(run) == list(range(48))
    assert annotations.names(run) == {
        j: f"{j} of {(here, there)[j % 2]}" for j in range(48)
    }


@pytest.mark.slow
@pytest.mark.parametrize("after", [0, 5, 25])
def test_a_killed_server_leaves_a_valid_run(tmp_path, planted, after):
    run = make_run(tmp_path / "r", planted)
    codes = Codes.open(run)
    (codes.path / "map.npz").unlink()
    process, url = serve(run)
    with process:
        for j in range(after):
            change(url, "bookmark", {"feature": j, "on": True})
        process.kill()
    known = annotations.bookmarks(run)
    assert known == list(range(after))
    codes.verify()
    assert load_map(codes) is not None or not (codes.path / "map.npz").exists()
    process, url = serve(run)
    with process:
        while working(url):
            time.sleep(0.1)
        process.terminate()
    assert load_map(codes) is not None
    assert has_index(codes)
    assert not list(codes.path.glob(".map.npz.draft*"))
