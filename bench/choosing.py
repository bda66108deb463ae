"""The effect of size and k: the curves of docs/choosing.md.

    python bench/choosing.py FOLDER [--corpus clinc150 --labels intent] [--rows 12000] [--save]

FOLDER holds NAME.minilm.f16.npy and NAME.parquet. Every combination of size and k is trained for
the same steps on the same rows and measured on held-out rows; labels are used for measuring only.
The activation is the default, nested batchtopk.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import machine
from nanosae import SAETrainer, TrainConfig
from nanosae.analysis.evaluation.evaluate import evaluate
from nanosae.analysis.names.labels import label

SIZES = (256, 1024, 4096)
KS = (4, 8, 16, 32, 64)
MEASURES = ("best_feature_f1", "probe_f1@5")


def load(folder: Path, corpus: str, labels: str, n_rows: int) -> tuple:
    """Return rows, texts and labels of a random sample of the labelled rows of a corpus."""
    rows = np.load(folder / f"{corpus}.minilm.f16.npy").astype(np.float32)
    table = pd.read_parquet(folder / f"{corpus}.parquet")[["text", labels]]
    cells: Any = table[labels]
    labelled = np.flatnonzero(cells.fillna("") != "")
    chosen = np.random.default_rng(0).permutation(labelled)[:n_rows]
    return rows[chosen], table.iloc[chosen].reset_index(drop=True)


def measure(
    rows: np.ndarray, table: pd.DataFrame, labels: str, size: int, k: int, steps: int
) -> dict[str, float]:
    """Train one SAE and measure it."""
    config = TrainConfig(hidden_size=size, k=k, steps=steps, batch_size=512)
    with tempfile.TemporaryDirectory() as folder:
        trainer = SAETrainer(config, run=Path(folder) / "run")
        start = time.perf_counter()
        model = trainer.train(rows, progress=False)
        seconds = time.perf_counter() - start
        codes = model.encode_corpus(
            rows, Path(folder) / "run" / "codes" / "default", metadata=table
        )
        found = evaluate(codes, labels, ks=(5,), baselines=False, max_rows=8000)
        names = label(codes)
    values: Any = found.table.set_index("measure")["value"]
    held_out = {name: trainer.metrics_[name] for name in ("fvu", "l0", "dead")}
    scored: Any = names["label_auc"].dropna()
    return {
        "hidden_size": size,
        "k": k,
        **{name: round(value, 4) for name, value in held_out.items()},
        **{name: round(float(values[name]), 4) for name in MEASURES},
        "label_auc": round(float(scored.mean()), 4),
        "seconds": round(seconds, 1),
    }


def main() -> None:
    """Measure every combination and print a line for each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--corpus", default="clinc150")
    parser.add_argument("--labels", default="intent")
    parser.add_argument("--rows", type=int, default=12_000)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--save", action="store_true")
    args = parser.parse_args()
    rows, table = load(args.folder, args.corpus, args.labels, args.rows)
    lines = []
    for size in SIZES:
        for k in KS:
            if k * 4 > size:
                continue
            line = measure(rows, table, args.labels, size, k, args.steps)
            lines.append(line)
            print(json.dumps(line), flush=True)
    if args.save:
        asked = {
            "corpus": args.corpus,
            "labels": args.labels,
            "rows": args.rows,
            "steps": args.steps,
        }
        report = {"asked": asked, "results": lines, "machine": machine.facts()}
        machine.save("choosing", report)


if __name__ == "__main__":
    main()
