"""Sweeps compared with single runs, and advice compared with actual runs.

    python bench/scale.py sweep      # k = 16, 32, 64 × 2 seeds, in memory and from a CSV file
    python bench/scale.py recommend  # time and memory of three shapes, predicted and measured

Runs of a ratio follow each other in one process; `machine.save` keeps the results.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import machine
from step import corpus

SHAPES: tuple[tuple[int, int, dict[str, Any]], ...] = (  # rows, width, fields
    (36_000, 384, {"hidden_size": 4096, "k": 32, "steps": 600}),
    (100_000, 256, {"hidden_size": 2048, "k": 16, "epochs": 2}),
    (20_000, 768, {"hidden_size": 8192, "k": 64, "steps": 150, "activation": "topk"}),
)


def sweep(args: argparse.Namespace) -> dict[str, Any]:
    """Return the seconds of six single runs and of one sweep, interleaved, and their ratio."""
    import pandas as pd

    from nanosae import SAETrainer, TrainConfig
    from nanosae.sweep import grid
    from nanosae.sweep import sweep as train_all

    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        x = corpus(args.rows, 384)
        table = pd.DataFrame(x, columns=[f"e{i}" for i in range(384)])
        table.to_csv(folder / "rows.csv", index=False)
        del table
        for kind, data, steps in (
            ("memory", x, args.steps),
            ("csv", folder / "rows.csv", 5),
        ):
            base = TrainConfig(
                hidden_size=4096, steps=steps, batch_size=1024, eval_every=steps
            )
            configs, ratios = grid(base, k=[16, 32, 64], seed=[0, 1]), []
            single = 0.0
            # compiles the kernels and caches the file
            SAETrainer(configs[0]).train(data, progress=False)
            for repeat in range(args.repeats):
                began = time.perf_counter()
                for i, config in enumerate(configs):
                    run = folder / f"{kind}{repeat}-{i}"
                    SAETrainer(config, run=run).train(data, progress=False)
                single = time.perf_counter() - began
                train_all(configs, data, folder / f"{kind}{repeat}", progress=False)
                both = time.perf_counter() - began
                ratios.append((both - single) / single)
            found[kind] = {
                "ratio": float(np.median(ratios)),
                "ratios": ratios,
                "steps": steps,
            }
            found[kind]["single_s"] = single
    return found


def recommend(args: argparse.Namespace) -> dict[str, Any]:
    """Return predicted and measured seconds and bytes of runs, each in a separate process."""
    from nanosae import TrainConfig
    from nanosae.advice import recommend as advise

    found: dict[str, Any] = {}
    for n, width, fields in SHAPES:
        with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
            np.save("rows.npy", corpus(n, width))
            said = advise("rows.npy", TrainConfig(**fields))
            Path("config.json").write_text(json.dumps(fields))
            command = [
                sys.executable,
                "-m",
                "nanosae",
                "train",
                "rows.npy",
                "-o",
                "run",
            ]
            began = time.perf_counter()
            child = subprocess.Popen(
                [*command, "--config", "config.json"],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            _, status, usage = os.wait4(child.pid, 0)
            seconds, memory = time.perf_counter() - began, 1024 * usage.ru_maxrss
        assert status == 0
        found[f"{n}x{width}"] = {
            "seconds": [round(said.seconds, 1), round(seconds, 1)],
            "memory_gb": [round(said.memory / 1e9, 2), round(memory / 1e9, 2)],
            "seconds_ratio": round(said.seconds / seconds, 2),
            "memory_ratio": round(said.memory / memory, 2),
        }
    return found


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", choices=["sweep", "recommend"])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--save", action="store_true", help="keep the result in bench/results"
    )
    args = parser.parse_args()
    result = {"sweep": sweep, "recommend": recommend}[args.what](args)
    result |= {"machine": machine.facts()}
    print(json.dumps(result))
    if args.save:
        machine.save(args.what, result)


if __name__ == "__main__":
    main()
