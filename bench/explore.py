"""Time the explorer over a million synthetic rows, in a browser; print JSON and keep it.

    python bench/explore.py [--rows 1000000] [--features 16384] [--k 32] [--run FOLDER]

The corpus is that of `bench/codes.py`, with texts of 20 words, two columns and embeddings. Headless
Chromium without a graphics card opens the page of `nanosae explore`. Reported:

    first_map_s      for a run without a map: from the command to the points of the first map
    first_map_cpu_s  processor time of the server until then, including its start
    first_start_ms   likewise: from opening the page to lists and first map on the screen
    prepare_s        making the map (PCA; UMAP if installed) and the text index, once
    label_ms         a search among the labels, once the page is open: the first, and median and
                     worst of 40 others with other endings and typing errors
    start_s          from the command to the first answer of the server
    first_screen_ms  from opening the page to lists and map on the screen: median and worst of 5
    click_ms         from a click on a feature to its card on the screen: median and worst of 40,
                     including the most frequent features; click_server_ms: the server's part
    pan_ms           between two frames while the map is dragged: median, 95th percentile, worst
    steer_ms         from moving a slider to the new ranking by embeddings: median of 5
    server_mb        memory of the server after all that: peak resident, and private (the rest is
                     files in the page cache)
    cpu_ms           processor time of the server per click, which depends little on other load
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np

import machine
from codes import ROWS_PER_BLOCK, add_sizes, chosen_sizes, drawer, random_model

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent / "tests"))
READY = """
addEventListener("DOMContentLoaded", () => {
  const look = () => {
    const c = document.querySelector("#plane canvas");
    const has = (selector) => document.querySelector(selector) !== null;
    const drawn = c && c.width > 300 && has("[data-row]")
      && has("[data-feature]")
      && c.getContext("2d").getImageData(c.width >> 1, c.height >> 1, 8, 8).data.some((v) => v);
    if (drawn) window.readyAt = performance.now(); else requestAnimationFrame(look);
  };
  look();
});
"""
CLICK = """
const [id, done] = arguments, start = performance.now();
location.hash = `open=feature:${id}`;
const look = () => {
  const kicker = document.querySelector("#detail .kicker")?.textContent || "";
  const there = document.querySelector("#detail .bars") && kicker.startsWith(`Feature ${id}`);
  requestAnimationFrame(there ? () => done(performance.now() - start) : look);
};
look();
"""
PAN = """
const done = arguments[0], c = document.querySelector("#plane canvas"), times = [];
const at = (type, i) => c.dispatchEvent(new PointerEvent(type, {
  pointerId: 1, pointerType: "mouse", bubbles: true,
  clientX: 500 + 100 * Math.sin(i / 15), clientY: 250 + 60 * Math.cos(i / 11) }));
c.setPointerCapture = () => {};
at("pointerdown", 0);
let i = 0;
const step = (now) => {
  times.push(now);
  at("pointermove", ++i);
  if (i < 150) requestAnimationFrame(step); else { at("pointerup", i); done(times); }
};
requestAnimationFrame(step);
"""
STEER = """
const [value, done] = arguments, start = performance.now();
const slider = document.querySelector("[data-slider]");
const before = document.querySelector("#ranking");
slider.value = value;
slider.dispatchEvent(new Event("input"));
const look = () => {
  const now = document.querySelector("#ranking");
  if (now && now !== before) done(performance.now() - start); else requestAnimationFrame(look);
};
look();
"""


def main() -> None:
    """Build, serve, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_sizes(parser)
    parser.add_argument("--run", type=Path, help="folder of the run, made if missing")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = args.run or Path(folder)
        if not any(run.glob("codes/*/manifest.json")):
            build(args, run)
        result = chosen_sizes(args) | measure(run, Path(folder))
    report = {"bench": "explore", **result, "machine": machine.facts()}
    print(json.dumps(report, indent=1))
    machine.save("explore", report)


def build(args: argparse.Namespace, run: Path) -> None:
    """Write the model, the codes, the texts, two columns and the embeddings."""
    import scipy.sparse as sp

    from nanosae.codes import CodesWriter

    rng = np.random.default_rng(0)
    weights = random_model(args, rng)
    weights.save(run / "model")
    syllables = [a + b for a in "bdfgklmnprst" for b in "aeiou"]
    words = np.array([a + b for a in syllables for b in syllables] * 8, object)
    words[3600:] += np.repeat(syllables[:7], 3600)
    limits = np.cumsum(1 / (np.arange(len(words)) + 3.0))
    draw = drawer(args.features, args.k)
    with CodesWriter(run / "codes" / "synthetic", n_features=args.features) as writer:
        for start in range(0, args.rows, ROWS_PER_BLOCK):
            n = min(ROWS_PER_BLOCK, args.rows - start)
            parts = (*draw(n, start), np.arange(n + 1) * args.k)
            acts = sp.csr_array(parts, shape=(n, args.features))
            texts = words[
                np.searchsorted(limits, limits[-1] * rng.random((n, 20)))
            ].tolist()
            countries = rng.choice(["France", "Spain", "Italy", "Japan"], n)
            table = {"text": [" ".join(text) for text in texts], "country": countries}
            table["year"] = rng.integers(1990, 2025, n)
            noise = rng.normal(scale=0.1, size=(n, args.width)).astype(np.float32)
            writer.append(acts, table=table, vectors=acts @ weights.W_dec + noise)
    add_labels(run, words)


