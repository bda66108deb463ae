"""Advice: what to train on some data, and how much time and memory that takes on this machine."""

from __future__ import annotations

import dataclasses
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nanosae.config import ResolvedConfig, TrainConfig
from nanosae.data.dataset import MAX_HELDOUT
from nanosae.errors import ConfigError, NanoSAEError
from nanosae.sources import open_rows
from nanosae.train.trainer import SAETrainer

TRIAL_ROWS = 16_384
TRIAL_STEPS = 8  # with a checkpoint after the fourth, and an evaluation after the last


@dataclass
class Advice:
    """What to train and what it will take; `print` shows it as text.

    Attributes:
        n_rows: Number of rows of the data.
        config: The settings, with every derived field filled in.
        steps: Optimiser steps; the maximum, if training stops early.
        seconds: Expected duration of the whole run.
        memory: Expected peak memory of the process, in bytes; NaN if the system does not report it.
    """

    n_rows: int
    config: ResolvedConfig
    steps: int
    seconds: float
    memory: float

    def __str__(self) -> str:
        """Return a few lines of text."""
        config = self.config
        sparsity = f"l1_coefficient={config.l1_coefficient}"
        if config.k is not None:
            sparsity = f"k={config.k}"
        kind = config.activation
        if config.nested:
            kind = f"nested {kind}"
        data = f"{self.n_rows:,} rows of {config.input_size}"
        sizes = f"hidden_size={config.hidden_size}, {sparsity}"
        bound = "at most " if config.stops_early else ""
        minutes = self.seconds / 60
        gibibytes = self.memory / 2**30
        lines = [
            f"{data}: {kind}, {sizes}, batches of {config.batch_size}",
            f"time    {bound}{minutes:.1f} minutes ({self.steps:,} steps)",
            f"memory  {gibibytes:.1f} GiB",
        ]
        return "\n".join(lines)


def recommend(data: Any, config: TrainConfig | None = None) -> Advice:
    """Recommend settings for some data, and measure their time and memory on this machine.

    A separate process trains a few steps of the same size on some of the rows.

    Args:
        data: As for `SAETrainer.train`.
        config: Settings that are already decided; if None, all are derived from the data.

    Raises:
        DataError: If the rows cannot be trained on.
        ConfigError: If the settings do not fit the rows, or a few steps with them fail.
    """
    requested = TrainConfig() if config is None else config
    rows = open_rows(data, columns=requested.columns, input_size=requested.input_size)
    n_rows = rows.n_rows
    n_heldout = min(MAX_HELDOUT, round(n_rows * requested.heldout_share))
    resolved = requested.resolved(max(1, n_rows - n_heldout), rows.width)

    n_sampled = min(n_rows, TRIAL_ROWS)
    numbers = np.linspace(0, n_rows - 1, n_sampled).astype(np.int64)
    start = time.perf_counter()
    sample = rows.take(numbers)
    reading = (time.perf_counter() - start) * n_rows / n_sampled
    config_of_trial = _trial_config(requested, resolved, n_heldout / n_sampled)
    trial = _measure_trial(sample, config_of_trial)

    n_evaluations = resolved.steps // resolved.eval_every + 1
    n_checkpoints = resolved.steps // resolved.checkpoint_every + 1
    seconds = reading + trial.whole
    seconds += (resolved.steps - TRIAL_STEPS) * trial.step
    seconds += (n_evaluations - 1) * trial.evaluation
    seconds += (n_checkpoints - 2) * trial.checkpoint
    row_bytes = 4 * rows.width
    rows_in_memory = min(n_rows * row_bytes, resolved.buffer_bytes)
    memory = trial.memory + rows_in_memory - n_sampled * row_bytes
    return Advice(n_rows, resolved, resolved.steps, max(seconds, trial.whole), memory)


class _Trial(NamedTuple):
    """What a trial took, in seconds and bytes; an evaluation includes its snapshot."""

    whole: float
    step: float
    evaluation: float
    checkpoint: float
    memory: float


def _trial_config(
    requested: TrainConfig, resolved: ResolvedConfig, heldout_share: float
) -> TrainConfig:
    """Return settings of the same sizes for a few steps on a sample.

    The sample has as many held-out rows as the data, so that an evaluation takes as long.
    """
    return dataclasses.replace(
        requested,
        input_size=resolved.input_size,
        hidden_size=resolved.hidden_size,
        batch_size=resolved.batch_size,
        noise=resolved.noise,
        steps=TRIAL_STEPS,
        epochs=None,
        heldout_share=min(0.5, heldout_share),
        log_every=1,
        eval_every=TRIAL_STEPS,
        checkpoint_every=TRIAL_STEPS // 2,
        columns=None,
        wandb=None,
        tensorboard=False,
    )


def _measure_trial(sample: np.ndarray, config: TrainConfig) -> _Trial:
    """Train in a separate process, and read the duration of each part from its metrics."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "rows.npy", sample)
        (folder / "config.json").write_text(
            json.dumps(config.to_dict()), encoding="utf-8"
        )
        start = time.perf_counter()
        memory = _run_trial(folder)
        whole = time.perf_counter() - start
        lines = (folder / "run" / "metrics.jsonl").read_text("utf-8").splitlines()
    clock = [json.loads(line)["seconds"] for line in lines[:TRIAL_STEPS]]
    duration = np.diff(clock)  # of steps 2, 3 and so on
    # the time of the checkpoint counts towards the step after it
    with_checkpoint = TRIAL_STEPS // 2 - 1
    before = duration[1:with_checkpoint]
    after = duration[with_checkpoint + 1 : -1]
    step = statistics.median([*before, *after])
    checkpoint = duration[with_checkpoint] - step
    evaluation = duration[-1] - step
    return _Trial(whole, step, max(0.0, evaluation), max(0.0, checkpoint), memory)


def _run_trial(folder: Path) -> float:
    """Call `_train_trial` in a new process; return its peak memory in bytes."""
    command = [sys.executable, "-m", "nanosae.advice", str(folder)]
    process = subprocess.run(command, capture_output=True, text=True)
    if process.returncode != 0:
        reason = process.stderr.strip()[-500:]
        raise ConfigError(f"a trial with these settings failed: {reason}")
    return float(process.stdout)


def _train_trial(folder: Path) -> float:
    """Train on the rows in a folder; return the peak memory of this process in bytes."""
    trainer = SAETrainer(TrainConfig.load(folder / "config.json"), run=folder / "run")
    trainer.train(folder / "rows.npy", progress=False)
    try:
        import resource
    except ImportError:  # Windows
        return math.nan
    unit = 1 if sys.platform == "darwin" else 1024
    return float(unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


if __name__ == "__main__":
    try:
        print(_train_trial(Path(sys.argv[1])))  # noqa: T201 (for `recommend`)
    except NanoSAEError as error:
        sys.exit(str(error))
