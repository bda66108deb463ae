"""Held-out quality of nanoSAE's default recipe and of its peers, on the same rows.

    python bench/quality.py [--data FILE.npy|DIR] [--peers NAME ...] [--json] [--save]

All see the same number of training rows and are measured by the same function: FVU from sums pooled
over the held-out rows, relative to the mean of the training rows; L0; dead, the share of latents
active on no row, including training rows. Compare FVUs at equal L0 only.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Callable
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

import machine
import peers


def load(path: Path | None) -> dict[str, np.ndarray]:
    """Return float32 rows by name, from an .npy file, a folder of them, or the demo corpus."""
    if path is None:
        path = Path(str(resources.files("nanosae") / "demo" / "wordnet.minilm.f16.npy"))
        return {"demo": np.load(path).astype(np.float32)}
    files = sorted(path.glob("*.npy")) if path.is_dir() else [path]
    if not files:
        raise FileNotFoundError(f"{path} holds no .npy file.")
    return {file.name.split(".")[0]: np.load(file).astype(np.float32) for file in files}


def split(rows: np.ndarray, seed: int) -> tuple[Tensor, Tensor]:
    """Shuffle the rows and hold out a tenth, at most 4,000 rows."""
    x = torch.from_numpy(rows[np.random.default_rng(seed).permutation(len(rows))])
    held = min(4000, len(x) // 10)
    return x[:-held], x[-held:]


@torch.no_grad()
def measure(
    encode: Callable[[Tensor], Tensor],
    reconstruct: Callable[[Tensor], Tensor],
    x_train: Tensor,
    x_held: Tensor,
) -> dict[str, float]:
    """Return fvu and l0 on the held-out rows, and the share of dead latents."""
    error = total = active = 0.0
    mean = x_train.double().mean(0)
    alive = (encode(x_held[:1]) != 0).any(0)
    for x in x_held.split(2000):
        acts = encode(x)
        error += float((x.double() - reconstruct(x).double()).square().sum())
        total += float((x.double() - mean).square().sum())
        active += int((acts != 0).sum())
        alive |= (acts != 0).any(0)
    for x in x_train.split(2000):
        alive |= (encode(x) != 0).any(0)
    dead = 1 - float(alive.double().mean())
    return {"fvu": error / total, "l0": active / len(x_held), "dead": dead}


def ours(x_train: Tensor, args: argparse.Namespace) -> tuple[Callable, Callable]:
    """Train the default recipe and return (encode, reconstruct)."""
    from nanosae import SAETrainer, TrainConfig

    config = TrainConfig(
        hidden_size=args.hidden_size,
        k=args.k,
        steps=args.steps,
        batch_size=args.batch_size,
        activation=args.activation,
        seed=args.seed,
    )
    model = SAETrainer(config).train(x_train.numpy(), progress=False)
    return model.encode, model


def cached(
    path: Path | None, key: dict[str, Any], compute: Callable[[], dict]
) -> dict[str, Any]:
    """Return a result from the cache file, or compute it and add it there."""
    if path is None:
        return compute()
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if name not in known:
        result = compute()
        known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        shown = {k: v for k, v in key.items() if k != "recipe"}
        known[name] = {"key": shown, "result": result}
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_text(json.dumps(known, indent=1), encoding="utf-8")
        part.replace(path)
    return known[name]["result"]


def timed(
    train: Callable[[], tuple], x_train: Tensor, x_held: Tensor
) -> dict[str, Any]:
    """Train and measure; add the seconds of the training."""
    start = time.perf_counter()
    encode, reconstruct = train()
    seconds = time.perf_counter() - start
    return {
        **measure(encode, reconstruct, x_train, x_held),
        "seconds": round(seconds, 1),
    }


def compare(
    name: str, rows: np.ndarray, args: argparse.Namespace
) -> list[dict[str, Any]]:
    """Return one result per library and activation, nanoSAE first."""
    x_train, x_held = split(rows, args.seed)
    settings = {
        n: getattr(args, n) for n in ("hidden_size", "k", "steps", "batch_size", "seed")
    }
    results = []
    if not args.only_peers:
        result = timed(lambda: ours(x_train, args), x_train, x_held)
        results.append(
            {
                "data": name,
                "library": "nanosae",
                "activation": args.activation or "default",
                **result,
            }
        )
    for library, activation in args.chosen:
        key = {"data": hashlib.sha256(rows.tobytes()).hexdigest()[:16], "name": name}
        key |= {
            "library": library,
            "activation": activation,
            **settings,
            **peers.identity(library),
        }

        def run(library: str = library, activation: str = activation) -> dict[str, Any]:
            peers.preload(library)
            train = partial(peers.train, library, activation, x_train, **settings)
            return timed(train, x_train, x_held)

        result = cached(args.cache and args.cache / "peers_quality.json", key, run)
        results.append(
            {"data": name, "library": library, "activation": activation, **result}
        )
    return results


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line; --smoke makes everything tiny."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--data", type=Path, help="FILE.npy or a folder of them; default: demo"
    )
    parser.add_argument(
        "--peers",
        nargs="*",
        help="names such as saelens-topk, or none; default: all installed",
    )
    parser.add_argument("--only-peers", action="store_true", help="leave nanoSAE out")
    parser.add_argument("--activation", help="of nanoSAE; default: its default")
    parser.add_argument("--hidden-size", type=int, default=4096)
    parser.add_argument("--k", type=int, default=32)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch-size", type=int, default=1024)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--cache", type=Path, help="folder that keeps the peers' results"
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object, not a table"
    )
    parser.add_argument(
        "--save", action="store_true", help="keep the result in bench/results"
    )
    parser.add_argument(
        "--smoke", action="store_true", help="a few steps of a tiny SAE"
    )
    args = parser.parse_args(argv)
    if args.smoke:
        args.hidden_size, args.k, args.steps, args.batch_size = 64, 4, 3, 128
    args.chosen = [] if args.peers == ["none"] else peers.choose(args.peers)
    return args


def table(results: list[dict[str, Any]]) -> str:
    """Return the results as aligned text."""
    columns = ["data", "library", "activation", "fvu", "l0", "dead", "seconds"]
    return pd.DataFrame(results, columns=columns).round(4).to_string(index=False)


def against_best(results: list[dict[str, Any]], k: int) -> dict[str, float]:
    """Return, by corpus, nanoSAE's FVU over that of the best peer with an L0 within 10 % of k."""
    ratios = {}
    for own in results:
        if own["library"] != "nanosae":
            continue
        fvus = []
        for peer in results:
            is_as_sparse = abs(peer["l0"] / k - 1) <= 0.1
            if peer is not own and peer["data"] == own["data"] and is_as_sparse:
                fvus.append(peer["fvu"])
        if fvus:
            ratios[own["data"]] = round(own["fvu"] / min(fvus), 3)
    return ratios


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Run from the command line."""
    args = parse(argv)
    results = []
    for name, rows in load(args.data).items():
        results += compare(name, rows, args)
    names = ("hidden_size", "k", "steps", "batch_size", "seed")
    settings = {name: getattr(args, name) for name in names}
    ratios = against_best(results, args.k)
    report = {**settings, "results": results, "fvu_against_best_peer": ratios}
    report["machine"] = machine.facts()
    print(
        json.dumps(report)
        if args.json
        else f"{table(results)}\nagainst the best peer: {ratios}"
    )
    if args.save:
        machine.save("quality", report)
    return report


if __name__ == "__main__":
    main()
