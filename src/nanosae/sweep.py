"""Many SAEs on one pass over the data, and what to expect of one before it is trained."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nanosae.config import TrainConfig
from nanosae.ranks import leads
from nanosae.trainer import Job, train_jobs

if TYPE_CHECKING:
    import pandas as pd

# what decides the rows, their order and how they are dealt: equal in SAEs that share a pass
SHARED = ("columns", "input_size", "batch_size", "heldout_share", "buffer_rows", "data_seed")
MEASURES = ("fvu", "l0", "dead", "train_fvu", "best_step", "seconds")


def grid(config: TrainConfig, **lists: Sequence[Any]) -> list[TrainConfig]:
    """Return a config for every combination of the listed values.

    Example:
        >>> [c.k for c in grid(TrainConfig(), k=[16, 32])]
        [16, 32]
    """
    fields = config.to_dict()
    return [
        TrainConfig.from_dict(fields | dict(zip(lists, values, strict=True)))
        for values in itertools.product(*lists.values())
    ]


def sweep(
    configs: Sequence[TrainConfig],
    data: Any,
    output: str | Path,
    *,
    targets: Any = None,
    resume: bool = False,
    force: bool = False,
    progress: bool = True,
) -> pd.DataFrame:
    """Train several SAEs on one pass over the data: each batch is read and normalised once.

    Each gets the bits that it would get alone. SAEs that differ in what deals the rows (batch_size,
    data_seed, heldout_share …) take passes of their own.

    Args:
        configs: What to train, such as `grid(TrainConfig(), k=[16, 32, 64], seed=[0, 1])`.
        data: See `SAETrainer.train`, as `targets`.
        output: Folder with a run for each, named by what differs, and `sweep.csv`.
        targets: What transcoders are to make of the rows.
        resume: Go on with what is not finished.
        force: Replace runs that are there.
        progress: Show a progress bar.

    Returns:
        A line for each: what differs, fvu, l0, dead, train_fvu, best_step, seconds.

    Raises:
        ValueError: If there is no config, or two are equal.
    """
    import pandas as pd

    if not configs:
        raise ValueError("there is nothing to train: give at least one config.")
    differ = _differing(configs)
    names = ["-".join(f"{field}={values[field]}" for field in values) or "run" for values in differ]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"two of the {len(names)} configs are equal ({twice}): leave one out.")
    output = Path(output)
    jobs = [Job(c, output / name) for c, name in zip(configs, names, strict=True)]
    groups: dict[Any, list[Job]] = {}
    for job in jobs:
        groups.setdefault(tuple(getattr(job.config, name) for name in SHARED), []).append(job)
    for group in groups.values():
        train_jobs(group, data, targets=targets, resume=resume, force=force, progress=progress)
    lines = []
    for job, name, values in zip(jobs, names, differ, strict=True):
        found = {key: job.metrics.get(key) for key in MEASURES}
        lines.append({"run": name, **values, **found})
    table = pd.DataFrame(lines)
    if leads():
        table.to_csv(output / "sweep.csv", index=False)
    return table


def _differing(configs: Sequence[TrainConfig]) -> list[dict[str, Any]]:
    fields = [config.to_dict() for config in configs]
    names = [name for name in fields[0] if any(f[name] != fields[0][name] for f in fields)]
    return [{name: f[name] for name in names} for f in fields]
