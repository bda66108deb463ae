"""The live page: reads a run in any state, harms none, ends with it."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from finished import line, snapshot
from nanosae.view.history import MAX_LINES, read_metrics, training_state
from nanosae.view.live import serving_page

CORPUS = (
    Path(__file__).parents[2] / "src" / "nanosae" / "demo" / "wordnet.minilm.f16.npy"
)


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "metrics.jsonl").write_text(line(10, heldout_fvu=0.6) + line(20))
    (folder / "config.json").write_text(
        json.dumps({"config": {"hidden_size": 64, "k": 16}})
    )
    snapshot(folder / "snapshots" / "000010.npz")
    return folder


class TestState:
    def test_everything_then_only_what_is_new(self, run):
        state = training_state(run)
        assert [found["step"] for found in state["lines"]] == [10, 20]
        assert state["config"]["hidden_size"] == 64
        (shot,) = state["snapshots"]
        assert shot["step"] == 10
        assert shot["positions"].tolist() == [[500, 0], [-250, 1000]]
        assert [
            *map(np.ndarray.tolist, shot["activation"][:1]),
            *shot["activation"][1:],
        ] == [
            [1, 4],
            -3.0,
            -1.0,
        ]
        with (run / "metrics.jsonl").open("a") as stream:
            stream.write(line(30))
        snapshot(run / "snapshots" / "000030.npz")
        new = training_state(run, state["offset"], after=10)
        assert [found["step"] for found in new["lines"]] == [30]
        assert [found["step"] for found in new["snapshots"]] == [30]
        assert not new["reset"]

    def test_a_half_written_line_is_left_for_later(self, run):
        offset = training_state(run)["offset"]
        with (run / "metrics.jsonl").open("a") as stream:
            stream.write(line(30)[:25])
        state = training_state(run, offset)
        assert (state["lines"], state["offset"]) == ([], offset)
        with (run / "metrics.jsonl").open("a") as stream:
            stream.write(line(30)[25:])
        assert training_state(run, offset)["lines"][0]["step"] == 30

    def test_a_damaged_line_is_passed_over(self, run):
        with (run / "metrics.jsonl").open("a") as stream:
            stream.write("{broken\n" + line(30, loss=float("nan")))
        assert [found["step"] for found in training_state(run)["lines"]] == [10, 20, 30]

    @pytest.mark.parametrize(
        "text", ["", line(10), line(10, fvu=0.123456789) + line(20)]
    )
    def test_a_replaced_file_is_read_anew(self, run, text):
        state = training_state(run)
        (run / "metrics.jsonl").write_text(text)
        new = training_state(run, state["offset"], after=10)
        assert new["reset"]
        assert len(new["lines"]) == text.count("\n")
        assert len(new["snapshots"]) == 1

    def test_a_half_written_snapshot_is_left_for_later(self, run):
        whole = (run / "snapshots" / "000010.npz").read_bytes()
        (run / "snapshots" / "000020.npz").write_bytes(whole[: len(whole) // 2])
        (run / "snapshots" / "000030.npz").write_bytes(b"")
        assert [found["step"] for found in training_state(run)["snapshots"]] == [10]

    def test_an_empty_folder_is_a_run_that_has_not_begun(self, tmp_path):
        state = training_state(tmp_path / "nothing")
        assert state == {"lines": [], "offset": 0, "reset": False, "snapshots": []}

    def test_long_runs_are_thinned_and_keep_their_end(self, tmp_path):
        path = tmp_path / "metrics.jsonl"
        path.write_text("".join(line(step) for step in range(1, 3 * MAX_LINES)))
        lines, offset, _ = read_metrics(path)
        assert len(lines) <= MAX_LINES
        assert lines[-1]["step"] == 3 * MAX_LINES - 1
        assert offset == path.stat().st_size


@pytest.fixture
def address(run):
    with serving_page(run) as found:
        yield found


def get(url, **headers):
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
        return answer.read().decode()


def status(url, **headers):
    """Return the status of an answer that is an error."""
    with pytest.raises(urllib.error.HTTPError) as caught:
        get(url, **headers)
    caught.value.close()
    return caught.value.code


class TestServer:
    def test_it_hands_out_the_page_and_the_state(self, address):
        page = get(address)
        assert "Content-Security-Policy" in page
        assert "connect-src 'self'" in page
        assert (
            json.loads(get(f"{address}/state?offset=0&after=0"))["lines"][1]["step"]
            == 20
        )

    @pytest.mark.parametrize(
        "path", ["/config.json", "/../config.json", "/%2e%2e/x", "/state/x"]
    )
    def test_no_other_path_leads_anywhere(self, address, path):
        assert status(address + path) == 404

    @pytest.mark.parametrize(
        "query", ["offset=x", "after=-1", "offset=1.5", "offset=" + "9" * 30]
    )
    def test_bad_numbers_are_refused(self, address, query):
        assert status(f"{address}/state?{query}") == 400

    def test_a_port_that_does_not_exist_is_refused(self, run):
        with (
            pytest.raises(ValueError, match="port 70000 does not exist"),
            serving_page(run, 70_000),
        ):
            pass

    def test_a_foreign_name_is_refused(self, address):
        assert status(address, Host="evil.example:80") == 403

    def test_a_taken_port_gives_way(self, run, address):
        with serving_page(run, int(address.rsplit(":", 1)[1])) as other:
            assert other != address
            assert "lines" in json.loads(get(f"{other}/state"))


def trainer(folder, *more):
    command = [sys.executable, "-m", "nanosae", "train", str(CORPUS), "-o", str(folder)]
    command += ["--hidden-size", "64", "--k", "4", "--checkpoint-every", "5"]
    command += ["--log-every", "2", "--batch-size", "64"]
    log = (folder.parent / f"{folder.name}.log").open("w")
    more = more if "--steps" in more else ("--steps", "9000", *more)
    process = subprocess.Popen([*command, *more], stdout=log, stderr=log, text=True)
    log.close()
    return process


def wait_for(condition, seconds=300):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "nothing came"
        time.sleep(0.1)
    return found


def address_in(folder):
    text = (folder.parent / f"{folder.name}.log").read_text()
    return (
        text.split("watch the training: ")[1].split()[0]
        if "watch the" in text
        else None
    )


def answers(url):
    try:
        return json.loads(get(f"{url}/state"))
    except (urllib.error.URLError, ConnectionError):
        return None


@pytest.mark.slow
class TestProcesses:
    def test_a_killed_training_ends_its_server_and_can_be_resumed(self, tmp_path):
        run = tmp_path / "run"
        process = trainer(run, "--live")
        url = wait_for(lambda: address_in(run))
        wait_for(lambda: any((run / "checkpoints").glob("step-*")))
        assert answers(url)["lines"]
        process.send_signal(signal.SIGKILL)
        process.wait()
        wait_for(lambda: answers(url) is None)
        before = training_state(run)
        again = trainer(run, "--live", "--resume")
        url = wait_for(lambda: address_in(run))
        wait_for(
            lambda: (
                training_state(run)["lines"][-1]["step"] > before["lines"][-1]["step"]
            )
        )
        again.send_signal(signal.SIGTERM)
        assert again.wait(300) == 128 + signal.SIGTERM
        state = training_state(run)
        steps = [found["step"] for found in state["lines"]]
        assert steps == sorted(set(steps))

    def test_a_killed_server_leaves_the_training_alone(self, tmp_path):
        run = tmp_path / "run"
        process = trainer(run, "--live", "--steps", "60")
        url = wait_for(lambda: address_in(run))
        wait_for(lambda: answers(url))
        children = (
            Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        )
        servers = [
            c
            for c in children
            if b"spawn_main" in Path(f"/proc/{c}/cmdline").read_bytes()
        ]
        assert len(servers) == 1
        os.kill(int(servers[0]), signal.SIGKILL)
        assert process.wait(300) == 0
        assert training_state(run)["lines"][-1]["final"]
