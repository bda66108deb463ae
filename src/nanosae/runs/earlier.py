"""Earlier trainings in a run folder, and whether they can be continued or replaced."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

from nanosae.checked import file_checksum
from nanosae.config import TrainConfig
from nanosae.errors import ConfigError, DamagedFileError, DataError, ExistsError
from nanosae.runs.folder import (
    FILES,
    MANIFEST,
    NEXT,
    Facts,
    is_finished,
    read_config,
    read_manifest,
)


def files_of_training(folder: Path) -> list[str]:
    """Return which files and non-empty folders of a training a folder holds."""
    return [name for name in FILES if _holds_something(folder / name)]


def check_that_it_is_ours(folder: Path, present: list[str]) -> None:
    """Refuse a folder that holds files with the names of ours that no training has written."""
    listed = _listed_files(folder)
    foreign = [name for name in present if name not in listed]
    if foreign:
        raise ExistsError(
            f"{folder} holds {', '.join(foreign)}, not written by a training.",
            file=folder / foreign[0],
            remedy="Choose another folder, or move these files away.",
        )


def _listed_files(folder: Path) -> Sequence[str]:
    """Return the names of the files that a training has written, from its manifest."""
    if not (folder / MANIFEST).exists():
        return []
    return read_manifest(folder).get("files", [])


def _holds_something(path: Path) -> bool:
    return any(path.iterdir()) if path.is_dir() else path.exists()


def changed_settings(folder: Path, requested: TrainConfig) -> str:
    """Describe the settings that differ from those a training was started with; "" if none do."""
    before = read_config(folder)["requested"]
    changed = []
    for name, value in requested.to_dict().items():
        value_before = before.get(name)
        if value != value_before:
            changed.append(f"{name}={value} (was {value_before})")
    return ", ".join(changed)


def started_with_other_settings(folder: Path, changed: str) -> ConfigError:
    """Return the error for resuming a training with other settings."""
    remedy = "Resume with those settings."
    if is_finished(folder):
        remedy += " Or continue from its model in another folder (init, --init)."
    return ConfigError(
        f"{folder} was started with other settings: {changed}.",
        file=folder / "config.json",
        remedy=remedy,
    )


def replacement_is_complete(folder: Path) -> bool:
    """Return whether a replacement has ended, but not all its files were moved into place."""
    if not (folder / NEXT / MANIFEST).exists():
        return False
    return bool(read_manifest(folder / NEXT).get("finished"))


def holds_unfinished_replacement(folder: Path, requested: TrainConfig) -> bool:
    """Return whether a training with these settings was replacing that of the folder."""
    following = folder / NEXT
    if not (following / "config.json").exists():
        return False
    try:
        return not changed_settings(following, requested)
    except DamagedFileError:
        return False


def can_continue_replacement(files: Path, facts: Facts) -> bool:
    """Return whether an interrupted replacement has the same settings and rows."""
    try:
        before = read_config(files)
    except (FileNotFoundError, DamagedFileError):
        return False
    names = ("requested", "data_fingerprint", "init")
    return all(before.get(name) == facts[name] for name in names)


def check_continuation(folder: Path, facts: Facts) -> None:
    """Refuse to continue a training on other rows; warn if the environment differs.

    Args:
        folder: The folder of its files.
        facts: The content that config.json would have now.

    Raises:
        DataError: If the training was started on other rows.
        ConfigError: If it was started from another SAE.
    """
    check_rows(folder, facts["data_fingerprint"])
    check_init(folder, facts["init"])
    before = read_config(folder)
    for name in ("threads", "versions", "selection"):
        started_with = before[name]
        if started_with != facts[name]:
            warnings.warn(
                f"{folder} was started with {name} {started_with}, now {facts[name]}: the resumed "
                "run may differ in the last bits.",
                stacklevel=4,
            )


def check_rows(folder: Path, data_fingerprint: str) -> None:
    """Refuse rows other than those that a training was started on.

    Raises:
        DataError: If they have another fingerprint.
    """
    if read_config(folder)["data_fingerprint"] != data_fingerprint:
        raise DataError(
            f"{folder} was trained on other rows.",
            file=folder / "config.json",
            remedy="Resume with those rows, or use force=True (--force).",
        )


def check_init(folder: Path, init: str | None) -> None:
    """Refuse an SAE to start from other than that of a training.

    Raises:
        ConfigError: If it has another checksum.
    """
    before = read_config(folder)["init"]
    if before != init:
        raise ConfigError(
            f"{folder} was started from another SAE ({before}, now {init}).",
            file=folder / "config.json",
            remedy="Resume with the same init, or use force=True (--force).",
        )


def is_intact(folder: Path) -> bool:
    """Return whether the files of a finished training match their checksums; warn if not."""
    if not (folder / MANIFEST).exists():
        return True
    for name, known in read_manifest(folder)["checksums"].items():
        path = folder / name
        if not path.exists() or file_checksum(path) != known:
            warnings.warn(
                f"{path} is damaged or missing; it will be written again.", stacklevel=5
            )
            return False
    return True
