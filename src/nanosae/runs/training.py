"""The files of a training in its run folder.

    training.json      which files belong to the training and, once it has ended, their checksums
    config.json        settings, versions, threads and the fingerprint of the data
    metrics.jsonl      one line per logging step; the last one measures the exported model
    snapshots/         NNNNNN.npz
    checkpoints/       step-NNNNNNNN/, each written atomically
    model/             written when training ends

A training that replaces another one (`force`) writes the same files to `.next/` and moves them into
place when it has ended, so that a failure leaves the old model.
"""

from __future__ import annotations

import contextlib
import json
import platform
import shutil
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

import numpy as np
import torch
from torch import Tensor

from nanosae import __version__
from nanosae.atomic import (
    make_folder,
    sweep_drafts,
    write_bytes,
    write_file,
    write_folder,
)
from nanosae.checked import file_checksum, plain, write_sealed_json
from nanosae.config import ResolvedConfig, TrainConfig
from nanosae.errors import (
    ConfigError,
    DamagedFileError,
    ExistsError,
)
from nanosae.lock import Lock
from nanosae.runs import earlier
from nanosae.runs.checkpoints import (
    checkpoints,
    prune,
    read_checkpoint,
    step_of,
)
from nanosae.runs.folder import (
    FILES,
    FORMAT,
    MANIFEST,
    NEXT,
    Facts,
    current,
    is_finished,
)

LOCK = ".training.lock"


class TrainingRun:
    """The files of one training, from `open` to `close`.

    Attributes:
        folder: The run folder.
        finished: Whether the folder already holds the finished training that was asked for; set
            in the main process only.
    """

    def __init__(
        self, folder: Path, requested: TrainConfig, init: str | None, lock: Lock | None
    ) -> None:
        self.folder = folder
        self.finished = False
        self._requested = requested
        self._init = init
        self._lock = lock
        self._is_main = lock is not None
        self._replaces = False
        self._metrics: IO[str] | None = None

    @classmethod
    def open(
        cls,
        folder: str | Path,
        requested: TrainConfig,
        init: str | None = None,
        *,
        resume: bool = False,
        force: bool = False,
        is_main: bool = True,
    ) -> TrainingRun:
        """Lock a folder for training, without changing its files.

        An unfinished training with the same settings is always continued: an interrupted command
        can be repeated as it was typed.

        Args:
            folder: The run folder.
            requested: The settings asked for.
            init: Checksum of the SAE that training starts from, or None.
            resume: Continue the existing training.
            force: Replace the existing training.
            is_main: Whether this is the process that writes; the other ranks only read.

        Raises:
            BusyError: If another process is training in the folder.
            ConfigError: If the training to resume has other settings or started from another SAE,
                or both `resume` and `force` are set.
            ExistsError: If the folder holds a training, or files of these names that no training
                has written.
            WriteError: If the folder cannot be written.
        """
        if resume and force:
            raise ConfigError(
                "resume and force cannot both be given.",
                remedy="resume (--resume) keeps the training in the folder, force (--force) "
                "replaces it.",
            )
        folder = Path(folder)
        if not is_main:
            return cls(folder, requested, init, None)
        make_folder(folder)
        run = cls(folder, requested, init, Lock(folder / LOCK))
        try:
            run._check(resume=resume, force=force)
        except BaseException:
            run.close()
            raise
        return run

    def _check(self, *, resume: bool, force: bool) -> None:
        """Decide whether to continue or replace an existing training, or refuse to train."""
        folder, requested = self.folder, self._requested
        if earlier.replacement_is_complete(folder):
            _move_next(folder)
        present = earlier.files_of_training(folder)
        if not present:
            return
        earlier.check_that_it_is_ours(folder, present)
        if force or (
            resume and earlier.holds_unfinished_replacement(folder, requested)
        ):
            self._replaces = True
            return
        changed = earlier.changed_settings(folder, requested)
        if not changed and not is_finished(folder):
            return  # the training is continued
        if not resume:
            raise ExistsError(
                f"{folder} already holds a run ({', '.join(present)} would be overwritten).",
                file=folder,
                remedy="Continue it (resume=True, --resume), replace it (force=True, --force), or "
                "choose another folder.",
            )
        if changed:
            raise earlier.started_with_other_settings(folder, changed)
        earlier.check_init(folder, self._init)
        self.finished = earlier.is_intact(folder)

    def check_rows(self, data_fingerprint: str | None) -> None:
        """Refuse rows other than those of a finished training.

        Args:
            data_fingerprint: Fingerprint of the rows, or None if it is unknown.

        Raises:
            DataError: If the training has another one.
        """
        if data_fingerprint is not None:
            earlier.check_rows(self.folder, data_fingerprint)

    @property
    def files(self) -> Path:
        """The folder of this training's files until it has ended."""
        if not self._is_main:
            return current(self.folder)
        return self.folder / NEXT if self._replaces else self.folder

    def begin(
        self,
        resolved: ResolvedConfig,
        data_fingerprint: str,
        source: str | None,
        selection: str,
    ) -> None:
        """Write config.json, or check it if a training is continued.

        Args:
            resolved: The settings with every default filled in.
            data_fingerprint: Fingerprint of the rows.
            source: The path of the rows, or None.
            selection: The kind of products that selections use on this machine.

        Raises:
            DataError: If the training to continue was started on other rows.
            ConfigError: If it was started from another SAE.
        """
        facts = {
            "format": FORMAT,
            "requested": self._requested.to_dict(),
            "config": resolved.to_dict(),
            "data": source,
            "data_fingerprint": data_fingerprint,
            "init": self._init,
            "selection": selection,
            **_environment(),
        }
        files = self.files
        if not self._replaces:
            _remove(self.folder / NEXT)  # left by an abandoned replacement
        elif not earlier.can_continue_replacement(files, facts):
            _remove(files)
        files.mkdir(exist_ok=True)
        for folder in (files, files / "checkpoints", files / "snapshots"):
            folder.mkdir(exist_ok=True)
            sweep_drafts(folder)
        if (files / "config.json").exists():
            earlier.check_continuation(files, facts)
        if not (files / MANIFEST).exists():
            write_sealed_json(files / MANIFEST, {"format": FORMAT, "files": [*FILES]})
        if not (files / "config.json").exists():
            write_sealed_json(files / "config.json", facts)

    def load_checkpoint(self) -> tuple[dict[str, Tensor], Facts] | None:
        """Return the content of the newest intact checkpoint, or None.

        Damaged checkpoints are skipped with a warning. Lines of metrics after the checkpoint are
        dropped, as their steps are repeated.
        """
        step, state = 0, None
        for folder in reversed(checkpoints(self.files)):
            try:
                state = read_checkpoint(folder)
            except DamagedFileError as error:
                warnings.warn(
                    f"{error} Continuing from the previous checkpoint, or from the start if "
                    "there is none.",
                    stacklevel=3,
                )
                continue
            step = step_of(folder)
            break
        if self._is_main:
            self._drop_metrics_after(step)
        return state

    def save_snapshot(self, step: int, arrays: dict[str, np.ndarray]) -> None:
        """Write `snapshots/N.npz`."""
        path = self.files / "snapshots" / f"{step:06d}.npz"
        write_file(path, lambda stream: np.savez(stream, allow_pickle=False, **arrays))

    def append_metrics(self, line: Facts) -> None:
        """Append a line to metrics.jsonl; numbers that are not finite become null."""
        if self._metrics is None:
            self._metrics = (self.files / "metrics.jsonl").open("a", encoding="utf-8")
        self._metrics.write(json.dumps(plain(line)) + "\n")
        self._metrics.flush()

    def finish(self, save_model: Callable[[Path], object], final_line: Facts) -> None:
        """Write the model and the last line of metrics; then replace the old training, if any.

        Args:
            save_model: Writes the model to an empty folder.
            final_line: Measures of the exported model.
        """
        files = self.files
        write_folder(files / "model", save_model)
        self.append_metrics(final_line)
        self._close_metrics()
        prune(files)
        checksums = {}
        for name in ("config.json", "metrics.jsonl", "model", "snapshots"):
            for path in _files_in(files / name):
                checksums[path.relative_to(files).as_posix()] = file_checksum(path)
        facts = {
            "format": FORMAT,
            "files": [*FILES],
            "finished": True,
            "checksums": checksums,
        }
        write_sealed_json(files / MANIFEST, facts)
        if self._replaces:
            _move_next(self.folder)
            self._replaces = False
        self.finished = True

    def close(self) -> None:
        """Unlock the folder, and remove it if it is empty."""
        self._close_metrics()
        if self._lock is not None:
            self._lock.release()
            self._lock = None
            with contextlib.suppress(OSError):
                self.folder.rmdir()

    def _close_metrics(self) -> None:
        if self._metrics is not None:
            self._metrics.close()
            self._metrics = None

    def _drop_metrics_after(self, step: int) -> None:
        path = self.files / "metrics.jsonl"
        if not path.exists():
            return
        lines = path.read_bytes().splitlines(keepends=True)
        kept = [line for line in lines if _step_of_line(line) <= step]
        if len(kept) < len(lines):
            write_bytes(path, b"".join(kept))


