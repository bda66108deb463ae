"""The live training page in a real browser, and the snapshots that it replays."""

import contextlib
import os

import pytest

from finished import line, snapshot
from nanosae.view import pages, web
from nanosae.view.live import make_app, serving_page

pytestmark = pytest.mark.slow


def hurry(browser):
    """Let the page ask at once what it would ask some seconds later."""
    browser.js(
        "const later = setTimeout;"
        "window.setTimeout = (act, wait, ...args) => later(act, Math.min(wait, 50), ...args)"
    )


class TestLive:
    @pytest.fixture
    def followed(self, browser, tmp_path):
        run = tmp_path / "run"
        run.mkdir()
        with contextlib.ExitStack() as server:
            browser.open(server.enter_context(serving_page(run)))
            hurry(browser)
            yield run, server, browser
            browser.driver.get("about:blank")
        browser.problems()  # of a server that has ended

    def test_it_follows_a_run_from_nothing_to_its_end(self, followed):
        run, _, browser = followed
        browser.wait(lambda: browser.text("#status") == "waiting for the first line")
        (run / "metrics.jsonl").write_text(line(10, heldout_fvu=0.5) + line(20)[:30])
        snapshot(run / "snapshots" / "000010.npz")
        browser.wait(lambda: browser.text("#status") == "training")
        assert "10 / 100\nstep" in browser.text("#progress")
        (run / "metrics.jsonl").write_text(
            line(10, heldout_fvu=0.5) + line(20) + line(30)
        )
        snapshot(run / "snapshots" / "000030.npz", shift=0.25)
        browser.wait(lambda: "30 / 100\nstep" in browser.text("#progress"))
        tiles = browser.text("#progress").split("\n")
        assert tiles[tiles.index("time left") - 1] == "7 s"
        assert tiles[tiles.index("rows per second") - 1] == "1,000"
        browser.wait(lambda: "step 30" in browser.text(".player output"))
        drift = "document.querySelector('[aria-label^=Drift]').data[0].y"
        browser.js("document.querySelector('[aria-label^=Drift]').scrollIntoView()")
        browser.wait(f"{drift}.length === 1")
        assert browser.js(f"return {drift}[0]") == pytest.approx(0.25 / 2, abs=1e-3)
        with (run / "metrics.jsonl").open("a") as stream:
            stream.write(
                '{"step": 100, "rows": 9, "final": true, "fvu": 0.2, "l0": 3, "dead": 0}\n'
            )
        browser.wait(lambda: browser.text("#status") == "finished")
        assert browser.problems() == []

    def test_a_resumed_run_replaces_what_came_after_its_checkpoint(self, followed):
        run, _, browser = followed
        (run / "metrics.jsonl").write_text(
            "".join(line(step, fvu=0.9) for step in range(10, 60, 10))
        )
        browser.wait(lambda: "50 / 100" in browser.text("#progress"))
        (run / "metrics.jsonl").write_text(line(10, fvu=0.9) + line(20, fvu=0.4))
        browser.wait(lambda: "20 / 100" in browser.text("#progress"))
        fvu = "document.querySelector('[aria-label^=Unexplained]').data[0].y"
        browser.wait(f"JSON.stringify({fvu}) === '[0.9,0.4]'")
        assert browser.problems() == []

    def test_it_says_when_the_run_is_quiet_and_when_the_server_is_gone(self, followed):
        run, server, browser = followed
        (run / "metrics.jsonl").write_text(line(10) + line(20))
        os.utime(run / "metrics.jsonl", (0, 0))
        browser.wait(lambda: browser.text("#status").startswith("no news for"))
        assert "--resume" in browser.text("#progress")
        server.close()
        browser.wait(lambda: browser.text("#status") == "server ended", seconds=40)
        assert "20 / 100" in browser.text("#progress")

    def test_it_does_not_mix_two_runs_that_follow_each_other_at_an_address(
        self, browser, tmp_path
    ):
        for name, step in (("one", 10), ("other", 30)):
            (tmp_path / name).mkdir()
            (tmp_path / name / "metrics.jsonl").write_text(line(step))
        current = make_app(tmp_path / "one")

        async def app(scope, receive, send):
            await current(scope, receive, send)

        with (
            web.listen("127.0.0.1", 0) as listener,
            web.serving(app, listener),
        ):
            browser.open(f"http://127.0.0.1:{listener.getsockname()[1]}/")
            browser.wait(lambda: "10 / 100" in browser.text("#progress"))
            hurry(browser)
            current = make_app(tmp_path / "other")
            said = "another run is shown at this address now"
            browser.wait(lambda: browser.text("#status") == said, seconds=40)
            assert "10 / 100" in browser.text("#progress")
            current = make_app(tmp_path / "one")
            browser.wait(lambda: browser.text("#status") != said, seconds=40)
            assert "10 / 100" in browser.text("#progress")
            browser.driver.get("about:blank")

    def test_an_answer_that_is_no_json_is_said_in_words(self, followed):
        _, _, browser = followed
        browser.js(
            "window.fetch = async () => new Response('Service Unavailable', {status: 503})"
        )
        said = "no answer (503)"
        browser.wait(lambda: browser.text("#status") == said, seconds=40)


