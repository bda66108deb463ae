"""Stages of a run: each is repeated only if something that it depends on has changed.

`RUN/stages.json` records the fingerprint of every finished stage, which covers its settings and the
fingerprints of the stages that it depends on, and the state in which it left its result.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nanosae.atomic import write_json
from nanosae.checked import read_json
from nanosae.codes.format import STAGES
from nanosae.pipeline.progress import Progress


@dataclass(frozen=True)
class Stage:
    """One stage of a run.

    Attributes:
        name: Name of the stage, a command.
        work: Function that performs the stage and returns a summary in one line.
        needs: Names of the stages whose results it uses.
        settings: Everything else that determines its result, as JSON types.
        seconds: Approximate duration on a small machine, for the progress bar.
        resume: Function that resumes an interrupted attempt; None starts over.
    """

    name: str
    work: Callable[[], str]
    needs: Sequence[str] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 1.0
    resume: Callable[[], str] | None = None


def run_stages(
    run: Path,
    stages: Sequence[Stage],
    progress: Progress,
    state_of: Callable[[str], str],
) -> None:
    """Run the stages that are not up to date, in order, with a line for each stage.

    A stage whose result is not as the stage left it is not up to date.

    Args:
        run: The run folder.
        stages: The stages, each after those that it needs.
        progress: Progress bar, which also prints the lines.
        state_of: Returns the state of the stored result of a stage, such as a checksum.
    """
    record = Record(run / STAGES)
    fingerprints = _fingerprints(stages)
    pending: dict[str, Stage] = {}
    for stage in stages:
        is_done = record.is_finished(stage.name, fingerprints[stage.name])
        is_there = is_done and record.state(stage.name) in (None, state_of(stage.name))
        if not is_there or any(name in pending for name in stage.needs):
            pending[stage.name] = stage
    record.forget(
        [name for name in pending if record.is_finished(name, fingerprints[name])]
    )
    progress.plan([stage.seconds for stage in pending.values()])
    for stage in stages:
        if stage.name not in pending:
            progress.say(f"{stage.name:10} {record.line(stage.name)} (up to date)")
            continue
        fingerprint = fingerprints[stage.name]
        work = stage.work
        if stage.resume is not None and record.is_interrupted(stage.name, fingerprint):
            work = stage.resume
        record.start(stage.name, fingerprint)
        progress.begin(stage.name, stage.seconds)
        start = time.perf_counter()
        line = work()
        seconds = time.perf_counter() - start
        record.finish(stage.name, line, state_of(stage.name))
        progress.end()
        progress.say(f"{stage.name:10} {line} ({seconds:.0f} s)")


def _fingerprints(stages: Sequence[Stage]) -> dict[str, str]:
    """Return a fingerprint of everything that each stage depends on."""
    fingerprints: dict[str, str] = {}
    for stage in stages:
        needed = [fingerprints[name] for name in stage.needs]
        fingerprints[stage.name] = digest([stage.name, needed, dict(stage.settings)])
    return fingerprints


class Record:
    """The contents of `stages.json`.

    It has the fingerprint of each stage and, once finished, its line and the state of its result.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stages: dict[str, dict[str, Any]] = {}
        if path.exists():
            self.stages = read_json(path, "Write {} to it to repeat all stages.")

    def is_interrupted(self, name: str, fingerprint: str) -> bool:
        """Return whether an attempt with the same fingerprint was started, but not finished."""
        stage = self.stages.get(name, {})
        return stage.get("fingerprint") == fingerprint and "line" not in stage

    def is_finished(self, name: str, fingerprint: str) -> bool:
        """Return whether the stage is finished with the same fingerprint."""
        stage = self.stages.get(name, {})
        return stage.get("fingerprint") == fingerprint and "line" in stage

    def state(self, name: str) -> str | None:
        """Return the state in which a finished stage left its result; None if unknown."""
        return self.stages.get(name, {}).get("state")

    def line(self, name: str) -> str:
        """Return the summary of a finished stage."""
        return self.stages[name]["line"]

    def forget(self, names: Sequence[str]) -> None:
        """Forget finished stages that are to be repeated, even if this is cut short."""
        for name in names:
            del self.stages[name]
        if names:
            write_json(self.path, self.stages)

    def start(self, name: str, fingerprint: str) -> None:
        """Record that a stage has started."""
        self.stages[name] = {"fingerprint": fingerprint}
        write_json(self.path, self.stages)

    def finish(self, name: str, line: str, state: str) -> None:
        """Record that a stage has finished, and the state in which it left its result."""
        self.stages[name] |= {"line": line, "state": state}
        write_json(self.path, self.stages)


def digest(value: Any) -> str:
    """Return a short fingerprint of a JSON value."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()
