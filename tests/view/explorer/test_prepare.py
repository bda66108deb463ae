"""Maps and text indexes are made once, in processes of their own, and survive kills."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.request import Request, urlopen

import numpy as np
import pytest
from sklearn.decomposition import PCA
from starlette.testclient import TestClient

from explored import get, make_run, points
from nanosae.analysis.search.text_index import has_index, text_index
from nanosae.codes import Codes
from nanosae.runs import annotations
from nanosae.view.explorer import server
from nanosae.view.explorer.corpus import OpenCorpus
from nanosae.view.explorer.overview import overview
from nanosae.view.explorer.points import map_regions
from nanosae.view.explorer.prepare import Jobs, first_map, load_map, prepare
from nanosae.view.explorer.selections import select_rows


def test_map_and_index_are_made_when_missing_or_damaged(tmp_path, planted):
    run = make_run(tmp_path / "r", planted)
    codes = Codes.open(run)
    good = load_map(codes)
    (codes.path / "map.npz").write_bytes((codes.path / "map.npz").read_bytes()[:2000])
    assert load_map(codes) is None
    corpus = OpenCorpus(run)
    assert overview(corpus, Jobs())["map"]["first"]
    assert not overview(corpus, Jobs())["index"]
    for what in ("map", "index"):
        prepare(codes.path, what)
    stored = overview(corpus, Jobs())["map"]
    assert (stored["method"], stored["first"]) == ("PCA", False)
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
        both = {"map": "working", "index": "working"}
        assert get(client, "/api/state")["jobs"] == both
        assert started == []  # the first map is made and seen before
        points(client, "rows")
        while "working" in get(client, "/api/state")["jobs"].values():
            pass
        assert get(client, "/api/state")["jobs"] == {"map": "failed", "index": "failed"}
        assert started == ["map", "index"]
        assert get(client, "/api/texts")["total"] == 900  # usable meanwhile


def test_a_server_that_is_stopped_starts_nothing(tmp_path, planted, monkeypatch):
    run = make_run(tmp_path / "r", planted)
    monkeypatch.setattr(subprocess, "Popen", None)
    jobs = Jobs()
    jobs.plan(Codes.open(run))
    jobs.stop()
    jobs.start()
    assert jobs.states() == {}


def test_the_first_map_is_the_principal_plane_of_what_codes_decode_to(corpus, dense):
    found = first_map(corpus.codes)
    assert set(found) == set(load_map(corpus.codes))
    decoded = dense @ corpus.model.W_dec
    wanted = PCA(2).fit_transform(decoded)
    assert _agree(found["rows"], wanted) > 0.999
    assert _agree(found["features"], PCA(2).fit_transform(corpus.directions)) > 0.999
    assert _agree(found["rows"], np.random.default_rng(0).normal(size=(900, 2))) < 0.5
    dense[:, dense.astype(bool).mean(0) > 0.2] = 0
    leader = np.where(dense.any(1), dense.argmax(1), -1)
    assert found["led"].tolist() == leader.tolist()


def test_features_that_are_never_active_do_not_turn_the_first_map(corpus, monkeypatch):
    counts = corpus.codes.counts.copy()
    counts[20:] = 0
    monkeypatch.setattr(type(corpus.codes), "counts", counts)
    found = first_map(corpus.codes)["features"]
    axes = PCA(2).fit(corpus.directions[:20])
    assert _agree(found, axes.transform(corpus.directions)) > 0.999
    assert _agree(found, PCA(2).fit_transform(corpus.directions)) < 0.999


def _agree(points, wanted):
    """Smallest correlation of two maps' axes, whatever their signs."""
    return min(abs(np.corrcoef(points[:, i], wanted[:, i])[0, 1]) for i in range(2))


def test_a_first_map_is_there_before_the_better_one(tmp_path, planted):
    run = make_run(tmp_path / "r", planted)
    (run / "codes" / "default" / "map.npz").unlink()
    corpus = OpenCorpus(run)
    before = overview(corpus, Jobs())["map"]
    assert len(corpus.map["rows"]) == 900
    assert map_regions(corpus, "rows") == map_regions(corpus, "features") == []
    everywhere = [[-99, -99], [99, -99], [99, 99], [-99, 99]]
    assert len(select_rows(corpus, {"lasso": everywhere})) == 900
    lines = []
    prepare(corpus.codes.path, "map", lines.append)
    assert lines[0] == "laying out 900 of 900"
    assert overview(corpus, Jobs())["map"]["id"] != before["id"]
    assert map_regions(corpus, "rows") != []


def test_a_job_says_how_far_it_is(tmp_path, planted, monkeypatch):
    real = subprocess.Popen

    def popen(command, **options):
        code = "import time; print('one'); print('two', flush=True); time.sleep(60)"
        return real([sys.executable, "-c", code], **options)

    monkeypatch.setattr(subprocess, "Popen", popen)
    run = make_run(tmp_path / "r", planted)
    (run / "codes" / "default" / "map.npz").unlink()
    jobs = Jobs()
    jobs.plan(Codes.open(run))
    assert jobs.states()["map"] == "working"  # it will be
    assert jobs.progress() == {}
    jobs.start()
    try:
        while jobs.progress().get("map") != "two":
            assert jobs.states()["map"] == "working"
        monkeypatch.delattr(os, "pread")  # as on Windows
        assert jobs.progress() == {}
    finally:
        jobs.stop()
    assert jobs.states() == {"map": "failed", "index": "failed"}
    assert jobs.progress() == {}


@pytest.mark.slow
def test_a_job_ends_with_its_server(tmp_path, planted):
    """Its standard input is a pipe whose other end the server holds, dead or alive."""
    run = make_run(tmp_path / "r", planted)
    codes = Codes.open(run)
    (codes.path / "map.npz").unlink()
    os.mkfifo(codes.path / "map.npz")  # which a job would read for ever
    module = "nanosae.view.explorer.prepare"
    command = [sys.executable, "-m", module, str(codes.path), "map"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as job:
        try:
            with pytest.raises(subprocess.TimeoutExpired):
                job.wait(2)
            job.stdin.close()
            assert job.wait(60) == 1
        finally:
            job.kill()


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
def test_two_servers_of_one_run_lose_no_bookmark(tmp_path, planted):
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
@pytest.mark.parametrize("after", [0, 25])
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
