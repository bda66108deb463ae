"""Many SAEs on one pass over the data, and what to expect of one before it is trained."""

from __future__ import annotations

import itertools
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nanosae.config import ResolvedConfig, TrainConfig
from nanosae.data.dataset import Dataset
from nanosae.distributed import is_main_process
from nanosae.sources import open_rows
from nanosae.train.trainer import Job, train_jobs

if TYPE_CHECKING:
    import pandas as pd

# what decides the rows, their order and how they are dealt: equal in SAEs that share a pass
SHARED = ("columns", "input_size", "batch_size", "heldout_share", "buffer_rows", "data_seed")
TRIAL_ROWS, TRIAL_STEPS = 16_384, 8
# share of dead features by rows on which an average feature is active, n_rows · k ÷ hidden_size
DEAD = ((8, 0.5), (16, 0.3), (32, 0.15), (64, 0.06), (128, 0.03), (256, 0.02))
MEASURES = ("fvu", "l0", "dead", "train_fvu", "best_step", "seconds")


def grid(config: TrainConfig, **lists: Sequence[Any]) -> list[TrainConfig]:
    """Return a config for every combination of the listed values.

    Example:
        >>> [c.k for c in grid(TrainConfig(), k=[16, 32])]
        [16, 32]
    """
    fields = config.to_dict()
    return [
        TrainConfig.from_dict(fields | dict(zip(lists, values, strict=True)))
        for values in itertools.product(*lists.values())
    ]


def sweep(
    configs: Sequence[TrainConfig],
    data: Any,
    output: str | Path,
    *,
    targets: Any = None,
    resume: bool = False,
    force: bool = False,
    progress: bool = True,
) -> pd.DataFrame:
    """Train several SAEs on one pass over the data: each batch is read and normalised once.

    Each gets the bits that it would get alone. SAEs that differ in what deals the rows (batch_size,
    data_seed, heldout_share …) take passes of their own.

    Args:
        configs: What to train, such as `grid(TrainConfig(), k=[16, 32, 64], seed=[0, 1])`.
        data: See `SAETrainer.train`, as `targets`.
        output: Folder with a run for each, named by what differs, and `sweep.csv`.
        targets: What transcoders are to make of the rows.
        resume: Go on with what is not finished.
        force: Replace runs that are there.
        progress: Show a progress bar.

    Returns:
        A line for each: what differs, fvu, l0, dead, train_fvu, best_step, seconds.

    Raises:
        ValueError: If there is no config, or two are equal.
    """
    import pandas as pd

    if not configs:
        raise ValueError("there is nothing to train: give at least one config.")
    differ = _differing(configs)
    names = ["-".join(f"{field}={values[field]}" for field in values) or "run" for values in differ]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"two of the {len(names)} configs are equal ({twice}): leave one out.")
    output = Path(output)
    jobs = [Job(c, output / name) for c, name in zip(configs, names, strict=True)]
    groups: dict[Any, list[Job]] = {}
    for job in jobs:
        groups.setdefault(tuple(getattr(job.config, name) for name in SHARED), []).append(job)
    for group in groups.values():
        train_jobs(group, data, targets=targets, resume=resume, force=force, progress=progress)
    lines = []
    for job, name, values in zip(jobs, names, differ, strict=True):
        found = {key: job.metrics.get(key) for key in MEASURES}
        lines.append({"run": name, **values, **found})
    table = pd.DataFrame(lines)
    if is_main_process():
        table.to_csv(output / "sweep.csv", index=False)
    return table


def _differing(configs: Sequence[TrainConfig]) -> list[dict[str, Any]]:
    fields = [config.to_dict() for config in configs]
    names = [name for name in fields[0] if any(f[name] != fields[0][name] for f in fields)]
    return [{name: f[name] for name in names} for f in fields]


@dataclass
class Advice:
    """What to train and what it will take; printing it shows it as text.

    Attributes:
        n_rows: Rows of the data.
        config: Every derived field filled in.
        steps: Optimiser steps; the most there can be where training ends by itself.
        seconds: Expected time of the whole run.
        memory: Expected peak memory of the process, in bytes.
        dead: Expected share of dead features.
    """

    n_rows: int
    config: ResolvedConfig
    steps: int
    seconds: float
    memory: float
    dead: float

    def __str__(self) -> str:
        """Say it in a few lines."""
        c, open_end = self.config, self.config.stops_early
        sparsity = f"k={c.k}" if c.k else f"l1_coefficient={c.l1_coefficient}"
        return (
            f"{self.n_rows:,} rows of {c.input_size}: {c.activation}, hidden_size={c.hidden_size}, "
            f"{sparsity}, batches of {c.batch_size}\n"
            f"time    {'at most ' * open_end}{self.seconds / 60:.1f} minutes "
            f"({self.steps:,} steps)\n"
            f"memory  {self.memory / 2**30:.1f} GiB\n"
            f"dead    about {self.dead:.0%} of the features"
        )


