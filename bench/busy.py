"""Time a training alone and beside busy processes, in turn; print JSON.

    python bench/busy.py [--rows 20000] [--steps 150] [--repeats 3] [--save]

Runs `nanosae train` (384→4096, k=32, batches of 1,024) on all processors while 0, 1 or 2 other
processes count as fast as they can. `seconds` is the duration of the training itself, without
imports and reading; `ratio` is its median over the median without busy processes. With --save, the
result is kept in bench/results.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import machine
from step import corpus

MOST_BUSY = 2
BUSY_PROCESS = [sys.executable, "-c", "n = 0\nwhile True: n += 1"]
WIDTH = 384


def main() -> None:
    """Train in turn beside 0, 1 and 2 busy processes, and print the seconds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--hidden-size", type=int, default=4096)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--save", action="store_true", help="keep the result")
    parser.add_argument("--json", action="store_true", help="no effect; always JSON")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, as a test")
    args = parser.parse_args()
    loads = range(MOST_BUSY + 1)
    if args.smoke:
        args.rows, args.hidden_size, args.steps, args.repeats = 300, 64, 5, 1
        loads = range(1)
    seconds: dict[int, list[float]] = {n_busy: [] for n_busy in loads}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        rows = folder / "rows.npy"
        np.save(rows, corpus(args.rows, WIDTH))
        train(args, rows, folder / "first")  # compiles the kernels
        for repeat in range(args.repeats):
            for n_busy in loads:
                run = folder / f"{repeat}-{n_busy}"
                seconds[n_busy].append(train_beside(n_busy, args, rows, run))
    alone = statistics.median(seconds[0])
    by_load = {}
    for n_busy, measured in seconds.items():
        ratio = round(statistics.median(measured) / alone, 2)
        by_load[n_busy] = {"ratio": ratio, "seconds": [round(s, 2) for s in measured]}
    shape = {"hidden_size": args.hidden_size, "steps": args.steps}
    result = {"bench": "busy", **shape, "busy": by_load, "machine": machine.facts()}
    print(json.dumps(result))
    if args.save:
        machine.save("busy", result)


def train_beside(n_busy: int, args: argparse.Namespace, rows: Path, run: Path) -> float:
    """Return the seconds of a training beside `n_busy` busy processes."""
    busy = [subprocess.Popen(BUSY_PROCESS) for _ in range(n_busy)]
    try:
        return train(args, rows, run)
    finally:
        for process in busy:
            process.kill()
            process.wait()


def train(args: argparse.Namespace, rows: Path, run: Path) -> float:
    """Train by the command line; return the seconds in its metrics."""
    settings = {
        "--hidden-size": args.hidden_size,
        "--k": 32,
        "--batch-size": 1024,
        "--steps": args.steps,
        "--eval-every": args.steps,
        "--activation": "batchtopk",
    }
    command = [sys.executable, "-m", "nanosae", "train", str(rows), "-o", str(run)]
    for option, value in settings.items():
        command += [option, str(value)]
    subprocess.run(command, check=True, capture_output=True)
    last = (run / "metrics.jsonl").read_text().splitlines()[-1]
    return float(json.loads(last)["seconds"])


if __name__ == "__main__":
    main()
