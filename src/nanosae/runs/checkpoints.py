"""Checkpoints, from which a training resumes; each is a folder.

checkpoints/step-NNNNNNNN/state.safetensors   tensors
checkpoints/step-NNNNNNNN/state.json          numbers, and the checksum of the tensors' file
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from nanosae.atomic import write_folder
from nanosae.checked import (
    check_file,
    damaged,
    file_checksum,
    naming,
    read_json,
    write_sealed_json,
)
from nanosae.errors import WriteError
from nanosae.runs.folder import Facts

KEPT = 2
NAME = re.compile("step-[0-9]{8,}")


def save_checkpoint(
    folder: Path, step: int, tensors: dict[str, Tensor], facts: Facts
) -> None:
    """Write `checkpoints/step-N` in a folder, then delete all but the newest two."""
    path = folder / "checkpoints" / f"step-{step:08d}"

    def fill(draft: Path) -> None:
        weights = draft / "state.safetensors"
        save_file({name: t.cpu().contiguous() for name, t in tensors.items()}, weights)
        checksum = file_checksum(weights)
        write_sealed_json(
            draft / "state.json", {"facts": facts, "weights": checksum}, infinite=True
        )

    try:
        write_folder(path, fill)
    except WriteError as error:
        kept = path.name if path.exists() else last_checkpoint(folder)
        valid = f"{kept} is still valid" if kept else "there is no earlier one"
        raise WriteError(
            f"the checkpoint of step {step} could not be written to {path.parent} "
            f"({error.__cause__ or error}); {valid}.",
            file=path,
            remedy="Free some space, or make the folder writable, then continue with resume=True "
            "(--resume).",
        ) from error
    prune(folder)


def last_checkpoint(folder: Path) -> str | None:
    """Return the name of the newest complete checkpoint in a folder."""
    kept = checkpoints(folder)
    return kept[-1].name if kept else None


def read_checkpoint(folder: Path) -> tuple[dict[str, Tensor], Facts]:
    """Return the tensors and numbers of a checkpoint.

    Raises:
        DamagedFileError: If one of its files is missing, or was changed or damaged.
    """
    remedy = "Remove this checkpoint."
    state, weights = folder / "state.json", folder / "state.safetensors"
    for path in (state, weights):
        if not path.exists():
            raise damaged(path, "it is missing", remedy)
    facts = read_json(state, remedy)
    with naming(state, remedy):
        known, numbers = facts["weights"], facts["facts"]
    check_file(weights, known, "state.json", remedy)
    with naming(weights, remedy):
        return load_file(weights), numbers


def checkpoints(folder: Path) -> list[Path]:
    """Return the complete checkpoints in a folder, oldest first."""
    folders = filter(Path.is_dir, (folder / "checkpoints").glob("step-*"))
    # without copies that somebody made
    found = [path for path in folders if NAME.fullmatch(path.name)]
    return sorted(found, key=step_of)


def step_of(checkpoint: Path) -> int:
    """Return the step after which a checkpoint was written."""
    return int(checkpoint.name.removeprefix("step-"))


def prune(folder: Path) -> None:
    """Delete all but the newest checkpoints."""
    for old in checkpoints(folder)[:-KEPT]:
        shutil.rmtree(old)
