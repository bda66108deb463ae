"""Memory and time of every verb that reads codes, on corpora of one to ten million rows.

    python bench/rows.py [--rows 1000000 3000000] [--verbs describe label] [--folder F] [--save]

Activations are drawn as in `codes.py`. A text has 20 words: 14 by Zipf's law (Zipf–Mandelbrot)
from 400,000 synthetic ones, and 6 that each stand for one of the row's features. Rows also have a
country, a year, a number and an embedding. Each verb runs as a command and stores its result in the
run folder; the first search makes the full-text index. Reported for each:

    wall_s, cpu_s   until the command ends; processor time depends little on other load
    peak_mb         largest RssAnon: memory that the system cannot reclaim (Linux only)

and for each corpus `disk_mb` by kind of file. With --folder, the corpora are kept there and reused;
otherwise they are deleted.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np

import machine
from codes import ROWS_PER_BLOCK, drawer, random_model

N_WORDS = 20  # per text
N_TOPICAL = 6  # words that stand for a feature
VOCABULARY = 400_000
COUNTRIES = ["France", "Spain", "Italy", "Japan"]
NANOSAE = [sys.executable, "-m", "nanosae"]
COMMANDS = {
    "describe": ["describe", "RUN"],
    "label": ["label", "RUN"],
    "families": ["families", "RUN"],
    "topics": ["topics", "RUN"],
    "index": ["search", "RUN", "badu bedu"],
    "search": ["search", "RUN", "badu bedu"],
    "contrast": ["contrast", "RUN", "--by", "country", "--a", "Japan"],
    "explain": ["explain", "RUN", "--target", "price"],
    "over-time": ["over-time", "RUN", "--time", "year"],
    "evaluate": ["evaluate", "RUN", "--classes", "country"],
    "report": ["report", "RUN"],
    "explore": ["explore", "RUN", "--port", "0", "--no-browser"],
}


def main() -> None:
    """Build each corpus, run each verb on it, print and keep the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000])
    for name, value in (("features", 16384), ("k", 32), ("width", 384)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--verbs", nargs="+", choices=COMMANDS, default=[*COMMANDS])
    parser.add_argument("--folder", type=Path, help="where the corpora stay")
    parser.add_argument("--save", action="store_true", help="keep the figures")
    parser.add_argument("--json", action="store_true", help="print nothing but JSON")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes: does it run?")
    args = parser.parse_args()
    if args.smoke:
        args.rows, args.features, args.k, args.width = [400], 48, 8, 8
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        found = {}
        for n_rows in args.rows:
            run = folder / f"rows-{n_rows}"
            found[str(n_rows)] = corpus_figures(args, run, n_rows)
    shape = {name: getattr(args, name) for name in ("features", "k", "width")}
    result = {"bench": "rows", **shape, "rows": found, "machine": machine.facts()}
    print(json.dumps(result))
    if args.save:
        machine.save("rows", result)


def corpus_figures(args: argparse.Namespace, run: Path, n_rows: int) -> dict[str, Any]:
    """Build a corpus if it does not exist, and measure each verb in a separate process."""
    if not (run / "model").exists():
        build(args, run, n_rows)
    figures: dict[str, Any] = {}
    for verb in args.verbs:
        if verb == "index":
            for path in run.glob("codes/*/texts.sqlite"):
                path.unlink()
        figures[verb] = measured(verb, run)
        if not args.json:
            print(n_rows, verb, figures[verb], file=sys.stderr, flush=True)
    figures["disk_mb"] = disk(run)
    return figures


def disk(run: Path) -> dict[str, int]:
    """Return megabytes by kind of file."""
    kinds = {
        "by_row": "codes/*/*/row_*.npy",
        "by_feature": "codes/*/*/feature_*.npy",
        "texts": "codes/*/*/rows.parquet",
        "vectors": "codes/*/*/vectors.npy",
        "text_index": "codes/*/texts.sqlite",
        "results": "*.*",
        "map": "codes/*/*.npz",
    }
    sizes = {}
    for kind, pattern in kinds.items():
        sizes[kind] = sum(path.stat().st_size for path in run.glob(pattern)) >> 20
    return sizes


def build(args: argparse.Namespace, run: Path, n_rows: int) -> None:
    """Write codes with texts, three columns and embeddings, and at last the model."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import scipy.sparse as sp

    from nanosae.codes import CodesWriter

    rng = np.random.default_rng(0)
    model = random_model(args, rng)
    vocabulary = words(VOCABULARY + args.features)
    limits = np.cumsum(1 / (np.arange(VOCABULARY) + 3.0))
    draw = drawer(args.features, args.k)
    path = run / "codes" / "synthetic"
    with CodesWriter(path, n_features=args.features) as writer:
        for start in range(0, n_rows, ROWS_PER_BLOCK):
            n = min(ROWS_PER_BLOCK, n_rows - start)
            values, features = draw(n, start)
            row_ptr = np.arange(n + 1) * args.k
            shape = (n, args.features)
            activations = sp.csr_array((values, features, row_ptr), shape=shape)
            drawn = limits[-1] * rng.random((n, N_WORDS))
            chosen = np.searchsorted(limits, drawn)
            topical = features.reshape(n, args.k)[:, :N_TOPICAL]
            chosen[:, 1 : 3 * N_TOPICAL : 3] = VOCABULARY + topical
            flat = vocabulary.take(pa.array(chosen.ravel()))
            row_ends = pa.array(np.arange(n + 1) * N_WORDS, pa.int32())
            lists = pa.ListArray.from_arrays(row_ends, flat)
            year = 1990 + (rng.integers(0, 35, n) + features[:: args.k]) % 35
            table = {
                "text": pc.call_function("binary_join", [lists, " "]),
                "country": pa.array(COUNTRIES).take(pa.array(topical[:, 0] % 4)),
                "year": year,
                "price": rng.exponential(1 + values[:: args.k]),
            }
            noise = rng.normal(scale=0.1, size=(n, args.width)).astype(np.float32)
            vectors = activations @ model.W_dec + noise
            writer.append(activations, table=pa.table(table), vectors=vectors)
    model.save(run / "model")


def words(n: int) -> Any:
    """Return n distinct synthetic words, short ones first, as an Arrow array."""
    import pyarrow as pa

    syllables = [first + second for first in "bdfgklmnprst" for second in "aeiou"]
    made: list[str] = []
    for number in range(n):
        word = ""
        rest = number
        while rest or not word:
            rest, syllable = divmod(rest, len(syllables))
            word += syllables[syllable]
        made.append(word)
    return pa.array(made)


def measured(verb: str, run: Path) -> dict[str, Any]:
    """Run a verb's command; return its time and peak memory, and how it ended if it failed."""
    words = [str(run) if word == "RUN" else word for word in COMMANDS[verb]]
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as errors:
        began = time.perf_counter()
        process = subprocess.Popen([*NANOSAE, *words], stdout=said, stderr=errors)
        peak, serves = 0.0, verb == "explore"
        while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
            peak = max(peak, anonymous_mb(process.pid))
            if serves and (url := first_address(said)):
                serves = False
                ask_for_first_screen(url)
                peak = max(peak, anonymous_mb(process.pid))
                process.terminate()
            time.sleep(0.05)
        wall = time.perf_counter() - began
        _, status, usage = ended
        process.returncode = os.waitstatus_to_exitcode(status)
        spent = usage.ru_utime + usage.ru_stime
        figures: dict[str, Any] = {"wall_s": round(wall, 1), "cpu_s": round(spent, 1)}
        figures["peak_mb"] = round(peak)
        if status and verb != "explore":
            errors.seek(0)
            figures["failed"] = errors.read()[-300:] or f"status {status}"
    return figures


def anonymous_mb(pid: int) -> float:
    """Return a process' RssAnon in MB, 0 if it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    sizes = [int(line.split()[1]) for line in lines if line.startswith("RssAnon")]
    return sum(sizes) / 1024


def first_address(said: Any) -> str:
    """Return the address that the explorer has printed, or "" if it has not yet."""
    said.seek(0)
    return said.read().partition(" ")[0]


def ask_for_first_screen(url: str) -> None:
    """Request everything that the explorer's first screen shows."""
    for path in (
        "state",
        "features",
        "points/rows",
        "points/rows?color=%22column:country%22",
    ):
        with urllib.request.urlopen(f"{url}api/{path}") as answer:
            answer.read()


if __name__ == "__main__":
    main()