def recommend(data: Any, config: TrainConfig | None = None) -> Advice:
    """Say what to train on some data, and what time and memory it takes on this machine.

    A process of its own trains a few steps of that very size on some of the rows.

    Args:
        data: See `SAETrainer.train`.
        config: What is already decided; None leaves everything to the data.
    """
    asked = config or TrainConfig()
    columns = None if asked.columns is None else list(asked.columns)
    rows = open_rows(data, columns=columns, input_size=asked.input_size)
    n = rows.n_rows
    n_train = max(1, n - min(10_000, round(n * asked.heldout_share)))
    full = asked.resolved(n_train, rows.width)
    steps, some = full.steps, min(n, TRIAL_ROWS)
    began = time.perf_counter()
    sample = rows.take(np.linspace(0, n - 1, some).astype(np.int64))
    reading = (time.perf_counter() - began) * n / some
    evaluations = steps // full.eval_every + 1
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/rows.npy", sample)
        trial = replace(full, steps=TRIAL_STEPS, columns=None, wandb=None)
        Path(folder, "config.json").write_text(json.dumps(asdict(trial)), encoding="utf-8")
        command = [sys.executable, "-m", "nanosae.sweep", folder]
        began = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True)
        whole = time.perf_counter() - began
        if done.returncode:
            raise RuntimeError(f"the trial run failed: {done.stderr.strip()[-500:]}")
        found = json.loads(done.stdout)
    in_memory = min(n, full.buffer_rows)
    per_row = found["evaluation"] / found["heldout"]
    heldout = max(1, n - n_train)
    once = whole - found["trial"] + found["start"] + found["end"]  # imports, too
    seconds = reading + once + steps * found["step"]
    seconds += evaluations * (heldout * per_row + found["snapshot"])
    seconds += (steps // full.checkpoint_every + 1) * found["checkpoint"]
    per_feature = n_train * (full.k or 32) / (full.hidden_size or 1)
    active, shares = zip(*DEAD, strict=True)
    dead = float(np.interp(math.log(per_feature), np.log(active), shares))
    memory = found["memory"] + 4.0 * rows.width * (in_memory - some)
    return Advice(n, full, steps, seconds, memory, dead)


def _trial(folder: Path) -> dict[str, float]:
    """Train a few steps and say what each part of a run takes, in seconds and bytes."""
    import resource

    from nanosae.runs.checkpoints import save_checkpoint
    from nanosae.train import export as finish
    from nanosae.train.step import Training

    clock, first = time.perf_counter, time.perf_counter()
    rows = np.load(folder / "rows.npy")
    config = ResolvedConfig.from_dict(json.loads((folder / "config.json").read_text("utf-8")))
    began = clock()
    data = Dataset(open_rows(rows), seed=0)
    training = Training(config, data)
    getattr(training.kernels, "compile_all", lambda: None)()
    import torch

    start, times, began = clock() - began, [], clock()
    for buffer, index in itertools.islice(data.batches(config.batch_size or 1), TRIAL_STEPS):
        training.step(torch.from_numpy(buffer[index]))
        times.append(clock() - began)
        began = clock()
    parts = {}
    (folder / "checkpoints").mkdir()
    for name, part in (
        ("evaluation", training.evaluate),
        ("snapshot", training.snapshot),
        ("checkpoint", lambda: save_checkpoint(folder, 1, *training.state())),
        ("end", lambda: finish.measure(data, finish.export(config, data, training.weights()), 0)),
    ):
        began = clock()
        part()
        parts[name] = clock() - began
    unit = 1 if sys.platform == "darwin" else 1024
    return parts | {
        "start": start,
        "step": statistics.median(times[2:]),
        "heldout": data.n_heldout,
        "trial": clock() - first,
        "memory": unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }


if __name__ == "__main__":
    print(json.dumps(_trial(Path(sys.argv[1]))))  # noqa: T201 (for `recommend`)
