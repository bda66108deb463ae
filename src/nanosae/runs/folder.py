"""Reading the files of a training in the run folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nanosae.checked import (
    check_file,
    check_format,
    damaged,
    file_state,
    naming,
    read_json,
)
from nanosae.errors import command_line

FORMAT = 2
MANIFEST = "training.json"
FILES = ("config.json", "model", "metrics.jsonl", "checkpoints", "snapshots")
SWEEP = "sweep.csv"  # the metrics of the runs in the folders beside it
NEXT = ".next"  # holds the files of a training that will replace the one in the folder
CONFIG_KEYS = {"requested", "config", "data_fingerprint", "init"}
CONFIG_KEYS |= {"threads", "versions", "selection"}
Facts = dict[str, Any]
_verified: dict[Path, tuple] = {}  # state of each file when last verified


def current(folder: str | Path) -> Path:
    """Return the folder of the newest training's files: the run folder or its `.next`."""
    folder = Path(folder)
    following = folder / NEXT
    return following if (following / "config.json").exists() else folder


def holds_training(folder: Path) -> bool:
    """Return whether a folder has the settings of a training, and not only a saved SAE."""
    path = folder / "config.json"
    if not path.is_file():
        return False
    return bool(CONFIG_KEYS & read_json(path, remedy(folder)).keys())


def is_finished(folder: Path) -> bool:
    """Return whether a folder holds a finished training with its model."""
    if not (folder / "model" / "cfg.json").exists():
        return False
    if not (folder / MANIFEST).exists():
        return False
    return bool(read_manifest(folder).get("finished"))


def verify_training(folder: str | Path) -> None:
    """Verify settings, metrics and snapshots of a finished training by their checksums.

    Verified files are not read again unless they change. An unfinished training has no checksums.

    Raises:
        DamagedFileError: If a file is missing, or was changed or damaged.
    """
    folder = Path(folder)
    if not (folder / MANIFEST).exists():
        return
    manifest = read_manifest(folder)
    for name, known in manifest.get("checksums", {}).items():
        if name.startswith("model/"):  # verified when the model is loaded
            continue
        path = folder / name
        if not path.exists():
            raise damaged(path, "it is missing", remedy(folder))
        signature = (known, *file_state(path))
        if _verified.get(path.absolute()) != signature:
            check_file(path, known, MANIFEST, remedy(folder))
            _verified[path.absolute()] = signature


def last_line(folder: Path) -> Facts:
    """Return the last line of the metrics."""
    path = folder / "metrics.jsonl"
    with naming(path, remedy(folder)):
        return json.loads(path.read_text(encoding="utf-8").splitlines()[-1])


def read_manifest(folder: Path) -> Facts:
    """Return training.json."""
    return read_json(folder / MANIFEST, remedy(folder))


def read_config(folder: Path) -> Facts:
    """Return config.json.

    Raises:
        MissingError: If there is none.
        DamagedFileError: If it was changed or damaged, or has another format.
    """
    path = folder / "config.json"
    facts = read_json(path, remedy(folder))
    check_format(path, facts, FORMAT, "Train again, in another folder.")
    missing = CONFIG_KEYS - facts.keys()
    if missing:
        raise damaged(path, f"it lacks {', '.join(sorted(missing))}", remedy(folder))
    return facts


def remedy(folder: Path) -> str:
    """Return the remedy for a damaged file of a training."""
    return f"Train again: {command_line('train', 'DATA', '-o', folder, '--force')}."
