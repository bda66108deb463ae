"""Measure a dictionary against labels and print the numbers as JSON.

    python bench/semantic.py RUN/codes/NAME LABELS [--json FILE] [--seeds N]

LABELS is a column of the codes, or a Parquet file and its column as FILE:COLUMN (same row order).
Held-out halves are drawn anew for every seed; the spread between seeds is printed beside the mean.
"""

import argparse
import json
import resource
import sys
import time
from pathlib import Path

import numpy as np

from nanosae.analysis.evaluate import evaluate
from nanosae.codes import Codes

FOCUS = ["best_feature_f1", "best_feature_auc", "one_to_one_f1", "probe_accuracy@10"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("codes", type=Path)
    parser.add_argument("labels")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seeds", type=int, default=1)
    args = parser.parse_args()
    codes, labels = Codes.open(args.codes), args.labels
    if ":" in labels:
        import pandas as pd

        file, column = labels.rsplit(":", 1)
        labels = pd.read_parquet(file, columns=[column])[column].to_numpy(object)
    start = time.perf_counter()
    runs = [evaluate(codes, labels, seed=seed).wide() for seed in range(args.seeds)]
    mean, spread = runs[0].copy(), runs[0]["codes"].copy()
    mean[:] = np.mean([run.to_numpy() for run in runs], axis=0)
    spread[:] = np.std([run["codes"].to_numpy() for run in runs], axis=0)
    points = {
        name: 100
        * float(mean.loc[f"probe_{name}@all", "dense"] - mean.loc[f"probe_{name}@10", "codes"])
        for name in ("f1", "auc", "accuracy")
    }
    result = {
        "codes": str(args.codes),
        "rows": codes.n_rows,
        "features": codes.n_features,
        "seeds": args.seeds,
        "seconds_per_seed": (time.perf_counter() - start) / args.seeds,
        "cpu_seconds_per_seed": time.process_time() / args.seeds,
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "points_10_sparse_below_dense": points,
        "focus": {m: mean.loc[m].dropna().round(4).to_dict() for m in FOCUS},
        "measures": json.loads(str(mean.round(5).to_json(orient="index"))),
        "spread_over_seeds_of_codes": json.loads(str(spread.round(5).to_json())),
    }
    text = json.dumps(result, indent=1)
    if args.json:
        args.json.write_text(text, "utf-8")
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
