"""Time codes and `describe` on a million synthetic rows; print one JSON line and keep it.

    python bench/codes.py [--rows 1000000] [--features 16384] [--k 32] [--width 384]

First, 65,536 random rows are encoded from a file to codes on disk, in turn with the encoder's
product alone. Then, a million rows with synthetic activations are written: each row draws k
distinct features with probability proportional to 1 / (rank + 30) (Zipf–Mandelbrot), so that the
most frequent one is active on a sixth of the rows. Reported:

    encode_ratio   model.encode_corpus ÷ rows @ W_enc (float32, same threads, same tiles): median
                   and extremes of the turns
    rows_per_s     rows encoded to disk per second
    write_s        time of CodesWriter for all rows
    open_s         Codes.open in a new process, files in the page cache
    top100_ms      codes.top(j, 100) of 200 features: first call, median, most frequent feature
    row_ms         codes.row(i), median of 200
    describe_s     describe(codes) without texts and embeddings, in a separate process
    process_cpu_s  processor time of that process, all threads, which depends little on other load
    peak_mb        peak resident memory of that process
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ROWS_PER_BLOCK = 8192
SIZES = {"rows": 1_000_000, "features": 16384, "k": 32, "width": 384}


def main() -> None:
    """Measure encoding and writing, then reading and describing in separate processes."""
    parser = argparse.ArgumentParser()
    add_sizes(parser)
    parser.add_argument("--phase", choices=["read", "describe"])
    parser.add_argument("--run", type=Path)
    args = parser.parse_args()
    if args.phase:
        measure = time_reading if args.phase == "read" else time_describe
        print(json.dumps(measure(args.run)))
        return
    with tempfile.TemporaryDirectory() as folder:
        result = time_encoding(args, Path(folder) / "encoded")
        result |= write(args, Path(folder))
        for phase in ("read", "describe"):
            command = [sys.executable, __file__, "--phase", phase, "--run", folder]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            result |= json.loads(done.stdout)
    import machine  # not in the phases, as it imports torch

    report = {"bench": "codes", **result, "machine": machine.facts()}
    print(json.dumps(report))
    machine.save("codes", report)


def add_sizes(parser: argparse.ArgumentParser) -> None:
    """Add an option for each size of the corpus."""
    for name, value in SIZES.items():
        parser.add_argument(f"--{name}", type=int, default=value)


def chosen_sizes(args: argparse.Namespace) -> dict[str, int]:
    """Return the sizes of the corpus."""
    return {name: getattr(args, name) for name in SIZES}


def random_model(args: argparse.Namespace, rng: np.random.Generator) -> Any:
    """Return the weights of a top-k SAE with random unit-norm decoder rows."""
    from nanosae.model.weights import Weights

    decoder = rng.normal(size=(args.features, args.width)).astype(np.float32)
    decoder /= np.linalg.norm(decoder, axis=1, keepdims=True)
    cfg = {
        "architecture": "topk",
        "d_in": args.width,
        "d_sae": args.features,
        "k": args.k,
    }
    return Weights(
        W_enc=decoder.T.copy(),
        W_dec=decoder,
        b_dec=np.zeros(args.width, np.float32),
        cfg=cfg,
        b_enc=np.zeros(args.features, np.float32),
    )


def time_encoding(
    args: argparse.Namespace, folder: Path, turns: int = 5
) -> dict[str, object]:
    """Encode rows to codes, in turn with the product of the same rows and W_enc."""
    import torch

    from nanosae.model.sae import SAEModel

    rng, n = np.random.default_rng(0), min(args.rows, 8 * ROWS_PER_BLOCK)
    folder.mkdir()
    x = rng.normal(size=(n, args.width)).astype(np.float32)
    np.save(folder / "rows.npy", x)
    weight = rng.normal(size=(args.width, args.features)).astype(np.float32)
    weight /= np.linalg.norm(weight, axis=0)
    bound = np.quantile(x[:1024] @ weight, 1 - args.k / args.features)
    zeros = torch.zeros(args.features)
    tensors = {
        "W_enc": torch.from_numpy(weight),
        "W_dec": torch.from_numpy(weight.T.copy()),
    }
    tensors |= {
        "b_enc": zeros,
        "b_dec": torch.zeros(args.width),
        "threshold": zeros + bound,
    }
    cfg = {"architecture": "jumprelu", "d_in": args.width, "d_sae": args.features}
    model, out = SAEModel(cfg, tensors), torch.empty(ROWS_PER_BLOCK, args.features)
    tiles = torch.from_numpy(x).split(ROWS_PER_BLOCK)

    def product() -> None:
        for tile in tiles:
            torch.mm(tile, tensors["W_enc"], out=out[: len(tile)])

    model.features(x[:4096])  # compiles
    ratios, seconds = [], []
    for turn in range(turns):
        alone = timed(product)
        codes = folder / "codes" / str(turn)
        seconds.append(
            timed(lambda codes=codes: model.encode_corpus(folder / "rows.npy", codes))
        )
        ratios.append(round(seconds[-1] / alone, 3))
    spread = sorted(ratios)
    found = {
        "encode_ratio": spread[turns // 2],
        "encode_ratios": [spread[0], spread[-1]],
    }
    return found | {
        "rows_per_s": round(n / min(seconds)),
        "threads": torch.get_num_threads(),
    }


def write(args: argparse.Namespace, run: Path) -> dict[str, float | int]:
    """Write a model and the codes."""
    from nanosae.codes import CodesWriter

    random_model(args, np.random.default_rng(0)).save(run / "model")
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
    written = {"write_s": round(spent, 3), "codes_mb": round(size / 2**20)}
    return chosen_sizes(args) | written


def time_reading(run: Path) -> dict[str, float]:
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
    times = {
        "top100_first_ms": tops[0],
        "top100_ms": np.median(tops),
        "top100_common_ms": first,
    }
    found = {"open_s": round(opened, 4), "row_ms": round(float(row), 3)}
    return found | {k: round(float(v), 3) for k, v in times.items()}


def time_describe(run: Path) -> dict[str, float]:
    """Measure time and memory of `describe`."""
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
    """Return the duration of a call in seconds."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def drawer(n_features: int, k: int):
    """Return a function that draws (values, cols) of n rows with k distinct features each."""
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
