"""Training on data larger than memory compared with training in memory: speed and memory.

    python bench/stream.py [--gigabytes 8] [--hidden-size 4096] [--k 32] [--steps 256] [--json]

A synthetic float16 corpus is written to an .npy file and read once, so that the system caches it if
it can. Then `SAETrainer.train` runs in separate processes, in turn on the memory-mapped file and on
its first 2^19 rows in memory:

    rows_per_second    mapped and in memory: median of the runs, without start, first lines and end
    ratio              mapped ÷ in memory, of the medians; `spread` lists those of paired runs
    cold_per_second    mapped, after the file was dropped from the page cache
    peak_anonymous_mb  largest RssAnon of a mapped run
    model_mb           parameters, gradients, Adam's moments and the best weights
    peak_extra_mb      the difference

RssAnon is memory that the system cannot reclaim, without pages of mapped files (Linux only). The
file is deleted at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

import machine

IN_MEMORY = 2**19  # rows
BLOCK = 2**16
WARM_UP = 32  # steps left out
STATUS = Path("/proc/self/status")


def main() -> None:
    """Write the corpus, run both kinds in turn, and report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--gigabytes", type=float, default=8)
    for name, value in (
        ("input-size", 384),
        ("hidden-size", 4096),
        ("k", 32),
        ("steps", 256),
    ):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--batch-size", type=int, default=4096)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", help="where to write the corpus")
    parser.add_argument("--json", action="store_true", help="print nothing but JSON")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes: does it run?")
    parser.add_argument("--phase", choices=("mapped", "memory"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.smoke:
        args.gigabytes, args.input_size, args.hidden_size, args.k = 0.001, 8, 32, 4
        args.batch_size, args.steps, args.repeats = 64, 64, 1
    if args.phase:
        print(json.dumps(train(args)))
        return
    with tempfile.TemporaryDirectory(dir=args.folder, prefix="nanosae-") as folder:
        args.folder = folder
        n_rows = write(args)
        found: dict[str, list[dict[str, float]]] = {
            "cold": [],
            "mapped": [],
            "memory": [],
        }
        forget(corpus(args))
        found["cold"].append(measure(args, "mapped"))
        for _ in read_through(corpus(args)):
            pass
        for _ in range(args.repeats):
            for kind in ("mapped", "memory"):
                found[kind].append(measure(args, kind))
    print(json.dumps(report(args, n_rows, found)))


def corpus(args: argparse.Namespace) -> Path:
    """Return the path of the corpus."""
    return Path(args.folder) / "corpus.npy"


def write(args: argparse.Namespace) -> int:
    """Write rows like embeddings: sums of a few of many directions, and noise."""
    rng, width = np.random.default_rng(0), args.input_size
    n_rows = int(args.gigabytes * 1e9 / (2 * width))
    directions = rng.normal(size=(4 * width, width)).astype(np.float32)
    shape = (n_rows, width)
    rows = np.lib.format.open_memmap(
        corpus(args), mode="w+", dtype=np.float16, shape=shape
    )
    for start in range(0, n_rows, BLOCK):
        n = min(BLOCK, n_rows - start)
        block = rng.standard_normal((n, width), dtype=np.float32)
        for _ in range(6):
            block += (
                rng.exponential(1, (n, 1))
                * directions[rng.integers(len(directions), size=n)]
            )
        rows[start : start + n] = block
    rows.flush()
    return n_rows


def read_through(path: Path) -> Any:
    """Read a file to its end."""
    with path.open("rb") as stream:
        while piece := stream.read(2**24):
            yield len(piece)


def forget(path: Path) -> None:
    """Drop a file from the page cache."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure(args: argparse.Namespace, phase: str) -> dict[str, float]:
    """Run a phase in a separate process."""
    names = "input_size hidden_size k steps batch_size folder"
    sizes = [
        f"--{name.replace('_', '-')}={getattr(args, name)}" for name in names.split()
    ]
    command = [sys.executable, __file__, "--phase", phase, *sizes]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    if not args.json:
        print(phase, done.stdout.strip(), file=sys.stderr, flush=True)
    return json.loads(done.stdout.splitlines()[-1])


def train(args: argparse.Namespace) -> dict[str, float]:
    """Train on the file, or on its first rows in memory; measure speed and memory."""
    watch = Watch()
    from nanosae import SAETrainer, TrainConfig

    rows: Any = np.load(corpus(args), mmap_mode="r")
    if args.phase == "memory":
        rows = np.array(rows[:IN_MEMORY])
    sizes: dict[str, Any] = {
        "hidden_size": args.hidden_size,
        "k": args.k,
        "batch_size": args.batch_size,
    }
    n_bytes = 4 * rows.size
    buffer_bytes = n_bytes if args.phase == "memory" else min(2**30, n_bytes // 4)
    config = TrainConfig(
        **sizes,
        buffer_bytes=buffer_bytes,
        steps=args.steps,
        log_every=8,
        eval_every=args.steps,
    )
    run = Path(args.folder) / f"run-{time.time_ns()}"
    SAETrainer(config, run=run).train(rows, progress=False)
    peak = watch.stop()
    text = (run / "metrics.jsonl").read_text(encoding="utf-8")
    lines = [
        line for line in map(json.loads, text.splitlines()) if not line.get("final")
    ]
    lines = [line for line in lines if WARM_UP <= line["step"] < args.steps]
    first, last = lines[0], lines[-1]
    speed = (last["rows"] - first["rows"]) / (last["seconds"] - first["seconds"])
    return {"rows_per_second": speed, "peak_anonymous_mb": peak}


class Watch:
    """Records the largest RssAnon of this process, in MB, twenty times per second."""

    def __init__(self) -> None:
        self.peak, self.stopped = 0.0, threading.Event()
        self.thread = threading.Thread(target=self.look, daemon=True)
        self.thread.start()

    def look(self) -> None:
        """Record until stopped."""
        while not self.stopped.wait(0.05):
            self.peak = max(self.peak, anonymous())

    def stop(self) -> float:
        """Stop recording; return the peak."""
        self.stopped.set()
        self.thread.join()
        return round(max(self.peak, anonymous()))


def anonymous() -> float:
    """Return the RssAnon of this process in MB, or 0 if the system does not report it."""
    text = STATUS.read_text() if STATUS.exists() else ""
    lines = [line for line in text.splitlines() if line.startswith("RssAnon")]
    return int(lines[0].split()[1]) / 1024 if lines else 0.0


def report(
    args: argparse.Namespace, n_rows: int, found: dict[str, Any]
) -> dict[str, Any]:
    """Summarise the measurements, and keep the result."""
    speeds = {
        kind: [run["rows_per_second"] for run in runs] for kind, runs in found.items()
    }
    median = {kind: statistics.median(values) for kind, values in speeds.items()}
    pairs = zip(speeds["mapped"], speeds["memory"], strict=True)
    parameters = (
        2 * args.input_size * args.hidden_size + args.hidden_size + args.input_size
    )
    model = 5 * 4 * parameters / 2**20
    peak = max(run["peak_anonymous_mb"] for run in found["mapped"])
    names = ["input_size", "hidden_size", "k", "batch_size", "steps"]
    result = {
        "bench": "stream",
        "n_rows": n_rows,
        "gigabytes": args.gigabytes,
        **{name: getattr(args, name) for name in names},
        "rows_per_second": {
            "mapped": round(median["mapped"]),
            "memory": round(median["memory"]),
        },
        "ratio": round(median["mapped"] / median["memory"], 3),
        "spread": [round(mapped / memory, 3) for mapped, memory in pairs],
        "cold_per_second": round(median["cold"]),
        "peak_anonymous_mb": peak,
        "model_mb": round(model),
        "peak_extra_mb": round(peak - model),
        "machine": machine.facts(),
    }
    if not args.smoke:
        machine.save("stream", result)
    return result


if __name__ == "__main__":
    main()
