"""Cost of a full training step, relative to the encoder's matrix product, measured in one process.

    python bench/step.py --batch-size 4096 --input-size 384 --hidden-size 4096 --k 32 --json

A step is everything that training does with a batch in memory: selection, losses, AuxK, backward,
clipping, optimiser, norms, counters. The learning rate is too small to change anything: relu,
jumprelu and gated keep their initial thresholds, which k entries per row exceed.

Steps alternate with the product `torch.mm(x, W_enc)` of the same sizes; `ratio` is the median step
over the median product. `ratio_dead10` is the same with a tenth of the latents marked dead before
every step, `ratio_noise` with the noise that training adds on small corpora. Allocating its result
takes about a fifth of the product's time; `..._into` are ratios to a product into existing memory.

On a GPU (`--device cuda`), times are of bursts of ten without synchronisation in between, as in
training; peers and product also use TF32 factors, unless `--precision` says otherwise. `share` is
the product's share of the step's time, and `gemm_tflops` its rate.

`rows_ratio` is the number of rows per second that a model encodes to sparse features (in memory)
over that of the product alone. `--suite` measures CPU_SUITE or, with `--device cuda`, GPU_SUITE
with sparsify and SAELens, each case in a separate process; it keeps the results and prints a table.

`peak_extra_mb` is measured in a separate process: peak memory of the steps beyond data, parameters
and Adam's two moments, including gradients and the copy of the best weights.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import gc
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

import machine
import peers
from nanosae.kernels import selection_path
from nanosae.train.step import take_step
from nanosae.trainable.noise import with_noise

SIZES = ("batch_size", "input_size", "hidden_size", "k")
BURST = 10  # steps on a GPU between two readings of the clock
MARK = 10**12  # rows without activity of a latent that counts as dead
COLUMNS = ("ratio_into", "ratio_dead10_into", "ratio_noise_into", "rows_ratio", "l0")
Step = Callable[[Tensor], Any]


class Case(NamedTuple):
    """One case of a suite; the fields are options of the command line."""

    input_size: int
    hidden_size: int
    k: int
    activation: str = "batchtopk"
    selection: str = "auto"
    batch_size: int = 4096

    def options(self) -> list[str]:
        """Return the command-line options of this case."""
        options = []
        for name, value in self._asdict().items():
            options += [f"--{name.replace('_', '-')}", str(value)]
        return options


CPU_SUITE = (
    Case(384, 4096, 32),
    Case(384, 4096, 32, "topk"),
    Case(384, 16384, 32),
    Case(384, 16384, 32, "topk"),
    Case(1024, 16384, 64),
    Case(1024, 16384, 64, "topk"),
    Case(384, 4096, 32, "relu"),
    Case(384, 4096, 32, "jumprelu"),
    Case(384, 4096, 32, "gated"),
    Case(384, 4096, 32, selection="float32"),
    Case(384, 1024, 16, batch_size=256),
)
GPU_SUITE = (Case(384, 4096, 32), Case(1024, 16384, 64), Case(1024, 131072, 64))


def corpus(n_rows: int, width: int, seed: int = 0) -> np.ndarray:
    """Return unit-norm rows like embeddings: sparse sums of directions, a mean, and noise."""
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(4 * width, width)).astype(np.float32) / width**0.5
    rows = 0.3 * directions[0] + 0.3 / width**0.5 * rng.normal(size=(n_rows, width))
    weights = 1 / np.arange(1, len(directions) + 1) ** 0.7
    picks = rng.choice(len(directions), size=(n_rows, 12), p=weights / weights.sum())
    for column in picks.T:
        rows += rng.exponential(0.4, size=(n_rows, 1)) * directions[column]
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def dataset(args: argparse.Namespace) -> Any:
    """Return rows prepared for training."""
    from nanosae.data.dataset import Dataset
    from nanosae.sources import open_rows

    rows = corpus(max(16 * args.batch_size, 2 * args.hidden_size), args.input_size)
    return Dataset(open_rows(rows), seed=0, heldout_share=0.05, buffer_rows=2**20)


def trainer(data: Any, args: argparse.Namespace, noise: float = 0.0) -> Any:
    """Return nanoSAE's training state before its first step, with compiled kernels."""
    from nanosae import TrainConfig
    from nanosae.train.state import TrainingState

    config = TrainConfig(
        hidden_size=args.hidden_size,
        k=args.k,
        steps=100_000,
        lr=1e-9,
        batch_size=args.batch_size,
        activation=args.activation,
        noise=noise,
        device=args.device,
        precision=args.precision,
    )
    training = TrainingState(config.resolved(data.n_train, data.width), data)
    training.compile_kernels(len(data.heldout))
    return training