SHOT = """
const shot = (step, high) => {
  const names = ["log10_density", "activation", "encoder_decoder_cosine", "encoder_norm",
    "decoder_norm", "decoder_max_cosine"];
  const histograms = Object.fromEntries(names.map((name) => [name, [[1, high], -1, 1]]));
  return { step, positions: [[0, 1], [1, 0]], latents: [3, 7], ...histograms };
};
"""


class TestSnapshots:
    @pytest.fixture
    def replay(self, browser, tmp_path):
        path = tmp_path / "page.html"
        scripts = ("points.js", "map.js", "training.js")
        text = pages.page("t", "<div id=all></div>", scripts=scripts, plotly=True)
        path.write_text(text, "utf-8")
        browser.open(path)
        browser.js(
            SHOT + "window.training = nano.training(nano.$('#all'));"
            "training.add([], [shot(10, 1), shot(20, 2), shot(30, 3)]);"
        )
        browser.slide(".player input", 1)
        return browser

    def test_a_snapshot_of_a_resumed_run_takes_the_place_of_that_which_is_shown(
        self, replay
    ):
        norms = "document.querySelector('[aria-label=\"Encoder norms\"]').data[0].y"
        replay.wait(f"JSON.stringify({norms}) === '[1,2]'")
        replay.js(SHOT + "training.add([], [shot(20, 5), shot(30, 6)])")
        replay.wait(f"JSON.stringify({norms}) === '[1,5]'")
        assert replay.text(".player output") == "step 20"

    def test_what_is_measured_later_is_said_of_the_snapshot(self, replay):
        replay.js("training.add([{step: 20, heldout_fvu: 0.25}], [])")
        assert replay.text(".player output") == "step 20 · held-out FVU 0.250"

    def test_figures_of_a_run_that_was_replaced_can_be_printed(self, replay):
        replay.js("training.clear(); training.add([], [])")
        replay.js("dispatchEvent(new Event('beforeprint'))")
        replay.js("dispatchEvent(new Event('afterprint'))")
        replay.settle()
        assert replay.problems() == []

    def test_a_page_that_follows_long_holds_some_lines_and_snapshots(self, replay):
        replay.js(
            SHOT + "const range = (n) => [...Array(n).keys()];"
            "for (const start of range(7).map((batch) => 1000 * (batch + 1))) {"
            "  const line = (i) => ({step: start + i, ...(i % 100 ? {} : {heldout_fvu: 0.5})});"
            "  const shots = range(40).map((i) => shot(start + 25 * i, 1));"
            "  training.add(range(1000).map(line), shots); }"
        )
        lines = replay.js("return training.lines")
        shots = replay.js("return training.shots.map((shot) => shot.step)")
        assert 2000 < len(lines) <= 4000
        assert 60 < len(shots) <= 120
        assert lines[-1]["step"] == 7999
        assert shots[-1] == 7975
        assert 20 in shots  # which is shown
        assert replay.text(".player output") == "step 20"
        measured = [line["step"] for line in lines if "heldout_fvu" in line]
        assert measured == list(range(1000, 8000, 100))
