"""Time codes and describe on a million synthetic rows; print one JSON line and keep it.

    python bench/codes.py [--rows 1000000] [--features 16384] [--k 32] [--width 384]

The activations are made, not encoded: each row draws k different features, their popularity falling
as 1 / (rank + 30) (Zipf–Mandelbrot): the commonest is active on a sixth of the rows. Reported:

    product_s      rows @ W_enc alone, float32, all threads, scaled up from a sample of the rows
    write_s        what CodesWriter takes for the same rows, and its share of the product
    open_s         Codes.open in a new process, files in the page cache
    top100_ms      codes.top(j, 100) of 200 features: first call, median, the commonest feature
    row_ms         codes.row(i), median of 200
    describe_s     describe(codes) without texts and embeddings, in a process of its own
    process_cpu_s  that process' processor time, all threads: what a loaded machine leaves true
    peak_mb        that process' peak resident memory
    load           load average when the measurement began
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROWS_PER_BLOCK = 8192


def main() -> None:
    """Measure in three processes: writing, reading, describing."""
    parser = argparse.ArgumentParser()
    for name, value in (("rows", 1_000_000), ("features", 16384), ("k", 32), ("width", 384)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--phase", choices=["read", "describe"])
    parser.add_argument("--run", type=Path)
    args = parser.parse_args()
    if args.phase:
        print(json.dumps(read(args.run) if args.phase == "read" else describing(args.run)))
        return
    load = round(os.getloadavg()[0], 1)
    with tempfile.TemporaryDirectory() as folder:
        result = write(args, Path(folder))
        for phase in ("read", "describe"):
            command = [sys.executable, __file__, "--phase", phase, "--run", folder]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            result |= json.loads(done.stdout)
    git = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True).stdout.strip()
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    result["load"] = load
    line = json.dumps({"bench": "codes", "machine": machine, "commit": commit, **result})
    print(line)
    kept = Path(__file__).parent / "results" / f"codes-{platform.machine()}-{commit}.json"
    kept.write_text(line + "\n")


def write(args: argparse.Namespace, run: Path) -> dict[str, float | int]:
    """Write a model and the codes; compare with the encoder's product."""
    from nanosae.codes import CodesWriter
    from nanosae.weights import Weights

    rng = np.random.default_rng(0)
    decoder = rng.normal(size=(args.features, args.width)).astype(np.float32)
    decoder /= np.linalg.norm(decoder, axis=1, keepdims=True)
    cfg = {"architecture": "topk", "d_in": args.width, "d_sae": args.features, "k": args.k}
    bias = np.zeros(args.features, np.float32)
    Weights(decoder.T.copy(), decoder, np.zeros(args.width, np.float32), cfg, bias).save(
        run / "model"
    )
    x = rng.normal(size=(ROWS_PER_BLOCK, args.width)).astype(np.float32)
    encoder = decoder.T.copy()
    product = min(timed(lambda: x @ encoder) for _ in range(5)) * args.rows / ROWS_PER_BLOCK
    draw = drawer(args.features, args.k)
    spent = 0.0
    writer = CodesWriter(run / "codes" / "synthetic", n_features=args.features)
    with writer:
        for start in range(0, args.rows, ROWS_PER_BLOCK):
            n = min(ROWS_PER_BLOCK, args.rows - start)
            block = (*draw(n, start), np.arange(n + 1) * args.k)
            spent += timed(lambda block=block: writer.append(block))
        spent += timed(writer.flush)
    size = sum(f.stat().st_size for f in run.glob("codes/*/*/*"))
    shape = {"rows": args.rows, "features": args.features, "k": args.k, "width": args.width}
    times = {"product_s": product, "write_s": spent, "write_share": spent / product}
    return {**shape, **{k: round(v, 3) for k, v in times.items()}, "codes_mb": round(size / 2**20)}


def read(run: Path) -> dict[str, float]:
    """Time opening and random access."""
    from nanosae.codes import Codes

    start = time.perf_counter()
    codes = Codes.open(run)
    opened = time.perf_counter() - start
    rng = np.random.default_rng(1)
    features = rng.integers(0, codes.n_features, 200).tolist()
    tops = [1e3 * timed(lambda j=j: codes.top(j, 100)) for j in features]
    commonest = int(codes.counts.argmax())
    first = 1e3 * timed(lambda: codes.top(commonest, 100))
    rows = rng.integers(0, codes.n_rows, 200).tolist()
    row = np.median([1e3 * timed(lambda i=i: codes.row(i)) for i in rows])
    times = {"top100_first_ms": tops[0], "top100_ms": np.median(tops), "top100_common_ms": first}
    found = {"open_s": round(opened, 4), "row_ms": round(float(row), 3)}
    return found | {k: round(float(v), 3) for k, v in times.items()}


def describing(run: Path) -> dict[str, float]:
    """Time describe and its memory."""
    from nanosae.analysis.describe import describe
    from nanosae.codes import Codes

    codes = Codes.open(run)
    seconds = timed(lambda: describe(codes))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    spent = time.process_time()
    return {
        "describe_s": round(seconds, 1),
        "process_cpu_s": round(spent, 1),
        "peak_mb": round(peak),
    }


def timed(call) -> float:
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def drawer(n_features: int, k: int):
    """Return a function that draws (values, cols) of n rows, k different features each."""
    import numba

    popularity = 1 / (np.arange(n_features) + 30.0)
    limits = np.cumsum(popularity / popularity.sum())
    limits[-1] = 1
    number = np.random.default_rng(0).permutation(n_features).astype(np.int32)

    @numba.njit
    def draw(n, rng, limits, number, k):
        values, cols = np.empty(n * k, np.float32), np.empty(n * k, np.int32)
        for i in range(n):
            found = 0
            while found < k:
                j = number[np.searchsorted(limits, rng.random())]
                new = True
                for t in range(found):
                    new = new and cols[i * k + t] != j
                if new:
                    cols[i * k + found] = j
                    values[i * k + found] = 0.1 + rng.exponential(1.0)
                    found += 1
        return values, cols

    return lambda n, seed: draw(n, np.random.default_rng(seed), limits, number, k)


if __name__ == "__main__":
    main()