def batches(data: Any, size: int, device: str) -> Callable[[int], Tensor]:
    """Return a function that returns a copy of a batch of training rows, by number."""
    pool = torch.from_numpy(data.sample(8 * size, seed=1)).to(device)
    return lambda i: pool[i % 8 * size :][:size].clone()


def settle(
    training: Any, take: Callable[[int], Tensor], args: argparse.Namespace
) -> None:
    """Set thresholds that k entries per row exceed, and step until the kernels are warm."""
    rows = with_noise(training.config, take(0), args.input_size, step=0)
    bias, weight = training.encoder_bias.detach(), training.params["W_enc"].detach()
    pre_acts = torch.addmm(bias, rows, weight.T).flatten()
    largest = pre_acts.topk(4 * args.k * len(rows)).values
    threshold, window_start = float(largest[len(largest) // 4]), float(largest[-1])
    if args.activation in ("relu", "gated"):
        bias -= threshold
    if args.activation == "jumprelu":
        training.counters.step = training.config.steps // 2  # after the warm-up
        training.counters.window = 2 * (threshold - window_start)
        training.params["log_threshold"].data.fill_(math.log(threshold))
    for i in range(5):
        take_step(training, take(i))


def clock(action: Callable[[], Any]) -> float:
    """Return the duration of an action in milliseconds; on a GPU, the mean of a burst."""
    times = BURST if torch.cuda.is_initialized() else 1
    wait()
    start = time.perf_counter()
    for _ in range(times):
        action()
    wait()
    return 1000 * (time.perf_counter() - start) / times


def wait() -> None:
    """Wait for the GPU, if one is in use."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def spread(times: list[float]) -> dict[str, float]:
    """Return minimum, quartiles and count."""
    low, middle, high = np.percentile(times, [25, 50, 75])
    numbers = {"min": min(times), "q1": low, "median": middle, "q3": high}
    return {name: round(float(value), 3) for name, value in numbers.items()} | {
        "n": len(times)
    }


def interleave(
    steps: dict[str, tuple[Step, Callable[[], Any]]],
    take: Callable[[int], Tensor],
    products: dict[str, Callable[[], Any]],
    repeats: int,
) -> dict[str, dict[str, float]]:
    """Time all steps in turn, each after all products.

    Args:
        steps: By name, a step and a function called before it, untimed.
        take: Returns a batch, by number.
        products: Products, by name.
        repeats: Number of repetitions.
    """
    times: dict[str, list[float]] = {name: [] for name in (*products, *steps)}
    gc.disable()
    for i in range(repeats):
        for name, (step, before) in steps.items():
            before()
            x = take(i)
            for kind, product in products.items():
                times[kind].append(clock(product))
            times[name].append(clock(lambda step=step, x=x: step(x)))
        gc.collect()
    gc.enable()
    return {name: spread(values) for name, values in times.items()}


def ours(
    data: Any, args: argparse.Namespace
) -> dict[str, tuple[Step, Callable[[], Any]]]:
    """Return nanoSAE's steps for `interleave`: plain, with dead latents, and with noise."""
    dead = torch.arange(0, args.hidden_size, 10, device=args.device)
    take, steps = batches(data, args.batch_size, args.device), {}
    for name in ("step", "step_dead10", "step_noise"):
        training = trainer(data, args, noise=0.2 if name == "step_noise" else 0.0)
        settle(training, take, args)
        marked = dead if name == "step_dead10" else dead[:0]

        def before(training: Any = training, marked: Tensor = marked) -> None:
            training.silent_rows.zero_().index_fill_(0, marked, MARK)
            training.read_deferred()

        steps[name] = functools.partial(take_step, training), before
    return steps


def encode(data: Any, training: Any) -> tuple[Step, Callable[[], Any]]:
    """Return the encoding of a batch of raw rows, for `interleave`."""
    from nanosae.trainable.export import export

    model = export(training.config, data, training.best_weights())

    def step(batch: Tensor) -> None:
        model.sparse_features(batch.numpy() / np.float32(data.scale) + data.mean)

    return step, lambda: None


def theirs(args: argparse.Namespace) -> dict[str, tuple[Step, Callable[[], Any]]]:
    """Return the peers' steps, plain and (if they have AuxK) with dead latents."""
    rows = torch.from_numpy(corpus(args.batch_size, args.input_size)).to(args.device)
    sizes = peers.Sizes(args.hidden_size, args.k, 100_000, args.batch_size)
    steps = {}
    for library, activation in peers.choose(args.peers):
        for dead in (False, True):
            peer = peers.make(library, activation, rows, sizes)
            if dead and peer.mark_dead is None:
                continue
            peer.step(rows)
            if dead and peer.mark_dead:
                peer.mark_dead(
                    torch.arange(0, args.hidden_size, 10, device=args.device)
                )
            name = f"{library}-{activation}" + "_dead10" * dead
            steps[name] = peer.step, lambda: None
    return steps


def memory(args: argparse.Namespace) -> dict[str, float | None]:
    """Return the peak memory of steps and start in MB, beyond data, parameters and moments."""
    keys = ("peak_extra_mb", "start_extra_mb")
    if args.device == "cpu" and not Path("/proc/self/clear_refs").exists():
        return dict.fromkeys(keys)  # only Linux reports it

    def resident(field: str) -> float:
        if args.device == "cuda":
            peak = (
                torch.cuda.max_memory_allocated
                if field == "VmHWM"
                else torch.cuda.memory_allocated
            )
            return peak() / 2**20
        text = Path("/proc/self/status").read_text()
        return int(text.partition(field + ":")[2].split()[0]) / 1024

    def reset() -> None:
        if args.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        else:
            Path("/proc/self/clear_refs").write_text("5")

    small = argparse.Namespace(
        **{**vars(args), "hidden_size": 8 * args.k, "batch_size": 256}
    )
    data = dataset(small)
    settle(trainer(data, small), batches(data, 256, args.device), small)
    data = dataset(args)
    take = batches(data, args.batch_size, args.device)
    take(0)
    gc.collect()
    base = resident("VmRSS")
    reset()
    training = trainer(data, args)
    params = sum(p.numel() * p.element_size() for p in training.params.values()) / 2**20
    start = resident("VmHWM") - base - params
    reset()
    for i in range(4):
        take_step(training, take(i))
    steps = resident("VmHWM") - base - 3 * params
    result: dict[str, float | None]
    result = dict(zip(keys, (round(steps, 1), round(start, 1)), strict=True))
    if args.device == "cuda":
        result["peak_mb"] = round(steps + base + 3 * params, 1)
    return result


def report(args: argparse.Namespace) -> dict[str, Any]:
    """Measure everything that the arguments ask for."""
    data = dataset(args)
    take = batches(data, args.batch_size, args.device)
    x, weight = (
        take(0),
        torch.randn(args.input_size, args.hidden_size, device=args.device),
    )
    if args.device == "cuda" and args.precision == "bfloat16":
        x, weight = x.bfloat16(), weight.bfloat16()
    out = torch.mm(x, weight)
    products = {
        "gemm": lambda: torch.mm(x, weight),
        "gemm_into": lambda: torch.mm(x, weight, out=out),
    }
    steps = ours(data, args)
    training = steps["step"][0].args[0]  # type: ignore[attr-defined]
    timed = dict(steps)
    if args.device == "cpu":
        timed["encode"] = encode(data, training)
    times = interleave(timed, take, products, args.repeats)
    gemm, into = times["gemm"]["median"], times["gemm_into"]["median"]
    result = {name: getattr(args, name) for name in SIZES} | {
        "activation": args.activation,
        "selection": selection_path(training.kernels),
    }
    result |= {
        "gemm_ms": gemm,
        "gemm_into_ms": into,
        "step_ms": times["step"]["median"],
    }
    if args.device == "cuda":
        flops = 2 * args.batch_size * args.input_size * args.hidden_size
        result |= {
            "gemm_tflops": round(flops / gemm / 1e9, 1),
            "precision": args.precision,
        }
        result["share"] = round(gemm / times["step"]["median"], 3)
    for name in steps:
        ratio = name.replace("step", "ratio", 1)
        result[ratio] = round(times[name]["median"] / gemm, 3)
        result[f"{ratio}_into"] = round(times[name]["median"] / into, 3)
    if args.device == "cpu":
        result["rows_ratio"] = round(into / times["encode"]["median"], 3)
    training.read_deferred()
    result["l0"] = round(training.counters.l0, 2)
    result["spread"] = times
    if args.peers is not None:
        both = {"nanosae": steps["step"], **theirs(args)}
        times = interleave(both, take, products, max(3, args.repeats // 4))
        gemm, mine = times["gemm"]["median"], times["nanosae"]["median"]
        result["peers"] = {
            name: {
                "ratio": round(times[name]["median"] / gemm, 3),
                "times_nanosae": round(times[name]["median"] / mine, 2),
                **times[name],
            }
            for name in both
        }
        chosen = {library for library, _ in peers.choose(args.peers)}
        result["peer_versions"] = {
            name: peers.identity(name)["version"] for name in sorted(chosen)
        }
    child = [sys.executable, __file__, *args.argv, "--only-memory"]
    result |= json.loads(
        subprocess.run(child, capture_output=True, text=True, check=True).stdout
    )
    return result | {"machine": machine.facts()}


def suite(args: argparse.Namespace) -> dict[str, Any]:
    """Measure every case of a suite in a separate process; return the results by case."""
    fixed = [option for option in args.argv if option != "--suite"]
    if args.device == "cuda" and args.peers is None:
        fixed += ["--peers", "sparsify", "saelens"]
    results = {}
    print("case", *COLUMNS, sep="\t", flush=True)
    for case in GPU_SUITE if args.device == "cuda" else CPU_SUITE:
        options = [*fixed, *case.options(), "--save", "--json"]
        command = [sys.executable, __file__, *options]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        result = json.loads(done.stdout)
        name = " ".join(str(part) for part in case)
        results[name] = result
        print(name, *(result.get(column) for column in COLUMNS), sep="\t", flush=True)
    return results


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--batch-size", type=int, default=4096)
    parser.add_argument("--input-size", type=int, default=384)
    parser.add_argument("--hidden-size", type=int, default=4096)
    parser.add_argument("--k", type=int, default=32)
    parser.add_argument("--activation", default="batchtopk")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument(
        "--precision", choices=["float32", "tf32", "bfloat16"], default="tf32"
    )
    parser.add_argument(
        "--selection",
        choices=["auto", "float32"],
        default="auto",
        help="float32: never screen by 8-bit products",
    )
    parser.add_argument(
        "--suite", action="store_true", help="all cases, with peers, and --save"
    )
    parser.add_argument(
        "--peers", nargs="*", help="names such as saelens-topk; none named: all"
    )
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--save", action="store_true", help="keep the result in bench/results"
    )
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, few repeats")
    parser.add_argument("--only-memory", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    args.argv = sys.argv[1:] if argv is None else argv
    if args.smoke:
        args.batch_size, args.input_size, args.hidden_size, args.k = 256, 32, 128, 8
        args.repeats = 3
    if args.suite:
        return suite(args)
    if args.selection == "float32":
        os.environ["NANOSAE_SCREENING"] = "0"
    if args.device == "cuda":
        torch.cuda.init()
        flags = torch.backends.cuda.matmul
        flags.fp32_precision = "ieee" if args.precision == "float32" else "tf32"
    with contextlib.redirect_stdout(sys.stderr):  # peers print as they are imported
        result = memory(args) if args.only_memory else report(args)
    if args.json or args.only_memory:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:16} {value}")
    if args.save and not args.only_memory:
        machine.save("step", result)
    return result


if __name__ == "__main__":
    main()
