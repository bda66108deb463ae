"""The history of a training, read from its run folder during or after the training.

Incomplete lines and snapshots are skipped until the next reading.
"""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nanosae.runs.folder import current, verify_training
from nanosae.view.files import read_arrays, snapshot_files

MAX_LINES = 2000  # of metrics on a page; more are thinned
MAX_SNAPSHOTS = 60
HISTOGRAMS = (  # of a snapshot, shown on pages
    "encoder_norm",
    "decoder_norm",
    "encoder_decoder_cosine",
    "decoder_max_cosine",
    "log10_density",
    "activation",
)


class NewMetrics(NamedTuple):
    """New lines of metrics.jsonl.

    Attributes:
        lines: Complete lines after a position, evenly thinned to at most MAX_LINES, including the
            last one.
        offset: The position after them, in bytes.
        reset: Whether earlier lines are obsolete because the file was replaced.
    """

    lines: list[dict[str, Any]]
    offset: int
    reset: bool


def training_state(run: str | Path, offset: int = 0, after: int = 0) -> dict[str, Any]:
    """Read the state of a training from its run folder, or only what is new.

    Args:
        run: The run folder, in any state.
        offset: Position in metrics.jsonl up to which lines are known, in bytes.
        after: Last step whose snapshot is known.

    Returns:
        `lines`, `offset` and `reset` as in NewMetrics, `quiet` (seconds since metrics.jsonl was
        written), `snapshots` (see `read_snapshots`) and `config`, if there is one.

    Raises:
        DamagedFileError: If a file of a finished training is damaged.
    """
    run = current(run)
    verify_training(run)
    metrics = read_metrics(run / "metrics.jsonl", offset)
    state = {
        **metrics._asdict(),
        "snapshots": read_snapshots(run, 0 if metrics.reset else after),
    }
    with contextlib.suppress(OSError):
        state["quiet"] = time.time() - (run / "metrics.jsonl").stat().st_mtime
    with contextlib.suppress(OSError, ValueError):
        state["config"] = json.loads((run / "config.json").read_text("utf-8"))["config"]
    return state


def read_metrics(path: Path, offset: int = 0) -> NewMetrics:
    """Read the lines of metrics.jsonl after a position in bytes; damaged lines are skipped."""
    reset = False
    try:
        with path.open("rb") as stream:
            if offset > 0 and not _follows_a_line(stream, offset):
                reset = True
                offset = 0
            stream.seek(offset)
            text = stream.read()
    except FileNotFoundError:
        return NewMetrics([], 0, offset > 0)
    complete = text[: text.rfind(b"\n") + 1]
    lines = []
    for line in complete.splitlines():
        with contextlib.suppress(ValueError):
            lines.append(json.loads(line))
    return NewMetrics(_thinned(lines, MAX_LINES), offset + len(complete), reset)


def _follows_a_line(stream: Any, offset: int) -> bool:
    """Return whether a line ends at a position, which fails if the file was replaced."""
    stream.seek(offset - 1)
    return stream.read(1) == b"\n"


def read_snapshots(run: Path, after: int) -> list[dict[str, Any]]:
    """Return the snapshots of later steps, evenly thinned to at most MAX_SNAPSHOTS.

    Returns:
        For each snapshot its `step`, `[counts, low, high]` of each of HISTOGRAMS, and `positions`,
        the x and y of the sampled `latents` in thousandths. Unreadable files are skipped.
    """
    files = snapshot_files(run)
    later = [step for step in files if step > after]
    snapshots = []
    for step in _thinned(later, MAX_SNAPSHOTS):
        arrays = read_arrays(files[step])
        if arrays is not None:
            snapshots.append(_shown_snapshot(step, arrays))
    return snapshots


def _shown_snapshot(step: int, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for name in HISTOGRAMS:
        edges = arrays[f"{name}_edges"]
        shown[name] = [arrays[name], edges[0], edges[-1]]
    positions = arrays["positions"].astype(np.float32)
    thousandths = (positions * 1000).round().astype(int)
    return shown | {
        "step": step,
        "positions": thousandths.T,
        "latents": arrays["latents"],
    }


def _thinned(items: list, most: int) -> list:
    """Return at most `most` items, evenly spaced and including the last one."""
    stride = max(1, -(-len(items) // most))
    return items[::-1][::stride][::-1]
