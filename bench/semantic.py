"""Measure how well features match given labels, and the features' own names; print JSON.

    nanosae train clinc150.minilm.f16.npy -o run --hidden-size 4096 --k 32
    nanosae encode run clinc150.minilm.f16.npy --texts clinc150.parquet
    python bench/semantic.py run/codes/default intent --leave-out oos [--json FILE] [--seeds N]
    python bench/semantic.py run/codes/default --names [--embedder all-MiniLM-L6-v2]

LABELS is a column of the codes, or a column of a Parquet file with the same row order, given as
FILE:COLUMN. Held-out halves are drawn for every seed; means and spreads over seeds are printed.
With --names, the features are named, and means are over those with at least 20 held-out texts. AUC
is by the meaning of the name: of its terms in the corpus or, with --embedder, of the whole name.
"""

import argparse
import json
import resource
import sys
import time
from pathlib import Path

import numpy as np

from nanosae.analysis.evaluation.evaluate import evaluate
from nanosae.codes import Codes

MIN_TEXTS = 20  # held-out texts of a feature whose name is measured
FOCUS = ["best_feature_f1", "best_feature_auc", "one_to_one_f1", "probe_accuracy@10"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("codes", type=Path)
    parser.add_argument("labels", nargs="?")
    parser.add_argument("--leave-out", help="rows with this label are left out")
    parser.add_argument("--names", action="store_true")
    parser.add_argument("--embedder", help="embedder of the rows, for --names")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seeds", type=int, default=1)
    args = parser.parse_args()
    codes = Codes.open(args.codes)
    result = {
        "codes": args.codes.name,
        "rows": codes.n_rows,
        "features": codes.n_features,
    }
    if args.names:
        result |= named(codes, args.embedder)
    if args.labels:
        result |= measured(codes, args)
    text = json.dumps(result, indent=1)
    if args.json:
        args.json.write_text(text, "utf-8")
    sys.stdout.write(text + "\n")


def named(codes: Codes, embedder: str | None) -> dict[str, float]:
    """Name all features, and measure the names."""
    from nanosae.analysis.names.labels import label

    table = label(codes, embedder=embedder)
    live = int((codes.counts > 0).sum())
    is_measured = (table["label_n"] >= MIN_TEXTS).to_numpy()
    auc, f1, doubtful = (
        np.asarray(table[name], float)[is_measured]
        for name in ("label_auc", "label_f1", "label_doubtful")
    )
    return {
        "live": live,
        "named": int((table["label"] != "").to_numpy().sum()),
        "scored": int(np.isfinite(auc).sum()),
        "mean_label_auc": float(np.nanmean(auc)),
        "mean_label_f1": float(np.nanmean(f1)),
        "share_with_auc_0.8": float((auc >= 0.8).mean()),
        "share_doubtful": float(doubtful.mean()),
    }


def measured(codes: Codes, args: argparse.Namespace) -> dict[str, object]:
    """Evaluate the features against labels, for each seed."""
    labels = args.labels
    if ":" in labels:
        import pandas as pd

        file, column = labels.rsplit(":", 1)
        labels = pd.read_parquet(file, columns=[column])[column].to_numpy(object)
    else:
        labels = codes.column(labels)
    labels = (
        np.where(labels == args.leave_out, "", labels) if args.leave_out else labels
    )
    start = time.perf_counter()
    runs = [evaluate(codes, labels, seed=seed).wide() for seed in range(args.seeds)]
    mean, spread = runs[0].copy(), runs[0]["codes"].copy()
    mean[:] = np.mean([run.to_numpy() for run in runs], axis=0)
    spread[:] = np.std([run["codes"].to_numpy() for run in runs], axis=0)
    points = {}
    for name in ("f1", "auc", "accuracy"):
        dense = mean.loc[f"probe_{name}@all", "dense"]
        sparse = mean.loc[f"probe_{name}@10", "codes"]
        points[name] = 100 * float(dense - sparse)
    return {
        "seeds": args.seeds,
        "seconds_per_seed": (time.perf_counter() - start) / args.seeds,
        "cpu_seconds_per_seed": time.process_time() / args.seeds,
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "points_10_sparse_below_dense": points,
        "focus": {m: mean.loc[m].dropna().round(4).to_dict() for m in FOCUS},
        "measures": json.loads(str(mean.round(5).to_json(orient="index"))),
        "spread_over_seeds_of_codes": json.loads(str(spread.round(5).to_json())),
    }


if __name__ == "__main__":
    main()