def open_runs(
    configs: Sequence[TrainConfig],
    folders: Sequence[Path | None],
    init: str | None,
    stack: contextlib.ExitStack,
    *,
    resume: bool,
    force: bool,
    is_main: bool,
) -> list[TrainingRun | None]:
    """Open the run folder of each SAE that has one, until a stack is closed.

    Args:
        configs: The settings asked for, one per SAE.
        folders: The run folder of each SAE, or None.
        init: Checksum of the SAE that training starts from, or None.
        stack: Closes the runs.
        resume: As for `TrainingRun.open`, whose errors are raised.
        force: Likewise.
        is_main: Likewise.
    """
    runs: list[TrainingRun | None] = []
    for config, folder in zip(configs, folders, strict=True):
        run = None
        if folder is not None:
            run = TrainingRun.open(
                folder, config, init, resume=resume, force=force, is_main=is_main
            )
            stack.callback(run.close)
        runs.append(run)
    return runs


def _environment() -> Facts:
    """Return what the rounding of a training depends on besides its settings and rows."""
    return {
        "threads": torch.get_num_threads(),
        "versions": {
            "nanosae": __version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
    }


def _files_in(path: Path) -> list[Path]:
    """Return the file itself, or the content of a folder."""
    return [path] if path.is_file() else sorted(path.rglob("*"))


def _move_next(folder: Path) -> None:
    """Move a finished replacement into place; if interrupted, this can be repeated."""
    following = folder / NEXT
    # the manifest last, as it marks the move as incomplete
    for name in (*FILES, MANIFEST):
        if (following / name).exists():
            _remove(folder / name)
            (following / name).rename(folder / name)
    _remove(following)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _step_of_line(line: bytes) -> float:
    """Return the step of a line of metrics; infinity for the final line and a damaged one."""
    with contextlib.suppress(ValueError, KeyError, AttributeError):
        fields = json.loads(line)
        if line.endswith(b"\n") and not fields.get("final"):
            return fields["step"]
    return float("inf")
