"""Measure the report of a million rows: its size, and how fast a browser shows it.

    python bench/report.py [--rows 1000000] [--features 16384] [--k 32] [--run RUN]

Activations are drawn as in codes.py; texts have 20 words, drawn by Zipf's law from 30,000 random
ones. With --run, the report of an existing run is measured. In headless Chromium, medians of five
loads:

    first_ms      until the load event, when table and map are visible
    first_cpu_ms  processor time of the page's thread until then, which depends little on other load
    card_ms       from the click on a feature to its texts
    report_s, peak_mb   time and memory to make the report, after `describe` in the same process
"""

import argparse
import json
import resource
import sys
import tempfile
from pathlib import Path

import numpy as np

from codes import (
    ROWS_PER_BLOCK,
    add_sizes,
    chosen_sizes,
    drawer,
    random_model,
    timed,
)

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))


def main() -> None:
    """Make the run and the report, and measure it."""
    parser = argparse.ArgumentParser()
    add_sizes(parser)
    parser.add_argument("--run", type=Path)
    args = parser.parse_args()
    result: dict = {"bench": "report"}
    with tempfile.TemporaryDirectory() as folder:
        if args.run is None:
            args.run = Path(folder) / "run"
            result |= chosen_sizes(args) | make(args)
        result |= look(args.run)
    import machine  # after the measurement of memory, as it imports torch

    result["machine"] = machine.facts()
    print(json.dumps(result))


def make(args: argparse.Namespace) -> dict:
    """Write model, codes, descriptions and labels."""
    import pandas as pd

    from nanosae.analysis.describe import describe
    from nanosae.codes import Codes, CodesWriter
    from nanosae.runs.tables import save_features

    rng = np.random.default_rng(0)
    random_model(args, rng).save(args.run / "model")
    draw = drawer(args.features, args.k)
    words = np.array(
        [rng.bytes(4).hex()[: rng.integers(3, 9)] for _ in range(30_000)], object
    )
    share = 1 / (np.arange(len(words)) + 3.0)
    share /= share.sum()
    with CodesWriter(
        args.run / "codes" / "default", n_features=args.features
    ) as writer:
        for start in range(0, args.rows, ROWS_PER_BLOCK):
            n = min(ROWS_PER_BLOCK, args.rows - start)
            drawn = words[rng.choice(len(words), (n, 20), p=share)]
            texts = [" ".join(row) for row in drawn.tolist()]
            writer.append((*draw(n, start), np.arange(n + 1) * args.k), table=texts)
    codes = Codes.open(args.run)
    spent = timed(lambda: save_features(args.run, describe(codes, texts=False)))
    names = [", ".join(rng.choice(words[:2000], 3)) for _ in range(args.features)]
    scores = {"label": names, "keywords": names, "label_auc": rng.random(args.features)}
    frame = pd.DataFrame({"feature": range(args.features)} | scores)
    save_features(args.run, frame.assign(label_auc_low=frame["label_auc"] - 0.1))
    return {"describe_s": round(spent, 1)}


def look(run: Path) -> dict:
    """Make the report and time it in a browser."""
    from browser import Browser
    from nanosae.view.report.render import report

    made = timed(lambda: report(run))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    found = {"report_s": round(made, 1), "peak_mb": round(peak)}
    found["report_mb"] = round((run / "report.html").stat().st_size / 1e6, 2)
    first, cpu, card = [], [], []
    with tempfile.TemporaryDirectory() as profile:
        browser = Browser(profile)
        browser.driver.execute_cdp_cmd(
            "Performance.enable", {"timeDomain": "threadTicks"}
        )
        for _ in range(5):
            browser.open(run / "report.html")
            browser.wait("document.querySelectorAll('#table tbody tr').length > 0", 60)
            entry = "performance.getEntriesByType('navigation')[0]"
            first.append(browser.wait(f"{entry}.loadEventEnd"))
            metrics = browser.driver.execute_cdp_cmd("Performance.getMetrics", {})[
                "metrics"
            ]
            cpu += [1000 * m["value"] for m in metrics if m["name"] == "TaskDuration"]
            done = "done = arguments[arguments.length - 1], start = performance.now()"
            watch = (
                f"const {done}; document.querySelector('#table tbody button').click();"
                "const see = () => document.querySelector('dialog .text') === null"
                " ? requestAnimationFrame(see) : done(performance.now() - start); see()"
            )
            card.append(browser.driver.execute_async_script(watch))
        count = "return [...document.querySelectorAll('[id^=data-cards-]')].length"
        found["card_blocks"] = browser.js(count)
        found["problems"] = browser.problems()
        browser.close()
    times = {"first_ms": first, "first_cpu_ms": cpu, "card_ms": card}
    return found | {
        name: round(float(np.median(values))) for name, values in times.items()
    }


if __name__ == "__main__":
    main()
