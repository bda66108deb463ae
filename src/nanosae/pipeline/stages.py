"""Stages of a run: each is done once, and again only when what it depends on has changed.

`RUN/stages.json` holds the fingerprint of everything that a finished stage was made from: its
settings and the fingerprints of the stages before it that it needs.
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
from nanosae.pipeline.progress import Progress


@dataclass(frozen=True)
class Stage:
    """One stage of a run.

    Attributes:
        name: A verb.
        work: Does it, and returns what was done, in one line.
        needs: Names of the stages whose results it uses.
        settings: What else decides its result, as JSON types.
        seconds: How long it takes, roughly, on a small machine; only the bar depends on it.
        resume: Goes on with an interrupted attempt at the same work; None does it anew.
    """

    name: str
    work: Callable[[], str]
    needs: Sequence[str] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 1.0
    resume: Callable[[], str] | None = None


def run_stages(run: Path, stages: Sequence[Stage], progress: Progress) -> None:
    """Do the stages that are not done yet, in order, with a line for each.

    Args:
        run: The run folder.
        stages: In an order in which each comes after those that it needs.
        progress: Shows the lines and how far the work is.
    """
    record = Record(run / "stages.json")
    fingerprints = _fingerprints(stages)
    to_do = [
        stage
        for stage in stages
        if not record.is_finished(stage.name, fingerprints[stage.name])
    ]
    progress.plan([stage.seconds for stage in to_do])
    for stage in stages:
        if stage not in to_do:
            progress.say(f"{stage.name:10} {record.line(stage.name)} (up to date)")
            continue
        fingerprint = fingerprints[stage.name]
        work = stage.work
        if stage.resume is not None and record.is_started(stage.name, fingerprint):
            work = stage.resume
        record.start(stage.name, fingerprint)
        progress.begin(stage.name, stage.seconds)
        began = time.perf_counter()
        line = work()
        took = time.perf_counter() - began
        record.finish(stage.name, line)
        progress.end()
        progress.say(f"{stage.name:10} {line} ({took:.0f} s)")


def _fingerprints(stages: Sequence[Stage]) -> dict[str, str]:
    """Return a fingerprint of all that each stage is made from."""
    fingerprints: dict[str, str] = {}
    for stage in stages:
        needed = [fingerprints[name] for name in stage.needs]
        fingerprints[stage.name] = digest([stage.name, needed, dict(stage.settings)])
    return fingerprints


class Record:
    """What `stages.json` says: for each stage its fingerprint, whether it ended, and its line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stages: dict[str, dict[str, Any]] = {}
        if path.exists():
            self.stages = read_json(path, "Delete it; all stages are done again.")

    def is_started(self, name: str, fingerprint: str) -> bool:
        """Return whether an attempt at this very work was made."""
        return self.stages.get(name, {}).get("fingerprint") == fingerprint

    def is_finished(self, name: str, fingerprint: str) -> bool:
        """Return whether this very work is done."""
        return self.is_started(name, fingerprint) and "line" in self.stages[name]

    def line(self, name: str) -> str:
        """Return what a finished stage said."""
        return self.stages[name]["line"]

    def start(self, name: str, fingerprint: str) -> None:
        """Note that a stage begins."""
        self.stages[name] = {"fingerprint": fingerprint}
        write_json(self.path, self.stages)

    def finish(self, name: str, line: str) -> None:
        """Note that a stage has ended."""
        self.stages[name]["line"] = line
        write_json(self.path, self.stages)


def digest(value: Any) -> str:
    """Return a short fingerprint of a JSON value."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()
