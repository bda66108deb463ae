"""The run folder: who may write it, what goes into config.json, checkpoints whole or not at all.

    config.json  model/  metrics.jsonl  snapshots/NNNNNN.npz  checkpoints/step-NNNNNNNN/

Every file is replaced atomically. A checkpoint holds safetensors and JSON, no pickle.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from nanosae import __version__
from nanosae.config import ResolvedConfig, TrainConfig

OWNED = ("config.json", "model", "metrics.jsonl", "checkpoints", "snapshots")
Facts = dict[str, Any]


def claim(run: Path, config: TrainConfig, resume: bool, force: bool) -> bool:
    """Make sure that the folder may be written; return True if a finished run is resumed.

    Raises:
        FileExistsError: If it holds a run, and neither `resume` nor `force` is given.
        ValueError: If the run to resume was started with other settings.
    """
    found = [name for name in OWNED if (run / name).exists()]
    if found and not (resume or force):
        raise FileExistsError(
            f"{run} already holds a run ({', '.join(found)} would be overwritten). "
            "Go on with it (--resume), replace it (--force), or choose another folder."
        )
    if resume and (run / "config.json").exists():
        before, now = _read(run / "config.json")["requested"], config.to_dict()
        if changed := [name for name in now if now[name] != before.get(name)]:
            pairs = ", ".join(f"{n}={now[n]} (was {before.get(n)})" for n in changed)
            raise ValueError(f"{run} was started with other settings: {pairs}. Resume with those.")
        return (run / "model" / "cfg.json").exists()
    for name in found:
        shutil.rmtree(run / name) if (run / name).is_dir() else (run / name).unlink()
    return False


def start(
    run: Path,
    requested: TrainConfig,
    resolved: ResolvedConfig,
    fingerprint: str,
    source: str | None = None,
) -> None:
    """Make the folders and write config.json, or compare with the one of the run to resume."""
    for folder in ("checkpoints", "snapshots"):
        (run / folder).mkdir(parents=True, exist_ok=True)
    versions = {"nanosae": __version__, "torch": torch.__version__, "numpy": np.__version__}
    facts = {
        "format": 1,
        "requested": requested.to_dict(),
        "config": resolved.to_dict(),
        "data": source,
        "data_fingerprint": fingerprint,
        "threads": torch.get_num_threads(),
        "versions": versions | {"python": platform.python_version()},
    }
    path = run / "config.json"
    if not path.exists():
        _write(path, facts)
        return
    before = _read(path)
    if before["data_fingerprint"] != fingerprint:
        raise ValueError(f"{run} was trained on other rows: resume with those, or use --force.")
    for name in ("threads", "versions"):
        if before[name] != facts[name]:
            warnings.warn(
                f"{run} was started with {name} {before[name]}, now {facts[name]}: the resumed run "
                "may differ in the last bits.",
                stacklevel=3,
            )


def save_checkpoint(run: Path, step: int, tensors: dict[str, Tensor], facts: Facts) -> None:
    """Write `checkpoints/step-N`, then drop all but the newest two.

    Raises:
        OSError: If it cannot be written; earlier checkpoints stay valid.
    """
    folder = run / "checkpoints"
    path, part = folder / f"step-{step:08d}", folder / f".part-{os.getpid()}"
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        save_file({n: t.cpu().contiguous() for n, t in tensors.items()}, part / "state.safetensors")
        _write(part / "state.json", facts)
        with (part / "state.safetensors").open("rb+") as stream:
            os.fsync(stream.fileno())
        shutil.rmtree(path, ignore_errors=True)
        part.rename(path)
    except Exception as error:  # safetensors has an exception of its own for a full disk
        shutil.rmtree(part, ignore_errors=True)
        kept = f"step-{step:08d}" if path.exists() else last_checkpoint(run)
        valid = f"{kept} is valid" if kept else "there is no earlier one"
        raise OSError(
            f"the checkpoint of step {step} could not be written to {folder} ({error}); {valid}. "
            "Make room, or make the folder writable, then go on with --resume."
        ) from error
    for old in _checkpoints(run)[:-2]:
        shutil.rmtree(old)


def load_checkpoint(run: Path) -> tuple[dict[str, Tensor], Facts] | None:
    """Return what `save_checkpoint` was given last, or None."""
    if not (kept := _checkpoints(run)):
        return None
    return load_file(kept[-1] / "state.safetensors"), _read(kept[-1] / "state.json")


def last_checkpoint(run: Path) -> str | None:
    """Return the name of the newest complete checkpoint."""
    kept = _checkpoints(run)
    return kept[-1].name if kept else None


def _checkpoints(run: Path) -> list[Path]:
    return sorted(path for path in (run / "checkpoints").glob("step-*") if path.is_dir())


def last_line(run: Path) -> Facts:
    """Return the last line of the metrics."""
    return json.loads((run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[-1])


def replace_folder(path: Path, write: Any) -> None:
    """Let `write` fill a new folder, then put it in the place of `path`."""
    part = path.with_name(f".{path.name}-{os.getpid()}")
    shutil.rmtree(part, ignore_errors=True)
    write(part)
    shutil.rmtree(path, ignore_errors=True)
    part.rename(path)


@contextlib.contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM in a list instead of dying; a second one acts as before."""
    stopped: list[int] = []
    before = {}

    def note(number: int, frame: Any) -> None:
        signal.signal(number, before[number])
        stopped.append(number)

    with contextlib.suppress(ValueError):  # not the main thread: signals are the caller's
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, note)
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _read(path: Path) -> Facts:
    return json.loads(path.read_text(encoding="utf-8"))


def _write(path: Path, facts: Facts) -> None:
    part = path.with_name(f".{path.name}")
    with part.open("w", encoding="utf-8") as stream:
        json.dump(facts, stream, indent=1)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(path)