def add_labels(run: Path, words: np.ndarray) -> None:
    """Label each feature with three words."""
    import pandas as pd

    from nanosae.codes import Codes
    from nanosae.runs.tables import save_features

    codes = Codes.open(run)
    rng = np.random.default_rng(2)
    n = codes.n_features
    labels = [", ".join(three) for three in rng.choice(words, (n, 3)).tolist()]
    scores = {name: rng.random(n) for name in ("label_auc", "label_auc_low")}
    table = pd.DataFrame({"feature": np.arange(n), "label": labels, **scores})
    save_features(run, table, codes)


@contextlib.contextmanager
def serving(run: Path):
    """Run the explorer; yield its process and address."""
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
    try:
        assert process.stdout
        yield process, process.stdout.readline().split()[0]
    finally:
        process.terminate()
        process.wait()


def ask(url: str, path: str, **params) -> bytes:
    """Ask the server."""
    query = urllib.parse.urlencode(
        {key: json.dumps(value) for key, value in params.items()}
    )
    with urllib.request.urlopen(f"{url}api/{path}?{query}") as answer:
        return answer.read()


def measure(run: Path, profile: Path) -> dict:
    """Measure everything."""
    from browser import Browser
    from nanosae.codes import Codes

    for path in run.glob("codes/*/map.npz"):
        path.unlink()
    browser = Browser(profile / "browser")
    browser.driver.execute_cdp_cmd(
        "Page.addScriptToEvaluateOnNewDocument", {"source": READY}
    )
    start = time.perf_counter()
    with serving(run) as (server, url):  # the first start makes map and index
        ask(url, "points/rows")
        first_map = time.perf_counter() - start
        first_map_cpu = cpu_seconds(server.pid)
        first_start = first_screen(browser, url)
        while json.loads(ask(url, "state"))["jobs"]:
            time.sleep(0.2)
    prepared = time.perf_counter() - start
    start = time.perf_counter()
    with serving(run) as (server, url):
        ask(url, "state")
        found: dict[str, Any] = {
            "first_map_s": round(first_map, 2),
            "first_map_cpu_s": round(first_map_cpu, 2),
            "first_start_ms": round(first_start),
            "prepare_s": round(prepared, 1),
            "start_s": round(time.perf_counter() - start, 2),
        }
        found["first_screen_ms"] = spread(
            [first_screen(browser, url) for _ in range(5)]
        )
        found["label_ms"] = label_search(url)
        counts = [
            line["feature"]
            for line in json.loads(ask(url, "features", sort="rows"))["lines"]
        ]
        n_features = Codes.open(run).n_features
        drawn = np.random.default_rng(1).integers(0, n_features, 30)
        ids = [*counts[:10], *drawn.tolist()]
        run_async = browser.driver.execute_async_script
        run_async(CLICK, ids[-1])
        found["click_ms"] = spread([run_async(CLICK, j) for j in ids])
        spent, times = cpu_seconds(server.pid), []
        for j in ids * 3:
            begun = time.perf_counter()
            ask(url, f"card/{j}")
            times.append(1e3 * (time.perf_counter() - begun))
        spent = cpu_seconds(server.pid) - spent
        found["click_server_ms"] = spread(times)
        found["cpu_ms"] = round(1e3 * spent / len(times), 1)
        frames = np.diff(run_async(PAN))
        found["pan_ms"] = spread(frames) | {
            "p95": round(float(np.quantile(frames, 0.95)), 1)
        }
        browser.open(url + "#open=row:5")
        browser.wait("document.querySelector('#ranking')", 120)
        browser.driver.set_script_timeout(120)
        found["steer_ms"] = spread([run_async(STEER, x) for x in (0, 1, 0.5, 1.5, 0.2)])
        ask(url, "contrast", where={"features": [ids[3]]})
        ask(url, "points/rows", color="column:country")
        memory = Path(f"/proc/{server.pid}/status").read_text().splitlines()
        sizes = {
            line.split(":")[0]: int(line.split()[1]) // 1024
            for line in memory
            if "kB" in line
        }
        found["server_mb"] = {"peak": sizes["VmHWM"], "own": sizes["RssAnon"]}
        browser.close()
    return found


def label_search(url: str) -> dict[str, float]:
    """Time searches for words of the labels: exact, with another ending, and mistyped."""
    lines = json.loads(ask(url, "features", sort="name"))["lines"]
    words = [line["name"].split(", ")[0] for line in lines[:20]]
    asked = [*words, *(word[:2] + word[3:] for word in words), words[0] + "s"]
    times = []
    for query in asked:
        begun = time.perf_counter()
        ask(url, "features", words=query)
        times.append(1e3 * (time.perf_counter() - begun))
    return {"first": round(times[0], 1)} | spread(times[1:])


def first_screen(browser, url: str) -> float:
    """Open the page; return the milliseconds until lists and map were on the screen."""
    browser.open(url)
    return browser.wait("window.readyAt", 60)


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def spread(times) -> dict[str, float]:
    """Return median and worst."""
    return {
        "median": round(float(np.median(times)), 1),
        "worst": round(float(np.max(times)), 1),
    }


if __name__ == "__main__":
    main()
