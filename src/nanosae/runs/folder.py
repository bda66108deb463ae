"""Where a training's files lie in the run folder, and what they say; nothing here writes."""

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

FORMAT = 2
MANIFEST = "training.json"
FILES = ("config.json", "model", "metrics.jsonl", "checkpoints", "snapshots")
NEXT = ".next"  # the files of a training that is about to replace the one in the folder
CONFIG_KEYS = {"requested", "config", "data_fingerprint", "init"}
CONFIG_KEYS |= {"threads", "versions", "selection"}
Facts = dict[str, Any]
_verified: dict[Path, tuple] = {}  # what files were like when they were last verified


def current(folder: str | Path) -> Path:
    """Return where the newest files of a training lie: in the run folder or its `.next`."""
    folder = Path(folder)
    following = folder / NEXT
    return following if (following / "config.json").exists() else folder


def is_finished(folder: Path) -> bool:
    """Return whether a folder holds a training that has ended, with its model."""
    if not (folder / "model" / "cfg.json").exists():
        return False
    if not (folder / MANIFEST).exists():
        return False
    return bool(read_manifest(folder).get("finished"))


def verify_training(folder: str | Path) -> None:
    """Compare settings, metrics and snapshots of a finished training with their checksums.

    Files that were verified are not read again as long as they do not change. Of a training that
    has not ended nothing is known to compare with.

    Raises:
        DamagedFileError: If one is missing, or not what was written.
    """
    folder = Path(folder)
    if not (folder / MANIFEST).exists():
        return
    manifest = read_manifest(folder)
    for name, known in manifest.get("checksums", {}).items():
        if name.startswith("model/"):  # verified when it is loaded
            continue
        path = folder / name
        if not path.exists():
            raise damaged(path, "it is missing", again(folder))
        signature = (known, *file_state(path))
        if _verified.get(path.absolute()) != signature:
            check_file(path, known, MANIFEST, again(folder))
            _verified[path.absolute()] = signature


def last_line(folder: Path) -> Facts:
    """Return the last line of the metrics."""
    path = folder / "metrics.jsonl"
    with naming(path, again(folder)):
        return json.loads(path.read_text(encoding="utf-8").splitlines()[-1])


def read_manifest(folder: Path) -> Facts:
    """Return training.json."""
    return read_json(folder / MANIFEST, again(folder))


def read_config(folder: Path) -> Facts:
    """Return config.json.

    Raises:
        MissingError: If there is none.
        DamagedFileError: If it is not what was written, or of another format.
    """
    path = folder / "config.json"
    facts = read_json(path, again(folder))
    check_format(path, facts, FORMAT, "Train again, in another folder.")
    missing = CONFIG_KEYS - facts.keys()
    if missing:
        raise damaged(path, f"it lacks {', '.join(sorted(missing))}", again(folder))
    return facts


def again(folder: Path) -> str:
    """Return the remedy for a damaged file of a training."""
    return f"Train again: nanosae train DATA -o {folder} --force."
